//! Limits of the load generator's machine and of the network are no outcomes of the server.

use std::fs;
use std::process::Command as Program;

use harness::server::network::{self, Network};
use libtest_mimic::{Completion, Failed};

use super::*;
use crate::common::Served;

/// Returns the tests of this file.
pub(super) fn tests() -> Vec<Test> {
    let in_network = |name: &'static str, run: fn()| {
        Test::ignorable(name, move || in_new_network(run)).costing(Cost::Server)
    };
    let with = |program: &'static str, name: &'static str, run: fn()| {
        in_network(name, run).needing(program)
    };
    vec![
        in_network(
            "with_few_ports_the_generator_connects_from_more_loopback_addresses",
            with_few_ports_the_generator_connects_from_more_loopback_addresses,
        ),
        with(
            "ip",
            "without_a_free_local_port_the_open_connections_are_measured",
            without_a_free_local_port_the_open_connections_are_measured,
        ),
        in_network("a_self_connection_is_a_refused_one", a_self_connection_is_a_refused_one),
        in_network(
            "an_unreachable_network_is_no_outcome_of_the_server",
            an_unreachable_network_is_no_outcome_of_the_server,
        ),
        with(
            "nft",
            "a_rejecting_firewall_is_reported_and_a_dropping_one_is_a_connect_timeout",
            a_rejecting_firewall_is_reported_and_a_dropping_one_is_a_connect_timeout,
        ),
        Test::new("without_descriptors_the_open_connections_are_measured", || {
            without_descriptors_the_open_connections_are_measured();
            Ok(())
        })
        .needing("bash"),
    ]
}

/// Runs a test on a thread in a new network namespace, if the machine permits one.
fn in_new_network(run: fn()) -> Result<Completion, Failed> {
    if let Err(reason) = network::available() {
        return Ok(Completion::ignored_with(reason));
    }
    let thread = thread::spawn(move || {
        let _network = Network::enter().expect("a network namespace");
        run();
    });
    match thread.join() {
        Ok(()) => Ok(Completion::Completed),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// Sets the ephemeral ports of this thread's network namespace.
fn set_ephemeral_ports(low: u16, high: u16) {
    let file = "/proc/sys/net/ipv4/ip_local_port_range";
    fs::write(file, format!("{low} {high}")).expect("a writable setting");
}

/// Returns the local errors of a run, with their numbers.
fn local_errors(one: &Value) -> Vec<(String, u64)> {
    let errors = one["local_errors"].as_object().cloned().unwrap_or_default();
    errors.into_iter().map(|(name, count)| (name, number(&count))).collect()
}

/// Runs a load test, and returns its exit code, its document and its errors.
fn measured(address: &str, flags: &[&str]) -> (Option<i32>, Value, String) {
    let mut command = harness(&["load", address, "--json", "--warm-up", "1ms", "--quiet"]);
    let output = command.args(["--duration", "200ms"]).args(flags).output().expect("it ends");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).expect("one document"), errors)
}

fn with_few_ports_the_generator_connects_from_more_loopback_addresses() {
    set_ephemeral_ports(40_000, 40_003);
    let served = Served::start(&["select-echo", "127.0.0.1", "50001", "--max-connections", "64"]);
    let address = served.address.to_string();
    for flags in [&[][..], &["--rate", "200"], &["--threads", "2"]] {
        let (code, one, _) = measured(&address, &[&["--connections", "16"], flags].concat());
        assert_eq!((code, local_errors(&one)), (Some(0), vec![]), "{one}");
        assert_eq!(occurred(&one["connections"]), [("answered", 16)]);
    }
}

/// To a server on another address than a loopback one, the generator cannot choose its own address.
fn without_a_free_local_port_the_open_connections_are_measured() {
    set_ephemeral_ports(40_000, 40_003);
    run("ip", "address add 192.0.2.1/32 dev lo");
    let served = Served::start(&["select-echo", "192.0.2.1", "50002"]);
    let (code, one, _) = measured(&served.address.to_string(), &["--connections", "9"]);
    assert_eq!((code, local_errors(&one)), (Some(0), vec![("no_local_port".to_owned(), 5)]));
    assert_eq!(occurred(&one["connections"]), [("answered", 4)]);
    assert!(caveats(&one).contains(&"local-errors"), "{one}");
    assert!(!caveats(&one).contains(&"faults"), "{one}");
    let text = load(served.address, &["--connections", "9"]).output().expect("it ends");
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    assert!(text.contains("9 planned: 4 answered, 5 not open (no free local port)"), "{text}");
    assert!(text.contains("widen net.ipv4.ip_local_port_range"), "{text}");
}

/// With few ephemeral ports, the kernel soon chooses the destination as the local port.
fn a_self_connection_is_a_refused_one() {
    set_ephemeral_ports(40_000, 40_003);
    let address = "127.0.0.1:40001";
    let (code, one, errors) = measured(address, &["--connections", "16"]);
    assert_eq!((code, all_refused(&one)), (Some(1), 16));
    assert!(errors.contains("no server listens on 127.0.0.1:40001"), "{errors}");
    for _ in 0..8 {
        harness(&["client", "127.0.0.1", "40001"]).write_stdin("a\n").assert().code(4);
        harness(&["check", "--connect", address, "--service", "echo", "--case", "framing/"])
            .assert()
            .code(predicate::ne(0))
            .stderr(contains("no server listens"));
        let probed = harness(&["probe", "--connect", address]).output().expect("it ends");
        assert_ne!(probed.status.code(), Some(0));
        assert!(!String::from_utf8_lossy(&probed.stdout).contains("echo"), "{probed:?}");
    }
}

/// Returns the number of refused connections. Panics if there is another outcome.
fn all_refused(one: &Value) -> u64 {
    match occurred(&one["connections"])[..] {
        [("refused", count)] => count,
        _ => panic!("{one}"),
    }
}

/// The namespace has no route to other networks.
fn an_unreachable_network_is_no_outcome_of_the_server() {
    for flags in [&[][..], &["--rate", "200"], &["--reconnect"]] {
        let (code, one, errors) = measured("198.51.100.1:80", flags);
        assert_eq!((code, occurred(&one["connections"])), (Some(3), vec![]), "{one}");
        let [(name, 1..)] = &local_errors(&one)[..] else { panic!("{one}") };
        assert_eq!((name.as_str(), occurred(&one["outcomes"]).len()), ("unreachable", 0), "{one}");
        assert!(!caveats(&one).contains(&"faults"), "{one}");
        assert!(errors.contains("nothing was measured: cannot connect to 198.51.100.1:80"));
        assert!(errors.contains("check the address, the routes"), "{errors}");
    }
    harness(&["client", "198.51.100.1", "80"])
        .write_stdin("a\n")
        .assert()
        .code(3)
        .stderr(contains("check the address, the routes"));
    harness(&["check", "--connect", "198.51.100.1:80", "--service", "echo"])
        .assert()
        .code(predicate::ne(0))
        .stderr(contains("network or host unreachable"));
}

/// Runs a program with these arguments, separated by spaces.
fn run(program: &str, arguments: &str) {
    let status = Program::new(program).args(arguments.split(' ')).status().expect("it starts");
    assert!(status.success(), "{program} {arguments}");
}

fn a_rejecting_firewall_is_reported_and_a_dropping_one_is_a_connect_timeout() {
    let served = Served::start(&["select-echo", "127.0.0.1", "50003"]);
    let address = served.address.to_string();
    run("nft", "add table inet t; add chain inet t out { type filter hook output priority 0; }");
    run("nft", "add rule inet t out tcp dport 50003 reject with icmpx admin-prohibited");
    let (code, one, errors) = measured(&address, &[]);
    assert_eq!((code, occurred(&one["connections"])), (Some(3), vec![]), "{one}");
    assert!(errors.contains("firewall"), "{errors}");
    run("nft", "flush chain inet t out");
    run("nft", "add rule inet t out tcp dport 50003 drop");
    let (code, one, errors) = measured(&address, &["--timeout", "300ms"]);
    assert_eq!((code, occurred(&one["connections"])), (Some(1), vec![("connect_timeout", 8)]));
    assert!(errors.contains("a firewall drops the packets"), "{errors}");
}

/// The shell's descriptors stay open in the harness, so it has fewer than its limit suggests.
fn without_descriptors_the_open_connections_are_measured() {
    let served = Served::start(&["select-echo", "127.0.0.1", "0", "--max-connections", "256"]);
    let script = "ulimit -n 300 && for i in {1..150}; do exec {fd}</dev/null; done && exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_harness"), "load"]);
    command.arg(served.address.to_string()).args(["--json", "--connections", "200"]);
    let output = command.args(["--duration", "200ms", "--warm-up", "1ms"]).output();
    let output = output.expect("it ends");
    let one: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let [("answered", open)] = occurred(&one["connections"])[..] else { panic!("{one}") };
    let errors = local_errors(&one);
    assert_eq!(errors, [("no_descriptor".to_owned(), 200 - open)]);
    assert!(open > 50 && caveats(&one).contains(&"local-errors"), "{one}");
    // A limit that is too low from the start is a usage error.
    let script = "ulimit -n 100 && exec \"$@\"";
    let mut command = Command::new("bash");
    command.args(["-c", script, "bash", env!("CARGO_BIN_EXE_harness"), "load"]);
    command.arg(served.address.to_string()).args(["--connections", "200"]);
    command.assert().code(2).stderr(contains("ulimit -n"));
}
