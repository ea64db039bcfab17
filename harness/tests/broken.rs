//! Broken servers. Each has one fault, and fails exactly the cases in its row. A test runs the
//! topics of those cases; a variant runs all cases. Run these tests with `cargo test broken::`.
//! `BLESS=1 cargo test broken::` writes the table tests/broken/README.md, and the file
//! tests/broken/first-faults.tsv with the first entry of each grading report.

mod fault;
mod rows;
pub(crate) mod server;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use clap::ValueEnum;
use fault::{Fault, description, name};
use harness::report::grading::Grading;
use harness::results::{Obstacle, ServerResult};
use libtest_mimic::Failed;
use rows::{Inconclusive, ROWS, Row};
use serde_json::Value;

use crate::common::Test;

/// Minimum number of cases that a server without a fault passes.
const MIN_PASSED: usize = 35;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for row in ROWS {
        let name = format!("{}::{}", name(row.fault), name(row.shape));
        let topics = topics(row);
        if !topics.is_empty() {
            let all_cases = format!("{name}::fails_exactly_its_cases_of_all");
            let test = Test::new(all_cases, || fails_exactly_its_cases(row, &[]));
            tests.push(test.variant(true));
        }
        let name = format!("{name}::fails_exactly_its_cases");
        tests.push(Test::new(name, move || fails_exactly_its_cases(row, &topics)));
    }
    tests.push(Test::new("every_fault_has_a_row", every_fault_has_a_row));
    tests.push(Test::new("the_table_is_up_to_date", the_table_is_up_to_date));
    tests
}

/// Returns the topics to run: `framing/`, and those of the failing cases. An empty list means all
/// cases, for a server without a fault or with `Inconclusive::AllOthers`.
fn topics(row: &Row) -> Vec<&'static str> {
    if row.failing.is_empty() || matches!(row.inconclusive, Inconclusive::AllOthers) {
        return Vec::new();
    }
    let topic = |(case, _): &(&'static str, &str)| case.split_inclusive('/').next();
    let topics: BTreeSet<_> = row.failing.iter().filter_map(topic).chain(["framing/"]).collect();
    topics.into_iter().collect()
}

/// Checks a broken server against its row. Runs the cases of these topics, or all if `topics` is
/// empty.
fn fails_exactly_its_cases(row: &Row, topics: &[&str]) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let (fault, shape) = (name(row.fault), name(row.shape));
    let command = format!("'{}' broken {fault} {shape} {{host}} {{port}}", program.display());
    // A temporary directory, because counterexamples of a broken server are of no use.
    let counterexamples = tempfile::tempdir()?;
    let known = counterexamples.path().join("known.toml");
    std::fs::write(&known, known_failures(row))?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json", "--timeout", row.timeout, "--seed", "1"])
        .args(row.shape.contract())
        .arg("--counterexamples")
        .arg(counterexamples.path())
        .arg("--known-failures")
        .arg(&known)
        .args(topics.iter().flat_map(|topic| ["--case", topic]))
        .output()?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let cases = document["cases"].as_array().ok_or("the document has no cases")?;
    let server: ServerResult = serde_json::from_value(document.clone())?;
    // A machine that is too busy for a case is no fault of the harness.
    let overloaded: HashSet<&str> = server
        .cases
        .iter()
        .filter(|result| matches!(result.obstacle, Some(Obstacle::Overload { .. })))
        .map(|result| result.name.as_str())
        .collect();
    let is_deterministic = |case: &&Value| {
        let name = text(&case["name"]);
        !row.timing_dependent.contains(&name) && !overloaded.contains(name)
    };
    let deterministic: Vec<&Value> = cases.iter().filter(is_deterministic).collect();
    // The verdict of an inconclusive case is null, and its text is empty.
    let with_verdict = |verdict: &'static str| {
        deterministic.iter().copied().filter(move |case| text(&case["verdict"]) == verdict)
    };
    let failed: Vec<(&str, &str)> =
        with_verdict("fail").map(|case| (text(&case["name"]), text(&case["state"]))).collect();
    let inconclusive: Vec<&str> = with_verdict("")
        .filter(|case| case["state"] != "not-applicable")
        .map(|case| text(&case["name"]))
        .collect();
    let passed = with_verdict("pass").count();
    let as_expected = match row.inconclusive {
        Inconclusive::These(expected) => {
            let is_selected = |case: &&&str| {
                !overloaded.contains(**case)
                    && (topics.is_empty() || topics.iter().any(|topic| case.starts_with(topic)))
            };
            let expected: Vec<&str> = expected.iter().filter(is_selected).copied().collect();
            inconclusive == expected
        }
        Inconclusive::AllOthers => passed <= 1,
    };
    let is_judged = |(case, _): &&(&str, &str)| !overloaded.contains(case);
    let failing: Vec<(&str, &str)> = row.failing.iter().filter(is_judged).copied().collect();
    if failed != failing || !as_expected {
        let evidence: Vec<String> = with_verdict("fail")
            .chain(with_verdict("").filter(|case| case["state"] != "not-applicable"))
            .map(|case| format!("{} ({}): {}", case["name"], case["state"], case["observed"]))
            .collect();
        let evidence = evidence.join("\n");
        return Err(format!("expected {:?}, found\n{evidence}", row.failing).into());
    }
    if row.fault == Fault::None && passed < MIN_PASSED {
        return Err(format!("only {passed} cases passed").into());
    }
    let unexplained: Vec<String> = with_verdict("")
        .filter(|case| case["state"] != "not-applicable" && case["known_failure"].is_null())
        .map(|case| format!("{}: {} {}", case["name"], case["observed"], case["blocked_by"]))
        .collect();
    if !unexplained.is_empty() {
        let unexplained = unexplained.join("\n");
        return Err(format!(
            "no known failure is the cause of these inconclusive cases:\n{unexplained}"
        )
        .into());
    }
    check_first_fault(row, &document)?;
    // All failures are known, and explain the inconclusive cases. Only a case that depends on
    // timing can still fail the run.
    let fails_run = |case: &&Value| {
        let is_bad = case["verdict"] == "fail" || case["state"] == "inconclusive";
        is_bad && case["known_failure"].is_null()
    };
    let expected =
        i32::from(cases.iter().filter(|case| !is_deterministic(case)).any(|case| fails_run(&case)));
    match output.status.code() {
        Some(code) if code == expected => Ok(()),
        code => Err(format!("exit code {code:?}, expected {expected}").into()),
    }
}

/// Compares the title of the first fault in the grading report with the title in
/// tests/broken/first-faults.tsv.
fn check_first_fault(row: &Row, document: &Value) -> Result<(), Failed> {
    /// Only one test at a time updates the file.
    static FILE: Mutex<()> = Mutex::new(());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/first-faults.tsv");
    let mut server: ServerResult = serde_json::from_value(document.clone())?;
    // A known failure is no fault.
    server.cases.iter_mut().for_each(|result| result.known_failure = None);
    let first = Grading::of(&server).faults.into_iter().next();
    let found = first.map_or_else(|| "none".to_owned(), |fault| fault.title);
    let key = format!("{}\t{}\t", name(row.fault), name(row.shape));
    let _lock = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let expected = text.lines().find_map(|line| line.strip_prefix(&key));
    if expected == Some(&found) {
        return Ok(());
    }
    if std::env::var_os("BLESS").is_none() {
        return Err(format!(
            "the first fault is {found:?}, expected {expected:?}; after an intended change, update \
             tests/broken/first-faults.tsv with BLESS=1 cargo test broken::"
        )
        .into());
    }
    let line = format!("{key}{found}");
    let others = text.lines().filter(|other| !other.starts_with(&key));
    let lines: BTreeSet<&str> = others.chain([line.as_str()]).collect();
    let lines: Vec<&str> = lines.into_iter().collect();
    Ok(std::fs::write(&path, lines.join("\n") + "\n")?)
}

/// Returns the text of a file of known failures, with the failing cases only. They must explain the
/// inconclusive cases.
fn known_failures(row: &Row) -> String {
    let entry = |(case, _): &(&str, &str)| {
        format!("[[known-failure]]\ncase = '{case}'\nreason = 'broken'\n")
    };
    row.failing.iter().map(entry).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn every_fault_has_a_row() -> Result<(), Failed> {
    let with_row: HashSet<String> = ROWS.iter().map(|row| name(row.fault)).collect();
    match Fault::value_variants()
        .iter()
        .map(|&fault| name(fault))
        .find(|name| !with_row.contains(name))
    {
        Some(fault) => Err(format!("fault {fault} has no row").into()),
        None => Ok(()),
    }
}

fn the_table_is_up_to_date() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/README.md");
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, table)?;
    } else if std::fs::read_to_string(path)? != table {
        return Err(
            "tests/broken/README.md is out of date; update it with BLESS=1 cargo test broken::"
                .into(),
        );
    }
    Ok(())
}

fn table() -> String {
    let mut table = "\
# Broken servers

Each of these servers has one fault, and fails exactly the cases in its row. Cases whose requirement
cannot be tested because of the fault are inconclusive. The results in the last column depend on
timing. `cargo test broken::` checks the table.

The faults are in [server](server), each in one place. A comment says how real servers get the
fault. `BLESS=1 cargo test broken::` writes this file.

| fault | configuration | description | fails | inconclusive | depends on timing |
|---|---|---|---|---|---|
"
    .to_owned();
    for row in ROWS {
        let failing: Vec<String> = row
            .failing
            .iter()
            .map(|(case, state)| match *state {
                "completed" => format!("`{case}`"),
                state => format!("`{case}` ({state})"),
            })
            .collect();
        let inconclusive = match row.inconclusive {
            Inconclusive::These(cases) => quoted(cases),
            Inconclusive::AllOthers => "all others".to_owned(),
        };
        let (fault, shape) = (name(row.fault), name(row.shape));
        let (description, failing) = (description(row.fault), failing.join(", "));
        let timing_dependent = quoted(row.timing_dependent);
        writeln!(
            table,
            "| {fault} | {shape} | {description} | {failing} | {inconclusive} | {timing_dependent} |"
        )
        .expect("a write to a string does not fail");
    }
    table
}

fn quoted(cases: &[&str]) -> String {
    let quoted: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
    quoted.join(", ")
}
