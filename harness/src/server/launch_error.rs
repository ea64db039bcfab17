//! Why a server cannot be launched.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::log::last_lines;
use crate::exit::Exit;

/// Why there is no server to talk to.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No port to give it.
    #[error("no port for the server: {0}")]
    NoPort(io::Error),
    /// The harness could not start its own supervisor.
    #[error("cannot start the supervisor: {0}")]
    Supervisor(io::Error),
    /// The harness could not start a thread that attends to it.
    #[error("the machine has no thread left to attend to the server: {0}")]
    NoThread(io::Error),
    /// The command does not run.
    #[error("{0}")]
    NotRun(String),
    /// It ended before it listened.
    #[error("the server ended before it listened, with {exit}{}", said(log))]
    Exited {
        /// How it ended.
        exit: Exit,
        /// The end of its output.
        log: String,
    },
    /// It listens, and not where it was told to.
    #[error("the server was to listen on port {asked}, and listens on {found}")]
    Elsewhere {
        /// The port in its command.
        asked: u16,
        /// Where it listens.
        found: SocketAddr,
    },
    /// It runs and does not listen.
    #[error("the server did not listen within {} ms{}", waited.as_millis(), said(log))]
    NotListening {
        /// How long was waited.
        waited: Duration,
        /// The end of its output.
        log: String,
    },
}

pub(super) fn said(log: &str) -> String {
    match last_lines(log).as_str() {
        "" => ", saying nothing".to_owned(),
        words => format!("; it said: {words}"),
    }
}
