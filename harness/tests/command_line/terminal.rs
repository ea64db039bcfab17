//! Output on a terminal and without one: progress, colour, the order of results, `--quiet`,
//! `--fail-fast`, Ctrl-C.

use std::path::Path;
use std::process;

use super::*;
use crate::common::terminal::InTerminal;

/// The control sequence with which a line of progress is replaced.
const REDRAWN: &str = "\x1b[2K";

/// `pass` in green.
const GREEN_PASS: &str = "\x1b[32mpass\x1b[0m";

/// Returns a command for a terminal with colour.
fn on_terminal(arguments: &[&str]) -> process::Command {
    let mut command = common::harness();
    command.args(arguments).env("TERM", "xterm");
    command.env_remove("NO_COLOR").env_remove("GITHUB_ACTIONS");
    command
}

/// A benchmark that ends only when it is interrupted.
const BENCH: [&str; 6] = ["bench", "select-echo", "--workload", "closed-1", "--duration", "10m"];

/// A check with one case, which passes.
const ONE_CASE: [&str; 4] = ["check", "server1", "--case", "framing/single"];

/// Arguments of a check of a server with a wrong reply to each second request of a connection.
fn wrong_replies() -> [String; 5] {
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' known wrong:2 {{host}} {{port}}");
    ["check", "--service", "echo", "--cmd", &command].map(str::to_owned)
}

fn read_report(folder: &Path) -> serde_json::Value {
    let text = std::fs::read(folder.join("report.json")).expect("a readable file");
    serde_json::from_slice(&text).expect("a JSON document")
}

pub(super) fn a_terminal_shows_a_bar_with_counts_and_the_time_left() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().display().to_string();
    let check = on_terminal(&["check", "select", "--output", &report]);
    let (status, output) = InTerminal::start(check).wait();
    assert_eq!(status.code(), Some(0), "{output}");
    let cases = harness::conformance::cases().count();
    for text in [REDRAWN, &format!("{cases}/{cases} "), " passed, 0 failed", GREEN_PASS] {
        assert!(output.contains(text), "no {text:?} in {output}");
    }
    let summary = std::fs::read_to_string(folder.path().join("summary.md")).expect("a file");
    assert!(!summary.contains('\x1b'), "a file has colour");
    let bench = InTerminal::start(on_terminal(&BENCH));
    bench.wait_until_shown(&["0/1 ", "about 10 min left", "select-echo under closed-1"]);
    bench.interrupt();
    let (status, output) = bench.wait();
    assert_eq!(status.code(), Some(130));
    assert!(output.contains("interrupted; no report was kept: add --output DIR"), "{output}");
}

pub(super) fn colour_depends_on_the_flag_the_environment_and_the_terminal() {
    let has_colour = |command: process::Command| {
        let (status, output) = InTerminal::start(command).wait();
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains("pass"), "{output}");
        output.contains(GREEN_PASS)
    };
    assert!(has_colour(on_terminal(&ONE_CASE)));
    for (variable, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let mut command = on_terminal(&ONE_CASE);
        command.env(variable, value);
        assert!(!has_colour(command), "{variable}={value}");
    }
    let mut command = on_terminal(&ONE_CASE);
    command.env("NO_COLOR", "");
    assert!(has_colour(command), "an empty NO_COLOR has no effect");
    assert!(!has_colour(on_terminal(&[&ONE_CASE[..], &["--color=never"]].concat())));
    // Without a terminal, there is neither colour nor a bar.
    let plain = harness().args(ONE_CASE).assert().success();
    let plain = plain.get_output();
    assert!(!plain.stdout.contains(&0x1b) && plain.stderr.is_empty(), "{plain:?}");
    harness().args(ONE_CASE).arg("--color=always").assert().success().stdout(contains(GREEN_PASS));
}

pub(super) fn without_cursor_control_only_lines_are_printed() {
    for (variable, value) in [("TERM", "dumb"), ("GITHUB_ACTIONS", "true")] {
        let mut command = on_terminal(&ONE_CASE);
        command.env(variable, value);
        let (_, output) = InTerminal::start(command).wait();
        assert!(!output.contains(REDRAWN), "{variable}: {output}");
    }
}

pub(super) fn quiet_prints_only_failures_and_the_summary() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let mut check = on_terminal(&[]);
    check.args(wrong_replies()).args(["--case", "framing/single", "--quiet"]);
    check.args(["--case", "results/echo-is-identical", "--counterexamples"]).arg(folder.path());
    check.arg("--output").arg(folder.path());
    let (status, output) = InTerminal::start(check).wait();
    assert_eq!(status.code(), Some(1), "{output}");
    let lines: Vec<&str> = output.lines().filter(|line| !line.starts_with(' ')).collect();
    let [failure, verdicts, page] = lines.as_slice() else { panic!("{output}") };
    assert!(failure.contains("fail") && failure.contains("echo-is-identical"), "{output}");
    assert!(verdicts.starts_with("verdicts: ") && page.starts_with("report: "), "{output}");
    assert!(!output.contains(GREEN_PASS) && !output.contains(REDRAWN), "{output}");
    // Without a failure, only the summary is left.
    let summary = "verdicts: 1 passed, 0 failed\n";
    harness().args(ONE_CASE).arg("-q").assert().success().stdout(summary).stderr("");
}

pub(super) fn fail_fast_stops_a_check_after_the_first_failure() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    harness()
        .args(wrong_replies())
        .args(["--jobs", "1", "--fail-fast", "--output"])
        .arg(folder.path())
        .assert()
        .code(1)
        .stdout(contains("stopped after the first failure (--fail-fast)"));
    let report = read_report(folder.path());
    assert_eq!(report["complete"], false);
    let cases = report["servers"][0]["cases"].as_array().expect("cases");
    assert!(cases.len() < harness::conformance::cases().count(), "all cases were run");
    let failed = cases.iter().filter(|case| case["verdict"] == "fail").count();
    assert_eq!(failed, 1, "{cases:?}");
}

pub(super) fn fail_fast_stops_a_run_before_the_benchmarks_and_the_run_can_be_resumed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = |flags: &[&str]| {
        let mut command = harness();
        command.args(["run", "server1", "select", "--plan", "quick"]).args(flags);
        command.arg("--output").arg(folder.path());
        command
    };
    // Some cases do not apply to server1.
    run(&["--fail-on", "not-applicable", "--fail-fast"]).assert().code(1);
    let report = read_report(folder.path());
    assert_eq!(report["complete"], false);
    for server in report["servers"].as_array().expect("servers") {
        assert!(server["measurements"].as_array().is_none_or(Vec::is_empty), "{server}");
    }
    run(&["--fail-on", "none", "--resume"]).assert().code(0);
    let report = read_report(folder.path());
    let servers = report["servers"].as_array().expect("servers").iter();
    let counts: Vec<_> = servers.map(|it| it["cases"].as_array().map(Vec::len)).collect();
    assert_eq!(counts, [Some(harness::conformance::cases().count()); 2]);
}

pub(super) fn fail_fast_stops_a_benchmark_after_the_first_failure() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let manifest = folder.path().join("servers.toml");
    let program = env!("CARGO_BIN_EXE_harness");
    let server = |name: &str, command: &str| {
        format!("[[server]]\nname = \"{name}\"\nservice = \"echo\"\ncommand = \"{command}\"\n")
    };
    let echo = format!("'{program}' known echo {{host}} {{port}}");
    let servers = server("exits", "false {host} {port}") + &server("echo", &echo);
    std::fs::write(&manifest, servers).expect("a file");
    let report = folder.path().join("report");
    harness()
        .args(["bench", "--workload", "closed-1", "--duration", "100ms", "--fail-fast"])
        .arg("--manifest")
        .arg(&manifest)
        .arg("--output")
        .arg(&report)
        .assert()
        .code(1)
        .stdout(contains("stopped after the first failure"));
    let report = read_report(&report);
    assert_eq!(report["complete"], false);
    assert_eq!(report["servers"].as_array().map(Vec::len), Some(1), "{report}");
}

pub(super) fn results_are_printed_in_the_order_of_the_cases_and_servers() {
    let check = ["check", "select", "server1", "--seed", "11", "--jobs", "5"];
    let output = harness().args(check).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let is_case = |word: &&str| harness::conformance::cases().any(|case| case.name == *word);
    let name = |line: &str| {
        let mut words = line.split(' ').map(|word| word.trim_end_matches(':'));
        words.find(is_case).map(str::to_owned)
    };
    let names: Vec<String> =
        text.lines().filter(|line| !line.starts_with(' ')).filter_map(name).collect();
    let all = || harness::conformance::cases().map(|case| case.name.to_owned());
    let expected: Vec<String> = all().chain(all()).collect();
    assert_eq!(names, expected);
    // The first server takes longer than the second, but has the first line.
    let folder = tempfile::tempdir().expect("a temporary directory");
    let run = ["run", "server1", "poll", "--plan", "quick", "--fail-on", "none", "--output"];
    let output = harness().args(run).arg(folder.path()).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    let tested: Vec<&str> = text.lines().filter(|line| line.starts_with("tested ")).collect();
    let [first, second] = tested.as_slice() else { panic!("{text}") };
    assert!(first.contains("iterative-refuse-calc") && second.contains("poll-calc"), "{text}");
}

pub(super) fn an_interrupted_load_test_shows_live_figures_and_keeps_its_files() {
    let served = Served::start(&["select-echo", "127.0.0.1", "0"]);
    let address = served.address.to_string();
    let load = ["load", &address, "--duration", "10m", "--warm-up", "0s"];
    let shown = ["about 10 min left", "/s, p50 ", ", p99 ", ", 0 errors"];
    let interrupt = |flags: &[&str]| {
        let running = InTerminal::start(on_terminal(&[&load[..], flags].concat()));
        running.wait_until_shown(&shown);
        running.interrupt();
        let (status, output) = running.wait();
        assert_eq!(status.code(), Some(130), "{output}");
        output
    };
    let output = interrupt(&[]);
    assert!(output.contains("interrupted; no file was written"), "{output}");
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [json, log] =
        ["load.json", "load.hlog"].map(|name| folder.path().join(name).display().to_string());
    let output = interrupt(&[&format!("--json={json}"), &format!("--histogram-log={log}")]);
    assert!(output.contains(&format!("interrupted; partial results: {json}, {log}")), "{output}");
    let measurement = std::fs::read_to_string(&json).expect("a readable file");
    let measurement: serde_json::Value = serde_json::from_str(&measurement).expect("JSON");
    assert_eq!(measurement["partial"], true);
    assert!(std::fs::read_to_string(&log).is_ok_and(|text| text.lines().count() > 3));
}

pub(super) fn an_interrupted_command_says_what_it_kept() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report").display().to_string();
    let program = env!("CARGO_BIN_EXE_harness");
    let slow = format!("'{program}' known delay:500ms {{host}} {{port}}");
    let bench = [&BENCH[..], &["--output", &report]].concat();
    let rows: [(&[&str], &str, String); 4] = [
        (&bench, "under closed-1", format!("interrupted; partial results: {report}/index.html")),
        (&["selftest"], "delay, open loop", "interrupted; no file was written".to_owned()),
        (&["probe", "--cmd", &slow], "detecting", "interrupted; no results were kept".to_owned()),
        (&["check", "--cmd", &slow], "0/", "interrupted; no results were kept".to_owned()),
    ];
    for (arguments, shown, message) in rows {
        let running = InTerminal::start(on_terminal(arguments));
        running.wait_until_shown(&[shown]);
        running.interrupt();
        let (status, output) = running.wait();
        assert_eq!(status.code(), Some(130), "{arguments:?}: {output}");
        assert!(output.contains(&message), "{arguments:?}: {output}");
    }
    assert_eq!(read_report(Path::new(&report))["complete"], false);
}

pub(super) fn a_second_interrupt_ends_a_command_at_once() {
    // The generator waits for replies that never arrive, for 5 s each.
    let server = common::known("lost:1000");
    let address = server.address.to_string();
    let load = ["load", &address, "--duration", "10m", "--warm-up", "0s"];
    let running = InTerminal::start(on_terminal(&load));
    running.wait_until_shown(&[": 0/s, p50 -"]);
    let (status, output) = running.interrupt_until_exit();
    assert_eq!(status.code(), Some(130), "{output}");
    assert!(!output.contains("validity"), "the command waited for its results: {output}");
}
