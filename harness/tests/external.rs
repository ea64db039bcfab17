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
    /// Failed cases, with their states. All other cases that run pass or do not apply.
    failing: &'static [(&'static str, &'static str)],
    /// Minimum number of passed cases, so that a run without results is an error.
    min_passed: usize,
}

const ROWS: &[Row] = &[
    Row { fault: "none", flags: &[], failing: &[], min_passed: 60 },
    // A server that uses the CPU for longer than the timeout passes: it may only be starved of CPU
    // time.
    Row {
        fault: "busy-loop",
        flags: &["--case=framing/single", "--timeout=1s"],
        failing: &[],
        min_passed: 1,
    },
    // A server that sleeps for longer than the timeout fails.
    Row {
        fault: "hangs",
        flags: &["--case=framing/single", "--timeout=300ms"],
        failing: &[("framing/single", "hang")],
        min_passed: 0,
    },
    Row {
        fault: "wrong-sum",
        flags: &["--case=framing/", "--case=results/"],
        failing: &[("results/arithmetic", "completed")],
        min_passed: 10,
    },
    Row {
        fault: "dies-at-invalid-utf8",
        flags: &["--case=framing/", "--case=malformed/"],
        failing: &[("malformed/invalid-utf8", "crash")],
        min_passed: 10,
    },
    Row {
        fault: "leaks-descriptors",
        flags: &["--case=disconnects/", "--case=leaks/"],
        failing: &[("disconnects/fin-frees-descriptor", "leak"), ("leaks/descriptors", "leak")],
        min_passed: 10,
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
    let test = |row: &'static Row| {
        let name = format!("a_server_with_the_fault::{}::fails_exactly_its_cases", row.fault);
        Test::new(name, move || fails_exactly_its_cases(row)).needing("python3")
    };
    ROWS.iter().map(test).collect()
}

fn fails_exactly_its_cases(row: &Row) -> Result<(), Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/faulty.py");
    let command = format!("python3 -S -E '{}' {} {{host}} {{port}}", script.display(), row.fault);
    let counterexamples = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json"])
        .args(row.flags)
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
    let as_expected = failed == row.failing
        && passed >= row.min_passed
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
