//! What is made of runs whose figures are known.

use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::super::measurement::About;
use super::super::recorder::{Flight, Interval, Recorder};
use super::*;
use crate::load::placement::Placement;

const SECOND: u64 = 1_000_000_000;

/// A run of a second, with one connection that lasted.
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
        stolen: 0.0,
        is_partial: false,
    }
}

fn counts(outcome: Outcome, count: u64) -> Outcomes {
    let mut counts = Outcomes::default();
    counts.add_many(outcome, count);
    counts
}

/// A second in which so many requests were due and answered.
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
    more.after.asked = 100;
    more.after.outcomes = counts(Outcome::Answered, 100);
    let judged = judged(&more, Some(1000.0), false);
    assert_eq!(judged.verdict, Verdict::Overloaded);
    assert_eq!(judged.reasons, ["1000 of 1100 requests/s were answered in time"]);
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
            // None is connected only to be told that.
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

/// A run of a request at a time, again and again, each of which takes as long as it is told here
/// and is stamped as sent so much earlier.
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
    let reasons = |ran: &Ran| judged(ran, None, false).reasons.join("; ");
    assert_eq!(reasons(&stamped(1_000_000, 0, 1)), "");
    let early = reasons(&stamped(1_000_000, 100_000, 1));
    assert!(early.contains("disagree by 20.0 % (Little's law)"), "{early}");
    let twice = reasons(&stamped(1_000_000, 0, 2));
    assert!(twice.contains("of 999 requests 1998"), "{twice}");
    // As many as were asked, but not those.
    let mut half = stamped(1_000_000, 0, 2);
    half.intervals[0].asked *= 2;
    assert!(reasons(&half).contains("disagree by 100.0 % (Little's law)"), "{half:?}");
}
