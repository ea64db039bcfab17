//! Finds the interpreter behind the shim of a version manager.
//!
//! pyenv, asdf, nodenv and others put a shell script named `python3` or `node` first in PATH. It
//! takes 0.1 s of CPU time or more at each launch before it executes the interpreter. A check
//! launches a server a hundred times, so the path of the interpreter is queried once.

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

/// Timeout for the answer. Without an answer the shim itself is launched.
const DEADLINE: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Maximum length of the answer, in bytes.
const LONGEST_PATH: u64 = 4096;

/// A program and its working directory: a file there may select the version.
type Asked = (String, Option<PathBuf>);

static ANSWERS: Mutex<Option<HashMap<Asked, Option<PathBuf>>>> = Mutex::new(None);

/// Returns the path of the interpreter that a server's command starts through a shim.
///
/// Returns `None` for any other program, and for a program with a path. It also returns `None` for
/// a confined server: the shim would read files in the server's folder, outside the confinement.
/// The same goes for a server with environment variables, which may affect the shim's choice.
pub(super) fn behind_shim(spec: &LaunchSpec) -> Option<PathBuf> {
    let program = spec.command.first()?;
    if spec.limits != super::Confinement::default() || !spec.environment.is_empty() {
        return None;
    }
    let (_, question) = INTERPRETERS.iter().find(|(name, _)| program.starts_with(name))?;
    if program.contains('/') || !is_script(&found_in(&env::var_os("PATH")?, program)?) {
        return None;
    }
    let key = (program.clone(), spec.folder.clone());
    // Other threads that launch the same program wait for this answer.
    let mut answers = ANSWERS.lock().unwrap_or_else(PoisonError::into_inner);
    let answers = answers.get_or_insert_default();
    answers.entry(key).or_insert_with(|| ask(program, question, spec.folder.as_deref())).clone()
}

fn found_in(path: &std::ffi::OsStr, program: &str) -> Option<PathBuf> {
    env::split_paths(path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

fn is_script(file: &Path) -> bool {
    let mut beginning = [0; 2];
    fs::File::open(file).and_then(|mut file| file.read_exact(&mut beginning)).is_ok()
        && beginning == *b"#!"
}

fn ask(program: &str, question: &[&str], folder: Option<&Path>) -> Option<PathBuf> {
    let mut command = Command::new(program);
    command.args(question).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    if let Some(folder) = folder {
        command.current_dir(folder);
    }
    let mut child = command.spawn().ok()?;
    let pid = Pid::from_raw(child.id() as i32);
    let deadline = Instant::now() + DEADLINE;
    // The child is reaped after its process group is killed: until then the group's id cannot be
    // reused.
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    let has_ended = || waitid(Id::Pid(pid), flags) != Ok(WaitStatus::StillAlive);
    while !has_ended() && Instant::now() < deadline {
        thread::sleep(LOOK_EVERY);
    }
    // No descendant may hold the output open, or outlive the query.
    let _ = killpg(pid, Signal::SIGKILL);
    let status = child.wait().ok()?;
    let mut answer = String::new();
    child.stdout.take()?.take(LONGEST_PATH).read_to_string(&mut answer).ok()?;
    let path = PathBuf::from(answer.trim_end());
    // If the result is a script too, there is nothing to gain.
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
        fs::write(&file, script).expect("it is written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it is executable");
        (folder, file)
    }

    fn asked(script: &str) -> Option<PathBuf> {
        let (_folder, file) = with_script("python3", script);
        ask(file.to_str().expect("it is text"), INTERPRETERS[0].1, None)
    }

    #[test]
    fn the_interpreter_behind_a_script_is_the_one_that_it_names() {
        let shell = fs::canonicalize("/bin/sh").expect("a shell");
        let script = format!("#!/bin/sh\necho {}\n", shell.display());
        assert_eq!(asked(&script), Some(shell));
    }

    #[test]
    fn a_script_that_fails_or_names_no_program_is_launched_as_it_is() {
        for script in [
            "#!/bin/sh\nexit 1\n",
            "#!/bin/sh\necho /no/such/file\n",
            "#!/bin/sh\necho sh\n",
            "#!/bin/sh\necho /bin/sh\nexit 3\n",
            "#!/bin/sh\necho $0\n",
            "#!/bin/sh\necho /bin/sh\nkill $$\n",
        ] {
            assert_eq!(asked(script), None, "{script}");
        }
    }

    #[test]
    fn a_program_is_looked_for_in_the_folders_of_path_in_order() {
        let (first, file) = with_script("node", "#!/bin/sh\n");
        let (second, _) = with_script("node", "#!/bin/sh\n");
        let path = env::join_paths([Path::new("/no/such/folder"), first.path(), second.path()]);
        assert_eq!(found_in(&path.expect("a path"), "node"), Some(file.clone()));
        assert!(is_script(&file));
        assert!(!is_script(&env::current_exe().expect("this program")));
    }

    #[test]
    fn only_an_interpreter_of_a_server_that_is_not_confined_is_asked() {
        let spec = |command: &str| {
            let contract = crate::contract::Contract::undeclared(servers::Service::Calc);
            LaunchSpec::foreign(command, contract).expect("it is right")
        };
        assert_eq!(behind_shim(&spec("./python3 server.py {port}")), None);
        assert_eq!(behind_shim(&spec("sh server.sh {port}")), None);
        let confined = LaunchSpec {
            limits: super::super::Confinement::strict(),
            ..spec("python3 server.py {port}")
        };
        assert_eq!(behind_shim(&confined), None);
    }
}
