//! Nothing that the harness starts outlives it, and nothing of a server's outlives the server.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Stdio;
use std::time::Duration;

use crate::common::trials;
use crate::common::{DEADLINE, harness, runs, wait_until};
use harness::contract::Contract;
use harness::exit::Exit;
use harness::server::{LaunchError, LaunchSpec, Launcher, proc};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
use servers::Service;

trials![
    a_harness_killed_in_the_middle_of_a_run_leaves_no_process,
    a_harness_killed_leaves_no_process_that_escaped_its_group,
    a_harness_told_to_end_in_the_middle_of_a_run_leaves_no_process,
    a_server_begins_with_no_signal_blocked_and_in_a_session_of_its_own,
    a_server_is_ended_with_all_that_it_started,
    processes_that_outlive_their_server_are_named,
    a_server_ends_when_its_supervisor_is_killed,
    ready_is_known_without_a_connection,
    a_server_that_ends_at_once_is_told_with_its_last_words,
    where_no_process_can_be_had_the_harness_is_at_fault_and_does_not_panic,
    a_command_that_does_not_exist_is_told_as_such,
    a_server_that_does_not_listen_is_not_waited_for_forever,
    a_log_without_end_is_kept_in_part,
    the_real_port_is_found_when_the_server_chooses_it,
    a_server_that_listens_elsewhere_is_told_as_such,
];

/// A user who has no process.
const NOBODY_ELSE: u32 = 54_321;

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

fn spec(command: &str) -> LaunchSpec {
    let contract = Contract::undeclared(Service::Calc);
    LaunchSpec::foreign(command, contract).expect("a command")
}

/// A server beside processes that ignore signals: one in its process group, one that left it, one
/// whose parent is gone. The shell becomes the server, so that the others are its children.
fn with_company() -> LaunchSpec {
    let exe = env!("CARGO_BIN_EXE_harness");
    spec(&format!(
        "sh -c 'trap \"\" TERM INT HUP; sleep 600 & setsid sleep 600 & (setsid sleep 600 &); \
         trap - TERM INT HUP; exec {exe} serve select {{host}} {{port}}'"
    ))
}

fn a_harness_killed_in_the_middle_of_a_run_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = harness()
        .args(["run", "--plan", "thorough", "--output"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let root = running.id() as i32;
    let mut tree = Vec::new();
    // Supervisors and servers: several cases are under way.
    wait_until("servers run", || {
        tree = proc::tree(root).split_off(1);
        tree.len() >= 8
    });
    running.kill().expect("SIGKILL");
    running.wait().expect("it ends");
    wait_until("all of its processes are gone", || !tree.iter().any(|&pid| runs(pid)));
    let report = std::fs::read_to_string(folder.path().join("report.json")).expect("a report");
    assert!(report.contains("\"complete\": false"), "it says that it is not complete");
}

fn a_harness_told_to_end_in_the_middle_of_a_run_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = harness()
        .args(["run", "--plan", "thorough", "--output"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let mut tree = Vec::new();
    wait_until("servers run", || {
        tree = proc::tree(running.id() as i32).split_off(1);
        tree.len() >= 8
    });
    kill(Pid::from_raw(running.id() as i32), Signal::SIGTERM).expect("SIGTERM");
    let status = running.wait().expect("it ends");
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status}");
    wait_until("all of its processes are gone", || !tree.iter().any(|&pid| runs(pid)));
}

fn a_server_begins_with_no_signal_blocked_and_in_a_session_of_its_own() {
    // What a parent blocks is inherited.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGUSR1]);
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).expect("a mask");
    let process = launcher().start(&spec("cat /proc/self/status /proc/self/stat {port}"), "h", "0");
    before.thread_set_mask().expect("a mask");
    let process = process.expect("it runs");
    process.wait_for_exit(DEADLINE);
    let log = process.end().log;
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    let stat = log.lines().find(|line| line.contains(" (cat) ")).expect("its state");
    // Its id; its group, its session, and its terminal, of which there is none (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!([fields[4], fields[5], fields[6]], [fields[0], fields[0], "0"], "{stat}");
}

fn a_harness_killed_leaves_no_process_that_escaped_its_group() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut running = harness()
        .args(["check", "--case", "shutdown/", "--ending", "drain", "--output"])
        .arg(folder.path())
        .args(["--cmd", &with_company().shown])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let mut tree = Vec::new();
    wait_until("a server runs in company", || {
        tree = proc::tree(running.id() as i32).split_off(1);
        let sleepers = tree.iter().filter(|&&pid| proc::name(pid).as_deref() == Some("sleep"));
        sleepers.count() >= 3
    });
    running.kill().expect("SIGKILL");
    running.wait().expect("it ends");
    wait_until("all of its processes are gone", || !tree.iter().any(|&pid| runs(pid)));
}

fn a_server_is_ended_with_all_that_it_started() {
    let server = launcher().launch(&with_company()).expect("it listens");
    wait_until("it has company", || server.process.tree().len() == 4);
    let tree = server.process.tree();
    let ended = server.process.end();
    assert!(!tree.iter().any(|&pid| runs(pid)), "{ended:?}");
    assert_eq!(ended.exit, None, "it had to be killed");
    assert!(ended.log.contains("select-calc listens on"), "{ended:?}");
}

fn processes_that_outlive_their_server_are_named() {
    let mut server = launcher().launch(&with_company()).expect("it listens");
    wait_until("it has company", || {
        let tree = server.process.tree();
        let sleepers = tree.iter().filter(|&&pid| proc::name(pid).as_deref() == Some("sleep"));
        sleepers.count() == 3
    });
    let mut company = server.process.tree().split_off(1);
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.wait_for_exit(DEADLINE), Some(Exit::Code(0)));
    let ended = server.process.end();
    let mut named: Vec<i32> = ended.survivors.iter().map(|survivor| survivor.pid).collect();
    named.sort_unstable();
    company.sort_unstable();
    assert_eq!(named, company);
    assert!(ended.survivors.iter().all(|survivor| survivor.name == "sleep"), "{ended:?}");
    assert!(!company.iter().any(|&pid| runs(pid)));
}

fn a_server_ends_when_its_supervisor_is_killed() {
    let server = launcher().launch(&builtin("thread-per-connection")).expect("it listens");
    let pid = server.process.tree()[0];
    let supervisor = parent(pid);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("SIGKILL");
    wait_until("the server is gone", || !runs(pid));
}

fn builtin(name: &str) -> LaunchSpec {
    let server = servers::find(name).expect("a server");
    LaunchSpec::builtin(&launcher(), &server, &servers::Limits::default()).expect("its own limits")
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("an id")
}

fn ready_is_known_without_a_connection() {
    // A server of one client that would be occupied by a probe, and says so by refusing.
    let server = launcher().launch(&builtin("iterative-refuse")).expect("it listens");
    TcpStream::connect(server.address).expect("nobody is served yet");
}

fn a_server_that_ends_at_once_is_told_with_its_last_words() {
    let error = launcher()
        .launch(&spec("sh -c 'echo it is broken >&2; exit 7; {port}'"))
        .expect_err("it ends");
    match &error {
        LaunchError::Exited { exit, log } => {
            assert_eq!((*exit, log.as_str()), (Exit::Code(7), "it is broken"));
        }
        other => panic!("{other}"),
    }
}

fn where_no_process_can_be_had_the_harness_is_at_fault_and_does_not_panic() {
    if !rustix::process::geteuid().is_root() {
        // The limit counts all that a user runs, so it takes a user who runs nothing else.
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("harness");
    std::fs::copy(env!("CARGO_BIN_EXE_harness"), &program).expect("a copy");
    let everybody = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).expect("anybody may run it");
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--nproc=6").arg(&program).args(["check", "select-echo", "--case", "framing/"]);
    limited.current_dir(folder.path()).uid(NOBODY_ELSE).gid(NOBODY_ELSE);
    let output = limited.output().expect("it runs");
    // Either the first process cannot be had, or one of those of the cases.
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words);
    assert_eq!(output.status.code(), Some(3), "{words}");
    assert!(words.contains("Resource temporarily unavailable"), "{words}");
}

fn a_command_that_does_not_exist_is_told_as_such() {
    let error = launcher().launch(&spec("/no/such/program {port}")).expect_err("it cannot run");
    assert!(matches!(error, LaunchError::NotRun(_)), "{error}");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

fn a_server_that_does_not_listen_is_not_waited_for_forever() {
    let process = launcher().start(&spec("sleep 600{port}"), "127.0.0.1", "0").expect("it runs");
    let error = process.wait_until_listening(Duration::from_millis(50)).expect_err("it does not");
    assert!(matches!(error, LaunchError::NotListening { .. }), "{error}");
}

fn a_log_without_end_is_kept_in_part() {
    let process =
        launcher().start(&spec("sh -c 'yes endless; {port}'"), "127.0.0.1", "0").expect("it runs");
    wait_until("it has written much", || process.log().len() > 10_000);
    let ended = process.end();
    assert!(ended.log.len() <= 16 * 1024, "{} bytes", ended.log.len());
}

fn the_real_port_is_found_when_the_server_chooses_it() {
    let process = launcher().start(&builtin("select-echo"), "127.0.0.1", "0").expect("it runs");
    let address = process.wait_until_listening(DEADLINE).expect("it listens");
    assert_ne!(address.port(), 0);
    TcpStream::connect(address).expect("it is the real one");
}

fn a_server_that_listens_elsewhere_is_told_as_such() {
    let exe = env!("CARGO_BIN_EXE_harness");
    let spec = spec(&format!("sh -c 'exec {exe} serve select {{host}} 0' {{port}}"));
    let process = launcher().start(&spec, "127.0.0.1", "9").expect("it runs");
    let error = process.wait_until_listening(Duration::from_millis(500)).expect_err("not there");
    assert!(matches!(error, LaunchError::Elsewhere { asked: 9, .. }), "{error}");
}
