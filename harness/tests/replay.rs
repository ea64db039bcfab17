//! Counterexamples: small, in files that fail again on the server that failed and pass on a right
//! one.

pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::Test;

/// A fault; the case that finds it; how; how large the counterexample is at the most (the steps of
/// a schedule, the letters of a line, the cuts in a stream), with room for a slow machine, which
/// tries fewer; a word of what is seen.
type Row = (&'static str, &'static str, &'static str, usize, &'static str);

const FAULTS: &[Row] = &[
    ("is-for-ascii", "results/echo-is-identical", "ok", 8, "?"),
    ("dies", "results/echo-is-identical", "crash", 8, "exit code 9"),
    ("hangs", "results/echo-is-identical", "hang", 8, "silence"),
    ("serves-all", "isolation/schedules", "ok", 12, "it is served"),
    ("one-buffer", "isolation/schedules", "ok", 12, "client 2"),
    ("keeps-places-of-unfinished-requests", "isolation/schedules", "hang", 12, "again and again"),
    ("answers-one-request-a-read", "framing/random-cuts", "hang", 4, "silence"),
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |name: &str, test: fn()| {
        Test::new(name, move || {
            test();
            Ok(())
        })
    };
    let mut tests: Vec<Test> = FAULTS
        .iter()
        .map(|row| {
            let name = format!("a_server_with_the_fault::{}::has_a_small_counterexample", row.0);
            Test::new(name, || {
                has_a_small_counterexample(row);
                Ok(())
            })
        })
        .collect();
    tests.extend([
        test("a_right_server_has_no_counterexample", a_right_server_has_no_counterexample),
        test("what_failed_once_and_not_again_is_told_so", what_failed_once_is_told_so),
        test("a_report_has_its_counterexamples_with_it", a_report_has_them_with_it),
        test("a_bad_file_is_told_by_its_name_and_place", a_bad_file_is_told),
    ]);
    tests
}

fn has_a_small_counterexample(row: &Row) {
    let (fault, case, state, most, words) = *row;
    let folder = folder();
    let output = harness(&folder, &check(fault, &["--case", case, "--seed", "7", "--json"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a document");
    let found = &document["cases"][0];
    assert_eq!((&found["verdict"], &found["state"]), (&json!("fail"), &json!(state)), "{found}");
    assert!(found["observed"].as_str().expect("words").contains(words), "{}", found["observed"]);
    let size = match &found["counterexample"] {
        Value::String(line) => line.chars().count(),
        Value::Array(steps) => steps.len(),
        stream => stream["cuts"].as_array().expect("cuts").len(),
    };
    // Each try of what hangs costs patience: how small it gets depends on the machine.
    assert!(size <= most || state == "hang", "{size}: {}", found["observed"]);

    let replay = shlex::split(found["replay"].as_str().expect("a command")).expect("shell words");
    assert_eq!(replay[..2], ["harness", "replay"]);
    let again = harness(&folder, &replay[1..]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stdout));
    assert!(text(&again.stdout).contains(words), "{}", text(&again.stdout));
    let right = [&replay[1..], &of("none")].concat();
    let elsewhere = harness(&folder, &right);
    assert_eq!(elsewhere.status.code(), Some(0), "{}", text(&elsewhere.stdout));
    let built_in = harness(&folder, &[&replay[1..], &["select-echo".to_owned()]].concat());
    assert_eq!(built_in.status.code(), Some(0), "{}", text(&built_in.stdout));
}

fn a_right_server_has_no_counterexample() {
    let folder = folder();
    for case in ["results/", "isolation/", "framing/random-cuts"] {
        let output = harness(&folder, &check("none", &["--case", case]));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    }
    assert!(!folder.path().join("replays").exists(), "nothing is written where nothing failed");
}

fn what_failed_once_is_told_so() {
    let folder = folder();
    let fault = format!("errs-once={}", folder.path().join("done").display());
    let output = harness(&folder, &check(&fault, &["--case", "results/echo-is-identical"]));
    assert_eq!(output.status.code(), Some(1));
    let words = text(&output.stdout);
    assert!(words.contains("(it failed once and not again)"), "{words}");
    let again = harness(&folder, &["replay".to_owned(), only_file(&folder, "replays")]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
}

fn a_report_has_them_with_it() {
    let folder = folder();
    let flags = ["--case", "results/echo-is-identical", "--output", "report"];
    let output = harness(&folder, &check("is-for-ascii", &flags));
    assert_eq!(output.status.code(), Some(1));
    let file = only_file(&folder, "report/replays");
    let summary = std::fs::read_to_string(folder.path().join("report/summary.md")).expect("it");
    assert!(summary.contains(&format!("harness replay {file}")), "{summary}");
    assert!(!folder.path().join("replays").exists(), "it is in one place only");
}

fn a_bad_file_is_told() {
    let folder = folder();
    let good = json!({
        "format": 1,
        "server": "select-echo",
        "check": "select-echo",
        "case": "results/echo-is-identical",
        "seed": 7,
        "counterexample": "x",
    });
    let with = |key: &str, value: Value| {
        let mut file = good.clone();
        file[key] = value;
        file.to_string()
    };
    let mut short = good.clone();
    short.as_object_mut().expect("an object").remove("seed");
    for (content, code, words) in [
        (good.to_string(), 0, ""),
        (String::new(), 2, "line 1 column 0"),
        ("{\n  \"format\": 1,\n  oops".to_owned(), 2, "line 3 column 3"),
        (short.to_string(), 2, "`seed`"),
        (with("format", json!(2)), 2, "format 2"),
        (with("case", json!("results/none")), 2, "`results/none`"),
        (with("case", json!("framing/single")), 2, "draws nothing"),
        (with("more", json!(1)), 2, "`more`"),
        (with("check", json!("nobody")), 2, "nobody"),
        (with("check", json!("")), 2, "`check`"),
        (with("check", json!("'x")), 2, "quote"),
        (with("counterexample", json!([1, 2])), 2, "counterexample"),
        (with("counterexample", json!("\u{100}")), 2, "counterexample"),
    ] {
        std::fs::write(folder.path().join("file.json"), &content).expect("a file");
        let output = harness(&folder, &["replay", "file.json"].map(str::to_owned));
        assert_eq!(output.status.code(), Some(code), "{content}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{content}: {}", text(&output.stderr));
    }
    let output = harness(&folder, &["replay", "none.json"].map(str::to_owned));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("none.json"), "{}", text(&output.stderr));
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// How a server with that fault is named to the harness.
fn of(fault: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("this program");
    let command = format!("'{}' replay '{fault}' {{port}}", program.display());
    let flags = ["--service", "echo", "--capacity", "3", "--when-full", "busy", "--timeout", "2s"];
    ["--cmd", &command].into_iter().chain(flags).map(str::to_owned).collect()
}

fn check(fault: &str, flags: &[&str]) -> Vec<String> {
    let flags = flags.iter().map(|&flag| flag.to_owned());
    std::iter::once("check".to_owned()).chain(of(fault)).chain(flags).collect()
}

fn harness(folder: &TempDir, words: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(words).current_dir(folder).output().expect("the harness runs")
}

/// The one file in a folder, as it is named from the test's.
fn only_file(folder: &TempDir, inner: &str) -> String {
    let entries = std::fs::read_dir(folder.path().join(inner)).expect("the folder is there");
    let files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].file_name().expect("a name");
    Path::new(inner).join(name).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
