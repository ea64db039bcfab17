use std::time::Duration;

use super::rank::*;
use super::sheet::*;
use super::text::sheet as sheet_words;
use super::words::*;
use super::{evidence, words};
use crate::client::{Event, Happening};
use crate::conformance::{CaseResult, Quoted, State, Verdict, cases};
use crate::exit::Exit;
use crate::report::document::ServerResult;

fn judgement(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        expected: "what is right".to_owned(),
        observed: format!("what was seen in {name}"),
        replay: format!("harness check --cmd x --case {name}"),
        transcript: vec![
            Event::of(10, 1, &Happening::Connected(Duration::from_micros(20))),
            Event::of(20, 1, &sent(b"1+2\n")),
        ],
        took_ms: 1,
        ..CaseResult::new(name, "what is required")
    }
}

fn note(words: &str) -> Happening {
    Happening::Note(words.to_owned())
}

fn sent(bytes: &[u8]) -> Happening {
    Happening::Sent(bytes.to_vec())
}

fn failed(name: &'static str) -> CaseResult {
    judgement(name, Some(Verdict::Fail), State::Ok)
}

fn hinted(name: &'static str, hint: &str) -> CaseResult {
    CaseResult { hint: Some(hint.to_owned()), ..failed(name) }
}

fn crashed(name: &'static str, log: &str) -> CaseResult {
    let mut transcript = failed(name).transcript;
    transcript.push(Event::of(30, 0, &Happening::Exited(Exit::Code(1))));
    transcript.extend((2..9).map(|client| Event::of(40, client, &note("connection refused"))));
    CaseResult {
        observed: "the server ended, with exit code 1; the client saw: connection closed".into(),
        client_saw: Some("connection closed".into()),
        log: log.to_owned(),
        exit: Some(Exit::Code(1)),
        transcript,
        ..judgement(name, Some(Verdict::Fail), State::Crash)
    }
}

fn hung(name: &'static str) -> CaseResult {
    let mut judgement = judgement(name, Some(Verdict::Fail), State::Hang);
    judgement.observed = "silence for 5000 ms".to_owned();
    judgement.transcript.push(Event::of(90, 1, &note("silence for 5000 ms")));
    judgement
}

fn server(cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: "anna".to_owned(),
        original: None,
        command: "python3 anna.py {host} {port}".to_owned(),
        foreign: true,
        contract: "calc".to_owned(),
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

fn faults_of(cases: Vec<CaseResult>) -> Vec<Fault> {
    Grading::of(&server(cases)).faults
}

fn cases_of(faults: &[Fault]) -> Vec<Vec<&str>> {
    faults.iter().map(|fault| fault.cases.clone()).collect()
}

fn words(fault: &Fault) -> Vec<(&str, &str)> {
    fault.evidence.iter().map(|line| (line.label, line.words.as_str())).collect()
}

#[test]
fn every_case_and_every_topic_has_words() {
    for case in cases() {
        assert!(words::wrong(case.name).is_some(), "{}: what is wrong?", case.name);
        let topic = topic_of(case.name);
        assert_ne!(words::topic(topic), topic, "what is it about?");
    }
}

#[test]
fn every_failed_case_occurs_in_exactly_one_fault_whatever_its_state_and_cause() {
    let states = [State::Ok, State::Hang, State::Crash, State::Leak];
    for hint in [None, Some("a".to_owned()), Some("--output DIR and so on".to_owned())] {
        for exit in [None, Some(Exit::Code(1)), Some(Exit::Signal(11))] {
            for transcript in [Vec::new(), failed("a/b").transcript] {
                let judge = |(number, case): (usize, &crate::conformance::Case)| CaseResult {
                    hint: hint.clone(),
                    exit,
                    transcript: transcript.clone(),
                    ..judgement(case.name, Some(Verdict::Fail), states[number % states.len()])
                };
                let judged: Vec<CaseResult> = cases().enumerate().map(judge).collect();
                let mut wanted: Vec<&str> = judged.iter().map(|one| one.name).collect();
                let faults = faults_of(judged.clone());
                let mut found: Vec<&str> = cases_of(&faults).concat();
                wanted.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, wanted);
                assert!(faults.iter().all(|fault| (1..=3).contains(&fault.evidence.len())));
            }
        }
    }
}

#[test]
fn only_what_failed_is_a_fault() {
    let others = vec![
        judgement("framing/single", Some(Verdict::Pass), State::Ok),
        judgement("startup/any-port", Some(Verdict::Loose), State::Ok),
        judgement("contract/queue", Some(Verdict::Info), State::Ok),
        judgement("leaks/memory", None, State::Vacuous),
        judgement("timeouts/idle-is-closed", None, State::NotApplicable),
    ];
    let marks = Grading::of(&server(others));
    assert!(marks.faults.is_empty());
    assert_eq!(marks.works.len(), 2);
    assert_eq!(marks.notes.len(), 2);
    assert_eq!((marks.undecided.len(), marks.not_applicable.len()), (1, 1));
}

#[test]
fn a_crash_that_shows_in_three_cases_is_one_fault() {
    let traceback = |number: usize| {
        format!("Traceback:\n  File \"x.py\"\nUnicodeDecodeError: position {number}")
    };
    let faults = faults_of(vec![
        crashed("malformed/nul", &traceback(1)),
        crashed("malformed/invalid-utf8", &traceback(22)),
        crashed("isolation/poison-beside", &traceback(3)),
        crashed("disconnects/reset-in-reply", "BrokenPipeError: [Errno 32] Broken pipe"),
    ]);
    let wanted: &[&[&str]] = &[
        &["malformed/nul", "malformed/invalid-utf8", "isolation/poison-beside"],
        &["disconnects/reset-in-reply"],
    ];
    assert_eq!(cases_of(&faults), wanted);
    assert_eq!(faults[0].title, "It ends when NUL bytes come");
}

#[test]
fn crashes_without_last_words_are_alike_only_in_a_topic() {
    let cases = ["malformed/nul", "malformed/nesting", "disconnects/reset-in-reply"];
    let faults = faults_of(cases.map(|case| crashed(case, "")).to_vec());
    assert_eq!(cases_of(&faults), [&cases[..2], &cases[2..]]);
}

#[test]
fn faults_with_the_same_cause_are_one_and_others_are_not() {
    let faults = faults_of(vec![
        hinted("framing/all-cuts", "no boundaries"),
        hinted("framing/pipelined", "no boundaries"),
        hinted("framing/sizes", "a buffer is no limit"),
        failed("results/arithmetic"),
        failed("results/float-precision"),
    ]);
    let wanted: &[&[&str]] = &[
        &["results/arithmetic"],
        &["results/float-precision"],
        &["framing/all-cuts", "framing/pipelined"],
        &["framing/sizes"],
    ];
    assert_eq!(cases_of(&faults), wanted);
}

#[test]
fn a_server_that_does_not_answer_outranks_all_and_loose_ends_come_last() {
    let faults = faults_of(vec![
        failed("malformed/escapes"),
        failed("startup/restart"),
        judgement("leaks/memory", Some(Verdict::Fail), State::Leak),
        failed("contract/capacity"),
        hung("isolation/idle-beside-active"),
        failed("framing/pipelined"),
        crashed("malformed/nul", ""),
        failed("malformed/injection"),
        failed("results/arithmetic"),
        hung("framing/single"),
    ]);
    let order: Vec<Importance> = faults.iter().map(|fault| fault.importance).collect();
    let wanted = [
        Importance::NoAnswer,
        Importance::WrongResults,
        Importance::TakenOver,
        Importance::Falls,
        Importance::LosesReplies,
        Importance::HarmsOthers,
        Importance::Contract,
        Importance::Leaks,
        Importance::Manners,
        Importance::LooseEnds,
    ];
    assert_eq!(order, wanted);
}

#[test]
fn a_server_that_does_not_start_has_one_fault() {
    let unlaunched = |name| {
        CaseResult {
        transcript: Vec::new(),
        expected: "a server that listens".to_owned(),
        observed: "the server ended before it listened, with exit code 1; it said: Traceback\nTypeError: no".to_owned(),
            quoted: Some(Box::new(Quoted {
                seen: "the server ended before it listened, with exit code 1".to_owned(),
                output: "Traceback\nTypeError: no".to_owned(),
            })),
        ..judgement(name, Some(Verdict::Fail), State::Crash)
    }
    };
    let cases = ["malformed/nul", "startup/bad-port", "framing/single"];
    let faults = faults_of(cases.map(unlaunched).to_vec());
    assert_eq!(cases_of(&faults), [cases]);
    assert_eq!(faults[0].title, "It ends before it listens");
    let wanted = [
        ("came", "the server ended before it listened, with exit code 1"),
        ("wrote", "TypeError: no"),
        ("wanted", "a server that listens"),
    ];
    assert_eq!(words(&faults[0]), wanted);
}

#[test]
fn the_evidence_is_what_was_sent_what_came_and_what_should_have_come() {
    let mut cut = failed("framing/byte-by-byte");
    cut.transcript = vec![
        Event::of(1, 1, &sent(b"1+2\n")),
        Event::of(2, 1, &Happening::Received(b"3\n".to_vec())),
        Event::of(3, 1, &sent(b"1")),
        Event::of(4, 0, &Happening::ServerWrote(b"hm".to_vec())),
        Event::of(5, 1, &sent(b"+2\n")),
        Event::of(6, 1, &Happening::Ended),
        Event::of(7, 1, &Happening::ServerReset),
    ];
    let faults = faults_of(vec![cut]);
    let wanted = [
        ("sent", "\"1\" \"+2\\n\" FIN (2 writes)"),
        ("came", "what was seen in framing/byte-by-byte, then RST"),
        ("wanted", "what is right"),
    ];
    assert_eq!(words(&faults[0]), wanted);
}

#[test]
fn the_evidence_of_a_crash_is_what_was_sent_before_and_the_last_words() {
    let faults = faults_of(vec![crashed("malformed/nul", "Traceback\nValueError: null\n")]);
    let wanted = [
        ("sent", "\"1+2\\n\""),
        ("came", "connection closed"),
        ("ended", "exit code 1: ValueError: null"),
    ];
    assert_eq!(words(&faults[0]), wanted);
}

#[test]
fn an_error_that_was_written_while_a_client_waited_is_told_and_a_later_one_is_not() {
    for (at_us, is_told) in [(50, true), (95, false)] {
        let mut stuck = hung("malformed/syntax");
        stuck.transcript.push(Event::of(at_us, 0, &Happening::ServerWrote(b"NameError".to_vec())));
        stuck.transcript.sort_by_key(|event| event.at_us);
        stuck.log = "NameError: abc".to_owned();
        let faults = faults_of(vec![stuck]);
        assert_eq!(words(&faults[0])[1].1.contains("NameError"), is_told);
        assert_eq!(faults[0].cause == STUCK, is_told);
    }
}

#[test]
fn the_last_words_are_those_that_tell_in_several_languages() {
    let rows = [
        ("Traceback\n  x\nValueError: bad\n", "ValueError: bad"),
        (
            "thread 'main' panicked at src/main.rs:3:4:\nindex out of bounds\nnote: run with `RUST_BACKTRACE=1`",
            "thread 'main' panicked at src/main.rs:3:4: index out of bounds",
        ),
        (
            "Error: read ECONNRESET\n    at Socket.x (a.js)\n\nNode.js v22.1.0",
            "Error: read ECONNRESET",
        ),
        ("panic: oh\n\ngoroutine 1 [running]:\nmain.main()\n", "panic: oh"),
        (
            "Exception in thread \"main\" java.io.IOException: no\n\tat A.main(A.java:3)",
            "Exception in thread \"main\" java.io.IOException: no",
        ),
        ("up\nbye", "bye"),
    ];
    for (log, words) in rows {
        assert_eq!(evidence::last_words(log).as_deref(), Some(words));
    }
    assert_eq!(evidence::last_words(" \n"), None);
}

#[test]
fn what_could_not_be_found_out_is_told_by_what_must_work_first() {
    let undecided = |name, observed: &str, blocked_by: &[&'static str]| CaseResult {
        observed: observed.to_owned(),
        blocked_by: blocked_by.to_vec(),
        ..judgement(name, None, State::Vacuous)
    };
    let marks = Grading::of(&server(vec![
        undecided("leaks/memory", "in turns: \"4\"", &["isolation/own-answers"]),
        undecided("leaks/resets", "no line", &["framing/single"]),
        undecided("leaks/zombies", "no line at all", &["framing/single"]),
        undecided("leaks/close-wait", "see nothing", &[]),
    ]));
    let reasons: Vec<&str> = marks.undecided.iter().map(|group| group.reason.as_str()).collect();
    let wanted =
        ["framing/single must work first", "isolation/own-answers must work first", "see nothing"];
    assert_eq!(reasons, wanted);
}

#[test]
fn no_words_of_a_server_steer_a_terminal_or_fill_the_page() {
    let mut loud =
        crashed("malformed/nul", &format!("Error: \u{1b}[2J\u{202e}{}", "ab".repeat(999)));
    loud.observed = "\u{1b}]0;x\u{7}\r\n".repeat(999);
    let page = sheet_words(&server(vec![loud]));
    let is_plain = |letter: char| letter == '\n' || !letter.is_control() && letter != '\u{202e}';
    assert!(page.chars().all(is_plain), "{page:?}");
    assert!(page.len() < 4_000, "{page}");
}

#[test]
fn the_terminal_page_keeps_its_width_but_for_commands() {
    let judged = cases().map(|case| hinted(case.name, &"a long hint ".repeat(20))).collect();
    for line in sheet_words(&server(judged)).lines() {
        assert!(line.chars().count() <= 88 || line.contains(" again "), "{line}");
    }
}
