//! A server that was not written here, in Python: a right one passes, and each of some faults fails
//! exactly the cases that name it. Many more faults are those of the broken servers (broken.rs).

use std::path::Path;
use std::process::{Command, ExitCode};

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use serde_json::Value;

/// A fault; what must fail, case and state; what must be left undecided.
type Row = (&'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const FAULTS: &[Row] = &[
    ("none", &[], &[]),
    ("wrong-sum", &[("results/arithmetic", "ok")], &[]),
    ("dies-at-invalid-utf8", &[("malformed/invalid-utf8", "crash")], &[]),
    ("hangs", &[("framing/single", "hang")], &[]),
    (
        "leaks-descriptors",
        &[("disconnects/fin-frees-descriptor", "leak"), ("leaks/descriptors", "leak")],
        &[],
    ),
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

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test has its own cases at a time.
    arguments.test_threads.get_or_insert(3);
    let python = Command::new("python3").arg("--version").output();
    let missing = !python.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("CI").is_some();
    let trials = FAULTS
        .iter()
        .map(|row| {
            let name = format!("a_server_with_the_fault::{}::fails_its_cases_only", row.0);
            Trial::ignorable_test(name, move || match (missing, required) {
                (true, true) => Err(Failed::from("python3 is not installed, and CI requires it")),
                (true, false) => Ok(Completion::ignored_with("python3 is not installed")),
                (false, _) => fails_its_cases_only(row),
            })
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn fails_its_cases_only(row: &Row) -> Result<Completion, Failed> {
    let (fault, expected, expected_undecided) = row;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/faulty.py");
    let command = format!("python3 -S -E '{}' {fault} {{host}} {{port}}", script.display());
    // What hangs is waited for in vain.
    let patience = if *fault == "hangs" { "300ms" } else { "5s" };
    let replays = tempfile::tempdir()?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json", "--timeout", patience])
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
    let evidence = || serde_json::to_string_pretty(&document).unwrap_or_default();
    if failed != *expected {
        return Err(format!("failed {failed:?}, expected {expected:?}: {}", evidence()).into());
    }
    let undecided: Vec<&str> = cases
        .iter()
        .filter(|case| case["state"] == "vacuous")
        .map(|case| text(&case["name"]))
        .collect();
    // Where nothing is answered, all the other cases are.
    if *fault != "hangs" && undecided != *expected_undecided {
        return Err(format!("undecided {undecided:?}: {}", evidence()).into());
    }
    if *fault == "none" && passed < 60 {
        return Err(format!("only {passed} cases passed: {}", evidence()).into());
    }
    let code = output.status.code();
    if code != Some(i32::from(*fault != "none")) {
        return Err(format!("exit code {code:?}: {}", evidence()).into());
    }
    Ok(Completion::Completed)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
