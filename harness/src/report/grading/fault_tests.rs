//! Tests of the titles, severities and evidence of faults.

use std::time::Duration;

use super::descriptions::{self, CASES, FAULTS, topic_of};
use super::severity::Severity;
use super::tests::{case_names, crashed, evidence_of, failed, faults_of, hinted, hung};
use crate::conformance::cases;
use crate::exit::Exit;
use crate::results::{
    CaseResult, Difference, Event, EventKind, Fault as FaultKind, Provocation, Provoked, Stimulus,
};

#[test]
fn every_case_and_topic_has_a_description_and_no_case_has_two() {
    for case in cases() {
        let rows = CASES.iter().filter(|row| row.case == case.name).count();
        assert_eq!(rows, 1, "{}", case.name);
        let topic = topic_of(case.name);
        assert_ne!(descriptions::topic(topic), topic, "{topic} has no description");
    }
    for row in CASES {
        assert!(cases().any(|case| case.name == row.case), "{} is no case", row.case);
    }
}

#[test]
fn every_fault_of_every_case_has_a_title_and_a_severity() {
    for &fault in FaultKind::ALL {
        let rows = FAULTS.iter().filter(|row| row.fault == fault).count();
        assert_eq!(rows, usize::from(fault != FaultKind::Requirement), "{fault:?}");
        for case in cases() {
            let title = descriptions::title(case.name, fault).expect("a title");
            assert!(!title.ends_with(" when"), "{title}");
            assert!(title.starts_with(|it: char| it.is_lowercase()) || title.starts_with("NUL"));
            descriptions::severity(case.name, fault).expect("a severity");
        }
    }
}

#[test]
fn only_an_effect_of_code_accuses_a_server_of_running_code() {
    for case in cases() {
        for &fault in FaultKind::ALL {
            let is_severe =
                descriptions::severity(case.name, fault) == Some(Severity::CodeExecution);
            let is_effect =
                matches!(fault, FaultKind::FileCreated | FaultKind::AttributesEvaluated);
            assert!(is_effect || !is_severe, "{} {fault:?}", case.name);
        }
    }
}

#[test]
fn a_single_connection_without_a_reply_is_no_outage() {
    for (fault, severity) in
        [(FaultKind::NoReply, Severity::LostReplies), (FaultKind::Blocks, Severity::Outage)]
    {
        let fault = faults_of(vec![CaseResult { fault, ..hung("malformed/syntax") }]);
        assert_eq!(fault[0].severity, severity);
    }
}

#[test]
fn the_title_depends_on_the_fault_and_on_the_case() {
    for (case, fault, title) in [
        (
            "malformed/escapes",
            FaultKind::ClosesBeforeReply,
            "The server closes the connection without a reply when control characters arrive",
        ),
        (
            "malformed/injection",
            FaultKind::WrongNextReply,
            "The next request gets a wrong reply when an expression contains program code",
        ),
        (
            "startup/port-taken",
            FaultKind::ExitsWithSuccess,
            "The server exits with status 0 instead of an error status when its port is in use",
        ),
        (
            "isolation/reset-beside",
            FaultKind::ClosesBeforeReply,
            "The connection of another client is closed without a reply when a client resets \
             while others are connected",
        ),
        ("results/arithmetic", FaultKind::WrongReply, "A result is wrong"),
        (
            "contract/queue",
            FaultKind::LessThanDeclared,
            "Fewer connections wait for a slot than declared",
        ),
    ] {
        assert_eq!(faults_of(vec![CaseResult { fault, ..failed(case) }])[0].title, title);
    }
}

#[test]
fn no_two_faults_have_the_same_title() {
    let with_hint = |name, hint| CaseResult { fault: FaultKind::ReplyFormat, ..hinted(name, hint) };
    let faults = faults_of(vec![
        with_hint("results/arithmetic", "one"),
        with_hint("results/float-precision", "another"),
    ]);
    assert_eq!(case_names(&faults), [["results/arithmetic", "results/float-precision"]]);
}

#[test]
fn exits_with_the_same_provocation_are_one_fault_with_its_evidence() {
    let provoked = |name, log| CaseResult {
        provoked: Some(Box::new(Provoked {
            provocation: Provocation::ConnectAndClose,
            transcript: vec![
                Event::new(1, 1, EventKind::connected(Duration::ZERO)),
                Event::new(2, 1, EventKind::SentFin),
            ],
            exit: Exit::Code(3),
            log: "Traceback (most recent call last):\n  File\nIndexError: 0".to_owned(),
            reproduce: "harness check --case disconnects/nothing-said".to_owned(),
        })),
        ..crashed(name, log)
    };
    let names = ["malformed/nul", "disconnects/nothing-said"];
    let faults = faults_of(vec![provoked(names[0], "a"), provoked(names[1], "b")]);
    assert_eq!(case_names(&faults), [names]);
    let title = "The server exits when a client connects and closes the connection";
    assert_eq!(faults[0].title, title);
    assert_eq!(faults[0].reproduce, "harness check --case disconnects/nothing-said");
    let expected = [
        ("sent", "FIN"),
        ("expected", "the expected reply"),
        ("exited", "exit code 3: IndexError: 0"),
    ];
    assert_eq!(evidence_of(&faults[0]), expected);
}

#[test]
fn the_evidence_names_the_stimulus_and_the_first_different_byte() {
    let different = CaseResult {
        stimulus: Some(Stimulus::Sent("\"1+*(\"".to_owned())),
        difference: Difference::first(b"41001", b"=41001").map(Box::new),
        ..failed("malformed/syntax")
    };
    let faults = faults_of(vec![different]);
    let expected = [
        ("sent", "\"1+*(\""),
        ("received", "another reply in malformed/syntax"),
        ("expected", "the expected reply"),
        (
            "difference",
            "at byte 0: expected \"4\" (0x34) in \"41001\", received \"=\" (0x3d) in \"=41001\"",
        ),
    ];
    assert_eq!(evidence_of(&faults[0]), expected);
    let limited = CaseResult {
        stimulus: Some(Stimulus::Action("no descriptor is free".to_owned())),
        ..failed("exhaustion/no-spin")
    };
    assert_eq!(evidence_of(&faults_of(vec![limited])[0])[0], ("action", "no descriptor is free"));
}
