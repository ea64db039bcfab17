//! Finds the interpreter behind the shim of a version manager.
//!
//! pyenv, asdf, nodenv and others put a shell script named `python3` or `node` first in PATH. At
//! each launch the shim takes 0.1 s of CPU time or more before it executes the interpreter. A check
//! launches a server a hundred times, so this module queries the path of the interpreter once.

use std::collections::HashMap;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use super::LaunchSpec;

/// Interpreters by the prefix of their name, and the arguments that make them print their path.
const INTERPRETERS: &[(&str, &[&str])] = &[
    ("python", &["-c", "import sys; print(sys.executable)"]),
    ("node", &["-p", "process.execPath"]),
    ("ruby", &["-e", "puts RbConfig.ruby"]),
];

/// Timeout of a query. If it expires, the server is launched through the shim.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause between two checks whether the shim has exited.
const PAUSE: Duration = Duration::from_millis(5);

/// Maximum length of the path that the interpreter prints, in bytes.
const MAX_PATH_LENGTH: u64 = 4096;

/// A program and its working directory. A file in the directory may select the version.
type Query = (String, Option<PathBuf>);

static ANSWERS: Mutex<Option<HashMap<Query, Option<PathBuf>>>> = Mutex::new(None);

/// Returns the path of the interpreter, if a server's command starts one through a shim.
///
/// Returns `None` for a confined server, because the shim would read files in the server's folder
/// outside of the confinement. Returns `None` for a server with environment variables, which may
/// affect the shim's choice.
pub(super) fn behind_shim(spec: &LaunchSpec) -> Option<PathBuf> {
    let program = spec.command.first()?;
    if spec.confinement != super::Confinement::default() || !spec.environment.is_empty() {
        return None;
    }
    let (_, arguments) = INTERPRETERS.iter().find(|(name, _)| program.starts_with(name))?;
    if program.contains('/') || !is_script(&found_in(&env::var_os("PATH")?, program)?) {
        return None;
    }
    let key = (program.clone(), spec.folder.clone());
    // Other threads that launch servers wait for this query.
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = answers.get_or_insert_default();
    answers.entry(key).or_insert_with(|| query(program, arguments, spec.folder.as_deref())).clone()
}

fn found_in(path: &std::ffi::OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_script(file: &Path) -> bool {
    let mut beginning = [0; 2];
    fs::File::open(file).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning == *b"#!"
}

/// Runs the shim with these arguments. Returns the path that the interpreter prints.
fn query(program: &str, arguments: &[&str], folder: Option<&Path>) -> Option<PathBuf> {
    let mut command = Command::new(program);
    command.args(arguments).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let mut child = command.spawn().ok()?;
    let pid = Pid::from_raw(child.id() as i32);
    let deadline = Instant::now() + QUERY_TIMEOUT;
    // Reap the child only after killing its process group, so that the group's id is not reused.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let has_exited = || waitid(Id::Pid(pid), flags) != Ok(WaitStatus::StillAlive);
    while !has_exited() && Instant::now() < deadline {
        thread::sleep(PAUSE);
    }
    // Descendants must not hold the output open or survive the query.
    let _ = killpg(pid, Signal::SIGKILL);
    let status = child.wait().ok()?;
    let mut answer = String::new();
    child.stdout.take()?.take(MAX_PATH_LENGTH).read_to_string(&mut answer).ok()?;
    let path = PathBuf::from(answer.trim_end());
    // Another script may be a shim too, which saves no time.
    let is_usable = status.success() && path.is_absolute() && path.is_file() && !is_script(&path);
    is_usable.then_some(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Creates a folder with this script as an executable.
    fn with_script(name: &str, script: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join(name);
        fs::write(&file, script).expect("the script is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
            .expect("the script is executable");
        (folder, file)
    }

    fn query_script(script: &str) -> Option<PathBuf> {
        let (_folder, file) = with_script("python3", script);
        query(file.to_str().expect("a UTF-8 path"), INTERPRETERS[0].1, None)
    }

    #[test]
    fn the_interpreter_behind_a_shim_is_the_printed_path() {
        let shell = fs::canonicalize("/bin/sh").expect("a shell");
        let script = format!("#!/bin/sh\necho {}\n", shell.display());
        assert_eq!(query_script(&script), Some(shell));
    }

    #[test]
    fn a_shim_that_fails_or_prints_no_program_is_not_replaced() {
        for script in [
            "#!/bin/sh\nexit 1\n",
            "#!/bin/sh\necho /no/such/file\n",
            "#!/bin/sh\necho sh\n",
            "#!/bin/sh\necho /bin/sh\nexit 3\n",
            "#!/bin/sh\necho $0\n",
            "#!/bin/sh\necho /bin/sh\nkill $$\n",
        ] {
            assert_eq!(query_script(script), None, "{script}");
        }
    }

    #[test]
    fn a_program_is_searched_in_the_directories_of_path_in_order() {
        let (first, file) = with_script("node", "#!/bin/sh\n");
        let (second, _) = with_script("node", "#!/bin/sh\n");
        let path = env::join_paths([Path::new("/no/such/folder"), first.path(), second.path()]);
        assert_eq!(found_in(&path.expect("a path"), "node"), Some(file.clone()));
        assert!(is_script(&file));
        assert!(!is_script(&env::current_exe().expect("this program")));
    }

    #[test]
    fn no_interpreter_is_queried_for_paths_other_programs_and_confined_servers() {
        let spec = |command: &str| {
            let contract = crate::contract::Contract::undeclared(servers::Service::Calc);
            LaunchSpec::external(command, contract).expect("a valid command")
        };
        assert_eq!(behind_shim(&spec("./python3 server.py {port}")), None);
        assert_eq!(behind_shim(&spec("sh server.sh {port}")), None);
        let confined = LaunchSpec {
            confinement: super::super::Confinement::strict(),
            ..spec("python3 server.py {port}")
        };
        assert_eq!(behind_shim(&confined), None);
    }
}
