//! All integration tests of the harness in one program: `cargo test`. A part of a test name selects
//! tests: `cargo test select-calc::framing/crlf`, `cargo test load::`.
//!
//! One program links once, and one scheduler overlaps tests that wait. At most two tests that
//! measure run at a time. Variants, which repeat a test under further conditions, run only with
//! `--include-ignored`.

mod common;

mod broken;
mod calibrate;
mod causes;
mod ci;
mod command_line;
mod compare;
mod comparison;
mod concurrency;
mod confinement;
mod contract;
mod external;
mod grading;
mod history;
mod hostile;
mod idle_memory;
mod known;
mod launching;
mod layers;
mod limits;
mod load;
mod matrix;
mod patience;
mod payloads;
mod preflight;
mod processes;
mod properties;
mod readiness;
mod reference;
mod replay;
mod reports;
mod supervision;
mod thresholds;
mod wires;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

use common::schedule::{self, Cost};
use common::{Test, tests};

/// A file of tests.
struct Module {
    /// First part of the test names. `None` if a test name is that of a server and a case.
    name: Option<&'static str>,
    cost: Cost,
    tests: fn() -> Vec<Test>,
}

const fn module(name: &'static str, cost: Cost, tests: fn() -> Vec<Test>) -> Module {
    Module { name: Some(name), cost, tests }
}

/// Modules in starting order. The longest start first, so that short tests fill the gaps at the
/// end. `main` moves tests that measure before all others, when little else runs.
const MODULES: &[Module] = &[
    module("load", Cost::Measurement, load::tests),
    module("wires", Cost::Server, wires::tests),
    module("hostile", Cost::Greedy, hostile::tests),
    module("patience", Cost::Server, patience::tests),
    module("external", Cost::Server, external::tests),
    module("causes", Cost::Server, causes::tests),
    module("launching", Cost::Server, launching::tests),
    module("command_line", Cost::Server, command_line::tests),
    module("preflight", Cost::Server, preflight::tests),
    module("contract", Cost::Server, contract::tests),
    module("replay", Cost::Server, replay::tests),
    module("ci", Cost::Server, ci::tests),
    module("broken", Cost::Server, broken::tests),
    module("idle_memory", Cost::ManyConnections, idle_memory::tests),
    module("comparison", Cost::Server, comparison::tests),
    module("supervision", Cost::Server, supervision::tests),
    module("calibrate", Cost::Case, calibrate::tests),
    module("confinement", Cost::Case, confinement::tests),
    module("concurrency", Cost::Case, concurrency::tests),
    module("payloads", Cost::Server, payloads::tests),
    module("processes", Cost::Case, processes::tests),
    module("properties", Cost::Case, properties::tests),
    module("readiness", Cost::Case, readiness::tests),
    module("layers", Cost::Case, layers::tests),
    module("limits", Cost::Case, limits::tests),
    module("reference", Cost::Case, reference::tests),
    module("known", Cost::Case, known::tests),
    module("grading", Cost::Case, grading::tests),
    module("reports", Cost::Case, reports::tests),
    module("compare", Cost::Case, compare::tests),
    module("history", Cost::Case, history::tests),
    module("thresholds", Cost::Case, thresholds::tests),
    module("suite", Cost::Case, tests),
    Module { name: None, cost: Cost::Case, tests: matrix::tests },
];

fn main() -> ExitCode {
    // Some servers under test are this program, started with the name of a role.
    broken::server::take_role();
    hostile::server::take_role();
    replay::server::take_role();
    confinement::take_role();
    payloads::take_role();

    let mut arguments = Arguments::from_args();
    harness::server::raise_descriptor_limit();
    let tests = |module: &Module| -> Vec<(Cost, Trial)> {
        (module.tests)().into_iter().map(|test| test.scheduled(module.name, module.cost)).collect()
    };
    let tests = MODULES.iter().flat_map(tests);
    let (measurements, others): (Vec<_>, Vec<_>) =
        tests.partition(|(cost, _)| *cost == Cost::Measurement);
    let tests: Vec<_> = measurements.into_iter().chain(others).collect();
    let threads = schedule::threads(tests.iter().map(|(cost, _)| *cost));
    arguments.test_threads.get_or_insert(threads);
    let tests = tests.into_iter().map(|(_, test)| test).collect();
    libtest_mimic::run(&arguments, tests).exit_code()
}

use schedule::measurements_and_many_connections_are_kept_apart;

tests![
    every_test_file_is_a_module,
    measurements_and_many_connections_are_kept_apart,
    every_test_is_listed,
    nextest_reserves_the_same_slots_for_costly_tests
];

/// Returns the Rust files of a directory, and of its subdirectories.
fn rust_files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("a directory of tests");
    let (directories, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.map(|entry| entry.expect("a directory entry").path()).partition(|it| it.is_dir());
    let files = files.into_iter().filter(|file| file.extension().is_some_and(|end| end == "rs"));
    files.chain(directories.iter().flat_map(|directory| rust_files(directory))).collect()
}

fn tests_directory() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests"))
}

fn every_test_file_is_a_module() {
    for file in rust_files(tests_directory()) {
        let is_test_file = file.parent() == Some(tests_directory());
        let name = file.file_stem().and_then(|name| name.to_str()).expect("a UTF-8 name");
        if is_test_file && name != "suite" {
            let is_module = MODULES.iter().any(|module| module.name.unwrap_or("matrix") == name);
            assert!(is_module, "tests/{name}.rs is not in MODULES of tests/suite.rs");
        }
    }
}

/// Without libtest, the compiler silently drops functions with `#[test]`.
fn every_test_is_listed() {
    for file in rust_files(tests_directory()) {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let attribute = text.lines().position(|line| line.trim() == "#[test]");
        if let Some(line) = attribute {
            let file = file.display();
            panic!("{file}:{}: list the function in `tests!` instead", line + 1);
        }
    }
}

/// nextest runs each test in a separate process, so a file configures the slots.
fn nextest_reserves_the_same_slots_for_costly_tests() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../.config/nextest.toml");
    let text = std::fs::read_to_string(path).expect(".config/nextest.toml");
    let file: toml::Table = text.parse().expect("valid TOML");
    let profile = &file["profile"]["default"];
    assert_eq!(profile["test-threads"].as_integer(), Some(schedule::SLOTS as i64));
    for (cost, slots) in [(Cost::Measurement, 4), (Cost::ManyConnections, 5)] {
        let has_cost = |module: &&Module| module.cost == cost;
        let names: Vec<&str> =
            MODULES.iter().filter(has_cost).filter_map(|module| module.name).collect();
        let filter = format!("binary(suite) and test(/^({})::/)", names.join("|"));
        let overrides = profile["overrides"].as_array().expect("a list");
        let entry = overrides.iter().find(|entry| entry["filter"].as_str() == Some(&filter));
        let entry = entry.unwrap_or_else(|| panic!("no override with the filter {filter}"));
        assert_eq!(entry["threads-required"].as_integer(), Some(slots));
        assert_eq!(cost.slots() as i64, slots);
    }
}
