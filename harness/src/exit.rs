//! Exit status of a process.

use std::fmt;

use nix::sys::signal::Signal;
use serde::{Deserialize, Serialize};

/// Exit status of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// Exited with this code.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Exit::Code(code) => write!(formatter, "exit code {code}"),
            Exit::Signal(number) => match Signal::try_from(number) {
                Ok(signal) => write!(formatter, "killed by {signal}"),
                Err(_) => write!(formatter, "killed by signal {number}"),
            },
        }
    }
}
