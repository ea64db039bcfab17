//! Events of a supervisor.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::super::proc;
use crate::exit::Exit;
use crate::results::Survivor;

/// An event that the supervisor reports to the harness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SupervisorEvent {
    /// The command was started as this process.
    Started(proc::Pid),
    /// The command could not be run, for this reason.
    Failed(String),
    /// The server's first process exited.
    Exited(Exit),
    /// This process replaces the server's first process, which has exited and left it in the
    /// background. `None` if no process is left.
    Replaced(Option<proc::Pid>),
    /// This process survived the server's first process.
    Survivor(Survivor),
    /// The server exceeded its limit of threads and processes, and is being killed.
    TasksExceeded,
    /// Many threads of the server use the CPUs without pause, and are being killed.
    Spinning,
    /// The server exceeded its lifetime limit, and is being killed.
    LifetimeExceeded,
    /// Isolation could not be applied, with this consequence.
    MissingIsolation(String),
    /// No process of the server is left.
    Ended,
}

/// Writes an event to standard output, as one line of JSON.
pub(super) fn report(event: &SupervisorEvent) -> io::Result<()> {
    let mut line = serde_json::to_vec(event)?;
    line.push(b'\n');
    match io::stdout().lock().write_all(&line).and_then(|()| io::stdout().flush()) {
        // EPIPE: the harness has exited, and only the cleanup remains.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}
