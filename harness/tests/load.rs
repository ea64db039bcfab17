//! `harness load`, `harness bench` and the trials of `harness selftest`, on servers with
//! known results.

mod bench;
mod histogram_log;
mod limits;
mod reconnect;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::common::schedule::Cost;
use crate::common::{self, Test, tests};
use crate::common::{DEADLINE, known, wait_until};
use assert_cmd::Command;
use harness::load::placement::{Pin, Placement};
use harness::load::{
    self, ArrivalProcess, ConnectionGroup, LoadSpec, MeasurementSettings, Plan, RunResult,
    WORKLOADS, exchanges,
};
use harness::results::{Measurement, Outcome};
use harness::selftest::{CheckedPrediction, TRIALS, Trial, TrialSettings};
use harness::server::cpu_usage::cpu_used;
use harness::server::{LaunchSpec, Launcher, PortLease, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use serde_json::Value;
use servers::{Limits, Service};

use bench::{
    a_bench_measures_only_the_named_workloads,
    a_bench_that_measured_nothing_fails_and_gives_the_reason,
    a_bench_with_a_faulty_measurement_exits_with_1,
    a_bench_without_an_answered_request_exits_with_1, a_command_is_benchmarked_under_the_workloads,
    ctrl_c_during_comparisons_keeps_the_finished_ones,
    every_workload_gets_correct_replies_from_a_suitable_server,
};
use histogram_log::a_histogram_log_has_its_header_and_every_latency_in_its_interval;
use reconnect::{
    a_declared_limit_of_requests_loses_none_and_an_undeclared_one_loses_some,
    a_reply_after_the_default_timeout_has_a_latency_with_a_longer_one,
    a_restart_of_the_server_is_an_outage_in_a_closed_loop,
    a_restart_of_the_server_is_an_outage_in_an_open_loop,
    a_run_of_1_ms_reports_no_impossible_cpu_share, a_server_that_stays_away_is_down_at_the_end,
};

/// Returns one test for each trial, the longest first, and the tests of this file.
pub(crate) fn tests() -> Vec<Test> {
    let mut trials: Vec<&Trial> = TRIALS.iter().collect();
    trials.sort_by_key(|trial| std::cmp::Reverse(trial.duration(TrialSettings::BUSY_MACHINE)));
    let test = |trial: &'static Trial| {
        let name = trial.name.replace([' ', ',', '/'], "-").replace("--", "-");
        Test::new(format!("the_load_generator_measures_the_predicted_values::{name}"), || {
            measures_the_predicted_values(trial);
            Ok(())
        })
    };
    trials.into_iter().map(test).chain(listed()).chain(limits::tests()).collect()
}

tests![
    fn listed;
    json_on_stdout_or_in_a_file_has_every_figure_and_the_text_goes_elsewhere,
    of_twenty_connections_five_are_answered_and_fifteen_reset,
    a_faulty_run_exits_with_0_unless_a_valid_run_is_required,
    a_bench_without_an_answered_request_exits_with_1,
    a_percentile_of_too_few_samples_is_a_dash_and_a_low_rate_has_decimals,
    a_run_that_ends_early_reports_the_measured_time_and_the_reason,
    a_run_without_a_warm_up_records_from_the_start,
    a_freeze_shows_in_the_p99_of_an_open_loop_but_only_in_the_max_of_a_closed_loop,
    ctrl_c_ends_a_run_with_exit_code_130_and_partial_results_are_written,
    a_signal_ends_the_wait_for_a_server,
    a_histogram_log_has_its_header_and_every_latency_in_its_interval,
    cpu_time_per_request_excludes_the_warm_up,
    context_switches_of_threads_that_exit_with_their_clients_are_counted,
    ctrl_c_during_comparisons_keeps_the_finished_ones,
    a_precision_that_is_not_reached_extends_the_run_and_is_reported,
    requests_are_answered_at_every_arrival_thread_pinning_and_depth_setting,
    a_bench_measures_only_the_named_workloads,
    a_command_is_benchmarked_under_the_workloads;
    // These tests check no value that depends on other load of the machine.
    Cost::Server =>
    a_restart_of_the_server_is_an_outage_in_an_open_loop,
    a_restart_of_the_server_is_an_outage_in_a_closed_loop,
    a_server_that_stays_away_is_down_at_the_end,
    a_declared_limit_of_requests_loses_none_and_an_undeclared_one_loses_some,
    a_reply_after_the_default_timeout_has_a_latency_with_a_longer_one,
    a_run_of_1_ms_reports_no_impossible_cpu_share,
    every_workload_gets_correct_replies_from_a_suitable_server,
    a_stopped_generator_is_reported_as_a_caveat_and_the_run_is_not_valid,
    a_wrong_or_lost_reply_has_an_outcome_but_no_latency,
    a_bench_with_a_faulty_measurement_exits_with_1,
    a_load_with_the_wrong_service_names_the_right_one,
    a_usage_error_gives_the_correction,
    a_bench_that_measured_nothing_fails_and_gives_the_reason,
    without_a_listener_every_connection_is_refused_and_none_has_a_latency,
];

fn harness(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(6 * DEADLINE).args(arguments);
    command
}

/// `harness load` on this address, for a short time.
fn load(address: SocketAddr, flags: &[&str]) -> Command {
    let mut command = harness(&["load", &address.to_string()]);
    command.args(["--seed", "1"]).args(flags);
    for default in [["--warm-up", "1ms"], ["--duration", "300ms"]] {
        if !flags.contains(&default[0]) {
            command.args(default);
        }
    }
    command
}

/// Returns the document of such a run. Checks the exit code, which is 1 if nothing is answered.
fn loaded(address: SocketAddr, flags: &[&str]) -> Value {
    let output = load(address, flags).arg("--json").output().expect("it ends");
    let one: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let expected = i32::from(number(&one["outcomes"]["answered"]) == 0);
    assert_eq!(output.status.code(), Some(expected), "{one}");
    one
}

/// Returns the kinds of its caveats.
fn caveats(one: &Value) -> Vec<&str> {
    let caveats = one["validity"]["caveats"].as_array().expect("a list");
    caveats.iter().map(|caveat| caveat["kind"].as_str().expect("a word")).collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("one document")
}

fn number(figure: &Value) -> u64 {
    figure.as_u64().unwrap_or_else(|| panic!("{figure} is no count"))
}

/// Returns the outcomes that occurred, with the number of requests or connections of each.
fn occurred(outcomes: &Value) -> Vec<(&str, u64)> {
    let outcomes = outcomes.as_object().expect("counts");
    assert_eq!(outcomes.len(), Outcome::ALL.len());
    let counts = Outcome::ALL.iter().map(|it| (it.name(), number(&outcomes[it.name()])));
    counts.filter(|&(_, count)| count > 0).collect()
}

/// Returns the number of correct replies. Panics if there is another outcome.
fn all_answered(one: &Value) -> u64 {
    match occurred(&one["outcomes"])[..] {
        [("answered", count)] => count,
        ref other => panic!("{other:?}"),
    }
}

fn json_on_stdout_or_in_a_file_has_every_figure_and_the_text_goes_elsewhere() {
    let server = known("echo");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.json");
    let path = file.to_str().expect("plain words");
    let words = || contains("correct replies/s").and(contains("latency"));
    for flags in [&[][..], &["--rate", "500"]] {
        let printed = load(server.address, flags).arg("--json").assert().success();
        let printed = printed.stderr(words()).get_output().stdout.clone();
        load(server.address, flags)
            .arg(format!("--json={path}"))
            .assert()
            .success()
            .stdout(words())
            .stderr("");
        for one in [serde_json::from_slice(&printed).expect("one document"), read(&file)] {
            has_every_figure(&one);
            assert_eq!(one["offered_per_s"].as_f64(), (!flags.is_empty()).then_some(500.0));
            let is_due = number(&one["send_lateness_ns"]["count"]) > 0;
            assert_eq!(is_due, !flags.is_empty());
        }
    }
    load(server.address, &[]).assert().success().stdout(words()).stderr("");
}

fn has_every_figure(one: &Value) {
    assert!(one["validity"]["label"].is_string(), "{one}");
    let is_clear = caveats(one).iter().all(|kind| *kind == "shared-processor");
    assert_eq!(is_clear, one["validity"]["label"] == "valid", "{one}");
    assert_eq!(one["partial"], false);
    assert_eq!(occurred(&one["connections"]), [("answered", 8)]);
    let answered = all_answered(one);
    for figure in ["latency_intended_ns", "latency_sent_ns", "send_lateness_ns"] {
        let count = number(&one[figure]["count"]);
        let least = [("p50", 20), ("p90", 100), ("p99", 1_000), ("p999", 10_000), ("max", 1)];
        let known = least.map(|(key, least)| {
            let value = &one[figure][key];
            assert_eq!(value.is_null(), count < least, "{figure} {key} of {count}");
            value.as_u64()
        });
        assert!(known.into_iter().flatten().is_sorted(), "{figure}: {one}");
    }
    for figure in ["latency_intended_ns", "latency_sent_ns"] {
        assert_eq!(number(&one[figure]["count"]), answered, "{figure}");
    }
    assert!(one["throughput_per_s"].as_f64().is_some_and(|rate| rate > 0.0), "{one}");
    assert!(number(&one["generator_cpu_ns_per_request"]) > 0, "{one}");
}

fn of_twenty_connections_five_are_answered_and_fifteen_reset() {
    let server = known("some:5");
    let one = loaded(server.address, &["--connections", "20"]);
    assert_eq!(occurred(&one["connections"]), [("answered", 5), ("reset", 15)]);
    assert_eq!(one["validity"]["label"], "faulty");
    let answered = number(&one["outcomes"]["answered"]);
    assert!(answered > 0 && number(&one["latency_sent_ns"]["count"]) == answered, "{one}");
}

fn without_a_listener_every_connection_is_refused_and_none_has_a_latency() {
    let port = PortLease::take([127, 0, 0, 1].into()).expect("a port");
    let nobody = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let one = loaded(nobody, &["--connections", "7"]);
    assert_eq!(occurred(&one["connections"]), [("refused", 7)]);
    for figure in ["latency_intended_ns", "latency_sent_ns", "connect_ns"] {
        assert_eq!(one[figure]["count"], 0, "{figure}");
        for quantile in ["p50", "p90", "p99", "p999", "max"] {
            assert_eq!(one[figure][quantile], Value::Null, "{figure} {quantile}");
        }
    }
    assert_eq!(one["generator_cpu_ns_per_request"], Value::Null);
    let why = "faulty: connections: 7 refused; the run ended after ";
    let dashes = "latency      p50 -, p90 -, p99 -, p99.9 -, max -\n";
    let words = || contains(why).and(contains(dashes)).and(contains(" ns").not());
    let remedy = format!("no server listens on {nobody}");
    let run = load(nobody, &["--connections", "7"]).assert();
    run.code(1).stdout(words()).stderr(contains(remedy).and(contains("or correct")));
    load(nobody, &["--rate", "100"]).assert().code(1).stdout(contains("lateness     p50 -"));
}

fn a_faulty_run_exits_with_0_unless_a_valid_run_is_required() {
    let why = || contains("validity     faulty: ").and(contains("connections: 2 reset"));
    for (flags, code) in [(&[][..], 0), (&["--require", "valid"], 1)] {
        // A new server has all its connection slots free.
        let server = known("some:5");
        let run = load(server.address, flags).args(["--connections", "7"]).assert();
        run.code(code).stdout(why());
    }
}

fn a_percentile_of_too_few_samples_is_a_dash_and_a_low_rate_has_decimals() {
    let server = known("delay:20ms");
    let few = ["--connections", "1", "--duration", "200ms"];
    let one = loaded(server.address, &few);
    let latency = &one["latency_sent_ns"];
    assert!((1..20).contains(&number(&latency["count"])) && latency["p50"].is_null(), "{one}");
    assert!(number(&latency["max"]) >= 20_000_000, "{one}");
    load(server.address, &few).assert().success().stdout(
        contains("latency      p50 -, p90 -, p99 -, p99.9 -, max ").and(contains("max -").not()),
    );
    // At this rate a request is due every 2 seconds, so none may be sent.
    load(server.address, &["--rate", "0.5", "--duration", "100ms"])
        .assert()
        .stdout(contains("offered      0.5 requests/s\n"));
}

/// Starts an echo server that closes each connection after this number of lines.
fn closes_after(lines: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // The thread runs until this process exits.
    thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            thread::spawn(move || {
                let requests = BufReader::new(client.try_clone().expect("a clone")).lines();
                for line in requests.take(lines).map_while(Result::ok) {
                    let _ = client.write_all((line + "\n").as_bytes());
                }
            });
        }
    });
    address
}

fn a_run_that_ends_early_reports_the_measured_time_and_the_reason() {
    let address = closes_after(100);
    for flags in [&[][..], &["--rate", "5000"]] {
        let flags = [flags, &["--connections", "4", "--duration", "1m"]].concat();
        let words = contains("of 60 s: no connection was left").and(contains("connections: ")).and(
            contains(
                " of 60 s
",
            ),
        );
        load(address, &flags).assert().success().stdout(words);
        let one = loaded(address, &flags);
        let took = number(&one["duration_ms"]);
        assert!(number(&one["planned_ms"]) == 60_000 && took < 60_000, "{one}");
        assert_eq!(caveats(&one)[..2], ["faults", "ended-early"]);
    }
}

fn a_run_without_a_warm_up_records_from_the_start() {
    let server = known("echo");
    let one = loaded(server.address, &["--warm-up", "0s"]);
    assert!(all_answered(&one) > 0, "{one}");
}

fn a_stopped_generator_is_reported_as_a_caveat_and_the_run_is_not_valid() {
    // Longer than the reply timeout of 5 s. A reply that arrives during the stop is not late.
    const LONG: Duration = Duration::from_millis(5_500);
    const SHORT: Duration = Duration::from_millis(1_200);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.json");
    for (flags, stopped) in [(&[][..], LONG), (&["--rate", "500"], SHORT)] {
        let (address, bytes) = counting_echo();
        let mut child = common::harness()
            .args(["load", &address.to_string(), "--connections", "1", "--warm-up", "0s"])
            .args(["--duration", "50s"])
            .args(flags)
            .arg(format!("--json={}", file.display()))
            .stdout(Stdio::null())
            .spawn()
            .expect("the harness starts");
        let pid = Pid::from_raw(child.id() as i32);
        let goes_on = |what: &str| {
            let before = bytes.load(Relaxed);
            wait_until(what, || bytes.load(Relaxed) > before + 100);
        };
        goes_on("it loads");
        kill(pid, Signal::SIGSTOP).expect("a signal");
        thread::sleep(stopped);
        kill(pid, Signal::SIGCONT).expect("a signal");
        goes_on("it loads again");
        kill(pid, Signal::SIGINT).expect("a signal");
        wait_until("it ends", || child.try_wait().expect("a status").is_some());
        let one = read(&file);
        assert!(caveats(&one).contains(&"generator-stopped"), "{one}");
        assert_ne!(one["validity"]["label"], "valid");
        assert!(number(&one["lost_time"]["longest_gap_ns"]) >= 1_000_000_000, "{one}");
        assert_eq!(occurred(&one["connections"]), [("answered", 1)], "{one}");
        assert_eq!(number(&one["outcomes"]["timed_out"]), 0, "{one}");
    }
}

fn a_wrong_or_lost_reply_has_an_outcome_but_no_latency() {
    for (answer, outcome) in [("wrong:50", "wrong_reply"), ("lost:50", "timed_out")] {
        let server = known(answer);
        let one = loaded(server.address, &["--connections", "2", "--duration", "1s"]);
        let outcomes = &one["outcomes"];
        let (answered, in_flight) = (number(&outcomes["answered"]), &outcomes["in_flight"]);
        assert!(number(&outcomes[outcome]) + number(in_flight) > 0, "{answer}: {one}");
        assert_eq!(number(&one["latency_sent_ns"]["count"]), answered, "{answer}");
        // Requests in flight at the end are counted, because they may be the slowest.
        let with_ages = answered + number(in_flight);
        assert_eq!(number(&one["latency_intended_ns"]["count"]), with_ages, "{answer}");
        // A request in flight could still be answered.
        assert!(
            one["validity"]["label"] == "faulty" || number(&outcomes[outcome]) == 0,
            "{answer}: {one}"
        );
    }
}

fn a_freeze_shows_in_the_p99_of_an_open_loop_but_only_in_the_max_of_a_closed_loop() {
    const HALF_A_SECOND: u64 = 500_000_000;
    let server = known("freeze:1s,4s");
    // A p99 needs 1,000 requests.
    let flags = ["--connections", "1", "--duration", "4s"];
    let open = loaded(server.address, &[&flags[..], &["--rate", "500"]].concat());
    assert!(number(&open["latency_intended_ns"]["p99"]) >= HALF_A_SECOND, "{open}");
    let closed = loaded(server.address, &flags);
    let latency = &closed["latency_sent_ns"];
    assert!(number(&latency["max"]) >= HALF_A_SECOND, "{closed}");
    assert!(number(&latency["p99"]) < HALF_A_SECOND, "{closed}");
}

/// Starts an echo server for one client, and returns its address and its byte counter.
fn counting_echo() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let counter = Arc::new(AtomicU64::new(0));
    let bytes = Arc::clone(&counter);
    // The thread ends with its client.
    thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a client");
        let mut buffer = [0; 1024];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            bytes.fetch_add(count as u64, Relaxed);
            let _ = client.write_all(&buffer[..count]);
        }
    });
    (address, counter)
}

fn ctrl_c_ends_a_run_with_exit_code_130_and_partial_results_are_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.json");
    // The short intervals follow each other without a pause.
    let short = ["--duration", "100ms", "--precision", "0.0001", "--extend", "1000"];
    for flags in [&["--duration", "1m"][..], &short] {
        let (address, bytes) = counting_echo();
        let mut child = common::harness()
            .args(["load", &address.to_string(), "--connections", "1", "--warm-up", "1ms"])
            .args(flags)
            .arg(format!("--json={}", file.display()))
            .stdout(Stdio::null())
            .spawn()
            .expect("the harness starts");
        wait_until("it is in the middle", || bytes.load(Relaxed) > 50_000);
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("a signal");
        wait_until("it ends", || child.try_wait().expect("a status").is_some());
        assert_eq!(child.wait().expect("a status").code(), Some(130));
        let one = read(&file);
        assert_eq!(one["partial"], true);
        assert!(all_answered(&one) > 0 && number(&one["duration_ms"]) < 60_000, "{one}");
    }
}

fn a_signal_ends_the_wait_for_a_server() {
    let reserved = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = reserved.local_addr().expect("an address").to_string();
    drop(reserved);
    let mut child = common::harness()
        .args(["load", &address, "--wait", "1h"])
        .stdout(Stdio::null())
        .spawn()
        .expect("the harness starts");
    // Between two attempts, the harness sleeps. Which of the calls it uses depends on the C library.
    let sleeps = [libc::SYS_clock_nanosleep, libc::SYS_nanosleep].map(|call| format!("{call} "));
    let call = format!("/proc/{}/syscall", child.id());
    wait_until("it waits for the server", || {
        let call = std::fs::read_to_string(&call).unwrap_or_default();
        sleeps.iter().any(|sleep| call.starts_with(sleep))
    });
    // A test that runs in the background may have inherited that SIGINT is ignored.
    kill(Pid::from_raw(child.id() as i32), Signal::SIGTERM).expect("a signal");
    wait_until("it ends", || child.try_wait().expect("a status").is_some());
    assert_eq!(child.wait().expect("a status").signal(), Some(Signal::SIGTERM as i32));
}

/// Measures a closed loop of one connection on a launched server.
fn measured(server: &Server, warm_up: Duration, duration: Duration) -> (Measurement, RunResult) {
    let never = AtomicBool::new(false);
    let plan = Plan { warm_up, duration, idle_connections: 0, ..Plan::ONE_RUN };
    let measuring = MeasurementSettings::new(plan, 1, &never);
    let arrival_process = ArrivalProcess::Closed { depth: 1 };
    let group =
        ConnectionGroup { requests: exchanges(Service::Echo), connections: 1, arrival_process };
    let placement = Placement::find(Pin::None, 1).expect("a set");
    let load_spec = LoadSpec::new(server.address, group, 1);
    load::load(Some(server), &load_spec, "closed", &measuring, &placement).expect("a run")
}

fn cpu_time_per_request_excludes_the_warm_up() {
    let server = known("slower:0");
    let (one, ran) = measured(&server, Duration::from_millis(500), Duration::from_millis(20));
    let each = one.server_cpu_ns_per_request().expect("it is known");
    let used = cpu_used(&server.process.tree()).total.as_nanos() as u64;
    // The value is rounded up to whole nanoseconds.
    assert!(each > 0 && (each - 1) * ran.answered_with_warm_up <= used, "{each} ns each of {used}");
}

fn context_switches_of_threads_that_exit_with_their_clients_are_counted() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let server = servers::servers().find(|it| it.to_string() == "thread-per-connection-echo");
    let spec = LaunchSpec::builtin(&launcher, &server.expect("it is there"), &Limits::default());
    let server = launcher.launch(&spec.expect("it runs here")).expect("it listens");
    let time = Duration::from_millis(100);
    let (one, _) = measured(&server, time, time);
    let side = one.server_stats.expect("it was launched here");
    // The server's thread sleeps before each request.
    let switches = side.voluntary_switches_per_request;
    assert!(switches.is_some_and(|each| each > 0.1), "{side:?}");
}

fn a_precision_that_is_not_reached_extends_the_run_and_is_reported() {
    let server = known("delay:5ms");
    let unlikely = ["--precision", "0.0001", "--extend", "3"];
    let one = loaded(server.address, &unlikely);
    let reasons = one["validity"]["caveats"].to_string();
    assert!(reasons.contains("the p99 is") && reasons.contains("±0.0 %"), "{one}");
    assert!(number(&one["duration_ms"]) >= 3 * 300 - 10, "{one}");
}

fn a_usage_error_gives_the_correction() {
    let address = "127.0.0.1:1";
    let rows: &[(&[&str], &str)] = &[
        (&["load", "127.0.0.1"], "write HOST:PORT, such as 127.0.0.1:8080"),
        (&["load", address, "--rate", "0"], "a number of requests per second"),
        (&["load", address, "--depth", "2", "--rate", "100"], "cannot be used with '--rate"),
        (&["load", address, "--arrivals", "poisson"], "--rate"),
        (&["load", address, "--depth", "257"], "1..=256"),
        (&["load", address, "--connections", "0"], "at least 1"),
        (&["load", address, "--precision", "nothing"], "a percentage, such as 5"),
        (&["load", address, "--extend", "2"], "--precision"),
        (&["load", address, "--json=/proc/no/such"], "name another file"),
        (&["load", address, "--histogram-log", "/proc/no/such"], "name another file"),
        (&["bench", "select", "--workload", "nonsense"], "harness list workloads"),
        (&["bench", "select5"], "choose one of iterative"),
    ];
    for (arguments, words) in rows {
        harness(arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

fn requests_are_answered_at_every_arrival_thread_pinning_and_depth_setting() {
    let server = known("echo");
    let rows: &[&[&str]] = &[
        &["--rate", "500", "--arrivals", "constant"],
        &["--rate", "500", "--arrivals", "poisson"],
        &["--rate", "500", "--threads", "2"],
        &["--threads", "2"],
        // Each thread has at least one connection.
        &["--threads", "64"],
        &["--pin", "none"],
        &["--pin", "together"],
        &["--depth", "16"],
        &["--depth", "256", "--connections", "2"],
    ];
    for flags in rows {
        let one = loaded(server.address, flags);
        assert!(all_answered(&one) > 0, "{flags:?}");
    }
    let calc = ["--service", "calc"];
    let calculator = common::Served::start(&["server3", "127.0.0.1", "0"]);
    assert!(all_answered(&loaded(calculator.address, &calc)) > 0);
    let wrong = loaded(server.address, &calc);
    assert_eq!(
        (&wrong["validity"]["label"], &wrong["outcomes"]["answered"]),
        (&"faulty".into(), &0.into())
    );
}

/// Maximum number of attempts, because the machine may be busy.
const TRIES: usize = 3;

fn measures_the_predicted_values(trial: &Trial) {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let off = |_| -> Vec<CheckedPrediction> {
        let made = trial.run(&launcher, TrialSettings::BUSY_MACHINE, &AtomicBool::new(false));
        made.expect(trial.name).into_iter().filter(|one| !one.is_right).collect()
    };
    let wrong: Vec<_> = (0..TRIES).map(off).take_while(|it| !it.is_empty()).collect();
    assert!(wrong.len() < TRIES, "{wrong:#?}");
}

fn a_load_with_the_wrong_service_names_the_right_one() {
    let wire = ["--wire", "greeting = { quiet = '50ms' }"];
    for (server, declared, right) in
        [("select-calc", "echo", "calc"), ("select-echo", "calc", "echo")]
    {
        let served = common::Served::start(&[server, "127.0.0.1", "0"]);
        for flags in [&[][..], &wire] {
            let flags = [&["--service", declared], flags].concat();
            load(served.address, &flags)
                .assert()
                .stderr(contains(format!("use --service {right}")));
        }
    }
}
