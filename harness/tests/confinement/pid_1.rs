//! The harness as PID 1 of a PID namespace.

use super::*;

/// Returns the command that starts a program as PID 1 of a new PID namespace.
fn as_pid_1() -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    unshare.env_remove("GITHUB_STEP_SUMMARY");
    unshare
}

/// Returns why this machine cannot create a PID namespace, or `None` if it can.
pub(super) fn no_pid_namespace() -> Option<String> {
    match as_pid_1().arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Starts the harness as PID 1, and waits until it has started servers. Returns the `unshare`
/// process, the process id of PID 1 outside of the namespace, and the descendants of PID 1.
fn start_as_pid_1(arguments: &[&str]) -> Result<(Child, i32, Vec<i32>), Failed> {
    let mut unshare = as_pid_1();
    unshare.arg(env!("CARGO_BIN_EXE_harness")).args(arguments);
    let unshare = unshare.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut tree = Vec::new();
    wait_until("servers run", || {
        tree = proc::tree(unshare.id() as i32).split_off(1);
        // PID 1, the worker, a supervisor, and its servers.
        tree.len() >= 5
    });
    let pid_1 = tree.remove(0);
    Ok((unshare, pid_1, tree))
}

pub(super) fn exits_on_sigterm_as_pid_1() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().display().to_string();
    let arguments = ["run", "--plan", "thorough", "--output", &output];
    let (mut unshare, pid_1, tree) = start_as_pid_1(&arguments)?;
    kill(Pid::from_raw(pid_1), Signal::SIGTERM)?;
    wait_until("PID 1 has exited", || !runs(pid_1));
    // As in a shell: 128 plus the signal number.
    ensure(unshare.wait()?.code() == Some(128 + Signal::SIGTERM as i32), "wrong exit code")?;
    wait_until("all descendants have exited", || !tree.iter().any(|&pid| runs(pid)));
    Ok(())
}

pub(super) fn reaps_orphans_as_pid_1() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().display().to_string();
    let arguments = ["run", "--plan", "thorough", "--output", &output];
    let (mut unshare, pid_1, tree) = start_as_pid_1(&arguments)?;
    // When a supervisor is killed, its server dies. Then only PID 1 can reap the server.
    let mut orphan = None;
    wait_until("a supervisor has a server", || {
        let supervisors = proc::children(tree[0]);
        let pairs = supervisors.iter().map(|&pid| (pid, proc::children(pid).first().copied()));
        orphan = pairs.filter_map(|(supervisor, server)| Some((supervisor, server?))).next();
        orphan.is_some()
    });
    let (supervisor, server) = orphan.ok_or("no supervisor has a server")?;
    kill(Pid::from_raw(supervisor), Signal::SIGKILL)?;
    wait_until("the server was reaped", || !exists(server));
    let still_runs = runs(pid_1);
    unshare.kill()?;
    unshare.wait()?;
    ensure(still_runs, "the harness has exited")
}
