//! A report with every kind of result, for the tests of the report's formats.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use harness::contract::Declared;
use harness::environment::Environment;
use harness::exit::Exit;
use harness::load::WorkloadSet;
use harness::results::{
    CaseResult, Caveat, CaveatKind, ConcurrencyModel, Discovery, Event, EventKind, FORMAT,
    IdleConnectionCost, KnownFailure, KnownVerdict, LatencyHistogram, Level, LostShares,
    Measurement, MemoryAt, NotMeasured, Outcome, Quoted, Report, RunFigures, Sample, ServerResult,
    ServerStats, State, Survivor, TimeSeries, Validity, ValidityLabel, Verdict,
};
use harness::stats::{Interval, Quantiles};
use hdrhistogram::Histogram;
use servers::OverloadPolicy;

pub(crate) fn result(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        observed: "what was seen".to_owned(),
        reproduce: format!("harness check one-calc --case {name} --seed 7"),
        duration_ms: 12,
        ..CaseResult::new(name, "what is <required>")
    }
}

pub(crate) fn failed() -> CaseResult {
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

pub(crate) fn sample(at_us: u64, descriptors: usize) -> Sample {
    Sample { at_us, processes: 1, threads: 3, descriptors, anonymous_bytes: 4096 * 72 }
}

pub(crate) fn known() -> Option<KnownFailure> {
    Some(KnownFailure {
        verdict: KnownVerdict::Fail,
        reason: "it is <old> & slow".to_owned(),
        location: "known-failures.toml, line 3".to_owned(),
        cause: None,
    })
}

pub(crate) fn measurement(
    workload: &str,
    connections: usize,
    throughput_per_s: f64,
) -> Measurement {
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
        local_errors: Default::default(),
        reconnects: None,
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
        runs: [0.9, 1.0, 1.1]
            .map(|factor| RunFigures {
                validity: ValidityLabel::Valid,
                throughput_per_s: throughput_per_s * factor,
                p50_ns: Some(20_000),
                p99_ns: Some((120_000.0 * factor) as u64),
                server_cpu_ns_per_request: Some(11_400),
                memory_per_connection_bytes: None,
                anonymous_bytes: Some(4096 * 72),
            })
            .to_vec(),
        time_series: Some(TimeSeries {
            interval_ms: 100.0,
            throughput_per_s: (0..10).map(|at| throughput_per_s + f64::from(at)).collect(),
            p99_ns: (0..10).map(|at| Some(110_000 + at)).collect(),
            server_cpu_share: (0..10).map(|at| Some(0.5 + f64::from(at) / 100.0)).collect(),
        }),
        latency_histogram: LATENCIES.clone(),
        rates: Vec::new(),
    }
}

/// The latencies of each measurement. A report of all servers has hundreds.
static LATENCIES: LazyLock<Option<LatencyHistogram>> =
    LazyLock::new(|| LatencyHistogram::of(&latencies(20_000)));

/// Returns latencies in ns that rise from `from` to a hundred times as much.
pub(crate) fn latencies(from: u64) -> Histogram<u64> {
    let mut histogram = Histogram::new(3).expect("three digits");
    for number in 0..50_000_u64 {
        let value = from + (from as f64 * 100.0 * (number as f64 / 5e4).powi(30)) as u64;
        histogram.record(value).expect("in range");
    }
    histogram
}

/// Returns the measurement of an open loop whose server does not listen.
pub(crate) fn nothing_answered() -> Measurement {
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

pub(crate) fn server(name: &str, cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: name.to_owned(),
        command: format!("harness serve {name} {{host}} {{port}}"),
        contract: "calc, one client at a time".to_owned(),
        cases,
        ..ServerResult::default()
    }
}

pub(crate) fn discovery() -> Discovery {
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

pub(crate) fn every_event() -> Vec<Event> {
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

pub(crate) fn report() -> Report {
    let passed = || result("framing/single", Some(Verdict::Pass), State::Completed);
    let mut one = server("one-calc", vec![passed(), failed()]);
    one.alias = Some("server1".to_owned());
    one.measured_command = Some("harness serve one-calc {host} {port}".to_owned());
    one.measurements = vec![measurement("closed-1", 1, 44_749.4)];
    one.not_measured = vec![NotMeasured {
        workload: "closed-8".to_owned(),
        short: "one client only".to_owned(),
        reason: "the server serves one client at a time".to_owned(),
    }];
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
                growth: [0, 5_000, 10_000]
                    .map(|connections| MemoryAt {
                        connections,
                        anonymous_bytes: 300_000 + connections * 1_234,
                    })
                    .to_vec(),
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
        duration_ms: 83_000,
        merged_reports: 0,
        servers: vec![one, two, three],
    }
}

/// Returns the workloads of the reference plan.
pub(super) fn reference_workloads() -> Vec<&'static str> {
    let all = harness::load::WORKLOADS.iter();
    all.filter(|it| it.set <= WorkloadSet::Figures).map(|it| it.name).collect()
}
