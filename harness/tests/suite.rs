//! All integration tests of the harness in one program: `cargo test`. A part of a name selects
//! tests: `cargo test select-calc::framing/crlf`, `cargo test load::`.
//!
//! One program links once, and one scheduler overlaps tests that wait. Tests that measure run alone.
//! Variants that repeat others under further conditions are ignored unless `--include-ignored` is
//! given.

mod common;

mod broken;
mod calibrate;
mod ci;
mod command_line;
mod comparison;
mod confinement;
mod contract;
mod foreign;
mod held;
mod hostile;
mod known;
mod layers;
mod limits;
mod load;
mod marks;
mod matrix;
mod mechanism;
mod preflight;
mod processes;
mod properties;
mod readiness;
mod replay;
mod reports;
mod supervision;
mod wires;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use common::schedule::{self, Cost};
use common::{Test, trials};

/// A file of tests.
struct Module {
    /// The first part of its tests' names. None where the names are those of servers and cases.
    name: Option<&'static str>,
    cost: Cost,
    tests: fn() -> Vec<Test>,
}

const fn module(name: &'static str, cost: Cost, tests: fn() -> Vec<Test>) -> Module {
    Module { name: Some(name), cost, tests }
}

/// In the order in which they start, but for tests that measure, which are first, because nothing
/// else can run beside them. The longest come first, so that the short ones fill the gaps at the end.
const MODULES: &[Module] = &[
    module("load", Cost::ALONE, load::tests),
    module("calibrate", Cost::ALONE, calibrate::tests),
    module("held", Cost::ALONE, held::tests),
    module("wires", Cost::SERVER, wires::tests),
    module("hostile", Cost::GREEDY, hostile::tests),
    module("broken", Cost::SERVER, broken::tests),
    module("foreign", Cost::SERVER, foreign::tests),
    module("ci", Cost::SERVER, ci::tests),
    module("command_line", Cost::SERVER, command_line::tests),
    module("comparison", Cost::SERVER, comparison::tests),
    module("preflight", Cost::SERVER, preflight::tests),
    module("supervision", Cost::SERVER, supervision::tests),
    module("replay", Cost::SERVER, replay::tests),
    module("contract", Cost::SERVER, contract::tests),
    module("confinement", Cost::CASE, confinement::tests),
    module("mechanism", Cost::CASE, mechanism::tests),
    module("processes", Cost::CASE, processes::tests),
    module("properties", Cost::CASE, properties::tests),
    module("readiness", Cost::CASE, readiness::tests),
    module("layers", Cost::CASE, layers::tests),
    module("limits", Cost::CASE, limits::tests),
    module("known", Cost::CASE, known::tests),
    module("marks", Cost::CASE, marks::tests),
    module("reports", Cost::CASE, reports::tests),
    module("suite", Cost::CASE, tests),
    Module { name: None, cost: Cost::CASE, tests: matrix::tests },
];

fn main() -> ExitCode {
    // Servers under test are this program with other arguments.
    broken::server::take_role();
    hostile::server::take_role();
    replay::server::take_role();
    confinement::take_role();

    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(schedule::TEST_THREADS);
    harness::server::raise_descriptor_limit();
    let tests = |module: &Module| -> Vec<(Cost, Trial)> {
        (module.tests)().into_iter().map(|test| test.scheduled(module.name, module.cost)).collect()
    };
    let all = MODULES.iter().flat_map(tests);
    let (alone, others): (Vec<_>, Vec<_>) = all.partition(|(cost, _)| *cost == Cost::ALONE);
    let trials = alone.into_iter().chain(others);
    libtest_mimic::run(&arguments, trials.map(|(_, trial)| trial).collect()).exit_code()
}

trials![
    every_file_of_tests_is_a_module,
    every_test_is_listed,
    tests_that_measure_run_alone_in_nextest_too
];

/// The files of this directory, with their text.
fn files() -> Vec<(String, String)> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/tests");
    let entries = std::fs::read_dir(directory).expect("the directory of this file");
    entries
        .filter_map(|entry| {
            let path = entry.expect("an entry").path();
            let name = path.file_name()?.to_str()?.strip_suffix(".rs")?.to_owned();
            (name != "suite").then(|| (name, std::fs::read_to_string(&path).expect("a text")))
        })
        .collect()
}

fn every_file_of_tests_is_a_module() {
    for (name, _) in files() {
        let is_module = MODULES.iter().any(|module| module.name.unwrap_or("matrix") == name);
        assert!(is_module, "tests/{name}.rs is not in MODULES of tests/suite.rs");
    }
}

/// Without libtest the compiler drops a function with `#[test]` and says nothing.
fn every_test_is_listed() {
    for (name, text) in files() {
        let attribute = text.lines().position(|line| line.trim() == "#[test]");
        if let Some(line) = attribute {
            panic!("tests/{name}.rs:{}: list the function in `trials!` instead", line + 1);
        }
    }
}

/// There each test is a process of its own, so a file says it.
fn tests_that_measure_run_alone_in_nextest_too() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.config/nextest.toml");
    let text = std::fs::read_to_string(path).expect("it is in the repository");
    let file: toml::Table = text.parse().expect("it is TOML");
    let profile = &file["profile"]["default"];
    assert_eq!(profile["test-threads"].as_integer(), Some(schedule::SLOTS as i64));
    let alone: Vec<&str> = MODULES
        .iter()
        .filter(|module| module.cost == Cost::ALONE)
        .filter_map(|module| module.name)
        .collect();
    let filter = format!("binary(suite) and test(/^({})::/)", alone.join("|"));
    let overrides = profile["overrides"].as_array().expect("a list");
    let exclusive = overrides.iter().find(|one| one["filter"].as_str() == Some(&filter));
    let exclusive = exclusive.unwrap_or_else(|| panic!("no override with the filter {filter}"));
    assert_eq!(exclusive["threads-required"].as_str(), Some("num-test-threads"));
}
