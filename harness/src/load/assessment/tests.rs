//! Tests of the assessment, on runs with known figures.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::super::lost_time::LostTime;
use super::super::measurement::About;
use super::super::recorder::{Flight, Interval, Recorder};
use super::super::validity::Verdict;
use super::*;
use crate::load::placement::Placement;

const SECOND: u64 = 1_000_000_000;

/// Returns a run of one second, with one connection that lasted.
fn ran(interval: Interval) -> Ran {
    Ran {
        clock_began: SystemTime::UNIX_EPOCH,
        threads: 1,
        answered_in_all: interval.replies,
        intervals: vec![interval],
        after: Interval::new(SECOND),
        beside: Vec::new(),
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

/// Returns one second in which `count` requests were due and answered.
fn answered(count: u64) -> Interval {
    let outcomes = counts(Outcome::Answered, count);
    let duration_ns = SECOND;
    Interval { duration_ns, asked: count, replies: count, outcomes, ..Interval::new(0) }
}

fn judged(ran: &Ran, offered_per_s: Option<f64>, are_turned_away: bool) -> Validity {
    let about = About {
        workload: "one".to_owned(),
        clients: 1,
        offered_per_s,
        are_turned_away,
        placement: Placement::Apart { server: vec![0], load: vec![1] },
        precision: None,
    };
    Measurement::of(ran, about, None).validity
}

#[test]
fn a_server_that_answers_all_that_is_due_keeps_up_however_many_chance_makes_that() {
    let fewer = ran(answered(900));
    assert_eq!(judged(&fewer, Some(1000.0), false).verdict, Verdict::Valid);
    let mut more = ran(answered(1000));
    // The further 100 were sent before the end, and answered after it.
    more.intervals[0].asked = 1100;
    more.after.outcomes = counts(Outcome::Answered, 100);
    let judged = judged(&more, Some(1000.0), false);
    assert_eq!(judged.verdict, Verdict::Overloaded);
    assert_eq!(judged.words(), "1\u{2009}000 of 1\u{2009}100 requests/s were answered in time");
}

#[test]
fn what_goes_wrong_beside_is_a_fault_unless_it_is_to_be_turned_away() {
    for (outcome, faulty, of_turned_away) in [
        (Outcome::Answered, false, false),
        (Outcome::Busy, false, false),
        (Outcome::Refused, true, false),
        (Outcome::Reset, true, false),
        (Outcome::WrongReply, true, true),
        (Outcome::TimedOut, true, true),
    ] {
        let mut requests = ran(answered(10));
        requests.beside = vec![Interval { outcomes: counts(outcome, 3), ..Interval::new(0) }];
        let mut connections = ran(answered(10));
        connections.connections.push(counts(outcome, 3));
        for (are_turned_away, expected) in [(false, faulty), (true, of_turned_away)] {
            let is_faulty = |ran| judged(ran, None, are_turned_away).verdict == Verdict::Faulty;
            assert_eq!(is_faulty(&requests), expected, "{outcome:?}");
            // A busy line is no fault of a request, but a background connection must not get one.
            let expected = expected || outcome == Outcome::Busy && !are_turned_away;
            assert_eq!(is_faulty(&connections), expected, "{outcome:?}");
        }
    }
}

#[test]
fn a_connection_that_was_never_asked_is_no_fault_of_the_server() {
    let mut rare = ran(answered(0));
    rare.connections = vec![Outcomes::default()];
    assert_ne!(judged(&rare, Some(0.1), false).verdict, Verdict::Faulty);
    assert_eq!(judged(&rare, None, false).verdict, Verdict::Disturbed);
    rare.connections = vec![counts(Outcome::InFlight, 1)];
    assert_eq!(judged(&rare, None, false).verdict, Verdict::Faulty);
}

/// Returns a run with one request at a time. Each takes `took` ns, is stamped as sent `earlier` ns
/// too early, and is counted `times_counted` times.
fn stamped(took: u64, earlier: u64, times_counted: u32) -> Ran {
    let (told, tell) = mpsc::channel();
    let mut recorder = Recorder::telling(told, Duration::from_secs(2), 0);
    recorder.look(0);
    for number in 1..SECOND / took {
        let sent = number * took;
        recorder.passed(0, sent);
        let flight = Flight { intended: None, sent: sent - earlier, count: 1 };
        recorder.sent(flight);
        recorder.passed(1, sent + took / 2);
        for _ in 0..times_counted {
            recorder.over(Outcome::Answered, flight, sent + took / 2);
        }
    }
    recorder.finish(SECOND);
    ran(tell.recv().expect("an interval"))
}

#[test]
fn counts_and_times_that_are_right_agree_and_those_that_are_not_do_not() {
    let reasons = |ran: &Ran| judged(ran, None, false).words();
    assert_eq!(reasons(&stamped(1_000_000, 0, 1)), "");
    let early = reasons(&stamped(1_000_000, 100_000, 1));
    assert!(early.contains("disagree by 20.0 % (Little's law)"), "{early}");
    let twice = reasons(&stamped(1_000_000, 0, 2));
    assert!(twice.contains("of 999 requests 1998"), "{twice}");
    // The counts agree, but not with the requests in flight.
    let mut half = stamped(1_000_000, 0, 2);
    half.intervals[0].asked *= 2;
    assert!(reasons(&half).contains("disagree by 100.0 % (Little's law)"), "{half:?}");
}

/// Returns the kinds of a run's caveats.
fn kinds(ran: &Ran, offered_per_s: Option<f64>) -> Vec<CaveatKind> {
    judged(ran, offered_per_s, false).caveats.iter().map(|caveat| caveat.kind).collect()
}

/// Returns an open loop with 1,000 requests due in one second, of which this many are answered in
/// time.
fn short_of(answered_in_time: u64) -> Ran {
    let mut short = ran(answered(answered_in_time));
    short.intervals[0].asked = 1000;
    short.after.outcomes = counts(Outcome::Answered, 1000 - answered_in_time);
    short
}

#[test]
fn what_the_generator_did_not_send_in_time_is_no_overload_of_the_server() {
    use CaveatKind::{GeneratorStopped, Overload, SentLate};
    assert_eq!(kinds(&short_of(985), Some(1000.0)), []);
    assert_eq!(kinds(&short_of(970), Some(1000.0)), [Overload]);
    // The others were sent after the end.
    let mut unsent = short_of(500);
    (unsent.intervals[0].asked, unsent.after.asked) = (500, 500);
    assert_eq!(kinds(&unsent, Some(1000.0)), [SentLate]);
    // The others were sent shortly before the end, after the generator had been stopped.
    let mut burst = short_of(500);
    burst.lost = LostTime {
        watched_ns: SECOND,
        gaps_ns: SECOND / 2,
        longest_gap_ns: SECOND / 2,
        last_gap: (SECOND - 1, SECOND / 2),
        ..LostTime::default()
    };
    assert_eq!(kinds(&burst, Some(1000.0)), [SentLate, GeneratorStopped]);
    // The gap ended early enough for an answer.
    burst.lost.last_gap.0 = SECOND / 2;
    assert_eq!(kinds(&burst, Some(1000.0)), [Overload, GeneratorStopped]);
}

#[test]
fn time_that_the_generator_lost_stands_against_a_run_by_what_it_was_lost_to() {
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
        let disturbed = Ran { lost, ..ran(answered(1000)) };
        assert_eq!(kinds(&disturbed, None), [kind]);
        assert_eq!(judged(&disturbed, None, false).verdict, Verdict::Disturbed);
        assert!(judged(&disturbed, None, false).blames_generator().is_some());
    }
    let little = LostTime {
        gaps_ns: lost(0.01),
        run_queue_ns: Some(lost(0.05)),
        throttled_ns: Some(lost(0.01)),
        others_ns: Some(lost(0.05)),
        ..none
    };
    assert_eq!(kinds(&Ran { lost: little, ..ran(answered(1000)) }, None), []);
}

#[test]
fn a_run_that_ended_early_says_how_long_it_was_and_why() {
    let mut early = ran(answered(100));
    (early.elapsed, early.planned) = (Duration::from_millis(660), Duration::from_secs(4));
    early.connections = vec![counts(Outcome::Closed, 1)];
    let judged = judged(&early, None, false);
    assert_eq!(judged.verdict, Verdict::Faulty);
    assert_eq!(
        judged.words(),
        "connections: 1 closed; it was measured for 0.66 of 4 s: no connection was left"
    );
    early.is_partial = true;
    assert!(!kinds(&early, None).contains(&CaveatKind::EndedEarly));
}

#[test]
fn a_caveat_that_is_added_stands_by_its_gravity() {
    let caveat = |kind| Caveat { kind, words: format!("{kind:?}") };
    let mut validity = Validity::default();
    for kind in [CaveatKind::Changed, CaveatKind::GeneratorLimit, CaveatKind::Faults] {
        validity.add(caveat(kind));
    }
    assert_eq!(validity.words(), "Faults; GeneratorLimit; Changed");
    assert_eq!(validity.verdict, Verdict::Faulty);
}
