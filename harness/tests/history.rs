//! `harness history`: appending runs to a history file, and trends over its runs.

use std::path::Path;
use std::process::Command as Process;

use assert_cmd::Command;
use harness::results::{IdleConnectionCost, Measurement, Report, ServerResult};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::common::{self, DEADLINE, tests};
use crate::reports::sample;

tests![
    a_run_is_one_line_with_the_documented_fields_and_is_appended_once,
    a_run_of_another_commit_or_machine_is_another_run,
    an_incomplete_line_is_an_error_with_file_and_line_and_nothing_is_appended,
    a_failed_append_leaves_the_file_as_it_was,
    a_last_line_without_a_line_feed_is_kept_apart_from_the_next,
    trends_have_a_sparkline_for_each_server_and_workload_newest_last,
    runs_of_different_machines_are_joined_only_on_request,
    trends_are_limited_to_servers_and_workloads,
    a_file_that_is_no_history_or_no_report_is_a_usage_error,
];

fn history(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(DEADLINE).arg("history").args(arguments);
    command
}

/// Returns the report of a run that started at this second, with this throughput and p99.
fn run(second: u32, throughput: f64, p99_ns: u64) -> Report {
    let measurement = |workload: &str| {
        let mut measurement = sample::measurement(workload, 8, throughput);
        measurement.latency_intended_ns.p99 = Some(p99_ns);
        measurement
    };
    let measurements = vec![measurement("closed-8"), measurement("churn")];
    let one = ServerResult { measurements, ..sample::server("one-echo", Vec::new()) };
    let two = ServerResult {
        measurements: vec![measurement("closed-8")],
        ..sample::server("two-echo", Vec::new())
    };
    let mut report = Report { servers: vec![one, two], ..sample::report() };
    report.environment.started_at = format!("2026-01-02T03:04:{second:02}Z");
    report
}

fn write(folder: &Path, name: &str, report: &Report) -> String {
    let file = folder.join(name);
    std::fs::write(&file, serde_json::to_string(report).expect("JSON")).expect("a file");
    path(&file)
}

fn path(file: &Path) -> String {
    file.to_str().expect("a UTF-8 path").to_owned()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(file).expect("a readable file")
}

/// Appends runs to a new history, and returns its path.
fn appended(folder: &Path, reports: &[Report]) -> String {
    let history_file = path(&folder.join("history.jsonl"));
    let write = |(at, report)| write(folder, &format!("run-{at}.json"), report);
    let files: Vec<String> = reports.iter().enumerate().map(write).collect();
    history(&[&history_file]).args(files).assert().code(0);
    history_file
}

fn a_run_is_one_line_with_the_documented_fields_and_is_appended_once() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = sample::report();
    let file = write(folder.path(), "report.json", &report);
    let history_file = path(&folder.path().join("history.jsonl"));
    history(&[&history_file, &file]).assert().code(0).stdout(contains("appended the run of 2026"));
    let text = read(&history_file);
    assert_eq!((text.lines().count(), text.ends_with('\n')), (1, true));
    // The directory of the report names the same run.
    history(&[&history_file, &path(folder.path()), &file])
        .assert()
        .code(0)
        .stdout(contains("has the run of 2026-01-02T03:04:05Z already"));
    assert_eq!(read(&history_file), text);
    let line: Value = serde_json::from_str(&text).expect("JSON");
    let keys = |value: &Value| -> Vec<String> {
        value.as_object().expect("an object").keys().cloned().collect()
    };
    let docs = include_str!("../../docs/compare.md");
    let server = &line["servers"][0];
    for object in [&line, &line["machine"], server, &server["workloads"][0]] {
        for key in keys(object) {
            assert!(docs.contains(&format!("`{key}`")), "docs/compare.md does not have `{key}`");
        }
    }
    assert_eq!(line["started_at"], "2026-01-02T03:04:05Z");
    assert_eq!(line["machine"]["memory_mib"], 24_000);
    assert_eq!([&server["passed"], &server["failed"]], [1, 1]);
    let workload = &server["workloads"][0];
    assert_eq!((&workload["name"], &workload["runs"]), (&"closed-1".into(), &3.into()));
    assert_eq!(workload["p99_ns"], 120_000);
    assert_eq!(workload["server_cpu_ns_per_request"], 11_400);
    // The server that could not run has no entry.
    assert_eq!(line["servers"].as_array().map(Vec::len), Some(2));
    let idle = &line["servers"][1]["workloads"][3];
    assert_eq!(idle["memory_per_connection_bytes"], 1_234);
}

fn a_run_of_another_commit_or_machine_is_another_run() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let first = run(1, 1e4, 1_000_000);
    let mut commit = first.clone();
    commit.environment.commit = Some("feed".to_owned());
    let mut machine = first.clone();
    machine.environment.cpus = 64;
    let mut seed = first.clone();
    seed.seed = 8;
    let history_file = appended(folder.path(), &[first, commit, machine, seed]);
    assert_eq!(read(&history_file).lines().count(), 3);
}

fn an_incomplete_line_is_an_error_with_file_and_line_and_nothing_is_appended() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let history_file = appended(folder.path(), &[run(1, 1e4, 1_000_000)]);
    let line = read(&history_file);
    let next = write(folder.path(), "next.json", &run(2, 1e4, 1_000_000));
    // A character of two bytes is cut in the middle.
    for broken in [&line.as_bytes()[..line.len() / 2], &b"{\"format\": 1, \"plan\": \"\xc3"[..]] {
        let content = [line.as_bytes(), broken].concat();
        std::fs::write(&history_file, &content).expect("a file");
        for arguments in [vec![history_file.as_str()], vec![&history_file, &next]] {
            history(&arguments)
                .assert()
                .code(2)
                .stdout("")
                .stderr(contains(format!("{history_file}, line 2 is not a run of a history")))
                .stderr(contains("correct or remove the line"));
        }
        assert_eq!(std::fs::read(&history_file).expect("a file"), content);
    }
    // Without the line, the history is complete again.
    std::fs::write(&history_file, &line).expect("a file");
    history(&[&history_file, &next]).assert().code(0);
    assert_eq!(read(&history_file).lines().next(), line.lines().next());
}

fn a_failed_append_leaves_the_file_as_it_was() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let history_file = appended(folder.path(), &[run(1, 1e4, 1_000_000), run(2, 1e4, 1_000_000)]);
    let before = read(&history_file);
    // The limit of the file size, in units of 512 bytes, permits only a part of the next line.
    let limit = before.len() / 512 + 1;
    let next = write(folder.path(), "next.json", &run(3, 1e4, 1_000_000));
    assert!(limit * 512 - before.len() < before.len() / 2, "the next line fits");
    let script = format!("trap '' XFSZ; ulimit -f {limit}; exec \"$0\" history \"$1\" \"$2\"");
    let output = Process::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_harness"), &history_file, &next])
        .output()
        .expect("a shell");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(errors.contains("the file is unchanged"), "{errors}");
    assert_eq!(read(&history_file), before);
    history(&[&history_file, &next]).assert().code(0);
    assert!(read(&history_file).starts_with(&before));
}

fn a_last_line_without_a_line_feed_is_kept_apart_from_the_next() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let history_file = appended(folder.path(), &[run(1, 1e4, 1_000_000)]);
    std::fs::write(&history_file, read(&history_file).trim_end()).expect("a file");
    appended(folder.path(), &[run(2, 1e4, 1_000_000)]);
    assert_eq!(read(&history_file).lines().count(), 2);
    history(&[&history_file]).assert().code(0).stdout(contains("2 runs"));
}

fn trends_have_a_sparkline_for_each_server_and_workload_newest_last() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let bytes = |second: u32, memory_per_connection_bytes| {
        let mut report = run(second, f64::from(second) * 1e4, u64::from(9 - second) * 1_000_000);
        let cost = IdleConnectionCost {
            memory_per_connection_bytes,
            connected_in_ms: 1,
            growth: Vec::new(),
        };
        report.servers[0].measurements.push(Measurement {
            idle_connections: Some(cost),
            ..sample::measurement("idle-memory", 1000, 1.0)
        });
        report
    };
    // The newest run has too few requests for a p99.
    let mut without = bytes(8, 4000);
    without.servers[1].measurements[0].latency_intended_ns.p99 = None;
    // The lines are not in the order of the runs.
    let history_file = appended(folder.path(), &[without, bytes(1, 2000), bytes(2, 2000)]);
    let text = history(&[&history_file]).assert().code(0);
    let text = String::from_utf8_lossy(&text.get_output().stdout).into_owned();
    let expected = "\
A Processor, 2 CPUs, Linux 6.18, release build: 3 runs, 2026-01-02T03:04:01Z to 2026-01-02T03:04:08Z
  one-echo  closed-8     throughput ▁▂█  80,000/s (10,000/s to 80,000/s)
                         p99        █▇▁  1.00 ms (1.00 ms to 8.00 ms)
  one-echo  churn        throughput ▁▂█  80,000/s (10,000/s to 80,000/s)
                         p99        █▇▁  1.00 ms (1.00 ms to 8.00 ms)
  one-echo  idle-memory  memory     ▁▁█  4,000 bytes (2,000 bytes to 4,000 bytes)
  two-echo  closed-8     throughput ▁▂█  80,000/s (10,000/s to 80,000/s)
                         p99        █▁·  - (7.00 ms to 8.00 ms)
";
    assert_eq!(text, expected);
}

fn runs_of_different_machines_are_joined_only_on_request() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [mut kernel, mut build] = [2, 3].map(|second| run(second, 2e4, 1_000_000));
    kernel.environment.kernel = "Linux 9.9".to_owned();
    build.environment.build = "debug".to_owned();
    let runs = [run(1, 1e4, 1_000_000), kernel, build, run(4, 3e4, 1_000_000)];
    let history_file = appended(folder.path(), &runs);
    let separate = history(&[&history_file]).assert().code(0);
    separate
        .stdout(contains("Linux 6.18, release build: 2 runs"))
        .stdout(contains("Linux 9.9, release build: 1 run,"))
        .stdout(contains("debug build: 1 run,").and(contains("note:").not()))
        .stdout(contains("▁█  30,000/s"));
    history(&[&history_file, "--allow-different-machines"])
        .assert()
        .code(0)
        .stdout(contains("4 runs").and(contains("note: the runs are of different machines")))
        .stdout(contains("Linux 9.9, release build"))
        .stdout(contains("▁▅▅█  30,000/s"));
}

fn trends_are_limited_to_servers_and_workloads() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let history_file = appended(folder.path(), &[run(1, 1e4, 1_000_000)]);
    history(&[&history_file, "--server", "one-echo", "--workload", "chu"])
        .assert()
        .code(0)
        .stdout(contains("churn").and(contains("two-echo").not()).and(contains("closed-8").not()));
    for nothing in [["--server", "one"], ["--workload", "open"]] {
        history(&[&history_file]).args(nothing).assert().code(2).stderr(contains("no run in"));
    }
}

fn a_file_that_is_no_history_or_no_report_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = write(folder.path(), "report.json", &run(1, 1e4, 1_000_000));
    let mut unfinished = run(2, 1e4, 1_000_000);
    unfinished.complete = false;
    let unfinished = write(folder.path(), "unfinished.json", &unfinished);
    let new = path(&folder.path().join("new.jsonl"));
    let future = path(&folder.path().join("future.jsonl"));
    std::fs::write(&future, "{\"format\": 99}\n").expect("a file");
    let directory = path(folder.path());
    for (arguments, words) in [
        (vec![new.as_str()], "cannot read the history"),
        (vec![&directory], "not a regular file"),
        (vec![&report], "line 1 "),
        (vec![&future], "line 1 has format 99"),
        (vec![&new, "/no/such/report.json"], "cannot read /no/such/report.json"),
        (vec![&new, &unfinished], "interrupted run"),
    ] {
        history(&arguments).assert().code(2).stdout("").stderr(contains(words));
        assert!(!Path::new(&new).exists(), "{arguments:?}");
    }
}
