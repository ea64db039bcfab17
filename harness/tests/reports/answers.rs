//! Tests of the recommendations of a report.

use harness::report::key_figures::{KeyFigures, Recommendation, recommendations};
use harness::results::{
    Caveat, CaveatKind, IdleConnectionCost, Measurement, MemoryAt, Outcome, Outcomes, Overload,
    OverloadOutcome, Report, RunFigures, ServerResult, State, Validity, ValidityLabel, Verdict,
};

use super::sample::{measurement, nothing_answered, reference_workloads, report, result, server};

/// Returns a server with three runs of each workload, whose figures differ by 1 %.
fn measured(name: &str, throughput: f64, p99_ns: u64, bytes: u64, held: u64) -> ServerResult {
    let run = |factor: f64| RunFigures {
        validity: ValidityLabel::Valid,
        throughput_per_s: throughput * factor,
        p50_ns: Some(p99_ns / 2),
        p99_ns: Some((p99_ns as f64 * factor) as u64),
        server_cpu_ns_per_request: Some((1e12 / throughput * factor) as u64),
        memory_per_connection_bytes: Some((bytes as f64 * factor) as u64),
        anonymous_bytes: Some(1 << 20),
    };
    let runs = [0.99, 1.0, 1.01].map(run).to_vec();
    let mut connections = Outcomes::default();
    connections.add_many(Outcome::Answered, held * 3);
    let with = |workload: &str, clients| Measurement {
        runs: runs.clone(),
        ..measurement(workload, clients, throughput)
    };
    let idle = Measurement {
        connections,
        idle_connections: Some(IdleConnectionCost {
            memory_per_connection_bytes: bytes,
            connected_in_ms: 5,
            growth: Vec::new(),
        }),
        ..with("idle-memory", 10_000)
    };
    let refusal = |outcome| Overload { outcome, after_us: 80, line: None };
    let mut refused = result("refusal/as-declared", Some(Verdict::Pass), State::Completed);
    refused.overload = Some(refusal(OverloadOutcome::Busy));
    ServerResult {
        family: Some("threads".to_owned()),
        measurements: vec![with("closed-64", 64), with("open-constant", 16), idle],
        ..server(name, vec![refused])
    }
}

fn of(servers: Vec<ServerResult>) -> Vec<Recommendation> {
    let report = Report { servers, ..report() };
    recommendations(&KeyFigures::of(&report))
}

fn leaders<'r>(all: &'r [Recommendation], id: &str) -> Vec<&'r str> {
    let found = all.iter().find(|it| it.id == id);
    found.map_or(Vec::new(), |it| it.leaders.iter().map(String::as_str).collect())
}

pub(super) fn each_need_has_its_rule_and_threshold() {
    let few = measured("few", 9e5, 100_000, 10, 1_000);
    let many = measured("many", 3e5, 900_000, 2_000, 10_000);
    let small = measured("small", 2e5, 500_000, 300, 5_000);
    let mut forked = measured("forked", 1e5, 800_000, 9_000, 100);
    forked.family = Some("processes".to_owned());
    let mut waits = measured("waits", 1e5, 800_000, 9_000, 100);
    waits.cases[0].overload.as_mut().expect("an observation").outcome = OverloadOutcome::Waits;
    let all = of(vec![few, many, small, forked, waits]);
    // Least memory of the servers that hold 5,000 connections.
    assert_eq!(leaders(&all, "idle"), ["small"]);
    assert_eq!(leaders(&all, "throughput"), ["few"]);
    assert_eq!(leaders(&all, "p99"), ["few"]);
    assert_eq!(leaders(&all, "p99-fixed-rate"), ["few"]);
    assert_eq!(leaders(&all, "cpu"), ["few"]);
    assert_eq!(leaders(&all, "isolation"), ["forked"]);
    assert_eq!(leaders(&all, "refusal"), ["few", "many", "small", "forked"]);
    let refusal = all.iter().find(|it| it.id == "refusal").expect("a recommendation");
    assert!(
        refusal.because.ends_with(". One server lets the client wait instead"),
        "{}",
        refusal.because
    );
}

pub(super) fn ties_and_doubtful_figures_decide_the_leaders() {
    let doubtful = |mut server: ServerResult, label: ValidityLabel, doubtful_runs: usize| {
        for it in &mut server.measurements {
            let text = "a reason".to_owned();
            let caveats = vec![Caveat { kind: CaveatKind::OtherLoad, text }];
            it.validity = Validity { label, caveats };
            it.runs.iter_mut().take(doubtful_runs).for_each(|run| run.validity = label);
        }
        server
    };
    let all = of(vec![
        measured("close", 2.99e5, 500_000, 300, 10_000),
        measured("best", 3e5, 500_000, 300, 10_000),
        doubtful(measured("doubtful", 9e5, 100_000, 10, 10_000), ValidityLabel::Disturbed, 2),
        measured("slow", 2e5, 700_000, 300, 10_000),
    ]);
    assert_eq!(leaders(&all, "throughput"), ["best", "close"], "tied, the higher value first");
    assert_eq!(leaders(&all, "p99"), ["close", "best"]);
    // One doubtful run of three does not exclude a server, and a limit of the generator makes the
    // throughput a lower bound.
    let once = measured("once", 3e5, 500_000, 300, 10_000);
    let bound = measured("bound", 5e5, 500_000, 300, 10_000);
    let all = of(vec![
        doubtful(once, ValidityLabel::Disturbed, 1),
        doubtful(bound, ValidityLabel::GeneratorBound, 3),
    ]);
    assert_eq!(leaders(&all, "throughput"), ["bound"]);
    assert_eq!(leaders(&all, "p99"), ["once"]);
    let fastest = all.iter().find(|it| it.id == "throughput").expect("a recommendation");
    assert!(fastest.because.contains("a lower bound"), "{}", fastest.because);
    // A server with fewer connections does not compete.
    let mut few = measured("few", 3e5, 10_000, 300, 10_000);
    few.measurements[1].clients = 1;
    let all = of(vec![few, measured("usual", 3e5, 500_000, 300, 10_000)]);
    assert_eq!(leaders(&all, "p99-fixed-rate"), ["usual"]);
    let mut alone = measured("alone", 3e5, 500_000, 300, 10_000);
    for it in &mut alone.measurements {
        it.runs.truncate(1);
        it.time_series = None;
        it.p99_interval_ns = None;
    }
    assert_eq!(leaders(&of(vec![alone]), "throughput"), Vec::<&str>::new(), "no interval");
}

pub(super) fn a_server_with_failures_is_not_recommended() {
    let mut wrong = measured("wrong", 9e5, 100_000, 10, 10_000);
    wrong.cases.push(result("framing/crlf", Some(Verdict::Fail), State::Completed));
    let all = of(vec![wrong, measured("right", 1e5, 900_000, 2_000, 10_000)]);
    for id in ["idle", "throughput", "p99", "cpu"] {
        assert_eq!(leaders(&all, id), ["right"], "{id}");
    }
    assert!(of(Vec::new()).is_empty());
}

pub(super) fn the_leader_of_a_column_names_what_it_gives_up() {
    let all = of(vec![
        measured("fast", 3e5, 100_000, 9_000, 10_000),
        measured("small", 2.9e5, 100_000, 300, 10_000),
    ]);
    let fast = all.iter().find(|it| it.id == "throughput").expect("a recommendation");
    assert_eq!(fast.gives_up, "memory per idle connection: 30.0 times the best");
    let small = all.iter().find(|it| it.id == "idle").expect("a recommendation");
    assert_eq!(small.gives_up, "");
}

pub(super) fn two_runs_are_too_few_for_an_interval() {
    let mut two = measured("two", 3e5, 500_000, 300, 10_000);
    two.measurements.iter_mut().for_each(|it| it.runs.truncate(2));
    let all = of(vec![two]);
    assert_eq!(leaders(&all, "throughput"), Vec::<&str>::new());
    let throughput = all.iter().find(|it| it.id == "throughput").expect("an answer");
    assert!(throughput.because.contains("has a valid figure with an interval"));
}

pub(super) fn a_run_without_replies_keeps_the_latencies_of_the_others() {
    let mut one = measurement("open-constant", 16, 5_000.0);
    let histogram = one.latency_histogram.clone();
    one.merge(nothing_answered());
    assert_eq!(one.latency_histogram, histogram);
    assert!(one.latency_intended_ns.p99.is_some());
    let mut other = nothing_answered();
    other.merge(measurement("open-constant", 16, 5_000.0));
    assert_eq!(other.latency_histogram, histogram);
}

pub(super) fn every_interval_contains_its_value() {
    let workloads = reference_workloads();
    for runs in 1..=3 {
        let measurements = workloads.iter().map(|workload| {
            let mut one = measurement(workload, 64, 44_749.4);
            one.runs.truncate(runs);
            if *workload == "idle-memory" {
                let at = |connections| MemoryAt { connections, anonymous_bytes: 900 * connections };
                one.idle_connections = Some(IdleConnectionCost {
                    memory_per_connection_bytes: 1_234,
                    connected_in_ms: 5,
                    growth: [0, 100, 200, 300].map(at).to_vec(),
                });
            }
            one
        });
        let measurements = measurements.collect();
        let servers = vec![ServerResult { measurements, ..server("one", Vec::new()) }];
        let report = Report { servers, ..report() };
        let figures = KeyFigures::of(&report);
        let intervals = figures.rows[0].cells.iter().filter_map(|cell| {
            let figure = cell.figure().expect("every column has a figure");
            Some((figure.value, figure.interval?))
        });
        let intervals: Vec<_> = intervals.collect();
        assert!(runs == 2 || intervals.len() > 4, "{runs} runs: {intervals:?}");
        for (value, interval) in intervals {
            assert!(interval.low <= value && value <= interval.high, "{value} {interval:?}");
        }
    }
}
