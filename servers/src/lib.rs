//! Server patterns as small, exemplary programs that a reader can compare side by side.
//!
//! A [`Pattern`] is a way to organise accepting, reading and answering; a [`Service`] computes the
//! replies. They are independent, and a [`Server`] is one of each. All patterns share one line
//! protocol ([`protocol`]), one way to listen ([`sockets`]) and one way to shut down
//! ([`shutdown`]), so two pattern files differ only where the patterns do.
//!
//! The modules are listed from low to high layers. Each imports only from modules above it in the
//! list.
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
pub use pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
pub use patterns::PATTERNS;
pub use protocol::Service;
pub use sockets::{BindError, Listener};

use std::io;

/// Serves on `listener` until SIGTERM or SIGINT, then drains and returns.
///
/// # Errors
/// The pattern does not support the limits, or the kernel refuses a resource that the whole server
/// needs. An error of one client ends that client alone.
pub fn serve(server: &Server, limits: &Limits, listener: Listener) -> io::Result<()> {
    let config = server
        .config(limits)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    (server.pattern.serve)(listener, &config)
}
