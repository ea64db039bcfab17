//! `harness load`, `harness bench` and the trials of `harness selftest`, on servers of which it is
//! known what must be found.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use crate::common::schedule::Cost;
use crate::common::{self, trials};
use crate::common::{DEADLINE, known, wait_until};
use assert_cmd::Command;
use harness::load::placement::{Pin, Placement};
use harness::load::{
    self, ArrivalProcess, Group, LoadSpec, Measurement, Measuring, Outcome, Plan, Ran, WORKLOADS,
    exchanges,
};
use harness::selftest::{Compared, Rigour, TRIALS, Trial};
use harness::server::cpu_usage::cpu_used;
use harness::server::{LaunchSpec, Launcher, Port, Server};
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};
use serde_json::Value;
use servers::{Limits, Service};

trials![
    a_document_has_every_figure_on_standard_output_or_in_a_file_and_people_read_elsewhere,
    of_twenty_connections_five_are_answered_and_fifteen_reset,
    faulty_figures_are_figures_unless_they_are_not_wanted,
    a_bench_in_which_nothing_is_answered_exits_with_1,
    a_percentile_of_few_samples_is_a_dash_and_a_small_rate_has_its_fraction,
    a_run_that_ends_early_says_how_long_it_measured_and_why,
    a_run_without_a_warm_up_records_from_the_start,
    an_open_loop_sees_a_freeze_in_its_p99_and_a_closed_loop_only_in_its_longest_latency,
    ctrl_c_ends_a_run_with_exit_code_130_and_what_was_measured_is_written,
    a_histogram_log_begins_with_its_header_and_has_every_latency_in_a_line_of_its_interval,
    no_request_is_charged_with_what_the_server_did_for_those_of_the_warm_up,
    switches_of_threads_that_end_with_their_clients_are_counted,
    ctrl_c_in_the_middle_of_comparisons_leaves_those_that_were_finished,
    a_precision_that_is_not_reached_makes_a_run_longer_and_is_said,
    all_arrivals_threads_pinnings_and_depths_are_answered,
    a_bench_measures_under_the_workloads_that_are_named,
    every_workload_is_answered_by_a_server_that_it_suits_and_rightly,
    the_engine_finds_what_is_predicted_of_servers_whose_answers_are_known;
    // No figure of theirs depends on what runs beside them.
    Cost::SERVER =>
    a_generator_that_was_stopped_is_to_blame_and_the_run_is_not_valid,
    a_reply_that_is_wrong_or_lost_has_an_outcome_and_no_latency,
    bad_usage_is_told_with_what_is_right,
    a_bench_that_measured_nothing_fails_and_says_why,
    where_nobody_listens_every_connection_is_refused_and_none_has_a_latency,
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

/// What such a load gives, with its exit code: 1 where nothing is answered.
fn loaded(address: SocketAddr, flags: &[&str]) -> Value {
    let output = load(address, flags).arg("--json").output().expect("it ends");
    let one: Value = serde_json::from_slice(&output.stdout).expect("one document");
    let expected = i32::from(number(&one["outcomes"]["answered"]) == 0);
    assert_eq!(output.status.code(), Some(expected), "{one}");
    one
}

/// The kinds of what stands against it.
fn caveats(one: &Value) -> Vec<&str> {
    let caveats = one["caveats"].as_array().expect("a list");
    caveats.iter().map(|caveat| caveat["kind"].as_str().expect("a word")).collect()
}

fn read(file: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(file).expect("it is there")).expect("one document")
}

fn number(figure: &Value) -> u64 {
    figure.as_u64().unwrap_or_else(|| panic!("{figure} is no count"))
}

/// How many requests or connections had each outcome that occurred.
fn occurred(outcomes: &Value) -> Vec<(&str, u64)> {
    let outcomes = outcomes.as_object().expect("counts");
    assert_eq!(outcomes.len(), Outcome::ALL.len());
    let counts = Outcome::ALL.iter().map(|it| (it.name(), number(&outcomes[it.name()])));
    counts.filter(|&(_, count)| count > 0).collect()
}

/// The count of right replies, if there was no other outcome.
fn all_answered(one: &Value) -> u64 {
    match occurred(&one["outcomes"])[..] {
        [("answered", count)] => count,
        ref other => panic!("{other:?}"),
    }
}

fn a_document_has_every_figure_on_standard_output_or_in_a_file_and_people_read_elsewhere() {
    let server = known("echo");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.json");
    let path = file.to_str().expect("plain words");
    let words = || contains("right replies/s").and(contains("latency"));
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
    assert!(one["verdict"].is_string(), "{one}");
    let is_clear = caveats(one).iter().all(|kind| *kind == "shared-processor");
    assert_eq!(is_clear, one["verdict"] == "valid", "{one}");
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
    assert_eq!(one["verdict"], "faulty");
    let answered = number(&one["outcomes"]["answered"]);
    assert!(answered > 0 && number(&one["latency_sent_ns"]["count"]) == answered, "{one}");
}

fn where_nobody_listens_every_connection_is_refused_and_none_has_a_latency() {
    let port = Port::take([127, 0, 0, 1].into()).expect("a port");
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
    let why = "faulty: connections: 7 refused; it was measured for ";
    let dashes = "latency      p50 -, p90 -, p99 -, p99.9 -, max -\n";
    let words = || contains(why).and(contains(dashes)).and(contains(" ns").not());
    let remedy = format!("no server listens on {nobody}");
    let run = load(nobody, &["--connections", "7"]).assert();
    run.code(1).stdout(words()).stderr(contains(remedy).and(contains("start it first")));
    load(nobody, &["--rate", "100"]).assert().code(1).stdout(contains("sent late    p50 -"));
}

fn faulty_figures_are_figures_unless_they_are_not_wanted() {
    let why = || contains("verdict      faulty: ").and(contains("connections: 2 reset"));
    for (flags, code) in [(&[][..], 0), (&["--require", "valid"], 1)] {
        // Its places are free.
        let server = known("some:5");
        let run = load(server.address, flags).args(["--connections", "7"]).assert();
        run.code(code).stdout(why());
    }
}

fn a_bench_in_which_nothing_is_answered_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("servers.toml");
    let program = env!("CARGO_BIN_EXE_harness");
    let entry = format!(
        "[[server]]\nname = \"wrong\"\nservice = \"echo\"\n\
         command = ['{program}', 'known', 'wrong:1', '{{host}}', '{{port}}']\n"
    );
    std::fs::write(&manifest, entry).expect("a file");
    let manifest = manifest.to_str().expect("plain words");
    harness(&["bench", "--manifest", manifest, "--workload", "closed-1", "--plan", "quick"])
        .assert()
        .code(1)
        .stdout(contains("closed-1: 0/s, p50 -, p99 - (faulty)"));
}

fn a_percentile_of_few_samples_is_a_dash_and_a_small_rate_has_its_fraction() {
    let server = known("delay:20ms");
    let few = ["--connections", "1", "--duration", "200ms"];
    let one = loaded(server.address, &few);
    let latency = &one["latency_sent_ns"];
    assert!((1..20).contains(&number(&latency["count"])) && latency["p50"].is_null(), "{one}");
    assert!(number(&latency["max"]) >= 20_000_000, "{one}");
    load(server.address, &few).assert().success().stdout(
        contains("latency      p50 -, p90 -, p99 -, p99.9 -, max ").and(contains("max -").not()),
    );
    // It is due in the middle of a pause, or not at all.
    load(server.address, &["--rate", "0.5", "--duration", "100ms"])
        .assert()
        .stdout(contains("due          0.5 requests/s\n"));
}

/// An echo that closes each connection after so many lines.
fn closes_after(lines: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    // It ends with the tests.
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

fn a_run_that_ends_early_says_how_long_it_measured_and_why() {
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

fn a_generator_that_was_stopped_is_to_blame_and_the_run_is_not_valid() {
    // Longer than a reply is waited for (5 s): one that came meanwhile is not overdue.
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
        assert_ne!(one["verdict"], "valid");
        assert!(number(&one["lost"]["longest_gap_ns"]) >= 1_000_000_000, "{one}");
        assert_eq!(occurred(&one["connections"]), [("answered", 1)], "{one}");
        assert_eq!(number(&one["outcomes"]["timed_out"]), 0, "{one}");
    }
}

fn a_reply_that_is_wrong_or_lost_has_an_outcome_and_no_latency() {
    for (answer, outcome) in [("wrong:1000", "wrong_reply"), ("lost:1000", "timed_out")] {
        let server = known(answer);
        let one = loaded(server.address, &["--connections", "2", "--duration", "1s"]);
        let outcomes = &one["outcomes"];
        let (answered, in_flight) = (number(&outcomes["answered"]), &outcomes["in_flight"]);
        assert!(number(&outcomes[outcome]) + number(in_flight) > 0, "{answer}: {one}");
        assert_eq!(number(&one["latency_sent_ns"]["count"]), answered, "{answer}");
        // What is in flight at the end is not left out: that would be the slowest.
        let with_ages = answered + number(in_flight);
        assert_eq!(number(&one["latency_intended_ns"]["count"]), with_ages, "{answer}");
        // What is in flight may have been answered yet.
        assert!(one["verdict"] == "faulty" || number(&outcomes[outcome]) == 0, "{answer}: {one}");
    }
}

fn an_open_loop_sees_a_freeze_in_its_p99_and_a_closed_loop_only_in_its_longest_latency() {
    const HALF_A_SECOND: u64 = 500_000_000;
    let server = known("freeze:1s,4s");
    // A p99 takes a thousand requests.
    let flags = ["--connections", "1", "--duration", "4s"];
    let open = loaded(server.address, &[&flags[..], &["--rate", "500"]].concat());
    assert!(number(&open["latency_intended_ns"]["p99"]) >= HALF_A_SECOND, "{open}");
    let closed = loaded(server.address, &flags);
    let latency = &closed["latency_sent_ns"];
    assert!(number(&latency["max"]) >= HALF_A_SECOND, "{closed}");
    assert!(number(&latency["p99"]) < HALF_A_SECOND, "{closed}");
}

/// An echo for one client, which counts the bytes.
fn counting_echo() -> (SocketAddr, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let counter = Arc::new(AtomicU64::new(0));
    let bytes = Arc::clone(&counter);
    // It ends with its client.
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

fn ctrl_c_ends_a_run_with_exit_code_130_and_what_was_measured_is_written() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.json");
    // In short intervals, which leave no pause in which nothing comes.
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

fn a_histogram_log_begins_with_its_header_and_has_every_latency_in_a_line_of_its_interval() {
    let server = known("echo");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("load.hlog");
    let path = file.to_str().expect("plain words");
    for (flags, tags) in [(&[][..], &["sent"][..]), (&["--rate", "1000"], &["intended", "sent"])] {
        let one = loaded(server.address, &[flags, &["--histogram-log", path]].concat());
        let log = std::fs::read(&file).expect("a log");
        assert!(log.starts_with(b"#[Histogram log format version 1.3]\n"));
        let (mut lines, mut latencies) = (0, 0);
        for entry in IntervalLogIterator::new(&log) {
            if let LogEntry::Interval(line) = entry.expect("a line of the format") {
                assert!(tags.contains(&line.tag().expect("a tag").as_str()));
                lines += 1;
                latencies += histogram(line.encoded_histogram()).len();
            }
        }
        // Those that came after the end, too.
        assert_eq!(latencies, tags.len() as u64 * all_answered(&one));
        // A machine that is held up may skip some, and has one more for what came after the end.
        assert!((tags.len()..=11 * tags.len()).contains(&lines), "{lines} lines; {one}");
    }
}

/// A histogram as a log has it: compressed, in Base64 (RFC 4648).
fn histogram(encoded: &str) -> Histogram<u64> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    for letters in encoded.trim_end_matches('=').as_bytes().chunks(4) {
        let value = |letter: u8| LETTERS.iter().position(|it| *it == letter).expect("Base64");
        let bits = letters.iter().fold(0, |bits, &letter| bits << 6 | value(letter) as u32);
        let left = bits << (6 * (4 - letters.len()));
        bytes.extend_from_slice(&left.to_be_bytes()[1..letters.len()]);
    }
    Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram")
}

/// A closed loop of one connection on a server that was launched.
fn measured(server: &Server, warm_up: Duration, duration: Duration) -> (Measurement, Ran) {
    let never = AtomicBool::new(false);
    let plan = Plan { warm_up, duration, held: 0, is_short: false };
    let measuring = Measuring::usual(plan, 1, &never);
    let pace = ArrivalProcess::Closed { depth: 1 };
    let group = Group { exchanges: exchanges(Service::Echo), connections: 1, pace };
    let placement = Placement::find(Pin::None, 1).expect("a set");
    let demand = LoadSpec::new(server.address, group, 1);
    load::load(Some(server), &demand, "closed", &measuring, &placement).expect("a run")
}

fn no_request_is_charged_with_what_the_server_did_for_those_of_the_warm_up() {
    let server = known("slower:0");
    let (one, ran) = measured(&server, Duration::from_millis(500), Duration::from_millis(20));
    let each = one.server_cpu_ns_per_request().expect("it is known");
    let used = cpu_used(&server.process.tree()).total.as_nanos() as u64;
    // It is rounded to whole nanoseconds.
    assert!(each > 0 && (each - 1) * ran.answered_in_all <= used, "{each} ns each of {used}");
}

fn switches_of_threads_that_end_with_their_clients_are_counted() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let server = servers::servers().find(|it| it.to_string() == "thread-per-connection-echo");
    let spec = LaunchSpec::builtin(&launcher, &server.expect("it is there"), &Limits::default());
    let server = launcher.launch(&spec.expect("it runs here")).expect("it listens");
    let time = Duration::from_millis(100);
    let (one, _) = measured(&server, time, time);
    let side = one.server.expect("it was launched here");
    // Its thread waits for each request.
    let switches = side.voluntary_switches_per_request;
    assert!(switches.is_some_and(|each| each > 0.1), "{side:?}");
}

fn ctrl_c_in_the_middle_of_comparisons_leaves_those_that_were_finished() {
    let mut child = common::harness()
        .args(["bench", "select-echo", "poll-echo", "--against", "epoll-level-echo", "--json"])
        .args(["--duration", "300ms", "--launches", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the harness starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    assert!(lines.any(|line| line.expect("words").starts_with("select-echo against")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("a signal");
    lines.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let all: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&all[0]["server"], &all[0]["partial"]), (&"select-echo".into(), &false.into()));
}

fn a_precision_that_is_not_reached_makes_a_run_longer_and_is_said() {
    let server = known("delay:5ms");
    let unlikely = ["--precision", "0.0001", "--extend", "3"];
    let one = loaded(server.address, &unlikely);
    let reasons = one["caveats"].to_string();
    assert!(reasons.contains("the p99 is") && reasons.contains("±0.0 %"), "{one}");
    assert!(number(&one["duration_ms"]) >= 3 * 300 - 10, "{one}");
}

fn bad_usage_is_told_with_what_is_right() {
    let address = "127.0.0.1:1";
    let rows: &[(&[&str], &str)] = &[
        (&["load", "127.0.0.1"], "write HOST:PORT, such as 127.0.0.1:8080"),
        (&["load", address, "--rate", "0"], "a number of requests per second"),
        (&["load", address, "--depth", "2", "--rate", "100"], "cannot be used with '--rate"),
        (&["load", address, "--arrivals", "poisson"], "--rate"),
        (&["load", address, "--depth", "257"], "1..=256"),
        (&["load", address, "--connections", "0"], "from 1 up"),
        (&["load", address, "--precision", "nothing"], "a percentage, such as 5"),
        (&["load", address, "--extend", "2"], "--precision"),
        (&["load", address, "--json=/proc/no/such"], "name another file"),
        (&["load", address, "--histogram-log", "/proc/no/such"], "name another file"),
        (&["bench", "select", "--workload", "nonsense"], "harness list workloads"),
        (&["bench", "select5"], "choose iterative"),
    ];
    for (arguments, words) in rows {
        harness(arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

fn all_arrivals_threads_pinnings_and_depths_are_answered() {
    let server = known("echo");
    let rows: &[&[&str]] = &[
        &["--rate", "500", "--arrivals", "constant"],
        &["--rate", "500", "--arrivals", "poisson"],
        &["--rate", "500", "--threads", "2"],
        &["--threads", "2"],
        // Each has at least one connection.
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
    assert_eq!((&wrong["verdict"], &wrong["outcomes"]["answered"]), (&"faulty".into(), &0.into()));
}

/// The servers of a bench, as its document has them.
fn benched(arguments: &[&str]) -> Vec<Value> {
    let mut command = harness(&["bench", "--plan", "quick", "--seed", "1", "--json"]);
    let output = command.args(["--warm-up", "50ms"]).args(arguments).assert().success();
    serde_json::from_slice(&output.get_output().stdout).expect("a list")
}

fn a_bench_measures_under_the_workloads_that_are_named() {
    let churn = benched(&["select-echo", "--workload", "churn", "--duration", "200ms"]);
    let one = &churn[0]["measurements"][0];
    assert_eq!((&churn[0]["server"], &one["workload"]), (&"select-echo".into(), &"churn".into()));
    assert_eq!(churn[0]["measurements"].as_array().map(Vec::len), Some(1));
    // Each request has a connection of its own, and one may be cut at the end.
    let answered = all_answered(one);
    assert!(number(&one["connections"]["answered"]) >= answered, "{one}");

    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().to_str().expect("plain words");
    harness(&["bench", "server1", "--workload", "closed-", "--output", output])
        .args(["--duration", "100ms", "--warm-up", "10ms"])
        .assert()
        .success()
        .stdout(starts_with("iterative-refuse-calc closed-1: ").and(contains("report: ")));
    let report = read(&folder.path().join("report.json"));
    assert_eq!(report["complete"], true);
    assert_eq!(report["servers"][0]["measurements"].as_array().map(Vec::len), Some(1));
}

fn a_bench_that_measured_nothing_fails_and_says_why() {
    let one_at_a_time =
        "iterative-refuse-calc not measured: closed-64: it serves one client at a time";
    harness(&["bench", "server1", "--workload", "closed-64"])
        .assert()
        .code(2)
        .stdout(contains(one_at_a_time))
        .stderr(contains("nothing was measured: iterative-refuse-calc: closed-64: it serves one"));
    // A server that is measured beside it does not hide the reason.
    let both = ["bench", "server1", "select", "--workload", "closed-64", "--duration", "50ms"];
    harness(&both).args(["--warm-up", "10ms"]).assert().success().stdout(contains(one_at_a_time));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("servers.toml");
    let entry = "[[server]]\nname = \"absent\"\ncommand = \"/no/such/program {host} {port}\"\n";
    std::fs::write(&file, entry).expect("a file");
    harness(&["bench", "--manifest", file.to_str().expect("plain words")])
        .assert()
        .code(3)
        .stderr(contains("none of the servers can be run here"));
}

fn every_workload_is_answered_by_a_server_that_it_suits_and_rightly() {
    let all = benched(&["epoll-level-calc", "epoll-level-echo", "--duration", "150ms"]);
    let refusal = ["server1", "--workload", "refusal", "--duration", "150ms"];
    let measured: Vec<&Value> = Vec::new();
    let all: Vec<Value> = all.into_iter().chain(benched(&refusal)).collect();
    let measured = all.iter().fold(measured, |mut measured, server| {
        assert_eq!(server["problem"], Value::Null, "{}", server["server"]);
        measured.extend(server["measurements"].as_array().expect("them"));
        measured
    });
    for workload in WORKLOADS {
        let mut of_it = measured.iter().filter(|one| one["workload"] == workload.name).peekable();
        assert!(of_it.peek().is_some(), "{} is not measured: {all:?}", workload.name);
        for one in of_it {
            let outcomes = &one["outcomes"];
            assert!(number(&outcomes["answered"]) > 0, "{one}");
            assert_eq!((number(&outcomes["wrong_reply"]), &one["partial"]), (0, &false.into()));
        }
    }
}

/// How often something is tried that a machine may be too busy for.
const TRIES: usize = 3;

fn the_engine_finds_what_is_predicted_of_servers_whose_answers_are_known() {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let off = |trial: &Trial| -> Vec<Compared> {
        let made = trial.run(&launcher, Rigour::SHORT, &AtomicBool::new(false));
        made.expect(trial.name).into_iter().filter(|one| !one.is_right).collect()
    };
    for trial in TRIALS {
        let wrong: Vec<_> =
            (0..TRIES).map(|_| off(trial)).take_while(|it| !it.is_empty()).collect();
        assert!(wrong.len() < TRIES, "{wrong:#?}");
    }
}
