use std::time::Duration;

use super::model::*;
use super::severity::Severity;
use super::text::grading as grading_text;
use crate::conformance::cases;
use crate::exit::Exit;
use crate::results::{
    CaseResult, Event, EventKind, Fault as FaultKind, Quoted, ServerResult, State, Verdict,
};

fn result(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        expected: "the expected reply".to_owned(),
        observed: format!("another reply in {name}"),
        reproduce: format!("harness check --cmd x --case {name}"),
        transcript: vec![
            Event::new(10, 1, EventKind::connected(Duration::from_micros(20))),
            Event::new(20, 1, sent(b"1+2\n")),
        ],
        duration_ms: 1,
        ..CaseResult::new(name, "a requirement")
    }
}

fn note(words: &str) -> EventKind {
    EventKind::note(words)
}

fn sent(bytes: &[u8]) -> EventKind {
    EventKind::sent(bytes)
}

pub(super) fn failed(name: &'static str) -> CaseResult {
    result(name, Some(Verdict::Fail), State::Completed)
}

pub(super) fn hinted(name: &'static str, hint: &str) -> CaseResult {
    CaseResult { hint: Some(hint.to_owned()), ..failed(name) }
}

pub(super) fn crashed(name: &'static str, log: &str) -> CaseResult {
    let mut transcript = failed(name).transcript;
    transcript.push(Event::new(30, 0, EventKind::Exited { exit: Exit::Code(1) }));
    transcript.extend((2..9).map(|client| Event::new(40, client, note("connection refused"))));
    CaseResult {
        observed: "the server exited with exit code 1; the client observed: connection closed"
            .into(),
        client_observed: Some("connection closed".into()),
        log: log.to_owned(),
        exit: Some(Exit::Code(1)),
        transcript,
        fault: FaultKind::Exits,
        ..result(name, Some(Verdict::Fail), State::Crash)
    }
}

pub(super) fn hung(name: &'static str) -> CaseResult {
    let mut result = result(name, Some(Verdict::Fail), State::Hang);
    result.observed = "silence for 5000 ms".to_owned();
    result.fault = FaultKind::NoReply;
    result.transcript.push(Event::new(90, 1, note("silence for 5000 ms")));
    result
}

fn server(cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: "anna".to_owned(),
        command: "python3 anna.py {host} {port}".to_owned(),
        external: true,
        contract: "calc".to_owned(),
        cases,
        ..ServerResult::default()
    }
}

pub(super) fn faults_of(cases: Vec<CaseResult>) -> Vec<Fault> {
    Grading::of(&server(cases)).faults
}

pub(super) fn case_names(faults: &[Fault]) -> Vec<Vec<&str>> {
    faults.iter().map(|fault| fault.cases.iter().map(String::as_str).collect()).collect()
}

pub(super) fn evidence_of(fault: &Fault) -> Vec<(&str, &str)> {
    fault.evidence.iter().map(|line| (line.label, line.text.as_str())).collect()
}

#[test]
fn every_failed_case_is_in_exactly_one_fault_for_any_state_and_cause() {
    let states = [State::Completed, State::Hang, State::Crash, State::Leak];
    for (hint, hint_names_no_cause) in [(None, false), (Some("a"), false), (Some("b"), true)] {
        for exit in [None, Some(Exit::Code(1)), Some(Exit::Signal(11))] {
            for transcript in [Vec::new(), failed("a/b").transcript] {
                let fail = |(number, case): (usize, &crate::conformance::Case)| CaseResult {
                    hint: hint.map(str::to_owned),
                    hint_names_no_cause,
                    exit,
                    transcript: transcript.clone(),
                    ..result(case.name, Some(Verdict::Fail), states[number % states.len()])
                };
                let results: Vec<CaseResult> = cases().enumerate().map(fail).collect();
                let mut expected: Vec<&str> =
                    results.iter().map(|result| result.name.as_str()).collect();
                let faults = faults_of(results.clone());
                let mut found: Vec<&str> = case_names(&faults).concat();
                expected.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, expected);
                assert!(faults.iter().all(|fault| (1..=3).contains(&fault.evidence.len())));
            }
        }
    }
}

#[test]
fn only_failed_cases_are_faults() {
    let not_failed = vec![
        result("framing/single", Some(Verdict::Pass), State::Completed),
        result("startup/any-port", Some(Verdict::Warn), State::Completed),
        result("contract/queue", Some(Verdict::Info), State::Completed),
        result("leaks/memory", None, State::Inconclusive),
        result("timeouts/idle-is-closed", None, State::NotApplicable),
    ];
    let grading = Grading::of(&server(not_failed));
    assert!(grading.faults.is_empty());
    assert_eq!(grading.topics.len(), 2);
    assert_eq!(grading.notes.len(), 2);
    assert_eq!((grading.inconclusive.len(), grading.not_applicable.len()), (1, 1));
}

#[test]
fn crashes_with_the_same_error_are_one_fault() {
    let traceback = |number: usize| {
        format!("Traceback:\n  File \"x.py\"\nUnicodeDecodeError: position {number}")
    };
    let faults = faults_of(vec![
        crashed("malformed/nul", &traceback(1)),
        crashed("malformed/invalid-utf8", &traceback(22)),
        crashed("isolation/poison-beside", &traceback(3)),
        crashed("disconnects/reset-in-reply", "BrokenPipeError: [Errno 32] Broken pipe"),
    ]);
    let expected: &[&[&str]] = &[
        &["malformed/nul", "malformed/invalid-utf8", "isolation/poison-beside"],
        &["disconnects/reset-in-reply"],
    ];
    assert_eq!(case_names(&faults), expected);
    assert_eq!(faults[0].title, "The server exits when NUL bytes arrive");
}

#[test]
fn crashes_without_output_are_grouped_only_within_a_topic() {
    let cases = ["malformed/nul", "malformed/nesting", "disconnects/reset-in-reply"];
    let faults = faults_of(cases.map(|case| crashed(case, "")).to_vec());
    assert_eq!(case_names(&faults), [&cases[..2], &cases[2..]]);
}

#[test]
fn only_failures_with_the_same_cause_form_one_fault() {
    let faults = faults_of(vec![
        hinted("framing/all-cuts", "no boundaries"),
        hinted("framing/pipelined", "no boundaries"),
        hinted("framing/sizes", "a buffer is no limit"),
        failed("results/deterministic"),
        failed("results/float-precision"),
    ]);
    let expected: &[&[&str]] = &[
        &["results/deterministic"],
        &["results/float-precision"],
        &["framing/all-cuts", "framing/pipelined"],
        &["framing/sizes"],
    ];
    assert_eq!(case_names(&faults), expected);
}

#[test]
fn a_hint_that_names_no_cause_is_not_the_likely_cause() {
    for (hint_names_no_cause, cause) in [(false, "the hint"), (true, NO_CAUSE)] {
        let case = CaseResult { hint_names_no_cause, ..hinted("a/b", "the hint") };
        assert_eq!(faults_of(vec![case])[0].cause, cause);
    }
}

#[test]
fn faults_are_ordered_by_severity_from_disclosure_to_minor() {
    let faults = faults_of(vec![
        failed("malformed/escapes"),
        failed("exhaustion/no-spin"),
        failed("startup/restart"),
        result("leaks/memory", Some(Verdict::Fail), State::Leak),
        failed("contract/capacity"),
        hung("isolation/idle-beside-active"),
        failed("framing/pipelined"),
        crashed("malformed/nul", ""),
        CaseResult { fault: FaultKind::FileCreated, ..failed("malformed/injection") },
        failed("results/arithmetic"),
        hung("framing/single"),
        failed("isolation/no-broadcast"),
    ]);
    let order: Vec<Severity> = faults.iter().map(|fault| fault.severity).collect();
    let expected = [
        Severity::Disclosure,
        Severity::NoReply,
        Severity::WrongResults,
        Severity::CodeExecution,
        Severity::Outage,
        Severity::LostReplies,
        Severity::AffectsOthers,
        Severity::ContractViolation,
        Severity::ResourceLeak,
        Severity::StartupOrShutdown,
        Severity::Exhaustion,
        Severity::Minor,
    ];
    assert_eq!(order, expected);
}

#[test]
fn a_server_that_does_not_start_has_one_fault() {
    let not_started = |name| CaseResult {
        transcript: Vec::new(),
        expected: "a server that listens".to_owned(),
        observed: "the server exited before it listened, with exit code 1; output: Traceback\n\
                   TypeError: no"
            .to_owned(),
        fault: FaultKind::LaunchExits,
        quoted: Some(Box::new(Quoted {
            observed: "the server exited before it listened, with exit code 1".to_owned(),
            output: "Traceback\nTypeError: no".to_owned(),
        })),
        ..result(name, Some(Verdict::Fail), State::Crash)
    };
    let cases = ["malformed/nul", "startup/bad-port", "framing/single"];
    let faults = faults_of(cases.map(not_started).to_vec());
    assert_eq!(case_names(&faults), [cases]);
    assert_eq!(faults[0].title, "The server exits before it listens");
    let expected = [
        ("received", "the server exited before it listened, with exit code 1"),
        ("output", "TypeError: no"),
        ("expected", "a server that listens"),
    ];
    assert_eq!(evidence_of(&faults[0]), expected);
}

#[test]
fn the_evidence_is_the_sent_received_and_expected_data() {
    let mut byte_by_byte = failed("framing/byte-by-byte");
    byte_by_byte.transcript = vec![
        Event::new(1, 1, sent(b"1+2\n")),
        Event::new(2, 1, EventKind::received(b"3\n")),
        Event::new(3, 1, sent(b"1")),
        Event::new(4, 0, EventKind::output(b"hm")),
        Event::new(5, 1, sent(b"+2\n")),
        Event::new(6, 1, EventKind::SentFin),
        Event::new(7, 1, EventKind::ReceivedReset),
    ];
    let faults = faults_of(vec![byte_by_byte]);
    let expected = [
        ("sent", "\"1\" \"+2\\n\" FIN (2 writes)"),
        ("received", "another reply in framing/byte-by-byte, then RST"),
        ("expected", "the expected reply"),
    ];
    assert_eq!(evidence_of(&faults[0]), expected);
}

#[test]
fn the_evidence_of_a_crash_includes_the_sent_data_and_last_error() {
    let faults = faults_of(vec![crashed("malformed/nul", "Traceback\nValueError: null\n")]);
    let expected = [
        ("sent", "\"1+2\\n\""),
        ("received", "connection closed"),
        ("exited", "exit code 1: ValueError: null"),
    ];
    assert_eq!(evidence_of(&faults[0]), expected);
}

#[test]
fn an_error_logged_before_the_timeout_is_the_cause() {
    for logged_error in [None, Some("NameError: abc".to_owned())] {
        let is_reported = logged_error.is_some();
        let stuck = CaseResult { logged_error, ..hung("malformed/syntax") };
        let faults = faults_of(vec![stuck]);
        assert_eq!(evidence_of(&faults[0])[1].1.contains("NameError"), is_reported);
        assert_eq!(faults[0].cause == ERROR_BEFORE_TIMEOUT, is_reported);
    }
}

#[test]
fn inconclusive_cases_are_grouped_by_the_case_that_must_pass_first() {
    let inconclusive = |name, observed: &str, blocked_by: &[&str]| CaseResult {
        observed: observed.to_owned(),
        blocked_by: blocked_by.iter().map(|&name| name.to_owned()).collect(),
        ..result(name, None, State::Inconclusive)
    };
    let grading = Grading::of(&server(vec![
        inconclusive("leaks/memory", "in turns: \"4\"", &["isolation/own-answers"]),
        inconclusive("leaks/resets", "no line", &["framing/single"]),
        inconclusive("leaks/zombies", "no line at all", &["framing/single"]),
        inconclusive("leaks/close-wait", "see nothing", &[]),
        // The reason is another one if the case that must pass first has passed.
        result("framing/pipelined", Some(Verdict::Pass), State::Completed),
        inconclusive("back-pressure/slow-reader", "too large", &["framing/pipelined"]),
    ]));
    let reasons: Vec<&str> =
        grading.inconclusive.iter().map(|group| group.reason.as_str()).collect();
    let expected = [
        "framing/single must pass first",
        "isolation/own-answers must pass first",
        "see nothing",
        "too large",
    ];
    assert_eq!(reasons, expected);
}

#[test]
fn server_output_cannot_control_the_terminal_or_flood_the_page() {
    let mut hostile =
        crashed("malformed/nul", &format!("Error: \u{1b}[2J\u{202e}{}", "ab".repeat(999)));
    hostile.observed = "\u{1b}]0;x\u{7}\r\n".repeat(999);
    let page = grading_text(&server(vec![hostile]));
    let is_printable =
        |letter: char| letter == '\n' || !letter.is_control() && letter != '\u{202e}';
    assert!(page.chars().all(is_printable), "{page:?}");
    assert!(page.len() < 4_000, "{page}");
}

#[test]
fn lines_of_the_terminal_report_fit_the_width_except_commands() {
    let results = cases().map(|case| hinted(case.name, &"a long hint ".repeat(20))).collect();
    for line in grading_text(&server(results)).lines() {
        assert!(line.chars().count() <= 88 || line.contains(" again "), "{line}");
    }
}

#[test]
fn failures_with_the_same_cause_are_one_fault_and_others_are_not() {
    let with = |fault, name| CaseResult { fault, ..failed(name) };
    let requirement = |name| hinted(name, name);
    let name = "disconnects/half-close";
    let open = CaseResult { fault: FaultKind::StaysOpen, ..hinted(name, name) };
    let endless = with(FaultKind::EndlessReply, "disconnects/half-close");
    let leaks = ["leaks/descriptors", "leaks/close-wait", "leaks/resets"].map(requirement);
    let freed = requirement("disconnects/fin-frees-descriptor");
    let waits = |fault, name| CaseResult { fault, ..hinted(name, name) };
    let blocked = [
        waits(FaultKind::NoReply, "timeouts/drip-beside"),
        waits(FaultKind::NoReply, "back-pressure/others-are-served"),
    ];
    let remain = |name| CaseResult { fault: FaultKind::ProcessesRemain, ..hinted(name, name) };
    let remaining =
        ["startup/restart", "shutdown/busy-client", "shutdown/port-is-free"].map(remain);
    for (number, results) in [
        (1, [vec![open.clone()], leaks.to_vec(), vec![freed.clone()]].concat()),
        (1, [vec![endless, freed.clone()]].concat()),
        (1, [vec![freed], leaks.to_vec()].concat()),
        // Without a connection that stays open, the leaks differ.
        (2, vec![leaks[1].clone(), requirement("leaks/memory")]),
        (2, vec![open.clone(), requirement("leaks/memory")]),
        (2, vec![requirement("leaks/threads-and-processes"), requirement("leaks/descriptors")]),
        (1, blocked.to_vec()),
        (2, vec![blocked[0].clone(), with(FaultKind::ClosesBeforeReply, "timeouts/silent-crowd")]),
        (1, remaining.to_vec()),
        (2, vec![remaining[0].clone(), requirement("shutdown/second-signal")]),
    ] {
        let faults = faults_of(results);
        assert_eq!(faults.len(), number, "{:?}", case_names(&faults));
    }
    let faults = faults_of([vec![open.clone()], leaks.to_vec()].concat());
    assert_eq!(faults[0].cause, "disconnects/half-close");
    let faults = faults_of(blocked.to_vec());
    assert!(faults[0].cause.contains("blocking read or write"), "{}", faults[0].cause);
}

#[test]
fn of_the_same_severity_faults_of_required_cases_are_first() {
    let hardening =
        CaseResult { level: crate::results::Level::Hardening, ..failed("malformed/empty-line") };
    let faults = faults_of(vec![hardening, failed("framing/sizes")]);
    assert_eq!(case_names(&faults), [["framing/sizes"], ["malformed/empty-line"]]);
}

#[test]
fn an_echo_of_invalid_utf8_is_malformed_input() {
    let with = |fault, name| CaseResult { fault, ..failed(name) };
    let faults = faults_of(vec![
        with(FaultKind::ChangesInvalidUtf8, "results/echo-is-identical"),
        with(FaultKind::ChangesInvalidUtf8, "malformed/invalid-utf8"),
        with(FaultKind::Blocks, "malformed/nul"),
    ]);
    assert_eq!(faults.len(), 2);
    assert_eq!(faults[1].severity, Severity::LostReplies);
}

#[test]
fn a_page_says_that_hardly_any_case_applies() {
    let passed = result("framing/single", Some(Verdict::Pass), State::Completed);
    let mut cases = vec![passed];
    cases.extend(["a/b", "a/c"].map(|name| result(name, None, State::NotApplicable)));
    let text = grading_text(&server(cases.clone()));
    let expected = "No fault was found, but only 1 of 3 cases apply to this server.";
    assert!(text.contains(expected), "{text}");
    assert!(grading_text(&server(cases[..1].to_vec())).contains("No fault was found.\n"));
}
