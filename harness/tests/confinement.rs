//! Launch options and confinement of servers. Tests that need a namespace are ignored if the
//! machine does not permit one. Run these tests with `cargo test confinement::`.

mod isolation;
mod launch_options;
mod networks;
mod pid_1;
mod resource_limits;
mod server;
mod terminal;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use harness::conformance::{Runner, cases};
use harness::contract::Contract;
use harness::exit::Exit;
use harness::results::Verdict;
use harness::server::{
    Confinement, ExitReport, LaunchError, LaunchOptions, LaunchSpec, Launcher, Limit, NetworkLease,
    Process, network, proc,
};
use libtest_mimic::{Completion, Failed};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use servers::Service;

use crate::common::{DEADLINE, Test, harness, runs, wait_until};
use pid_1::{exits_on_sigterm_as_pid_1, no_pid_namespace, reaps_orphans_as_pid_1};
use terminal::{
    cannot_open_a_terminal, injects_no_terminal_input, injects_no_terminal_input_confined,
};

use isolation::{
    a_confined_server_cannot_kill_the_harness,
    a_confined_server_is_monitored_and_stopped_like_any_other,
    a_confined_server_that_executes_requests_fails_the_injection_case,
    a_read_only_server_can_read_its_working_directory,
    a_read_only_server_writes_only_to_its_private_tmp,
};
use launch_options::{
    a_missing_directory_or_program_is_reported,
    a_relative_program_path_is_resolved_in_the_working_directory,
    a_server_inherits_only_the_standard_descriptors, standard_input_is_empty_by_default,
    standard_input_is_passed_to_the_server_and_reaches_eof,
    the_working_directory_and_the_environment_reach_the_server,
    unread_standard_input_does_not_block_the_harness,
};
use networks::{
    a_fixed_port_can_be_reused_immediately,
    a_server_on_all_addresses_is_reached_with_and_without_ipv6,
    a_server_with_a_fixed_port_is_tested, a_thread_returns_to_its_network_namespace,
    an_isolated_network_has_only_loopback, run_one_at_a_time, servers_on_one_port_run_in_parallel,
    servers_on_one_port_run_one_at_a_time,
};
use resource_limits::{
    a_fork_bomb_is_killed, a_lifetime_limit_kills_the_process_tree,
    a_memory_limit_makes_an_allocation_fail, cpu_time_is_limited,
    endless_output_is_read_at_a_limited_rate, file_size_is_limited,
    hundreds_of_children_are_killed_and_reaped, too_many_tasks_kill_the_process_tree,
};

/// A user id without processes.
const UNUSED_UID: u32 = 54_322;

/// Port of the servers with a fixed port.
const PORT: u16 = 5007;

type Claim = (&'static str, fn() -> Result<(), Failed>);

/// Claims that need no namespace.
const ON_ANY_MACHINE: &[Claim] = &[
    (
        "standard_input_is_passed_to_the_server_and_reaches_eof",
        standard_input_is_passed_to_the_server_and_reaches_eof,
    ),
    (
        "unread_standard_input_does_not_block_the_harness",
        unread_standard_input_does_not_block_the_harness,
    ),
    ("standard_input_is_empty_by_default", standard_input_is_empty_by_default),
    (
        "a_server_inherits_only_the_standard_descriptors",
        a_server_inherits_only_the_standard_descriptors,
    ),
    (
        "the_working_directory_and_the_environment_reach_the_server",
        the_working_directory_and_the_environment_reach_the_server,
    ),
    ("a_missing_directory_or_program_is_reported", a_missing_directory_or_program_is_reported),
    (
        "a_relative_program_path_is_resolved_in_the_working_directory",
        a_relative_program_path_is_resolved_in_the_working_directory,
    ),
    ("a_memory_limit_makes_an_allocation_fail", a_memory_limit_makes_an_allocation_fail),
    ("cpu_time_is_limited", cpu_time_is_limited),
    ("file_size_is_limited", file_size_is_limited),
    ("too_many_tasks_kill_the_process_tree", too_many_tasks_kill_the_process_tree),
    ("a_fork_bomb_is_killed", a_fork_bomb_is_killed),
    ("a_lifetime_limit_kills_the_process_tree", a_lifetime_limit_kills_the_process_tree),
    ("hundreds_of_children_are_killed_and_reaped", hundreds_of_children_are_killed_and_reaped),
    ("endless_output_is_read_at_a_limited_rate", endless_output_is_read_at_a_limited_rate),
    ("a_server_cannot_inject_input_into_the_users_terminal", injects_no_terminal_input),
    (
        "without_network_namespaces_servers_on_one_port_run_one_at_a_time",
        servers_on_one_port_run_one_at_a_time,
    ),
];

/// Claims that need a network namespace.
const IN_NETWORK_NAMESPACE: &[Claim] = &[
    ("a_fixed_port_can_be_reused_immediately", a_fixed_port_can_be_reused_immediately),
    ("servers_on_one_port_run_in_parallel", servers_on_one_port_run_in_parallel),
    ("a_server_with_a_fixed_port_is_tested", a_server_with_a_fixed_port_is_tested),
    ("an_isolated_network_has_only_loopback", an_isolated_network_has_only_loopback),
    ("a_thread_returns_to_its_network_namespace", a_thread_returns_to_its_network_namespace),
    (
        "a_server_on_all_addresses_is_reached_with_and_without_ipv6",
        a_server_on_all_addresses_is_reached_with_and_without_ipv6,
    ),
];

/// Claims that need a mount namespace, and a kernel that can confine signals.
const READ_ONLY: &[Claim] = &[
    (
        "a_read_only_server_writes_only_to_its_private_tmp",
        a_read_only_server_writes_only_to_its_private_tmp,
    ),
    (
        "a_read_only_server_can_read_its_working_directory",
        a_read_only_server_can_read_its_working_directory,
    ),
    ("a_confined_server_cannot_kill_the_harness", a_confined_server_cannot_kill_the_harness),
    (
        "a_confined_server_cannot_inject_input_into_the_users_terminal",
        injects_no_terminal_input_confined,
    ),
    ("a_confined_server_cannot_open_a_terminal", cannot_open_a_terminal),
    (
        "a_confined_server_is_monitored_and_stopped_like_any_other",
        a_confined_server_is_monitored_and_stopped_like_any_other,
    ),
    (
        "a_confined_server_that_executes_requests_fails_the_injection_case",
        a_confined_server_that_executes_requests_fails_the_injection_case,
    ),
];

/// Claims that need a PID namespace.
const AS_PID_1: &[Claim] = &[
    ("as_pid_1_the_harness_and_all_servers_exit_on_sigterm", exits_on_sigterm_as_pid_1),
    ("as_pid_1_the_harness_reaps_orphans", reaps_orphans_as_pid_1),
];

pub(crate) fn tests() -> Vec<Test> {
    let in_this_process = ON_ANY_MACHINE.iter().map(|&(name, claim)| Test::new(name, claim));
    let prepared = IN_NETWORK_NAMESPACE
        .iter()
        .chain(READ_ONLY)
        .map(|&(name, _)| Test::ignorable(name, move || in_a_separate_process(name)));
    let as_pid_1 = AS_PID_1.iter().map(|&(name, claim)| {
        Test::ignorable(name, move || match no_pid_namespace() {
            Some(reason) => Ok(Completion::ignored_with(format!("not run: {reason}"))),
            None => claim().map(|()| Completion::Completed),
        })
    });
    in_this_process.chain(prepared).chain(as_pid_1).collect()
}

/// Exit code of a process that cannot test a claim on this machine.
const NOT_RUN: u8 = 77;

/// Runs the role that this process was started for, if any, and exits.
pub(crate) fn take_role() {
    server::take_role();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let code = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["one-at-a-time"] => run_one_at_a_time(),
        ["prepared", name] => test_in_prepared_process(name),
        _ => return,
    };
    std::process::exit(code.into());
}

/// Prepares this process, and then tests a claim. The preparation may create a user namespace, so
/// the process must have a single thread.
fn test_in_prepared_process(name: &str) -> u8 {
    let network = || network::prepare().and_then(|()| network::available());
    let read_only = || match launcher().missing_isolation(&read_only()) {
        Ok(unconfined) if unconfined.is_empty() => Ok(()),
        Ok(unconfined) => Err(unconfined.join("; ")),
        Err(error) => Err(error.to_string()),
    };
    let find = |claims: &[Claim]| claims.iter().find(|claim| claim.0 == name).map(|claim| claim.1);
    let (claim, missing) = match (find(IN_NETWORK_NAMESPACE), find(READ_ONLY)) {
        (Some(claim), _) => (claim, network()),
        // Also enters a network namespace, if possible.
        (None, Some(claim)) => {
            let _ = network();
            (claim, read_only())
        }
        (None, None) => panic!("no such claim: {name}"),
    };
    if let Err(reason) = missing {
        println!("not run: {reason}");
        return NOT_RUN;
    }
    match claim() {
        Ok(()) => 0,
        Err(failed) => {
            println!("{}", failed.message().unwrap_or("the claim does not hold"));
            1
        }
    }
}

/// Tests a claim in another process, because the preparation changes the whole process.
fn in_a_separate_process(name: &str) -> Result<Completion, Failed> {
    let output = Command::new(std::env::current_exe()?).args(["prepared", name]).output()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).trim_end().to_owned();
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(code) if code == i32::from(NOT_RUN) => Ok(Completion::ignored_with(text)),
        _ => Err(format!("{}: {text}", output.status).into()),
    }
}

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

/// Returns a server that is this program in a role. The port is fixed.
fn spec(role: &[&str], options: LaunchOptions) -> LaunchSpec {
    let fixed_port = Some(PORT);
    let options = LaunchOptions { fixed_port, ..options };
    let contract = Contract::undeclared(Service::Echo);
    LaunchSpec::of_words(server::words(role), options, contract).expect("a command")
}

fn limited(role: &[&str], confinement: Confinement) -> LaunchSpec {
    spec(role, LaunchOptions { confinement, ..LaunchOptions::default() })
}

fn read_only() -> Confinement {
    Confinement { read_only: true, ..Confinement::default() }
}

fn start(spec: &LaunchSpec) -> Result<Process, LaunchError> {
    launcher().start(spec, "127.0.0.1", "7")
}

/// Starts a server, and waits until it exits.
fn run(spec: &LaunchSpec) -> Result<ExitReport, Failed> {
    let process = start(spec)?;
    process.wait_for_exit(DEADLINE);
    Ok(process.end())
}

/// Returns an error with the evidence, unless the condition is true.
fn ensure(condition: bool, evidence: impl std::fmt::Debug) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(format!("{evidence:?}").into()) }
}

/// Returns whether the process exists. A zombie does.
fn exists(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}/stat")).exists()
}

/// Sends one request and reads until the server closes the connection.
fn ask(server: std::net::SocketAddr, line: &str) -> Result<(), Failed> {
    let mut client = TcpStream::connect(server)?;
    client.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = String::new();
    client.read_to_string(&mut reply)?;
    ensure(reply.trim_end() == line, reply)
}
