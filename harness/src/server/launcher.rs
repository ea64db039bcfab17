//! The launcher: the program that runs supervisors and built-in servers, and the launch settings.

use std::io;
use std::path::{Path, PathBuf};

/// Environment variable with the role of a process. If a program is linked with this crate, an
/// initializer runs the role instead of the main function.
pub(crate) const ROLE: &str = "HARNESS_ROLE";

/// Launches servers. Supervisors and built-in servers are roles of `program`.
#[derive(Clone, Debug)]
pub struct Launcher {
    pub(super) program: PathBuf,
    pub(super) unprivileged: bool,
    pub(super) limits_tasks: bool,
    pub(super) processors: Option<Vec<usize>>,
    pub(super) role_from_environment: bool,
}

impl Launcher {
    /// Creates a launcher that runs `program`. Like the harness binary, the program must handle the
    /// roles of this crate before it starts threads.
    pub fn new(program: impl AsRef<Path>) -> Launcher {
        let program = program.as_ref().to_path_buf();
        Launcher {
            program,
            unprivileged: false,
            limits_tasks: false,
            processors: None,
            role_from_environment: false,
        }
    }

    /// Returns a launcher whose servers cannot listen on privileged ports, even if this process
    /// can.
    pub fn unprivileged(&self) -> Launcher {
        Launcher { unprivileged: true, ..self.clone() }
    }

    /// Returns a launcher that limits servers to [`MAX_TASKS`](super::MAX_TASKS) threads and
    /// processes, unless their spec sets another limit. The supervisor kills a server that exceeds
    /// the limit, so that the machine does not run out of threads and processes.
    pub fn with_task_limit(&self) -> Launcher {
        Launcher { limits_tasks: true, ..self.clone() }
    }

    /// Returns a launcher that pins servers to these CPUs before exec. The numbers are those of the
    /// kernel. `None` stands for all CPUs of the calling thread.
    pub fn pinned_to(&self, processors: Option<&[usize]>) -> Launcher {
        Launcher { processors: processors.map(<[usize]>::to_vec), ..self.clone() }
    }

    /// Returns a launcher that runs the current executable.
    ///
    /// # Errors
    /// The kernel does not report the path of the executable.
    pub fn this_program() -> io::Result<Launcher> {
        std::env::current_exe().map(Launcher::new)
    }

    /// Returns a launcher that sets [`ROLE`] in the environment of the program. Use this if the
    /// main function of the program does not handle roles.
    pub(crate) fn role_from_environment(&self) -> Launcher {
        Launcher { role_from_environment: true, ..self.clone() }
    }

    /// Returns the path of the program.
    pub fn program(&self) -> String {
        self.program.display().to_string()
    }
}
