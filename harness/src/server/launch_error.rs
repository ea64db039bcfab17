//! Errors when a server is launched.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::log::last_lines;
use crate::exit::Exit;

/// Reason that a server could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No port could be reserved.
    #[error("no port for the server: {0}")]
    NoPort(io::Error),
    /// The supervisor could not be started.
    #[error("cannot start the supervisor: {0}")]
    Supervisor(io::Error),
    /// A thread that reads the supervisor's output could not be started.
    #[error("the machine has no thread left to attend to the server: {0}")]
    NoThread(io::Error),
    /// The command could not be executed.
    #[error("{0}")]
    NotRun(String),
    /// The server exited before it listened.
    #[error("{}{}", exited(*exit), said(log))]
    Exited {
        /// Exit status.
        exit: Exit,
        /// End of its output.
        log: String,
    },
    /// The server listens on another port than the requested one.
    #[error("the server was to listen on port {asked}, and listens on {found}")]
    Elsewhere {
        /// Port in its command.
        asked: u16,
        /// Address that it listens on.
        found: SocketAddr,
    },
    /// The server runs but does not listen.
    #[error("{}{}", not_listening(*waited), said(log))]
    NotListening {
        /// Time waited.
        waited: Duration,
        /// End of its output.
        log: String,
    },
}

impl LaunchError {
    /// Returns the error without the server's output, and the end of the output, if the error quotes
    /// it.
    pub fn quoted(&self) -> Option<(String, String)> {
        match self {
            LaunchError::Exited { exit, log } => Some((exited(*exit), last_lines(log))),
            LaunchError::NotListening { waited, log } => {
                Some((not_listening(*waited), last_lines(log)))
            }
            _ => None,
        }
    }
}

fn exited(exit: Exit) -> String {
    format!("the server ended before it listened, with {exit}")
}

fn not_listening(waited: Duration) -> String {
    format!("the server did not listen within {} ms", waited.as_millis())
}

pub(super) fn said(log: &str) -> String {
    match last_lines(log).as_str() {
        "" => ", saying nothing".to_owned(),
        words => format!("; it said: {words}"),
    }
}
