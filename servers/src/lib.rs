//! Ways to serve sockets, as small servers that a reader compares side by side.
//!
//! A [`Pattern`] is a way to organise accepting, reading and answering; a [`Service`] is what is
//! answered. They are independent, and a [`Server`] is one of each. All patterns share one line
//! protocol ([`session`]), one way to listen ([`listener`]) and one way to end ([`stop`]), so
//! that two pattern files differ only where the patterns do.
//!
//! This crate measures nothing, prints nothing, and knows no command line.

#![cfg(target_os = "linux")]

pub mod catalogue;
pub mod listener;
pub mod stop;

pub mod service;
pub mod session;

pub mod conversation;
pub mod places;
pub mod refusal;

pub mod clients;
pub mod connection;
pub mod deadlines;
pub mod epoll;
pub mod inbox;
mod oneshot;
mod slots;
pub mod threads;

pub mod acceptor;
pub mod task;

pub mod ring;

pub mod children;
pub mod lock;
pub mod passing;

mod patterns;
mod readiness;
mod socket;

pub use catalogue::{
    Capacity, Family, Limits, LimitsError, Pattern, Server, Unit, WhenFull, Workers, find, servers,
};
pub use listener::{BindError, Listener};
pub use patterns::PATTERNS;
pub use service::Service;

use std::io;

/// What a pattern is given to serve with: every limit decided.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is answered.
    pub service: Service,
    /// The longest request in bytes, its line end not counted.
    pub max_line: usize,
    /// The most clients taken in at once: served, or waiting for a worker.
    pub max_connections: usize,
    /// How many threads or processes serve, where the pattern has a fixed number.
    pub workers: usize,
    /// How long a client may be silent, or may leave its replies unread.
    pub idle_timeout: Option<std::time::Duration>,
}

/// Serves on `listener` until SIGTERM or SIGINT, then drains and returns.
///
/// # Errors
/// Limits that the pattern cannot keep, and what the kernel refuses to the whole server. What
/// befalls one client ends with that client.
pub fn serve(server: &Server, limits: &Limits, listener: Listener) -> io::Result<()> {
    let config = server
        .config(limits)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    (server.pattern.serve)(listener, &config)
}
