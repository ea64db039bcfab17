//! Servers with one fault each fail exactly the cases that name it: `cargo test broken::`. Each is
//! judged in the topics of those cases; judging it in all cases is a variant.
//! `BLESS=1 cargo test broken::` writes the table of them, tests/broken/README.md.

mod fault;
mod rows;
pub(crate) mod server;

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use clap::ValueEnum;
use fault::{Fault, name, sentence};
use libtest_mimic::Failed;
use rows::{ROWS, Row, Undecided};
use serde_json::Value;

use crate::common::Test;

/// How many cases a server without a fault passes at least: too few would show little.
const LEAST_PASSED: usize = 35;

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for row in ROWS {
        let name = format!("{}::{}", name(row.fault), name(row.shape));
        let (only, of_all) = ("fails_its_cases_only", "fails_its_cases_only_of_all");
        let topics = topics(row);
        if !topics.is_empty() {
            let of_all = Test::new(format!("{name}::{of_all}"), || fails_its_cases_only(row, &[]));
            tests.push(of_all.variant(true));
        }
        let only = Test::new(format!("{name}::{only}"), move || fails_its_cases_only(row, &topics));
        tests.push(only);
    }
    tests.push(Test::new("every_fault_has_a_row", every_fault_has_a_row));
    tests.push(Test::new("the_table_is_up_to_date", the_table_is_up_to_date));
    tests
}

/// The topics of the cases that it fails, and framing, by which every server is judged. None stands
/// for all cases: where there is no fault, or hardly any case is run.
fn topics(row: &Row) -> Vec<&'static str> {
    if row.failing.is_empty() || matches!(row.undecided, Undecided::AllOthers) {
        return Vec::new();
    }
    let topic = |(case, _): &(&'static str, &str)| case.split_inclusive('/').next();
    let topics: BTreeSet<_> = row.failing.iter().filter_map(topic).chain(["framing/"]).collect();
    topics.into_iter().collect()
}

fn fails_its_cases_only(row: &Row, topics: &[&str]) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let (fault, shape) = (name(row.fault), name(row.shape));
    let command = format!("'{}' broken {fault} {shape} {{host}} {{port}}", program.display());
    // Its counterexamples are of no use to anybody.
    let replays = tempfile::tempdir()?;
    let known = replays.path().join("known.toml");
    std::fs::write(&known, known_failures(row))?;
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json", "--timeout", row.patience, "--seed", "1"])
        .args(row.shape.contract())
        .arg("--replays")
        .arg(replays.path())
        .arg("--expected")
        .arg(&known)
        .args(topics.iter().flat_map(|topic| ["--case", topic]))
        .output()?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let cases = document["cases"].as_array().ok_or("there are no cases")?;
    let is_certain = |case: &&Value| !row.perhaps.contains(&text(&case["name"]));
    let (certain, _): (Vec<&Value>, Vec<&Value>) = cases.iter().partition(is_certain);
    let of = |verdict: &'static str| {
        certain.iter().copied().filter(move |case| text(&case["verdict"]) == verdict)
    };
    let failed: Vec<(&str, &str)> =
        of("fail").map(|case| (text(&case["name"]), text(&case["state"]))).collect();
    let undecided: Vec<&str> = of("")
        .filter(|case| case["state"] != "not-applicable")
        .map(|case| text(&case["name"]))
        .collect();
    let passed = of("pass").count();
    let as_expected = match row.undecided {
        Undecided::These(expected) => {
            let is_judged = |case: &&&str| {
                topics.is_empty() || topics.iter().any(|topic| case.starts_with(topic))
            };
            let expected: Vec<&str> = expected.iter().filter(is_judged).copied().collect();
            undecided == expected
        }
        Undecided::AllOthers => passed <= 1,
    };
    if failed != row.failing || !as_expected {
        let evidence: Vec<String> = of("fail")
            .chain(of("").filter(|case| case["state"] != "not-applicable"))
            .map(|case| format!("{} ({}): {}", case["name"], case["state"], case["observed"]))
            .collect();
        let evidence = evidence.join("\n");
        return Err(format!("expected {:?}, found\n{evidence}", row.failing).into());
    }
    if row.fault == Fault::None && passed < LEAST_PASSED {
        return Err(format!("only {passed} cases passed").into());
    }
    let unexplained: Vec<String> = of("")
        .filter(|case| case["state"] != "not-applicable" && case["known"].is_null())
        .map(|case| format!("{}: {} {}", case["name"], case["observed"], case["blocked_by"]))
        .collect();
    if !unexplained.is_empty() {
        let unexplained = unexplained.join("\n");
        return Err(format!("no known failure is named as the cause of\n{unexplained}").into());
    }
    // All that fails is known, and what is inconclusive because of it is known with it. Where
    // chance decides, either code is right.
    match output.status.code() {
        Some(0) => Ok(()),
        Some(1) if !row.perhaps.is_empty() => Ok(()),
        code => Err(format!("exit code {code:?}").into()),
    }
}

/// What the server fails, as a file of known failures. What is inconclusive is not in it.
fn known_failures(row: &Row) -> String {
    let entry =
        |(case, _): &(&str, &str)| format!("[[expected]]\ncase = '{case}'\nreason = 'broken'\n");
    row.failing.iter().map(entry).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn every_fault_has_a_row() -> Result<(), Failed> {
    let have: HashSet<String> = ROWS.iter().map(|row| name(row.fault)).collect();
    match Fault::value_variants().iter().map(|&fault| name(fault)).find(|it| !have.contains(it)) {
        Some(fault) => Err(format!("{fault} has no row").into()),
        None => Ok(()),
    }
}

fn the_table_is_up_to_date() -> Result<(), Failed> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken/README.md");
    let table = table();
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, table)?;
    } else if std::fs::read_to_string(path)? != table {
        return Err("write it again: BLESS=1 cargo test broken::".into());
    }
    Ok(())
}

fn table() -> String {
    let mut table = "\
# Broken servers

Each of them is right in everything but one fault, and fails exactly the cases that name it; cases
that cannot try what they are about then are undecided. Where chance has its part in it, either is
right. `cargo test broken::` shows it. The
faults are in [server.rs](server.rs), each in one place with a word about how real servers come by
it. This table is generated: `BLESS=1 cargo test broken::`.

| fault | shape | what it does wrong | fails | undecided | by chance |
|---|---|---|---|---|---|
"
    .to_owned();
    for row in ROWS {
        let failing: Vec<String> = row
            .failing
            .iter()
            .map(|(case, state)| match *state {
                "ok" => format!("`{case}`"),
                state => format!("`{case}` ({state})"),
            })
            .collect();
        let undecided = match row.undecided {
            Undecided::These(cases) => quoted(cases),
            Undecided::AllOthers => "all others".to_owned(),
        };
        let (fault, shape) = (name(row.fault), name(row.shape));
        let (sentence, failing) = (sentence(row.fault), failing.join(", "));
        let perhaps = quoted(row.perhaps);
        writeln!(table, "| {fault} | {shape} | {sentence} | {failing} | {undecided} | {perhaps} |")
            .expect("a string takes it");
    }
    table
}

fn quoted(cases: &[&str]) -> String {
    let quoted: Vec<String> = cases.iter().map(|case| format!("`{case}`")).collect();
    quoted.join(", ")
}
