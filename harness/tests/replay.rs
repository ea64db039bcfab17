//! Counterexamples are small. The replay of a counterexample file fails on the same server, and
//! passes on a correct server.

pub(crate) mod server;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::Test;

/// A fault, and the failure that it must cause.
struct Row {
    fault: &'static str,
    /// Case that detects the fault.
    case: &'static str,
    state: &'static str,
    /// Maximum size of the counterexample: steps of an interleaving of clients, characters of a line,
    /// or points at which a stream is split. Includes a margin, because a slow machine has less time
    /// to shrink.
    max_size: usize,
    /// Text that the observation contains.
    observed: &'static str,
}

const fn row(
    fault: &'static str,
    case: &'static str,
    state: &'static str,
    max_size: usize,
    observed: &'static str,
) -> Row {
    Row { fault, case, state, max_size, observed }
}

const FAULTS: &[Row] = &[
    row("is-for-ascii", "results/echo-is-identical", "completed", 8, "?"),
    row("dies", "results/echo-is-identical", "crash", 8, "exit code 9"),
    row("hangs", "results/echo-is-identical", "hang", 8, "no data"),
    row("serves-all", "isolation/schedules", "completed", 12, "it is served"),
    row("one-buffer", "isolation/schedules", "completed", 12, "client 2"),
    row(
        "keeps-slots-of-unfinished-requests",
        "isolation/schedules",
        "hang",
        12,
        "at every attempt until the timeout",
    ),
    row("answers-one-request-a-read", "framing/random-cuts", "hang", 4, "no data"),
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
            let name =
                format!("a_server_with_the_fault::{}::has_a_small_counterexample", row.fault);
            Test::new(name, || {
                has_a_small_counterexample(row);
                Ok(())
            })
        })
        .collect();
    tests.extend([
        test("a_correct_server_has_no_counterexample", a_correct_server_has_no_counterexample),
        test(
            "a_failure_that_does_not_recur_is_reported_as_not_reproduced",
            a_failure_that_does_not_recur_is_reported_as_not_reproduced,
        ),
        test(
            "counterexamples_are_written_to_the_report_directory",
            counterexamples_are_written_to_the_report_directory,
        ),
        test(
            "an_error_in_a_counterexample_file_names_the_file_and_the_location",
            an_error_in_a_counterexample_file_names_the_file_and_the_location,
        ),
    ]);
    tests
}

fn has_a_small_counterexample(row: &Row) {
    let Row { fault, case, state, max_size, observed } = *row;
    let folder = folder();
    let output = harness(&folder, &check(fault, &["--case", case, "--seed", "7", "--json"]));
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).expect("a JSON document");
    let found = &document["cases"][0];
    assert_eq!((&found["verdict"], &found["state"]), (&json!("fail"), &json!(state)), "{found}");
    assert!(
        found["observed"].as_str().expect("a string").contains(observed),
        "{}",
        found["observed"]
    );
    let size = match &found["counterexample"] {
        Value::String(line) => line.chars().count(),
        Value::Array(steps) => steps.len(),
        stream => stream["cuts"].as_array().expect("cuts").len(),
    };
    // Each attempt to shrink a hang takes one timeout, so the size depends on the machine.
    assert!(size <= max_size || state == "hang", "{size}: {}", found["observed"]);

    let replay =
        shlex::split(found["reproduce"].as_str().expect("a command")).expect("shell words");
    assert_eq!(replay[..2], ["harness", "replay"]);
    let again = harness(&folder, &replay[1..]);
    assert_eq!(again.status.code(), Some(1), "{}", text(&again.stdout));
    assert!(text(&again.stdout).contains(observed), "{}", text(&again.stdout));
    let on_correct_server = [&replay[1..], &flags_for("none")].concat();
    let correct = harness(&folder, &on_correct_server);
    assert_eq!(correct.status.code(), Some(0), "{}", text(&correct.stdout));
    let built_in = harness(&folder, &[&replay[1..], &["select-echo".to_owned()]].concat());
    assert_eq!(built_in.status.code(), Some(0), "{}", text(&built_in.stdout));
}

fn a_correct_server_has_no_counterexample() {
    let folder = folder();
    for case in ["results/", "isolation/", "framing/random-cuts"] {
        let output = harness(&folder, &check("none", &["--case", case]));
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    }
    assert!(
        !folder.path().join("counterexamples").exists(),
        "counterexamples were written although nothing failed"
    );
}

fn a_failure_that_does_not_recur_is_reported_as_not_reproduced() {
    let folder = folder();
    let fault = format!("errs-once={}", folder.path().join("done").display());
    let output = harness(&folder, &check(&fault, &["--case", "results/echo-is-identical"]));
    assert_eq!(output.status.code(), Some(1));
    let words = text(&output.stdout);
    assert!(words.contains("(it failed once and did not fail again)"), "{words}");
    let again = harness(&folder, &["replay".to_owned(), only_file(&folder, "counterexamples")]);
    assert_eq!(again.status.code(), Some(0), "{}", text(&again.stdout));
}

fn counterexamples_are_written_to_the_report_directory() {
    let folder = folder();
    let flags = ["--case", "results/echo-is-identical", "--output", "report"];
    let output = harness(&folder, &check("is-for-ascii", &flags));
    assert_eq!(output.status.code(), Some(1));
    let file = only_file(&folder, "report/counterexamples");
    let summary =
        std::fs::read_to_string(folder.path().join("report/summary.md")).expect("a readable file");
    assert!(summary.contains(&format!("harness replay {file}")), "{summary}");
    assert!(
        !folder.path().join("counterexamples").exists(),
        "the counterexample was written twice"
    );
}

fn an_error_in_a_counterexample_file_names_the_file_and_the_location() {
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
    let mut without_seed = good.clone();
    without_seed.as_object_mut().expect("an object").remove("seed");
    for (content, code, words) in [
        (good.to_string(), 0, ""),
        (String::new(), 2, "line 1 column 0"),
        ("{\n  \"format\": 1,\n  oops".to_owned(), 2, "line 3 column 3"),
        (without_seed.to_string(), 2, "`seed`"),
        (with("format", json!(2)), 2, "format 2"),
        (with("case", json!("results/none")), 2, "`results/none`"),
        (with("case", json!("framing/single")), 2, "no random input"),
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
    tempfile::tempdir().expect("a temporary directory")
}

/// Returns the flags of `harness check` and `replay` for a server with this fault.
fn flags_for(fault: &str) -> Vec<String> {
    let program = std::env::current_exe().expect("this program");
    let command = format!("'{}' replay '{fault}' {{port}}", program.display());
    let flags = ["--service", "echo", "--capacity", "3", "--when-full", "busy", "--timeout", "2s"];
    ["--cmd", &command].into_iter().chain(flags).map(str::to_owned).collect()
}

fn check(fault: &str, flags: &[&str]) -> Vec<String> {
    let flags = flags.iter().map(|&flag| flag.to_owned());
    std::iter::once("check".to_owned()).chain(flags_for(fault)).chain(flags).collect()
}

fn harness(folder: &TempDir, words: &[String]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    command.args(words).current_dir(folder).output().expect("the harness runs")
}

/// Returns the only file in a subdirectory, as a path relative to `folder`.
fn only_file(folder: &TempDir, inner: &str) -> String {
    let entries = std::fs::read_dir(folder.path().join(inner)).expect("an existing directory");
    let files: Vec<PathBuf> =
        entries.map(|entry| entry.expect("a directory entry").path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let name = files[0].file_name().expect("a name");
    Path::new(inner).join(name).display().to_string()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
