//! Launcher: the program that launches servers, and the conditions that it launches them under.

use std::io;
use std::path::{Path, PathBuf};

/// Environment variable that makes a program linked with this crate take a role before its own main
/// function.
pub(crate) const ROLE: &str = "HARNESS_ROLE";

/// Launches servers through a program that has the supervisor role and the server role.
#[derive(Clone, Debug)]
pub struct Launcher {
    pub(super) program: PathBuf,
    pub(super) unprivileged: bool,
    pub(super) bounded: bool,
    pub(super) processors: Option<Vec<usize>>,
    pub(super) by_environment: bool,
}

impl Launcher {
    /// Creates a launcher that runs `program`. The program must handle the roles of this crate
    /// before anything else, as the harness binary does.
    pub fn new(program: impl AsRef<Path>) -> Launcher {
        let program = program.as_ref().to_path_buf();
        Launcher {
            program,
            unprivileged: false,
            bounded: false,
            processors: None,
            by_environment: false,
        }
    }

    /// Returns a launcher whose servers cannot listen on privileged ports, even if this process
    /// can.
    pub fn unprivileged(&self) -> Launcher {
        Launcher { unprivileged: true, ..self.clone() }
    }

    /// Returns a launcher that limits servers to [`MOST_TASKS`](super::MOST_TASKS) threads and
    /// processes, unless their spec sets a limit. A server over the limit is killed before the
    /// machine runs out of them.
    pub fn bounded(&self) -> Launcher {
        Launcher { bounded: true, ..self.clone() }
    }

    /// Returns a launcher that pins servers to these CPUs, by kernel number, before exec. `None`
    /// stands for all CPUs of the calling thread.
    pub fn on(&self, processors: Option<&[usize]>) -> Launcher {
        Launcher { processors: processors.map(<[usize]>::to_vec), ..self.clone() }
    }

    /// Returns a launcher that runs the current executable.
    ///
    /// # Errors
    /// The kernel does not report its path.
    pub fn this_program() -> io::Result<Launcher> {
        std::env::current_exe().map(Launcher::new)
    }

    /// Returns a launcher whose program takes its role from [`ROLE`] in the environment, even if
    /// its main function ignores arguments.
    pub(crate) fn by_environment(&self) -> Launcher {
        Launcher { by_environment: true, ..self.clone() }
    }

    /// Returns the path of the program.
    pub fn program(&self) -> String {
        self.program.display().to_string()
    }
}
