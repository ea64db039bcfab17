//! Compares reports with golden files. After an intended change, update the golden files with
//! `BLESS=1 cargo test reports::`.

use std::path::Path;

use crate::common::{self, tests};
use answers::{
    a_run_without_replies_keeps_the_latencies_of_the_others,
    a_server_with_failures_is_not_recommended, each_need_has_its_rule_and_threshold,
    every_interval_contains_its_value, the_leader_of_a_column_names_what_it_gives_up,
    ties_and_doubtful_figures_decide_the_leaders, two_runs_are_too_few_for_an_interval,
};
use formats::{
    a_badge_is_self_contained_and_has_an_accessible_title,
    benchmark_files_have_the_formats_of_their_tools,
    every_histogram_log_has_all_values_of_its_measurement,
    junit_has_only_what_the_schema_of_jenkins_allows, measurements_are_csv_with_a_row_for_each_run,
    the_time_of_a_suite_is_the_elapsed_time_if_it_is_recorded,
};
use harness::report::{Document, EXPORTERS, Evidence, FOLDERS, FailOn, Tally};
use harness::results::{CaseResult, Kind, Report, State, Verdict};
use output::{
    a_report_keeps_the_evidence_of_passed_cases_on_request, old_files_of_subdirectories_are_removed,
};
use page::{
    a_chart_and_its_table_have_the_same_points, every_server_has_a_row_and_every_result_a_cell,
    long_transcripts_do_not_make_the_page_large, script_and_style_are_short,
    the_page_loads_nothing_and_escapes_server_output, the_page_of_all_servers_is_small,
    the_page_shows_what_changed_since_the_baseline,
};
use sample::{known, measurement, report, result, server};
use summary::{
    a_summary_of_all_servers_has_at_most_20_kb, annotations_are_at_most_ten_and_count_the_rest,
    each_result_that_needs_attention_has_one_cause,
    failures_of_several_servers_are_grouped_by_likely_cause,
    key_figures_are_those_of_their_workloads, text_of_a_server_is_no_markup_in_a_summary,
};

mod answers;
mod formats;
mod output;
mod page;
pub(crate) mod sample;
mod summary;

tests![
    every_report_format_matches_its_golden_file,
    each_need_has_its_rule_and_threshold,
    two_runs_are_too_few_for_an_interval,
    every_interval_contains_its_value,
    a_run_without_replies_keeps_the_latencies_of_the_others,
    ties_and_doubtful_figures_decide_the_leaders,
    a_server_with_failures_is_not_recommended,
    the_leader_of_a_column_names_what_it_gives_up,
    the_page_loads_nothing_and_escapes_server_output,
    the_page_of_all_servers_is_small,
    the_page_shows_what_changed_since_the_baseline,
    script_and_style_are_short,
    a_chart_and_its_table_have_the_same_points,
    every_server_has_a_row_and_every_result_a_cell,
    long_transcripts_do_not_make_the_page_large,
    verdicts_are_counted_by_kind,
    a_report_is_fine_only_if_every_verdict_and_every_measurement_is,
    the_exit_code_is_1_only_for_the_kinds_that_fail_on_selects,
    junit_is_valid_xml_for_any_server_output_and_quotes_it,
    every_format_marks_an_unfinished_run_as_incomplete,
    a_report_round_trips_unchanged,
    every_histogram_log_has_all_values_of_its_measurement,
    junit_has_only_what_the_schema_of_jenkins_allows,
    the_time_of_a_suite_is_the_elapsed_time_if_it_is_recorded,
    measurements_are_csv_with_a_row_for_each_run,
    a_badge_is_self_contained_and_has_an_accessible_title,
    benchmark_files_have_the_formats_of_their_tools,
    a_report_keeps_the_evidence_of_passed_cases_on_request,
    old_files_of_subdirectories_are_removed,
    a_summary_of_all_servers_has_at_most_20_kb,
    annotations_are_at_most_ten_and_count_the_rest,
    each_result_that_needs_attention_has_one_cause,
    failures_of_several_servers_are_grouped_by_likely_cause,
    key_figures_are_those_of_their_workloads,
    text_of_a_server_is_no_markup_in_a_summary,
];

fn every_report_format_matches_its_golden_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for exporter in EXPORTERS {
        let Some(rendered) = (exporter.render)(Document::of(&report())) else { continue };
        let second = (exporter.render)(Document::of(&report()));
        assert_eq!(
            second.as_ref(),
            Some(&rendered),
            "two renderings of {} differ",
            exporter.file_name
        );
        compare(&golden.join(exporter.file_name), &rendered);
    }
    for folder in FOLDERS {
        let files = (folder.files)(&report(), Evidence::All);
        let second = (folder.files)(&report(), Evidence::All);
        assert_eq!(second, files, "two renderings of {} differ", folder.name);
        for file in files {
            // The sample has evidence of some passed cases only.
            let Some(content) = &file.content else { continue };
            compare(&golden.join(folder.name).join(&file.name), content);
        }
    }
}

/// Compares a text with a golden file, or updates the file.
fn compare(file: &Path, text: &str) {
    let text = common::without_assets(text);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        std::fs::write(file, &text).expect("a golden file");
    }
    let golden = std::fs::read_to_string(file).unwrap_or_default();
    assert_eq!(text, golden, "{} differs; BLESS=1 updates it", file.display());
}

/// Renders a file of a report.
fn rendered(report: &Report, file: &str) -> Option<String> {
    let exporter = EXPORTERS.iter().find(|exporter| exporter.file_name == file);
    (exporter.unwrap_or_else(|| panic!("no exporter of {file}")).render)(Document::of(report))
}

/// Reads a report, and writes it again. Returns both texts.
pub(crate) fn read_back(path: &Path) -> (String, String) {
    let report = Report::read(path).unwrap_or_else(|error| panic!("{error}"));
    let json = EXPORTERS.iter().find(|exporter| exporter.file_name == "report.json");
    let written = json.and_then(|exporter| (exporter.render)(Document::of(&report))).expect("JSON");
    (std::fs::read_to_string(path).expect("a report"), written)
}

fn a_report_round_trips_unchanged() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report.json");
    let (golden, written) = read_back(&golden);
    assert_eq!(golden, written);
}

fn verdicts_are_counted_by_kind() {
    let tally = Tally::of(report().results());
    let counted = Kind::ALL.iter().map(|&kind| tally.get(kind)).collect::<Vec<_>>();
    assert_eq!(counted, [1, 1, 1, 1, 0, 1, 1, 1]);
    let words = "1 passed, 1 warn, 1 info, 1 failed, 1 not applicable, 1 known failure, 1 stale known failure";
    assert_eq!(tally.summary(), words);
}

fn a_report_is_fine_only_if_every_verdict_and_every_measurement_is() {
    let mut report = report();
    assert!(!report.is_fine());
    report.servers[0].cases.pop();
    assert!(!report.is_fine(), "a known failure passes");
    report.servers[1].cases.pop();
    assert!(!report.is_fine(), "a measurement has a problem");
    report.servers[1].measurements.retain(|measurement| measurement.problem().is_none());
    assert!(report.is_fine());
}

fn the_exit_code_is_1_only_for_the_kinds_that_fail_on_selects() {
    let with =
        |results: Vec<CaseResult>| Report { servers: vec![server("one", results)], ..report() };
    let stale = |known_failure| CaseResult {
        known_failure,
        ..result("a/b", Some(Verdict::Pass), State::Completed)
    };
    let failing = |known_failure| CaseResult {
        known_failure,
        ..result("a/b", Some(Verdict::Fail), State::Completed)
    };
    let warn = result("a/b", Some(Verdict::Warn), State::Completed);
    let info = result("a/b", Some(Verdict::Info), State::Completed);
    let mut measured = with(Vec::new());
    measured.servers[0].problem = Some("under closed-1: it ended".to_owned());
    let rows: Vec<(Report, &[FailOn])> = vec![
        (with(vec![stale(None), info]), &[]),
        (with(vec![failing(known())]), &[]),
        (with(vec![failing(None)]), &[FailOn::Fail]),
        (with(vec![stale(known())]), &[FailOn::Fail]),
        (measured, &[FailOn::Fail]),
        (with(vec![result("a/b", None, State::Inconclusive)]), &[FailOn::Inconclusive]),
        (with(vec![warn]), &[FailOn::Warn]),
        (with(vec![result("a/b", None, State::NotApplicable)]), &[FailOn::NotApplicable]),
    ];
    for (number, (report, fails)) in rows.iter().enumerate() {
        for on in
            [FailOn::Fail, FailOn::Inconclusive, FailOn::Warn, FailOn::NotApplicable, FailOn::None]
        {
            let code = u8::from(fails.contains(&on));
            assert_eq!(report.exit_code(&[on]), code, "row {number}, {on:?}");
        }
    }
    let broken = with(vec![result("a/b", None, State::HarnessError)]);
    assert_eq!(broken.exit_code(&[FailOn::None]), 3);
}

fn junit_is_valid_xml_for_any_server_output_and_quotes_it() {
    let words = "\u{1b}[31mred\u{0}\u{8}\u{b}\u{ffff}\u{fffe}\u{85} ]]> <a b=\"c\"> & 'd'\r\nend";
    let hostile = CaseResult {
        observed: words.to_owned(),
        log: words.to_owned(),
        ..result("framing/crlf", Some(Verdict::Fail), State::Crash)
    };
    let mut report = report();
    report.servers = vec![server(words, vec![hostile])];
    let junit = EXPORTERS.iter().find(|exporter| exporter.file_name == "junit.xml");
    let text =
        (junit.expect("a JUnit exporter").render)(Document::of(&report)).expect("a JUnit file");
    // The Char production of XML 1.0.
    let is_char = |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    assert!(text.chars().all(is_char), "{text:?}");
    let read = quick_junit::Report::deserialize_from_str(&text).expect("valid XML");
    assert_eq!((read.tests, read.failures, read.errors, read.skipped), (1, 1, 0, 0));
    let case = &read.test_suites[0].test_cases[0];
    let quick_junit::TestCaseStatus::NonSuccess { message: Some(message), ty, .. } = &case.status
    else {
        panic!("the failure has no message: {case:?}")
    };
    assert_eq!(ty.as_deref(), Some("crash"));
    assert!(message.contains("]]> <a b=\"c\"> & 'd'") && message.contains("red"), "{message:?}");
}

fn every_format_marks_an_unfinished_run_as_incomplete() {
    let unfinished = Report { complete: false, servers: Vec::new(), ..report() };
    for exporter in EXPORTERS {
        let Some(rendered) = (exporter.render)(Document::of(&unfinished)) else { continue };
        let is_marked =
            rendered.contains("is incomplete") || rendered.contains("\"complete\":false");
        assert!(is_marked, "{}", exporter.file_name);
    }
}
