//! The formats for other programs.

use std::collections::BTreeMap;

use harness::results::{LatencyHistogram, Measurement, RunFigures};
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use serde_json::Value;

use super::sample::latencies;
use super::*;

pub(super) fn every_histogram_log_has_all_values_of_its_measurement() {
    let folder = FOLDERS.iter().find(|folder| folder.name == "histograms").expect("a format");
    let report = report();
    let files = (folder.files)(&report, Evidence::Failures);
    let measured: Vec<String> = report
        .servers
        .iter()
        .flat_map(|server| server.measurements.iter().map(move |it| (server, it)))
        .map(|(server, it)| format!("{}--{}.hlog", server.name, it.workload))
        .collect();
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert_eq!(names, measured);
    let max = latencies(20_000).max() as f64 / 1e6;
    for file in files {
        let log = file.content.expect("a log");
        let mut intervals = 0;
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            match entry.expect("a line of the format") {
                LogEntry::Interval(line) => {
                    assert_eq!(line.tag().map(|tag| tag.as_str()), Some("intended"));
                    assert_eq!(line.duration().as_millis(), 1_000);
                    // Two significant digits.
                    assert!((line.max() / max - 1.0).abs() < 0.02, "{} ms", line.max());
                    let encoded = Value::from(line.encoded_histogram());
                    let decoded: LatencyHistogram = serde_json::from_value(encoded).expect("text");
                    assert_eq!(decoded.decode().expect("a histogram").len(), 50_000);
                    intervals += 1;
                }
                LogEntry::StartTime(start) => assert_eq!(start.as_secs(), 1_767_323_045),
                _ => {}
            }
        }
        assert_eq!(intervals, 1, "{log}");
    }
}

/// Elements of Jenkins' `junit-10.xsd`, each with its attributes, its children, and whether it can
/// have text. Required attributes begin with `!`.
const SCHEMA: &[(&str, &[&str], &[&str], bool)] = &[
    ("testsuites", &["name", "time", "tests", "failures", "errors"], &["testsuite"], false),
    (
        "testsuite",
        &["!name", "!tests", "!failures", "!errors", "group", "time", "skipped", "timestamp"],
        &["testsuite", "properties", "testcase", "system-out", "system-err"],
        false,
    ),
    (
        "testcase",
        &["!name", "time", "classname", "group"],
        &["skipped", "error", "failure", "system-out", "system-err"],
        false,
    ),
    ("failure", &["type", "message"], &[], true),
    ("error", &["type", "message"], &[], true),
    ("skipped", &["type", "message"], &[], true),
    ("system-out", &[], &[], true),
];

/// Checks a document against the schema. Text in the document has no `<`, so that one begins a tag.
fn check_junit(document: &str) {
    let mut open: Vec<&str> = Vec::new();
    for part in document.split('<').skip(1).filter(|part| !part.starts_with('?')) {
        let (tag, text) = part.split_once('>').expect("the end of a tag");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name));
            continue;
        }
        let (tag, is_closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        let row = SCHEMA.iter().find(|row| row.0 == name);
        let (_, allowed, _, has_text) = row.unwrap_or_else(|| panic!("unknown element {name}"));
        let parent = open.last().map(|open| SCHEMA.iter().find(|row| row.0 == *open));
        let is_allowed = parent.flatten().map_or(name == "testsuites", |row| row.2.contains(&name));
        assert!(is_allowed, "{name} in {open:?}");
        let quoted: Vec<&str> = attributes.split('"').collect();
        let names: Vec<&str> =
            quoted.iter().step_by(2).map(|it| it.trim().trim_end_matches('=')).collect();
        for attribute in names.iter().filter(|it| !it.is_empty()) {
            let is_known = allowed.iter().any(|it| it.trim_start_matches('!') == *attribute);
            assert!(is_known, "attribute {attribute} of {name}");
        }
        for required in allowed.iter().filter_map(|it| it.strip_prefix('!')) {
            assert!(names.contains(&required), "{name} has no {required}");
        }
        assert!(*has_text || text.trim().is_empty(), "text in {name}: {text}");
        if !is_closed {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

pub(super) fn junit_has_only_what_the_schema_of_jenkins_allows() {
    for report in [report(), Report { complete: false, ..report() }] {
        check_junit(&rendered(&report, "junit.xml").expect("a JUnit file"));
    }
}

pub(super) fn the_time_of_a_suite_is_the_elapsed_time_if_it_is_recorded() {
    let cases =
        || ["a/a", "a/b"].map(|name| result(name, Some(Verdict::Pass), State::Completed)).to_vec();
    let mut timed = server("timed", cases());
    timed.duration_ms = Some(15);
    let report = Report { servers: vec![timed, server("other", cases())], ..report() };
    let document = rendered(&report, "junit.xml").expect("a JUnit file");
    let read = quick_junit::Report::deserialize_from_str(&document).expect("valid XML");
    let times: Vec<_> =
        read.test_suites.iter().map(|it| it.time.map(|it| it.as_millis())).collect();
    assert_eq!(times, [Some(15), Some(24)], "the cases of 12 ms ran in parallel");
}

pub(super) fn measurements_are_csv_with_a_row_for_each_run() {
    let hostile = "=cmd|' /C calc'!A0,\"a\"\r\n+b";
    let mut report = report();
    report.servers[0].name = hostile.to_owned();
    let text = rendered(&report, "measurements.csv").expect("a table");
    let mut table = csv::Reader::from_reader(text.as_bytes());
    let rows: Vec<BTreeMap<String, String>> =
        table.deserialize().collect::<Result<_, _>>().expect("rows of equal length");
    let runs = |kind: &str| rows.iter().filter(|row| row["row"] == kind).count();
    let measurements: Vec<&Measurement> =
        report.servers.iter().flat_map(|server| &server.measurements).collect();
    let expected: usize = measurements.iter().map(|it| it.runs.len()).sum();
    assert_eq!((runs("run"), runs("summary")), (expected, measurements.len()));
    assert_eq!(rows[0]["server"], "'=cmd|' /C calc'!A0,\"a\"  +b");
    assert_eq!(rows[0]["throughput_per_s"].parse::<f64>().expect("a rate"), 44_749.4 * 0.9);
    let summary = &rows[3];
    let figures = ["p99_ns", "p99_low_ns", "p99_high_ns", "max_ns", "server_cpu_ns_per_request"]
        .map(|column| summary[column].as_str());
    assert_eq!(figures, ["120000", "110000", "131000", "2100000", "11400"]);
    let memory: Vec<&str> =
        rows.iter().map(|row| row["memory_per_connection_bytes"].as_str()).collect();
    assert_eq!(memory.last(), Some(&"1234"));
    let unmeasured = Report { servers: vec![server("a", Vec::new())], ..report };
    assert_eq!(rendered(&unmeasured, "measurements.csv"), None);
}

pub(super) fn a_badge_is_self_contained_and_has_an_accessible_title() {
    let passed = || result("a/b", Some(Verdict::Pass), State::Completed);
    let with = |cases: Vec<CaseResult>| Report { servers: vec![server("a", cases)], ..report() };
    let failed = || result("a/b", Some(Verdict::Fail), State::Crash);
    let mut problem = with(vec![passed()]);
    problem.servers[0].problem = Some("it exited".to_owned());
    for (report, title) in [
        (with(vec![passed(); 1_234]), "cases: 1,234 passed"),
        (with(vec![passed(), failed(), failed()]), "cases: 2 failed"),
        (with(vec![passed(), result("a/b", None, State::Inconclusive)]), "cases: 1 inconclusive"),
        (problem, "measurements: 1 failed"),
        (Report { complete: false, ..with(vec![failed()]) }, "cases: the run is incomplete"),
    ] {
        let badge = rendered(&report, "badge.svg").expect("a badge");
        assert!(badge.contains(&format!("<title>{title}</title>")), "{badge}");
        assert!(badge.contains(&format!("aria-label=\"{title}\"")), "{badge}");
        // The only address is that of the name space, which is not loaded.
        assert_eq!(badge.matches("://").count(), 1, "{badge}");
        for word in ["href", "url(", "<style", "<script", "@"] {
            assert!(!badge.contains(word), "{word}: {badge}");
        }
    }
}

pub(super) fn benchmark_files_have_the_formats_of_their_tools() {
    let json = |report: &Report, file: &str| -> Option<Value> {
        Some(serde_json::from_str(&rendered(report, file)?).expect("a JSON document"))
    };
    let report = report();
    let [bigger, smaller, bencher] =
        ["benchmark-bigger.json", "benchmark-smaller.json", "bencher.json"]
            .map(|file| json(&report, file).expect("a file"));
    let mut names = Vec::new();
    for entry in bigger.as_array().into_iter().chain(smaller.as_array()).flatten() {
        assert!(entry["value"].is_f64() && entry["unit"].is_string(), "{entry}");
        assert!(entry["range"].is_null() || entry["range"].is_string(), "{entry}");
        names.push(entry["name"].as_str().expect("a name"));
    }
    let expected = [
        "one-calc/closed-1 throughput",
        "two-echo/closed-1 throughput",
        "one-calc/closed-1 latency_p99",
        "two-echo/closed-1 latency_p99",
        "two-echo/idle-memory memory_per_connection",
    ];
    assert_eq!(names, expected, "the failed measurements are left out");
    let throughput = &bencher["one-calc/closed-1"]["throughput"];
    let [low, value, high] = ["lower_value", "value", "upper_value"]
        .map(|key| throughput[key].as_f64().expect("a number"));
    assert!(low < value && value < high && (value / 44_749.4 - 1.0).abs() < 0.01, "{throughput}");
    let p99 = &bencher["one-calc/closed-1"]["latency_p99"];
    let figures = ["lower_value", "value", "upper_value"].map(|key| p99[key].as_f64());
    assert_eq!(figures, [110_000.0, 120_000.0, 131_000.0].map(Some));
    let mut one_run = report.clone();
    let run: Vec<RunFigures> = one_run.servers[0].measurements[0].runs[..1].to_vec();
    one_run.servers[0].measurements[0].runs = run;
    let bencher = json(&one_run, "bencher.json").expect("a file");
    let throughput = &bencher["one-calc/closed-1"]["throughput"];
    assert_eq!(throughput, &serde_json::json!({ "value": 44_749.4 }));
    for file in ["benchmark-bigger.json", "benchmark-smaller.json", "bencher.json"] {
        let incomplete = Report { complete: false, ..report.clone() };
        assert_eq!(json(&incomplete, file), None, "a service would store a part of the figures");
    }
}
