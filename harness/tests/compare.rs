//! `harness compare` and `harness report`: comparison and merging of saved reports.

mod figures;
mod merged;

use std::path::Path;

use assert_cmd::Command;
use harness::comparison::{Effect, Figure, FigureVerdict, Item, Note, ReportComparison, Settings};
use harness::results::{
    CaseResult, IdleConnectionCost, Measurement, Report, RunFigures, ServerResult, State,
    ValidityLabel, Verdict,
};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::common::{self, DEADLINE, tests};
use crate::reports::sample::{self, known, result, server};

use figures::{
    a_report_that_is_given_twice_counts_once,
    a_slowdown_fails_only_if_it_is_conclusive_and_beyond_the_limit,
    equal_times_are_inconclusive_if_the_generator_limited_them, every_figure_has_its_own_direction,
    fewer_than_five_runs_are_inconclusive_and_fail_on_request,
    figures_of_other_numbers_of_connections_are_not_compared,
    the_samples_are_the_runs_of_all_reports_of_a_side,
    times_of_different_machines_are_compared_only_on_request,
};
use merged::{
    a_report_is_rendered_again_in_place,
    an_input_of_several_is_not_overwritten_and_none_is_merged_twice,
    copies_and_reports_of_different_plans_are_not_merged,
    reports_of_different_machines_are_merged_only_on_request,
    several_reports_become_one_with_all_runs_in_every_format,
};

tests![
    a_comparison_of_a_report_with_itself_reports_no_difference,
    two_single_runs_of_one_build_have_no_changed_verdict_and_no_conclusive_time,
    a_case_that_is_no_longer_fine_exits_with_1_and_other_changes_do_not,
    a_case_that_one_side_did_not_run_is_listed_and_is_no_failure,
    a_slowdown_fails_only_if_it_is_conclusive_and_beyond_the_limit,
    every_figure_has_its_own_direction,
    the_samples_are_the_runs_of_all_reports_of_a_side,
    fewer_than_five_runs_are_inconclusive_and_fail_on_request,
    equal_times_are_inconclusive_if_the_generator_limited_them,
    times_of_different_machines_are_compared_only_on_request,
    a_report_that_is_given_twice_counts_once,
    figures_of_other_numbers_of_connections_are_not_compared,
    the_output_is_one_json_document_or_text_without_control_characters,
    a_file_that_is_no_report_is_a_usage_error,
    several_reports_become_one_with_all_runs_in_every_format,
    a_report_is_rendered_again_in_place,
    an_input_of_several_is_not_overwritten_and_none_is_merged_twice,
    reports_of_different_machines_are_merged_only_on_request,
    copies_and_reports_of_different_plans_are_not_merged,
];

fn harness(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(DEADLINE).args(arguments);
    command
}

/// Writes a report into the folder, and returns its path.
fn write(folder: &Path, name: &str, report: &Report) -> String {
    let file = folder.join(name);
    std::fs::write(&file, serde_json::to_string(report).expect("JSON")).expect("a file");
    file.to_str().expect("a UTF-8 path").to_owned()
}

/// Returns the report of a run that started at this second.
fn report(second: u32, servers: Vec<ServerResult>) -> Report {
    let mut report = Report { servers, ..sample::report() };
    report.environment.started_at = format!("2026-01-02T03:04:{second:02}Z");
    report
}

/// Returns a measurement whose runs differ by up to 1 % and have these figures on average.
fn measured(runs: usize, throughput: f64, p99_ns: f64, cpu_ns: f64) -> Measurement {
    let run = |at: usize| {
        let noise = 1.0 + 0.01 * (at as f64 / (runs.max(2) - 1) as f64 - 0.5);
        RunFigures {
            validity: ValidityLabel::Valid,
            throughput_per_s: throughput * noise,
            p50_ns: Some(20_000),
            p99_ns: Some((p99_ns * noise) as u64),
            server_cpu_ns_per_request: Some((cpu_ns * noise) as u64),
            memory_per_connection_bytes: None,
            anonymous_bytes: None,
        }
    };
    Measurement {
        runs: (0..runs).map(run).collect(),
        ..sample::measurement("closed-8", 8, throughput)
    }
}

/// Returns a measurement of the memory of idle connections.
fn idle(runs: usize, bytes: u64) -> Measurement {
    let run = |at: usize| RunFigures {
        memory_per_connection_bytes: Some(bytes + at as u64),
        ..measured(2, 1000.0, 1e6, 1e4).runs[0]
    };
    let cost = IdleConnectionCost {
        memory_per_connection_bytes: bytes,
        connected_in_ms: 1,
        growth: Vec::new(),
    };
    Measurement {
        idle_connections: Some(cost),
        runs: (0..runs).map(run).collect(),
        ..sample::measurement("idle-memory", 1000, 1000.0)
    }
}

fn of_measurements(measurements: Vec<Measurement>) -> ServerResult {
    ServerResult { measurements, ..server("one-echo", Vec::new()) }
}

fn of_cases(cases: Vec<CaseResult>) -> ServerResult {
    server("one-echo", cases)
}

fn compared(old: &Report, new: &Report) -> ReportComparison {
    let (old, new) = (std::slice::from_ref(old), std::slice::from_ref(new));
    ReportComparison::of(old, new, Settings::default())
}

/// Returns the verdict on each figure.
fn verdicts(comparison: &ReportComparison) -> Vec<(Figure, FigureVerdict)> {
    comparison.figures.iter().map(|it| (it.figure, it.verdict)).collect()
}

fn a_comparison_of_a_report_with_itself_reports_no_difference() {
    let measurements = vec![measured(6, 1e4, 1e6, 2e4), idle(6, 4000)];
    let mut with_runs = sample::report();
    with_runs.servers.push(of_measurements(measurements));
    let all = compared(&with_runs, &with_runs);
    assert!(all.verdicts.is_empty() && all.unmatched.is_empty() && all.notes.is_empty(), "{all:?}");
    assert!(all.same_verdicts > 3, "{all:?}");
    let differs =
        |it: FigureVerdict| !matches!(it, FigureVerdict::Equal | FigureVerdict::Inconclusive);
    assert!(!verdicts(&all).iter().any(|(_, it)| differs(*it)), "{all:?}");
    // With 6 runs, every figure is equal.
    let equal = all.figures.iter().filter(|it| it.server == "one-echo");
    assert_eq!(equal.map(|it| it.verdict).collect::<Vec<_>>(), [FigureVerdict::Equal; 4]);
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = write(folder.path(), "report.json", &with_runs);
    // A directory stands for its report.json.
    let directory = folder.path().to_str().expect("a UTF-8 path");
    harness(&["compare", &file, "--with", directory, "--fail-if-slower", "1"])
        .assert()
        .code(0)
        .stdout(
            contains("0 worse, 0 better, 0 otherwise changed").and(contains("0 slower, 0 faster")),
        );
}

fn two_single_runs_of_one_build_have_no_changed_verdict_and_no_conclusive_time() {
    let cases = || vec![result("framing/single", Some(Verdict::Pass), State::Completed)];
    let run = |second, throughput| {
        let one = ServerResult {
            measurements: vec![measured(1, throughput, 1e6, 2e4), idle(1, 4000)],
            ..of_cases(cases())
        };
        report(second, vec![one])
    };
    let all = compared(&run(1, 1e4), &run(2, 1.3e4));
    assert!(all.verdicts.is_empty(), "{all:?}");
    assert_eq!(all.figures.len(), 4);
    assert!(all.figures.iter().all(|it| it.verdict == FigureVerdict::Inconclusive), "{all:?}");
    assert_eq!(all.slower_than(0.0).count(), 0);
}

fn a_case_that_is_no_longer_fine_exits_with_1_and_other_changes_do_not() {
    let pass = || result("a/b", Some(Verdict::Pass), State::Completed);
    let warn = || result("a/b", Some(Verdict::Warn), State::Completed);
    let fail = || result("a/b", Some(Verdict::Fail), State::Completed);
    let hang = || result("a/b", Some(Verdict::Fail), State::Hang);
    let undecided = || result("a/b", None, State::Inconclusive);
    let accepted = || CaseResult { known_failure: known(), ..fail() };
    let folder = tempfile::tempdir().expect("a temporary directory");
    let rows = [
        (pass(), fail(), Some(Effect::Worse)),
        (pass(), undecided(), Some(Effect::Worse)),
        (warn(), hang(), Some(Effect::Worse)),
        (accepted(), fail(), Some(Effect::Worse)),
        (fail(), pass(), Some(Effect::Better)),
        (pass(), warn(), Some(Effect::Other)),
        (fail(), undecided(), Some(Effect::Other)),
        (pass(), accepted(), Some(Effect::Other)),
        // How a case failed depends on time: a hang and a wrong reply are one verdict.
        (fail(), hang(), None),
        (pass(), pass(), None),
    ];
    for (old, new, effect) in rows {
        let labels = format!("a/b: {} → {}", old.label(), new.label());
        let (old, new) =
            (report(1, vec![of_cases(vec![old])]), report(2, vec![of_cases(vec![new])]));
        let all = compared(&old, &new);
        assert_eq!(all.verdicts.first().map(|it| it.effect), effect, "{labels}");
        assert_eq!(all.same_verdicts, usize::from(effect.is_none()), "{labels}");
        let [old, new] =
            [("old", &old), ("new", &new)].map(|(name, it)| write(folder.path(), name, it));
        let output = harness(&["compare", &old, "--with", &new]).assert();
        let output = output.code(i32::from(effect == Some(Effect::Worse)));
        if effect.is_some() {
            output.stdout(contains(labels));
        }
    }
}

fn a_case_that_one_side_did_not_run_is_listed_and_is_no_failure() {
    let pass = |name| result(name, Some(Verdict::Pass), State::Completed);
    let fail = |name| result(name, Some(Verdict::Fail), State::Completed);
    let not_applicable = |name| result(name, None, State::NotApplicable);
    let other = |name: &str| server(name, vec![fail("x/y")]);
    let absent =
        ServerResult { not_run: Some("no python3".to_owned()), ..server("py", Vec::new()) };
    let old = report(
        1,
        vec![
            of_cases(vec![pass("a/gone"), pass("a/excluded"), not_applicable("a/included")]),
            other("removed"),
            server("py", vec![pass("x/y")]),
        ],
    );
    let new = report(
        2,
        vec![
            of_cases(vec![not_applicable("a/excluded"), fail("a/included"), fail("a/added")]),
            other("added"),
            absent,
        ],
    );
    let all = compared(&old, &new);
    assert!(all.verdicts.is_empty(), "{all:?}");
    let found: Vec<(&str, Item, &str)> = all
        .unmatched
        .iter()
        .map(|it| (it.server.as_str(), it.item.clone(), it.only_in.name()))
        .collect();
    let case = |name: &str| Item::Case(name.to_owned());
    assert_eq!(
        found,
        [
            ("one-echo", case("a/gone"), "old"),
            ("one-echo", case("a/excluded"), "old"),
            ("one-echo", case("a/included"), "new"),
            ("one-echo", case("a/added"), "new"),
            ("removed", Item::Server, "old"),
            ("py", Item::Server, "old"),
            ("added", Item::Server, "new"),
        ]
    );
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [old, new] =
        [("old", &old), ("new", &new)].map(|(name, it)| write(folder.path(), name, it));
    harness(&["compare", &old, "--with", &new])
        .assert()
        .code(0)
        .stdout(contains("only in the old reports: server py (no python3)"))
        .stdout(contains("only in the new reports: one-echo, 2 cases: a/included, a/added"));
}

fn the_output_is_one_json_document_or_text_without_control_characters() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let of = |second, verdict| {
        let case = CaseResult {
            observed: "\u{1b}[2Jbye".to_owned(),
            ..result("a/b", Some(verdict), State::Completed)
        };
        let one = ServerResult { name: "evil\u{1b}]0;t\u{7}".to_owned(), ..of_cases(vec![case]) };
        report(second, vec![one, of_measurements(vec![measured(6, 1e4, 1e6, 2e4)])])
    };
    let old = write(folder.path(), "old", &of(1, Verdict::Pass));
    let new = write(folder.path(), "new", &of(2, Verdict::Fail));
    let text = harness(&["compare", &old, "--with", &new, "--all"]).assert().code(1);
    let text = String::from_utf8_lossy(&text.get_output().stdout).into_owned();
    assert!(text.contains("evil\u{fffd}") && text.contains("\u{fffd}[2Jbye"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
    assert!(text.contains("  equal        one-echo closed-8 p99: "), "{text}");
    let json = harness(&["compare", &old, "--with", &new, "--json"]).assert().code(1);
    let document: Value =
        serde_json::from_slice(&json.get_output().stdout).expect("one JSON document");
    assert_eq!(document["verdicts"][0]["effect"], "worse");
    assert_eq!(document["figures"][0]["figure"], "throughput");
    assert_eq!(document["figures"][0]["verdict"], "equal");
    assert_eq!(document["figures"][0]["ratio"]["ratio"], 1.0);
    assert_eq!(document["old"]["reports"], 1);
}

fn a_file_that_is_no_report_is_a_usage_error() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let good = write(folder.path(), "good", &report(1, Vec::new()));
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.to_str().expect("a UTF-8 path").to_owned()
    };
    let (empty, old) = (path("empty", ""), path("format", "{\"format\": 3}"));
    let directory = folder.path().to_str().expect("a UTF-8 path");
    for (wrong, words) in [
        (empty.as_str(), "is not a report of the harness"),
        (old.as_str(), "has format 3"),
        (directory, "cannot read"),
        ("/no/such/report.json", "cannot read /no/such/report.json"),
    ] {
        harness(&["compare", &good, "--with", wrong]).assert().code(2).stderr(contains(words));
        harness(&["compare", wrong, "--with", &good]).assert().code(2).stderr(contains(words));
        let output = folder.path().join("out");
        harness(&["report", wrong, "--output"])
            .arg(&output)
            .assert()
            .code(2)
            .stdout("")
            .stderr(contains(words));
        assert!(!output.exists(), "{wrong}");
    }
    harness(&["compare", &good]).assert().code(2).stderr(contains("--with"));
    harness(&["report"]).assert().code(2).stderr(contains("<RESULT>"));
}
