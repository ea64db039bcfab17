//! Server patterns as small, exemplary programs that a reader can compare side by side.
//!
//! A [`Pattern`] is a way to organise accepting, reading and answering; a [`Service`] computes the
//! replies. A [`Server`] combines a pattern and a service. All patterns share the line protocol
//! ([`protocol`]), and the code that listens ([`sockets`]) and shuts down ([`shutdown`]). So two
//! pattern files show only the difference between the patterns.
//!
//! The modules are listed from the lowest layer to the highest. Each imports only from modules that
//! are listed before it.
//!
//! This crate measures nothing, prints nothing, and knows no command line.

#![cfg(target_os = "linux")]

pub mod protocol;

mod config;

pub mod shutdown;

pub mod sockets;

pub mod blocking;

pub mod event_loop;

pub mod tasks;

pub mod io_uring;

pub mod processes;

mod pattern;

mod limits;

mod patterns;

mod catalogue;

pub use catalogue::{Server, find, servers};
pub use config::Config;
pub use limits::{Limits, LimitsError, MAX_LINE, MAX_WORKERS};
pub use pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
pub use patterns::PATTERNS;
pub use protocol::Service;
pub use sockets::{BindError, Listener};

use std::io;

/// Serves on `listener` until SIGTERM or SIGINT, then drains and returns.
///
/// # Errors
/// The pattern does not support the limits, or the kernel refuses a resource that the whole server
/// needs. An error of one client closes only its connection.
pub fn serve(server: &Server, limits: &Limits, listener: Listener) -> io::Result<()> {
    let config = server
        .config(limits)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    (server.pattern.serve)(listener, &config)
}
