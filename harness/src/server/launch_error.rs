//! Launch errors.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::log::last_lines;
use crate::exit::Exit;
use crate::results::HiddenBy;
use crate::units::format_duration;

/// Reason that a server could not be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// No port or network could be reserved.
    #[error("cannot reserve a port for the server: {0}")]
    NoPort(io::Error),
    /// The supervisor could not be started.
    #[error("cannot start the supervisor: {0}")]
    Supervisor(io::Error),
    /// A thread that reads the supervisor's output could not be started.
    #[error(
        "cannot start a thread that reads the server's output: {0}; the machine may have reached \
         its limit of threads"
    )]
    NoThread(io::Error),
    /// The command could not be executed.
    #[error("{0}")]
    NotRun(String),
    /// The server exited before it listened.
    #[error("{}{}", exited(*exit), quote(log))]
    Exited {
        /// Exit status.
        exit: Exit,
        /// End of the server's output.
        log: String,
    },
    /// The harness killed the server before it listened, because the server exceeded a limit.
    #[error("{}{}", killed(*limit), quote(log))]
    Killed {
        /// The exceeded limit.
        limit: Limit,
        /// End of the server's output.
        log: String,
    },
    /// The server does not listen on the requested port, but on another port.
    #[error(
        "the server listens on {found} instead of port {requested}; make it listen on {{port}}, or \
         set its port with --port"
    )]
    WrongPort {
        /// Requested port.
        requested: u16,
        /// Address that the server listens on.
        found: SocketAddr,
    },
    /// The harness cannot see whether the server listens.
    #[error("the harness cannot see whether the server listens: {reason}")]
    NotVisible {
        /// Why the harness cannot see it.
        reason: HiddenBy,
        /// Time waited.
        waited: Duration,
    },
    /// The server listens, but has not printed the text of a ready server.
    #[error("{}{}", not_ready(*waited, text), quote(log))]
    NotReady {
        /// Time waited, without the time in which the harness could not run.
        waited: Duration,
        /// Share of the time in which the harness could not run, if the machine was overloaded.
        overload: Option<f64>,
        /// Regular expression that the output must match.
        text: String,
        /// End of the server's output.
        log: String,
    },
    /// The server runs but does not listen.
    #[error("{}{}", not_listening(*waited), quote(log))]
    NotListening {
        /// Time waited, without the time in which the harness could not run.
        waited: Duration,
        /// Share of the time in which the harness could not run, if the machine was overloaded.
        overload: Option<f64>,
        /// End of the server's output.
        log: String,
    },
}

/// A limit for which the harness kills a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Number of threads and processes.
    Tasks,
    /// Number of threads that use the CPUs without pause.
    Spinning,
    /// Time since the launch.
    Lifetime,
}

impl LaunchError {
    /// Returns the error without the server's output, and the end of the output. Returns `None` if
    /// the error quotes no output.
    pub fn quoted(&self) -> Option<(String, String)> {
        match self {
            LaunchError::Exited { exit, log } => Some((exited(*exit), last_lines(log))),
            LaunchError::Killed { limit, log } => Some((killed(*limit), last_lines(log))),
            LaunchError::NotReady { waited, text, log, .. } => {
                Some((not_ready(*waited, text), last_lines(log)))
            }
            LaunchError::NotListening { waited, log, .. } => {
                Some((not_listening(*waited), last_lines(log)))
            }
            _ => None,
        }
    }
}

fn exited(exit: Exit) -> String {
    format!("the server exited before it listened: {exit}")
}

fn killed(limit: Limit) -> String {
    let limit = match limit {
        Limit::Tasks => "limit of threads and processes",
        Limit::Spinning => "limit of threads that use the CPUs without pause",
        Limit::Lifetime => "lifetime limit",
    };
    format!("the server exceeded its {limit} before it listened, and was killed")
}

fn not_listening(waited: Duration) -> String {
    format!(
        "the server did not listen within {} (--start-timeout; in a manifest: start-timeout)",
        in_milliseconds(waited)
    )
}

fn not_ready(waited: Duration, text: &str) -> String {
    format!(
        "the server listens, but did not print a text that matches `{text}` within {} \
         (--start-timeout; in a manifest: start-timeout)",
        in_milliseconds(waited)
    )
}

/// Formats a measured time without its microseconds and nanoseconds.
fn in_milliseconds(time: Duration) -> String {
    format_duration(Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
}

/// Quotes the end of the server's output in an error message.
pub(super) fn quote(log: &str) -> String {
    match last_lines(log).as_str() {
        "" => "; it wrote no output".to_owned(),
        output => format!("; its output: {output}"),
    }
}
