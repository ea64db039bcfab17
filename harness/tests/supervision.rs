//! Supervision of servers: when the harness or a server exits, no process of the server remains.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use crate::common::tests;
use crate::common::{DEADLINE, harness, runs, wait_until};
use harness::contract::Contract;
use harness::exit::Exit;
use harness::server::{LaunchError, LaunchSpec, Launcher, proc};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::unistd::Pid;
use servers::Service;

tests![
    killing_the_harness_during_a_run_leaves_no_process,
    killing_the_harness_leaves_no_process_that_escaped_its_group,
    sigterm_to_the_harness_during_a_run_leaves_no_process,
    a_server_starts_in_its_own_session_with_no_signal_blocked,
    stopping_a_server_kills_every_process_that_it_started,
    processes_that_outlive_their_server_are_named,
    a_server_dies_when_its_supervisor_is_killed,
    readiness_is_detected_without_a_connection,
    a_server_that_exits_at_once_is_reported_with_its_last_output,
    if_no_process_can_be_started_the_harness_reports_its_own_error_without_panic,
    a_missing_program_is_reported,
    waiting_for_a_server_that_does_not_listen_times_out,
    an_endless_log_is_truncated,
    the_real_port_is_found_when_the_server_chooses_it,
    a_server_that_listens_on_another_port_is_reported,
];

/// A user id without processes.
const UNUSED_UID: u32 = 54_321;

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

fn spec(command: &str) -> LaunchSpec {
    let contract = Contract::undeclared(Service::Calc);
    LaunchSpec::external(command, contract).expect("a command")
}

/// Returns a server with three background processes that ignore signals: one in the server's
/// process group, one in a new session, and an orphan. The shell becomes the server by `exec`, so
/// the first two are children of the server.
fn with_background_processes() -> LaunchSpec {
    let exe = env!("CARGO_BIN_EXE_harness");
    spec(&format!(
        "sh -c 'trap \"\" TERM INT HUP; sleep 600 & setsid sleep 600 & (setsid sleep 600 &); \
         trap - TERM INT HUP; exec {exe} serve select {{host}} {{port}}'"
    ))
}

fn killing_the_harness_during_a_run_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut running = harness()
        .args(["run", "--plan", "thorough", "--output"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let root = running.id() as i32;
    let mut tree = Vec::new();
    // Several supervisors with their servers.
    wait_until("several servers run", || {
        tree = proc::tree(root).split_off(1);
        tree.len() >= 8
    });
    running.kill().expect("a running harness");
    running.wait().expect("an exit status");
    wait_until("all processes of the harness have exited", || !tree.iter().any(|&pid| runs(pid)));
    let report = std::fs::read_to_string(folder.path().join("report.json")).expect("a report");
    assert!(report.contains("\"complete\":false"), "the report is marked as incomplete");
}

fn sigterm_to_the_harness_during_a_run_leaves_no_process() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut running = harness()
        .args(["run", "--plan", "thorough", "--output"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let mut tree = Vec::new();
    wait_until("several servers run", || {
        tree = proc::tree(running.id() as i32).split_off(1);
        tree.len() >= 8
    });
    kill(Pid::from_raw(running.id() as i32), Signal::SIGTERM).expect("a running harness");
    let status = running.wait().expect("an exit status");
    assert_eq!(status.code(), Some(128 + Signal::SIGTERM as i32), "{status}");
    wait_until("all processes of the harness have exited", || !tree.iter().any(|&pid| runs(pid)));
}

fn a_server_starts_in_its_own_session_with_no_signal_blocked() {
    // A signal mask is inherited from the parent.
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGUSR1]);
    let before = signals.thread_swap_mask(SigmaskHow::SIG_BLOCK).expect("a signal mask");
    let process = launcher().start(&spec("cat /proc/self/status /proc/self/stat {port}"), "h", "0");
    before.thread_set_mask().expect("a signal mask");
    let process = process.expect("a process");
    process.wait_for_exit(DEADLINE);
    let log = process.end().log;
    assert!(log.contains("SigBlk:\t0000000000000000"), "{log}");
    let stat =
        log.lines().find(|line| line.contains(" (cat) ")).expect("a line of /proc/self/stat");
    // Field 0 is the process id; 4, 5 and 6 are process group, session and terminal
    // (proc_pid_stat(5)).
    let fields: Vec<&str> = stat.split(' ').collect();
    assert_eq!([fields[4], fields[5], fields[6]], [fields[0], fields[0], "0"], "{stat}");
}

fn killing_the_harness_leaves_no_process_that_escaped_its_group() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut running = harness()
        .args(["check", "--case", "shutdown/", "--shutdown", "drain", "--output"])
        .arg(folder.path())
        .args(["--cmd", &with_background_processes().shown_command])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the harness starts");
    let mut tree = Vec::new();
    wait_until("a server and its background processes run", || {
        tree = proc::tree(running.id() as i32).split_off(1);
        let sleepers = tree.iter().filter(|&&pid| proc::name(pid).as_deref() == Some("sleep"));
        sleepers.count() >= 3
    });
    running.kill().expect("a running harness");
    running.wait().expect("an exit status");
    wait_until("all processes of the harness have exited", || !tree.iter().any(|&pid| runs(pid)));
}

fn stopping_a_server_kills_every_process_that_it_started() {
    let server = launcher().launch(&with_background_processes()).expect("a listening server");
    wait_until("the background processes run", || server.process.tree().len() == 4);
    let tree = server.process.tree();
    let report = server.process.end();
    assert!(!tree.iter().any(|&pid| runs(pid)), "{report:?}");
    assert_eq!(report.exit, None, "the server did not exit by itself");
    assert!(report.log.contains("select-calc listens on"), "{report:?}");
}

fn processes_that_outlive_their_server_are_named() {
    let mut server = launcher().launch(&with_background_processes()).expect("a listening server");
    wait_until("the background processes run", || {
        let tree = server.process.tree();
        let sleepers = tree.iter().filter(|&&pid| proc::name(pid).as_deref() == Some("sleep"));
        sleepers.count() == 3
    });
    let mut background = server.process.tree().split_off(1);
    server.process.signal(Signal::SIGTERM);
    assert_eq!(server.process.wait_for_exit(DEADLINE), Some(Exit::Code(0)));
    let report = server.process.end();
    let mut named: Vec<i32> = report.survivors.iter().map(|survivor| survivor.pid).collect();
    named.sort_unstable();
    background.sort_unstable();
    assert_eq!(named, background);
    assert!(report.survivors.iter().all(|survivor| survivor.name == "sleep"), "{report:?}");
    assert!(!background.iter().any(|&pid| runs(pid)));
}

fn a_server_dies_when_its_supervisor_is_killed() {
    let server = launcher().launch(&builtin("thread-per-connection")).expect("a listening server");
    let pid = server.process.tree()[0];
    let supervisor = parent(pid);
    kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("a running supervisor");
    wait_until("the server has exited", || !runs(pid));
}

fn builtin(name: &str) -> LaunchSpec {
    let server = servers::find(name).expect("a server");
    LaunchSpec::builtin(&launcher(), &server, &servers::Limits::default()).expect("valid limits")
}

fn parent(pid: i32) -> i32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a running process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a line PPid:");
    line.trim().parse().expect("a process id")
}

fn readiness_is_detected_without_a_connection() {
    // The server serves one client. A readiness check that connected would cause a refusal here.
    let server = launcher().launch(&builtin("iterative-refuse")).expect("a listening server");
    TcpStream::connect(server.address).expect("a connection");
}

fn a_server_that_exits_at_once_is_reported_with_its_last_output() {
    let error = launcher()
        .launch(&spec("sh -c 'echo it is broken >&2; exit 7; {port}'"))
        .expect_err("a server that exits");
    match &error {
        LaunchError::Exited { exit, log } => {
            assert_eq!((*exit, log.as_str()), (Exit::Code(7), "it is broken"));
        }
        other => panic!("{other}"),
    }
}

fn if_no_process_can_be_started_the_harness_reports_its_own_error_without_panic() {
    if !rustix::process::geteuid().is_root() {
        // RLIMIT_NPROC counts all processes of a user, so the test needs a user without processes.
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary directory");
    let program = folder.path().join("harness");
    std::fs::copy(env!("CARGO_BIN_EXE_harness"), &program).expect("a copy");
    let executable_by_all = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), executable_by_all).expect("a permission change");
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--nproc=6").arg(&program).args(["check", "select-echo", "--case", "framing/"]);
    limited.current_dir(folder.path()).uid(UNUSED_UID).gid(UNUSED_UID);
    let output = limited.output().expect("the harness runs");
    // The limit is hit at the first process, or later in a case.
    let output_text = [output.stdout, output.stderr].concat();
    let output_text = String::from_utf8_lossy(&output_text);
    assert_eq!(output.status.code(), Some(3), "{output_text}");
    assert!(output_text.contains("Resource temporarily unavailable"), "{output_text}");
}

fn a_missing_program_is_reported() {
    let error = launcher()
        .launch(&spec("/no/such/program {port}"))
        .expect_err("a program that does not exist");
    assert!(matches!(error, LaunchError::NotRun(_)), "{error}");
    assert!(error.to_string().contains("/no/such/program"), "{error}");
}

fn waiting_for_a_server_that_does_not_listen_times_out() {
    let process = launcher().start(&spec("sleep 600{port}"), "127.0.0.1", "0").expect("a process");
    let error = process
        .wait_until_listening(Duration::from_millis(50))
        .expect_err("a server that does not listen");
    assert!(matches!(error, LaunchError::NotListening { .. }), "{error}");
}

fn an_endless_log_is_truncated() {
    let process = launcher()
        .start(&spec("sh -c 'yes endless; {port}'"), "127.0.0.1", "0")
        .expect("a process");
    wait_until("the log has 10,000 bytes", || process.log().len() > 10_000);
    let report = process.end();
    assert!(report.log.len() <= 16 * 1024, "{} bytes", report.log.len());
}

fn the_real_port_is_found_when_the_server_chooses_it() {
    let process = launcher().start(&builtin("select-echo"), "127.0.0.1", "0").expect("a process");
    let address = process.wait_until_listening(DEADLINE).expect("a listening server");
    assert_ne!(address.port(), 0);
    TcpStream::connect(address).expect("a connection to the chosen port");
}

fn a_server_that_listens_on_another_port_is_reported() {
    let exe = env!("CARGO_BIN_EXE_harness");
    let spec = spec(&format!("sh -c 'exec {exe} serve select {{host}} 0' {{port}}"));
    let process = launcher().start(&spec, "127.0.0.1", "9").expect("a process");
    let error = process
        .wait_until_listening(Duration::from_millis(500))
        .expect_err("a server on another port");
    assert!(matches!(error, LaunchError::WrongPort { requested: 9, .. }), "{error}");
}
