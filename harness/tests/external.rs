//! An external server in Python. Without a fault the server passes. With a fault it fails exactly
//! the cases in its row of [`ROWS`]. The broken servers (broken.rs) have many more faults.

use std::path::Path;
use std::process::Command;

use libtest_mimic::Failed;
use serde_json::Value;

use crate::common::Test;

struct Row {
    fault: &'static str,
    /// Further arguments of `harness check`.
    flags: &'static [&'static str],
    /// Topics to test; all if empty. A variant of the test runs all cases.
    topics: &'static [&'static str],
    /// Failed cases, with their states. All other cases that run pass or do not apply.
    failing: &'static [(&'static str, &'static str)],
    /// Minimum number of passed cases of all, so that a run without results is an error.
    min_passed: usize,
}

/// The same minimum for the cases of a few topics.
const MIN_PASSED_OF_TOPICS: usize = 10;

const ROWS: &[Row] = &[
    Row { fault: "none", flags: &[], topics: &[], failing: &[], min_passed: 60 },
    // A server that uses the CPU for longer than the timeout passes: it may only be starved of CPU
    // time.
    Row {
        fault: "busy-loop",
        flags: &["--case=framing/single", "--timeout=1s"],
        topics: &[],
        failing: &[],
        min_passed: 1,
    },
    // A server that sleeps for longer than the timeout fails.
    Row {
        fault: "hangs",
        flags: &["--case=framing/single", "--timeout=300ms"],
        topics: &[],
        failing: &[("framing/single", "hang")],
        min_passed: 0,
    },
    Row {
        fault: "wrong-sum",
        flags: &[],
        topics: &["framing/", "results/"],
        failing: &[("results/arithmetic", "completed")],
        min_passed: 60,
    },
    Row {
        fault: "dies-at-invalid-utf8",
        flags: &[],
        topics: &["framing/", "malformed/"],
        failing: &[("malformed/invalid-utf8", "crash")],
        min_passed: 60,
    },
    Row {
        fault: "leaks-descriptors",
        flags: &[],
        topics: &["disconnects/", "leaks/"],
        failing: &[("disconnects/fin-frees-descriptor", "leak"), ("leaks/descriptors", "leak")],
        min_passed: 60,
    },
];

const CONTRACT: &[&str] = &[
    "--capacity",
    "3",
    "--when-full",
    "busy",
    "--division",
    "exact",
    "--max-line",
    "4096",
    "--error-prefix",
    "error: ",
    "--shutdown",
    "abort",
    "--ipv6",
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |row: &'static Row, suffix: &str, topics| {
        let name =
            format!("a_server_with_the_fault::{}::fails_exactly_its_cases{suffix}", row.fault);
        Test::new(name, move || fails_exactly_its_cases(row, topics)).needing("python3")
    };
    let with_topics = ROWS.iter().filter(|row| !row.topics.is_empty());
    let in_all_cases = with_topics.map(|row| test(row, "_of_all", &[]).variant(true));
    ROWS.iter().map(|row| test(row, "", row.topics)).chain(in_all_cases).collect()
}

fn fails_exactly_its_cases(row: &Row, topics: &[&str]) -> Result<(), Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/faulty.py");
    let command = format!("python3 -S -E '{}' {} {{host}} {{port}}", script.display(), row.fault);
    let counterexamples = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json"])
        .args(row.flags)
        .args(topics.iter().flat_map(|topic| ["--case", topic]))
        .args(CONTRACT)
        .arg("--counterexamples")
        .arg(counterexamples.path())
        .output()?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let cases = document["cases"].as_array().ok_or("the document has no cases")?;
    let failed: Vec<(&str, &str)> = cases
        .iter()
        .filter(|case| case["verdict"] == "fail")
        .map(|case| (text(&case["name"]), text(&case["state"])))
        .collect();
    let passed = cases.iter().filter(|case| case["verdict"] == "pass").count();
    let inconclusive = cases.iter().filter(|case| case["state"] == "inconclusive").count();
    let code = output.status.code();
    let min_passed = if topics.is_empty() { row.min_passed } else { MIN_PASSED_OF_TOPICS };
    let as_expected = failed == row.failing
        && passed >= min_passed
        && inconclusive == 0
        && code == Some(i32::from(!row.failing.is_empty()));
    if !as_expected {
        let evidence = serde_json::to_string_pretty(&document)?;
        return Err(format!("exit code {code:?}, failed {failed:?}: {evidence}").into());
    }
    Ok(())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
