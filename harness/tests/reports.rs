//! Reports, byte by byte. After a change that is wanted, `BLESS=1 cargo test reports::`
//! writes the golden files anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::common::trials;
use harness::client::{Event, Happening};
use harness::conformance::{CaseResult, Kind, Known, KnownVerdict, Sample, State, Verdict};
use harness::environment::Environment;
use harness::exit::Exit;
use harness::load::server_stats::ServerSide;
use harness::load::{self, Caveat, CaveatKind, Held, LostShares, Measurement, Outcome, Validity};
use harness::report::{EXPORTERS, FORMAT, FailOn, Report, ServerResult, Tally};
use harness::server::Survivor;
use harness::stats::{Interval, Quantiles};

trials![
    every_format_renders_a_report_to_the_bytes_that_are_kept,
    a_page_needs_no_network_and_no_script_and_lets_no_server_write_into_it,
    the_plot_draws_the_latency_that_its_caption_and_its_table_have,
    verdicts_are_counted_by_kind,
    a_report_is_fine_only_if_every_verdict_and_every_measurement_is,
    the_exit_code_is_1_for_what_is_to_be_failed_on_and_for_nothing_else,
    whatever_a_server_says_junit_is_xml_and_says_it,
    a_run_that_was_not_finished_says_so_in_every_format,
];

fn judgement(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        observed: "what was seen".to_owned(),
        replay: format!("harness check one-calc --case {name} --seed 7"),
        took_ms: 12,
        ..CaseResult::new(name, "what is <required>")
    }
}

fn failed() -> CaseResult {
    CaseResult {
        expected: "the reply \"3\"".to_owned(),
        observed: "the server ended, with exit code 101".to_owned(),
        hint: Some("what the server wrote last tells where it died".to_owned()),
        transcript: vec![
            Event::of(31, 1, &Happening::Connected(Duration::from_micros(20))),
            Event::of(1_234, 1, &Happening::Sent(b"1+2\n".to_vec())),
            Event::of(2_300, 0, &Happening::ServerWrote(b"oh <no>".to_vec())),
            Event::of(2_345, 1, &Happening::ServerReset),
        ],
        resources: vec![sample(4, 9), sample(50_123, 62)],
        survivors: vec![Survivor { pid: 4242, name: "sleep".to_owned() }],
        log: "thread 'main' panicked <at> the worst moment".to_owned(),
        exit: Some(Exit::Code(101)),
        ..judgement("framing/crlf", Some(Verdict::Fail), State::Crash)
    }
}

fn sample(at_us: u64, descriptors: usize) -> Sample {
    Sample { at_us, processes: 1, threads: 3, descriptors, anonymous_bytes: 4096 * 72 }
}

fn known() -> Option<Known> {
    Some(Known {
        verdict: KnownVerdict::Fail,
        reason: "it is <old> & slow".to_owned(),
        place: "expected.toml, line 3".to_owned(),
        cause: None,
    })
}

fn measurement(workload: &str, connections: usize, throughput_per_s: f64) -> Measurement {
    // No two series are equal: one in another's place must show.
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
        beside: Vec::new(),
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
        lost: LostShares {
            gaps_share: 0.002,
            longest_gap_ns: 2_000_000,
            run_queue_share: Some(0.003),
            throttled_share: None,
            other_load_share: Some(0.004),
        },
        syscalls_per_request: Some(2.01),
        syscalls_not_counted: None,
        placement: "server on processor 0, generator on processor 1".to_owned(),
        server: Some(ServerSide {
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
        held: None,
    }
}

/// What an open loop finds where nobody listens.
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
        server: None,
        ..measurement("open-constant", 1, 0.0)
    }
}

fn server(name: &str, cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: name.to_owned(),
        original: None,
        command: format!("harness serve {name} {{host}} {{port}}"),
        foreign: false,
        contract: "calc, one client at a time".to_owned(),
        mechanism: None,
        not_run: None,
        cases,
        took_ms: None,
        measured_command: None,
        measurements: Vec::new(),
        not_measured: Vec::new(),
        problem: None,
    }
}

fn report() -> Report {
    let fine = || judgement("framing/single", Some(Verdict::Pass), State::Ok);
    let mut one = server("one-calc", vec![fine(), failed()]);
    one.original = Some("server1".to_owned());
    one.measured_command = Some("harness serve one-calc {host} {port}".to_owned());
    one.measurements = vec![measurement("closed-1", 1, 44_749.4)];
    one.not_measured = vec!["closed-8: it serves one client at a time".to_owned()];
    let mut two = server(
        "two-echo",
        vec![
            judgement("framing/single", Some(Verdict::Loose), State::Ok),
            judgement("framing/crlf", None, State::NotApplicable),
            judgement("contract/capacity", Some(Verdict::Info), State::Ok),
            CaseResult {
                known: known(),
                ..judgement("framing/sizes", Some(Verdict::Fail), State::Hang)
            },
            CaseResult {
                known: known(),
                ..judgement("refusal/as-declared", Some(Verdict::Pass), State::Ok)
            },
        ],
    );
    two.measurements = vec![
        measurement("closed-1", 1, 1_000.0),
        nothing_answered(),
        Measurement {
            validity: Validity {
                verdict: load::Verdict::Faulty,
                caveats: vec![Caveat {
                    kind: CaveatKind::Faults,
                    words: "requests: 3 wrong reply".to_owned(),
                }],
            },
            ..measurement("closed-8", 8, 123_456.0)
        },
        Measurement {
            held: Some(Held { memory_per_connection_bytes: 1_234, connected_in_ms: 456 }),
            ..measurement("held", 10_000, 98_765.0)
        },
    ];
    let mut three = server("three-calc", Vec::new());
    three.not_run = Some("the kernel has no <such> thing: install it".to_owned());
    Report {
        format: FORMAT,
        complete: true,
        environment: Environment {
            began: "2026-01-02T03:04:05Z".to_owned(),
            command: "harness run one two".to_owned(),
            version: "0.1.0".to_owned(),
            folder_commit: Some("0123456789ab".to_owned()),
            build: "release".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            processor: "A Processor".to_owned(),
            processors: 2,
            memory_mib: 24_000,
        },
        plan: "standard plan: 1s each".to_owned(),
        seed: 7,
        servers: vec![one, two, three],
    }
}

fn every_format_renders_a_report_to_the_bytes_that_are_kept() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for exporter in EXPORTERS {
        let Some(rendered) = (exporter.render)(&report()) else { continue };
        let again = (exporter.render)(&report());
        assert_eq!(again.as_ref(), Some(&rendered), "{} changes", exporter.file_name);
        let file = golden.join(exporter.file_name);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &rendered).expect("a golden file");
        }
        let kept = std::fs::read_to_string(&file).expect("a golden file");
        assert_eq!(rendered, kept, "{} differs; BLESS=1 keeps the new one", exporter.file_name);
    }
}

fn the_plot_draws_the_latency_that_its_caption_and_its_table_have() {
    let one = measurement("closed-1", 1, 1.0);
    let series =
        [one.latency_intended_ns, one.latency_sent_ns, one.send_lateness_ns, one.connect_ns];
    for (index, this) in series.iter().enumerate() {
        assert!(!series[..index].contains(this), "two series are equal: {this:?}");
    }
    let html = EXPORTERS.iter().find(|exporter| exporter.file_name == "index.html");
    let page = html.and_then(|exporter| (exporter.render)(&report())).expect("a page");
    let (_, rest) = page.split_once("<svg").expect("a plot");
    let (plot, rest) = rest.split_once("</svg>").expect("its end");
    let table = rest.split_once("</table>").expect("a table").0;
    for (name, intended) in [
        ("p50", "20.0 µs"),
        ("p90", "30.0 µs"),
        ("p99", "120 µs"),
        ("p99.9", "440 µs"),
        ("max", "2.10 ms"),
    ] {
        assert!(
            plot.contains(&format!("<title>one-calc (server1): {name} {intended}</title>")),
            "{plot}"
        );
        assert!(table.contains(&format!("<td>{intended}</td>")), "{table}");
    }
}

fn a_page_needs_no_network_and_no_script_and_lets_no_server_write_into_it() {
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
    let tally = Tally::of(report().judgements());
    let counted = Kind::ALL.iter().map(|&kind| tally.get(kind)).collect::<Vec<_>>();
    assert_eq!(counted, [1, 1, 1, 1, 0, 1, 1, 1]);
    let words = "1 passed, 1 loose, 1 info, 1 failed, 1 not applicable, 1 known failure, 1 stale expectation";
    assert_eq!(tally.words(), words);
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

fn the_exit_code_is_1_for_what_is_to_be_failed_on_and_for_nothing_else() {
    let with = |judgements: Vec<CaseResult>| Report {
        servers: vec![server("one", judgements)],
        ..report()
    };
    let stale = |known| CaseResult { known, ..judgement("a/b", Some(Verdict::Pass), State::Ok) };
    let failing = |known| CaseResult { known, ..judgement("a/b", Some(Verdict::Fail), State::Ok) };
    let loose = judgement("a/b", Some(Verdict::Loose), State::Ok);
    let info = judgement("a/b", Some(Verdict::Info), State::Ok);
    let mut measured = with(Vec::new());
    measured.servers[0].problem = Some("under closed-1: it ended".to_owned());
    let rows: Vec<(Report, &[FailOn])> = vec![
        (with(vec![stale(None), info]), &[]),
        (with(vec![failing(known())]), &[]),
        (with(vec![failing(None)]), &[FailOn::Fail]),
        (with(vec![stale(known())]), &[FailOn::Fail]),
        (measured, &[FailOn::Fail]),
        (with(vec![judgement("a/b", None, State::Vacuous)]), &[FailOn::Undecided]),
        (with(vec![loose]), &[FailOn::Loose]),
        (with(vec![judgement("a/b", None, State::NotApplicable)]), &[FailOn::NotApplicable]),
    ];
    for (number, (report, fails)) in rows.iter().enumerate() {
        for on in
            [FailOn::Fail, FailOn::Undecided, FailOn::Loose, FailOn::NotApplicable, FailOn::None]
        {
            let code = u8::from(fails.contains(&on));
            assert_eq!(report.exit_code(&[on]), code, "row {number}, {on:?}");
        }
    }
    let broken = with(vec![judgement("a/b", None, State::HarnessError)]);
    assert_eq!(broken.exit_code(&[FailOn::None]), 3);
}

fn whatever_a_server_says_junit_is_xml_and_says_it() {
    let words = "\u{1b}[31mred\u{0}\u{8}\u{b}\u{ffff}\u{fffe}\u{85} ]]> <a b=\"c\"> & 'd'\r\nend";
    let said = CaseResult {
        observed: words.to_owned(),
        log: words.to_owned(),
        ..judgement("framing/crlf", Some(Verdict::Fail), State::Crash)
    };
    let mut report = report();
    report.servers = vec![server(words, vec![said])];
    let junit = EXPORTERS.iter().find(|exporter| exporter.file_name == "junit.xml");
    let text = (junit.expect("it is there").render)(&report).expect("it has always something");
    // The Char production of XML 1.0.
    let is_char = |letter: char| matches!(letter, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    assert!(text.chars().all(is_char), "{text:?}");
    let read = quick_junit::Report::deserialize_from_str(&text).expect("it is XML");
    assert_eq!((read.tests, read.failures, read.errors, read.skipped), (1, 1, 0, 0));
    let case = &read.test_suites[0].test_cases[0];
    let quick_junit::TestCaseStatus::NonSuccess { message: Some(message), ty, .. } = &case.status
    else {
        panic!("it failed: {case:?}")
    };
    assert_eq!(ty.as_deref(), Some("crash"));
    assert!(message.contains("]]> <a b=\"c\"> & 'd'") && message.contains("red"), "{message:?}");
}

fn a_run_that_was_not_finished_says_so_in_every_format() {
    let unfinished = Report { complete: false, servers: Vec::new(), ..report() };
    for exporter in EXPORTERS {
        let Some(rendered) = (exporter.render)(&unfinished) else { continue };
        let said =
            rendered.contains("was not finished") || rendered.contains("\"complete\": false");
        assert!(said, "{}", exporter.file_name);
    }
}
