//! Compares reports with golden files. After an intended change, update the golden files with
//! `BLESS=1 cargo test reports::`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::common::tests;
use harness::contract::Declared;
use harness::environment::Environment;
use harness::exit::Exit;
use harness::report::{EXPORTERS, FailOn, Tally};
use harness::results::{
    CaseResult, Caveat, CaveatKind, ConcurrencyModel, Discovery, Event, EventKind, FORMAT,
    IdleConnectionCost, Kind, KnownFailure, KnownVerdict, Level, LostShares, Measurement, Outcome,
    Quoted, Report, Sample, ServerResult, ServerStats, State, Survivor, Validity, ValidityLabel,
    Verdict,
};
use harness::stats::{Interval, Quantiles};
use servers::OverloadPolicy;

tests![
    every_report_format_matches_its_golden_file,
    a_page_is_self_contained_without_scripts_and_escapes_server_output,
    the_latency_plot_and_its_table_show_the_same_values,
    verdicts_are_counted_by_kind,
    a_report_is_fine_only_if_every_verdict_and_every_measurement_is,
    the_exit_code_is_1_only_for_the_kinds_that_fail_on_selects,
    junit_is_valid_xml_for_any_server_output_and_quotes_it,
    every_format_marks_an_unfinished_run_as_incomplete,
    a_report_round_trips_unchanged,
];

fn result(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        observed: "what was seen".to_owned(),
        reproduce: format!("harness check one-calc --case {name} --seed 7"),
        duration_ms: 12,
        ..CaseResult::new(name, "what is <required>")
    }
}

fn failed() -> CaseResult {
    CaseResult {
        expected: "the reply \"3\"".to_owned(),
        observed: "the server ended, with exit code 101".to_owned(),
        hint: Some("what the server wrote last tells where it died".to_owned()),
        transcript: vec![
            Event::new(31, 1, EventKind::connected(Duration::from_micros(20))),
            Event::new(1_234, 1, EventKind::sent(b"1+2\n")),
            Event::new(2_300, 0, EventKind::output(b"oh <no>")),
            Event::new(2_345, 1, EventKind::ReceivedReset),
        ],
        resources: vec![sample(4, 9), sample(50_123, 62)],
        survivors: vec![Survivor { pid: 4242, name: "sleep".to_owned() }],
        log: "thread 'main' panicked <at> the worst moment".to_owned(),
        exit: Some(Exit::Code(101)),
        ..result("framing/crlf", Some(Verdict::Fail), State::Crash)
    }
}

fn sample(at_us: u64, descriptors: usize) -> Sample {
    Sample { at_us, processes: 1, threads: 3, descriptors, anonymous_bytes: 4096 * 72 }
}

fn known() -> Option<KnownFailure> {
    Some(KnownFailure {
        verdict: KnownVerdict::Fail,
        reason: "it is <old> & slow".to_owned(),
        location: "known-failures.toml, line 3".to_owned(),
        cause: None,
    })
}

fn measurement(workload: &str, connections: usize, throughput_per_s: f64) -> Measurement {
    // All series differ, so that the tests detect a column with the wrong series.
    let times = |p50: u64, count: u64| Quantiles {
        p50: Some(p50),
        p90: Some(p50 * 3 / 2),
        p99: Some(p50 * 6),
        p999: Some(p50 * 22),
        max: Some(p50 * 105),
        count,
    };
    Measurement {
        workload: workload.to_owned(),
        clients: connections,
        duration_ms: 1_000,
        planned_ms: 1_000,
        validity: Validity::default(),
        partial: false,
        outcomes: [Outcome::Answered; 5].into_iter().collect(),
        connections: [Outcome::Answered].into_iter().collect(),
        background: Vec::new(),
        offered_per_s: None,
        throughput_per_s,
        latency_intended_ns: times(20_000, 50_000),
        latency_sent_ns: times(13_000, 49_999),
        p99_interval_ns: Some(Interval { low: 110_000, high: 131_000 }),
        effective_samples: Some(4.5),
        send_lateness_ns: times(70, 50_001),
        connect_ns: Quantiles { max: Some(50_000), count: 1, ..Quantiles::default() },
        failures_ns: BTreeMap::new(),
        generator_cpu_ns_per_request: Some(9_100),
        generator_cpu_share: 0.4,
        littles_residual: Some(-0.001),
        stolen_share: 0.01,
        lost_time: LostShares {
            gaps_share: 0.002,
            longest_gap_ns: 2_000_000,
            run_queue_share: Some(0.003),
            throttled_share: None,
            other_load_share: Some(0.004),
        },
        syscalls_per_request: Some(2.01),
        syscalls_not_counted: None,
        placement: "server on CPU 0, generator on CPU 1".to_owned(),
        server_stats: Some(ServerStats {
            cpu_ns_per_request: Some(11_400),
            user_cpu_ns_per_request: Some(1_400),
            system_cpu_ns_per_request: Some(10_000),
            cpu_share: Some(0.5),
            threads: 3,
            processes: 1,
            descriptors: 9,
            anonymous_bytes: 4096 * 72,
            voluntary_switches_per_request: Some(1.01),
            involuntary_switches_per_request: Some(0.02),
            accept_queue_depth_max: Some(1),
        }),
        idle_connections: None,
    }
}

/// Returns the measurement of an open loop whose server does not listen.
fn nothing_answered() -> Measurement {
    Measurement {
        outcomes: [Outcome::Closed].into_iter().collect(),
        connections: [Outcome::Refused].into_iter().collect(),
        offered_per_s: Some(0.5),
        throughput_per_s: 0.0,
        latency_intended_ns: Quantiles::default(),
        latency_sent_ns: Quantiles::default(),
        p99_interval_ns: None,
        effective_samples: None,
        send_lateness_ns: Quantiles::default(),
        connect_ns: Quantiles::default(),
        generator_cpu_ns_per_request: None,
        littles_residual: None,
        server_stats: None,
        ..measurement("open-constant", 1, 0.0)
    }
}

fn server(name: &str, cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: name.to_owned(),
        command: format!("harness serve {name} {{host}} {{port}}"),
        contract: "calc, one client at a time".to_owned(),
        cases,
        ..ServerResult::default()
    }
}

fn discovery() -> Discovery {
    Discovery {
        observed: "serves 4 at once".to_owned(),
        declares: Declared {
            capacity: Some(4),
            when_full: Some(OverloadPolicy::Busy),
            idle_timeout: Some(Duration::from_millis(1_500)),
            overflow: true,
            ..Declared::default()
        },
        error_reply: Some(b"error: \xff"[..].into()),
        concurrency_model: Some(ConcurrencyModel::IoUring),
    }
}

fn every_event() -> Vec<Event> {
    let kinds = [
        EventKind::connected(Duration::from_micros(20)),
        EventKind::sent(b"\0\n"),
        EventKind::received(b"\xff\n"),
        EventKind::SentFin,
        EventKind::SentReset,
        EventKind::ReceivedFin,
        EventKind::ClientError { message: "connection refused".to_owned() },
        EventKind::note("SIGTERM"),
        EventKind::Exited { exit: Exit::Signal(9) },
    ];
    (0..).zip(kinds).map(|(at_us, kind)| Event::new(at_us, 1, kind)).collect()
}

fn report() -> Report {
    let passed = || result("framing/single", Some(Verdict::Pass), State::Completed);
    let mut one = server("one-calc", vec![passed(), failed()]);
    one.alias = Some("server1".to_owned());
    one.measured_command = Some("harness serve one-calc {host} {port}".to_owned());
    one.measurements = vec![measurement("closed-1", 1, 44_749.4)];
    one.not_measured = vec!["closed-8: the server serves one client at a time".to_owned()];
    let mut two = server(
        "two-echo",
        vec![
            result("framing/single", Some(Verdict::Warn), State::Completed),
            result("framing/crlf", None, State::NotApplicable),
            CaseResult {
                level: Level::Hardening,
                transcript: every_event(),
                counterexample: Some(serde_json::json!({ "line": [0, 255], "value": 1.5 })),
                blocked_by: vec!["framing/single".to_owned()],
                client_observed: Some("connection reset".to_owned()),
                discovery: Some(Box::new(discovery())),
                quoted: Some(Box::new(Quoted {
                    observed: "the server exited, with exit code 1".to_owned(),
                    output: "Traceback".to_owned(),
                })),
                ..result("contract/capacity", Some(Verdict::Info), State::Completed)
            },
            CaseResult {
                known_failure: known(),
                ..result("framing/sizes", Some(Verdict::Fail), State::Hang)
            },
            CaseResult {
                known_failure: known(),
                ..result("refusal/as-declared", Some(Verdict::Pass), State::Completed)
            },
        ],
    );
    two.measurements = vec![
        measurement("closed-1", 1, 1_000.0),
        nothing_answered(),
        Measurement {
            validity: Validity {
                label: ValidityLabel::Faulty,
                caveats: vec![Caveat {
                    kind: CaveatKind::Faults,
                    text: "requests: 3 wrong reply".to_owned(),
                }],
            },
            ..measurement("closed-8", 8, 123_456.0)
        },
        Measurement {
            idle_connections: Some(IdleConnectionCost {
                memory_per_connection_bytes: 1_234,
                connected_in_ms: 456,
            }),
            ..measurement("idle-memory", 10_000, 98_765.0)
        },
    ];
    let mut three = server("three-calc", Vec::new());
    three.not_run = Some("the kernel has no <such> thing: install it".to_owned());
    Report {
        format: FORMAT,
        complete: true,
        environment: Environment {
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            command: "harness run one two".to_owned(),
            version: "0.1.0".to_owned(),
            commit: Some("0123456789ab".to_owned()),
            build: "release".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            cpu_model: "A Processor".to_owned(),
            cpus: 2,
            memory_mib: 24_000,
        },
        plan: "standard plan: 1s each".to_owned(),
        seed: 7,
        servers: vec![one, two, three],
    }
}

fn every_report_format_matches_its_golden_file() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for exporter in EXPORTERS {
        let Some(rendered) = (exporter.render)(&report()) else { continue };
        let second = (exporter.render)(&report());
        assert_eq!(
            second.as_ref(),
            Some(&rendered),
            "two renderings of {} differ",
            exporter.file_name
        );
        let file = golden.join(exporter.file_name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &rendered).expect("a golden file");
        }
        let golden = std::fs::read_to_string(&file).expect("a golden file");
        assert_eq!(rendered, golden, "{} differs; BLESS=1 updates it", exporter.file_name);
    }
}

/// Reads a report, and writes it again. Returns both texts.
pub(crate) fn read_back(path: &Path) -> (String, String) {
    let report = Report::read(path).unwrap_or_else(|error| panic!("{error}"));
    let json = EXPORTERS.iter().find(|exporter| exporter.file_name == "report.json");
    let written = json.and_then(|exporter| (exporter.render)(&report)).expect("JSON");
    (std::fs::read_to_string(path).expect("a report"), written)
}

fn a_report_round_trips_unchanged() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/report.json");
    let (golden, written) = read_back(&golden);
    assert_eq!(golden, written);
}

fn the_latency_plot_and_its_table_show_the_same_values() {
    let one = measurement("closed-1", 1, 1.0);
    let series =
        [one.latency_intended_ns, one.latency_sent_ns, one.send_lateness_ns, one.connect_ns];
    for (index, this) in series.iter().enumerate() {
        assert!(!series[..index].contains(this), "two series are equal: {this:?}");
    }
    let html = EXPORTERS.iter().find(|exporter| exporter.file_name == "index.html");
    let page = html.and_then(|exporter| (exporter.render)(&report())).expect("a page");
    let (_, rest) = page.split_once("<svg").expect("a plot");
    let (plot, rest) = rest.split_once("</svg>").expect("the end of the plot");
    let table = rest.split_once("</table>").expect("a table").0;
    for (name, latency) in [
        ("p50", "20.0 µs"),
        ("p90", "30.0 µs"),
        ("p99", "120 µs"),
        ("p99.9", "440 µs"),
        ("max", "2.10 ms"),
    ] {
        assert!(
            plot.contains(&format!("<title>one-calc (server1): {name} {latency}</title>")),
            "{plot}"
        );
        assert!(table.contains(&format!("<td>{latency}</td>")), "{table}");
    }
}

fn a_page_is_self_contained_without_scripts_and_escapes_server_output() {
    let page = EXPORTERS
        .iter()
        .find(|exporter| exporter.file_name == "index.html")
        .and_then(|exporter| (exporter.render)(&report()))
        .expect("a page");
    for word in ["http://", "https://", "<script", "src=", "@import", "url("] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("panicked &lt;at&gt; the worst moment"));
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
    let text = (junit.expect("a JUnit exporter").render)(&report).expect("a JUnit file");
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
        let Some(rendered) = (exporter.render)(&unfinished) else { continue };
        let is_marked =
            rendered.contains("is incomplete") || rendered.contains("\"complete\": false");
        assert!(is_marked, "{}", exporter.file_name);
    }
}
