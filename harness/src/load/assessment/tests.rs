//! Tests of the assessment, on runs with known figures.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::super::interval::Interval;
use super::super::lost_time::LostTime;
use super::super::recorder::{Flight, Recorder};
use super::*;
use crate::load::placement::Placement;
use crate::load::run_description::RunDescription;
use crate::results::ValidityLabel;
use crate::results::{LocalErrors, Outcomes};

const SECOND: u64 = 1_000_000_000;

/// Returns a run of one second, with one connection that stayed open.
fn run_of(interval: Interval) -> RunResult {
    RunResult {
        local_errors: LocalErrors::default(),
        clock_began: SystemTime::UNIX_EPOCH,
        threads: 1,
        answered_with_warm_up: interval.replies,
        intervals: vec![interval],
        after: Interval::new(SECOND),
        background: Vec::new(),
        connections: vec![counts(Outcome::Answered, 1)],
        elapsed: Duration::from_secs(1),
        planned: Duration::from_secs(1),
        lost: LostTime::default(),
        stolen: 0.0,
        is_partial: false,
    }
}

fn counts(outcome: Outcome, count: u64) -> Outcomes {
    let mut counts = Outcomes::default();
    counts.add_many(outcome, count);
    counts
}

/// Returns an interval of one second in which `count` requests were sent and answered.
fn answered(count: u64) -> Interval {
    let outcomes = counts(Outcome::Answered, count);
    let duration_ns = SECOND;
    Interval { duration_ns, requests: count, replies: count, outcomes, ..Interval::new(0) }
}

fn validity(run: &RunResult, offered_per_s: Option<f64>, expects_rejections: bool) -> Validity {
    let description = RunDescription {
        reconnects: false,
        workload: "one".to_owned(),
        clients: 1,
        offered_per_s,
        expects_rejections,
        placement: Placement::Apart { server: vec![0], load: vec![1] },
        precision: None,
    };
    Measurement::of(run, description, None).validity
}

#[test]
fn overload_is_measured_against_the_scheduled_requests_not_the_nominal_rate() {
    let fewer = run_of(answered(900));
    assert_eq!(validity(&fewer, Some(1000.0), false).label, ValidityLabel::Valid);
    let mut more = run_of(answered(1000));
    // 100 more requests were sent before the end and answered after the end.
    more.intervals[0].requests = 1100;
    more.after.outcomes = counts(Outcome::Answered, 100);
    let found = validity(&more, Some(1000.0), false);
    assert_eq!(found.label, ValidityLabel::Overloaded);
    assert_eq!(found.text(), "1,000 of the 1,100 requests/s that were due were answered in time");
}

#[test]
fn background_failures_are_faults_unless_they_are_expected_rejections() {
    for (outcome, is_fault, is_fault_if_rejected) in [
        (Outcome::Answered, false, false),
        (Outcome::Busy, false, false),
        (Outcome::Refused, true, false),
        (Outcome::Reset, true, false),
        (Outcome::WrongReply, true, true),
        (Outcome::TimedOut, true, true),
    ] {
        let mut requests = run_of(answered(10));
        requests.background = vec![Interval { outcomes: counts(outcome, 3), ..Interval::new(0) }];
        let mut connections = run_of(answered(10));
        connections.connections.push(counts(outcome, 3));
        for (expects_rejections, expected) in [(false, is_fault), (true, is_fault_if_rejected)] {
            let is_faulty =
                |run| validity(run, None, expects_rejections).label == ValidityLabel::Faulty;
            assert_eq!(is_faulty(&requests), expected, "{outcome:?}");
            // As the outcome of a connection, a busy line is a fault unless it is expected.
            let expected = expected || outcome == Outcome::Busy && !expects_rejections;
            assert_eq!(is_faulty(&connections), expected, "{outcome:?}");
        }
    }
}

#[test]
fn a_connection_without_requests_is_not_a_server_fault() {
    let mut rare = run_of(answered(0));
    rare.connections = vec![Outcomes::default()];
    assert_ne!(validity(&rare, Some(0.1), false).label, ValidityLabel::Faulty);
    assert_eq!(validity(&rare, None, false).label, ValidityLabel::Disturbed);
    rare.connections = vec![counts(Outcome::InFlight, 1)];
    assert_eq!(validity(&rare, None, false).label, ValidityLabel::Faulty);
}

/// Returns a run with one request at a time. Each request takes half of `took` ns, is stamped as
/// sent `earlier` ns too early, and is counted `times_counted` times.
fn stamped(took: u64, earlier: u64, times_counted: u32) -> RunResult {
    let (interval_tx, interval_rx) = mpsc::channel();
    let mut recorder = Recorder::reporting_to(interval_tx, Duration::from_secs(2), 0);
    recorder.roll_over(0);
    for number in 1..SECOND / took {
        let sent = number * took;
        recorder.integrate(0, sent);
        let flight = Flight { scheduled: None, sent: sent - earlier, count: 1 };
        recorder.record_sent(flight);
        recorder.integrate(1, sent + took / 2);
        for _ in 0..times_counted {
            recorder.complete(Outcome::Answered, flight, sent + took / 2);
        }
    }
    recorder.finish(SECOND);
    run_of(interval_rx.recv().expect("an interval"))
}

#[test]
fn only_correct_counts_and_times_pass_the_consistency_check() {
    let reasons = |run: &RunResult| validity(run, None, false).text();
    assert_eq!(reasons(&stamped(1_000_000, 0, 1)), "");
    let early = reasons(&stamped(1_000_000, 100_000, 1));
    assert!(early.contains("disagree by 20.0 % (Little's law)"), "{early}");
    let twice = reasons(&stamped(1_000_000, 0, 2));
    assert!(twice.contains("of 999 requests, 1998"), "{twice}");
    // The number of requests equals the number of outcomes, but the latencies are counted twice.
    let mut half = stamped(1_000_000, 0, 2);
    half.intervals[0].requests *= 2;
    assert!(reasons(&half).contains("disagree by 100.0 % (Little's law)"), "{half:?}");
}

/// Returns the kinds of the caveats of a run.
fn kinds(run: &RunResult, offered_per_s: Option<f64>) -> Vec<CaveatKind> {
    validity(run, offered_per_s, false).caveats.iter().map(|caveat| caveat.kind).collect()
}

/// Returns an open-loop run with 1,000 scheduled requests in one second. `answered_in_time` of them
/// were answered in time.
fn with_shortfall(answered_in_time: u64) -> RunResult {
    let mut run = run_of(answered(answered_in_time));
    run.intervals[0].requests = 1000;
    run.after.outcomes = counts(Outcome::Answered, 1000 - answered_in_time);
    run
}

#[test]
fn requests_that_the_generator_sent_late_are_not_server_overload() {
    use CaveatKind::{GeneratorStopped, Overload, SentLate};
    assert_eq!(kinds(&with_shortfall(985), Some(1000.0)), []);
    assert_eq!(kinds(&with_shortfall(970), Some(1000.0)), [Overload]);
    // The other requests were sent after the end.
    let mut unsent = with_shortfall(500);
    (unsent.intervals[0].requests, unsent.after.requests) = (500, 500);
    assert_eq!(kinds(&unsent, Some(1000.0)), [SentLate]);
    // The other requests were sent shortly before the end, after the generator had been stopped.
    let mut burst = with_shortfall(500);
    burst.lost = LostTime {
        watched_ns: SECOND,
        gaps_ns: SECOND / 2,
        longest_gap_ns: SECOND / 2,
        last_gap: (SECOND - 1, SECOND / 2),
        ..LostTime::default()
    };
    assert_eq!(kinds(&burst, Some(1000.0)), [SentLate, GeneratorStopped]);
    // The gap ended early enough for the server to answer.
    burst.lost.last_gap.0 = SECOND / 2;
    assert_eq!(kinds(&burst, Some(1000.0)), [Overload, GeneratorStopped]);
}

#[test]
fn time_lost_by_the_generator_is_a_caveat_named_by_its_cause() {
    use CaveatKind::{GeneratorStopped, OtherLoad, RunQueue, Throttled};
    let lost = |part: f64| (part * SECOND as f64) as u64;
    let none = LostTime { watched_ns: SECOND, ..LostTime::default() };
    let rows = [
        (LostTime { gaps_ns: lost(0.5), longest_gap_ns: lost(0.5), ..none }, GeneratorStopped),
        (LostTime { run_queue_ns: Some(lost(0.2)), ..none }, RunQueue),
        (LostTime { throttled_ns: Some(lost(0.1)), ..none }, Throttled),
        (LostTime { others_ns: Some(lost(0.3)), ..none }, OtherLoad),
    ];
    for (lost, kind) in rows {
        let disturbed = RunResult { lost, ..run_of(answered(1000)) };
        assert_eq!(kinds(&disturbed, None), [kind]);
        assert_eq!(validity(&disturbed, None, false).label, ValidityLabel::Disturbed);
        assert!(validity(&disturbed, None, false).blames_generator_or_machine().is_some());
    }
    let little = LostTime {
        gaps_ns: lost(0.01),
        run_queue_ns: Some(lost(0.05)),
        throttled_ns: Some(lost(0.01)),
        others_ns: Some(lost(0.05)),
        ..none
    };
    assert_eq!(kinds(&RunResult { lost: little, ..run_of(answered(1000)) }, None), []);
}

#[test]
fn a_run_that_ended_early_reports_its_length_and_the_reason() {
    let mut early = run_of(answered(100));
    (early.elapsed, early.planned) = (Duration::from_millis(660), Duration::from_secs(4));
    early.connections = vec![counts(Outcome::Closed, 1)];
    let found = validity(&early, None, false);
    assert_eq!(found.label, ValidityLabel::Faulty);
    assert_eq!(
        found.text(),
        "connections: 1 closed; the run ended after 0.66 of 4 s: no connection was left"
    );
    early.is_partial = true;
    assert!(!kinds(&early, None).contains(&CaveatKind::EndedEarly));
}

#[test]
fn caveats_are_sorted_by_severity() {
    let caveat = |kind| Caveat { kind, text: format!("{kind:?}") };
    let mut validity = Validity::default();
    for kind in [CaveatKind::Changed, CaveatKind::GeneratorLimit, CaveatKind::Faults] {
        validity.add(caveat(kind));
    }
    assert_eq!(validity.text(), "Faults; GeneratorLimit; Changed");
    assert_eq!(validity.label, ValidityLabel::Faulty);
}
