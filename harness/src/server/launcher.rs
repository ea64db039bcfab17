//! By which program, and under what conditions, servers are launched.

use std::io;
use std::path::{Path, PathBuf};

/// The environment variable that makes a program which links this crate take a role before its own
/// main function.
pub(crate) const ROLE: &str = "HARNESS_ROLE";

/// Starts servers, by way of a program that has the supervising and the serving role.
#[derive(Clone, Debug)]
pub struct Launcher {
    pub(super) program: PathBuf,
    pub(super) unprivileged: bool,
    pub(super) bounded: bool,
    pub(super) processors: Option<Vec<usize>>,
    pub(super) by_environment: bool,
}

impl Launcher {
    /// A launcher that runs `program`, which must take the roles of this crate first of all, as
    /// the harness binary does.
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

    /// The same for servers that may not listen on the system's ports, even if this process may.
    pub fn unprivileged(&self) -> Launcher {
        Launcher { unprivileged: true, ..self.clone() }
    }

    /// The same for servers that are killed when they have more than [`MOST_TASKS`], where nothing
    /// else is said of them, before the machine has none left for anybody else.
    pub fn bounded(&self) -> Launcher {
        Launcher { bounded: true, ..self.clone() }
    }

    /// The same for servers that run on these processors only, by the kernel's numbers, from before
    /// their first instruction on; `None` for all that the calling thread may use.
    pub fn on(&self, processors: Option<&[usize]>) -> Launcher {
        Launcher { processors: processors.map(<[usize]>::to_vec), ..self.clone() }
    }

    /// A launcher that runs the program that is running.
    ///
    /// # Errors
    /// When the kernel does not say which that is.
    pub fn this_program() -> io::Result<Launcher> {
        std::env::current_exe().map(Launcher::new)
    }

    /// The same by a program that takes its role from [`ROLE`] in the environment, whatever its own
    /// main function does with arguments.
    pub(crate) fn by_environment(&self) -> Launcher {
        Launcher { by_environment: true, ..self.clone() }
    }

    /// The path of the program.
    pub fn program(&self) -> String {
        self.program.display().to_string()
    }
}
