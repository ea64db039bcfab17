//! A server that was not written here, in Python: a right one passes, and each of some faults fails
//! exactly the cases that name it. Many more faults are those of the broken servers (broken.rs).

use std::path::Path;
use std::process::Command;

use libtest_mimic::{Completion, Failed};
use serde_json::Value;

use crate::common::{Test, needs};

struct Row {
    fault: &'static str,
    /// What else `harness check` is told.
    flags: &'static [&'static str],
    /// What fails: case and state. All else passes, or does not apply.
    failing: &'static [(&'static str, &'static str)],
    passing: usize,
}

const ROWS: &[Row] = &[
    Row { fault: "none", flags: &[], failing: &[], passing: 60 },
    // It works for longer than it is waited for: it is no worse than one that lacks a processor.
    Row {
        fault: "works",
        flags: &["--case=framing/single", "--timeout=1s"],
        failing: &[],
        passing: 1,
    },
    // What rests is waited for in vain.
    Row {
        fault: "hangs",
        flags: &["--case=framing/single", "--timeout=300ms"],
        failing: &[("framing/single", "hang")],
        passing: 0,
    },
    Row { fault: "wrong-sum", flags: &[], failing: &[("results/arithmetic", "ok")], passing: 60 },
    Row {
        fault: "dies-at-invalid-utf8",
        flags: &[],
        failing: &[("malformed/invalid-utf8", "crash")],
        passing: 60,
    },
    Row {
        fault: "leaks-descriptors",
        flags: &[],
        failing: &[("disconnects/fin-frees-descriptor", "leak"), ("leaks/descriptors", "leak")],
        passing: 60,
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
    "--ending",
    "abort",
    "--ipv6",
];

pub(crate) fn tests() -> Vec<Test> {
    let test = |row: &'static Row| {
        let name = format!("a_server_with_the_fault::{}::fails_its_cases_only", row.fault);
        Test::ignorable(name, move || needs("python3", || fails_its_cases_only(row)))
    };
    ROWS.iter().map(test).collect()
}

fn fails_its_cases_only(row: &Row) -> Result<Completion, Failed> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/faulty.py");
    let command = format!("python3 -S -E '{}' {} {{host}} {{port}}", script.display(), row.fault);
    let replays = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json"])
        .args(row.flags)
        .args(CONTRACT)
        .arg("--replays")
        .arg(replays.path())
        .output()?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let cases = document["cases"].as_array().ok_or("there are no cases")?;
    let failed: Vec<(&str, &str)> = cases
        .iter()
        .filter(|case| case["verdict"] == "fail")
        .map(|case| (text(&case["name"]), text(&case["state"])))
        .collect();
    let passed = cases.iter().filter(|case| case["verdict"] == "pass").count();
    let undecided = cases.iter().filter(|case| case["state"] == "vacuous").count();
    let code = output.status.code();
    let as_expected = failed == row.failing
        && passed >= row.passing
        && undecided == 0
        && code == Some(i32::from(!row.failing.is_empty()));
    if !as_expected {
        let evidence = serde_json::to_string_pretty(&document)?;
        return Err(format!("exit code {code:?}, failed {failed:?}: {evidence}").into());
    }
    Ok(Completion::Completed)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
