//! `junit.xml`: verdicts for the test page of a CI system.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report as Document, TestCase, TestCaseStatus, TestSuite};

use super::{Exporter, Report, ServerReport, failure};
use crate::conformance::{Judgement, Kind, State};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "junit.xml",
    summary: "verdicts as JUnit XML, for the test page of a CI system; a suite is a server",
    render: |report| Some(render(report)),
};

pub(super) fn render(report: &Report) -> String {
    let finished = if report.complete { "" } else { " (the run was not finished)" };
    let mut document = Document::new(format!("harness{finished}"));
    document.add_test_suites(report.servers.iter().map(suite));
    if !report.complete {
        document.add_test_suite(unfinished());
    }
    document.to_string().expect("a string takes everything")
}

/// What keeps half a run from reading as green.
fn unfinished() -> TestSuite {
    let status = TestCaseStatus::non_success(NonSuccessKind::Error);
    let status = told(status, "unfinished", "the run was not finished");
    let mut suite = TestSuite::new("harness");
    suite.add_test_case(case("harness", "run", status));
    suite
}

fn suite(server: &ServerReport) -> TestSuite {
    let mut suite = TestSuite::new(xml(&server.name));
    if let Some(reason) = &server.not_run {
        suite.add_test_case(case(
            &server.name,
            "not run",
            told(TestCaseStatus::skipped(), "", reason),
        ));
    }
    for judgement in &server.cases {
        let mut case = case(&server.name, judgement.name, status(server, judgement));
        case.set_time(Duration::from_millis(judgement.took_ms));
        if matches!(judgement.kind(), Kind::Loose | Kind::Info) {
            case.set_system_out(xml(&format!("{}: {}", judgement.words(), judgement.observed)));
        }
        suite.add_test_case(case);
    }
    for problem in server.problems() {
        let failed = TestCaseStatus::non_success(NonSuccessKind::Failure);
        suite.add_test_case(case(&server.name, "measurement", told(failed, "problem", &problem)));
    }
    // Cases are run several at a time: this is more than it took.
    suite.set_time(suite.test_cases.iter().filter_map(|case| case.time).sum());
    suite
}

fn case(suite: &str, name: &str, status: TestCaseStatus) -> TestCase {
    let mut case = TestCase::new(name, status);
    case.set_classname(xml(suite));
    case
}

fn status(server: &ServerReport, judgement: &Judgement) -> TestCaseStatus {
    let skipped = TestCaseStatus::skipped();
    let kind = match judgement.kind() {
        Kind::Pass | Kind::Loose | Kind::Info => return TestCaseStatus::success(),
        Kind::NotApplicable => return told(skipped, "not applicable", &judgement.observed),
        Kind::Known => {
            let known = judgement.known.as_ref().map(|known| known.reason.as_str());
            return told(skipped, &judgement.words(), known.unwrap_or_default());
        }
        Kind::Fail | Kind::Stale => NonSuccessKind::Failure,
        Kind::Undecided => NonSuccessKind::Error,
    };
    let what = match judgement.state {
        State::Ok => judgement.words(),
        state => state.name().to_owned(),
    };
    let mut status = told(TestCaseStatus::non_success(kind), &what, &judgement.observed);
    status.set_description(xml(&failure(&server.name, judgement)));
    status
}

fn told(mut status: TestCaseStatus, what: &str, message: &str) -> TestCaseStatus {
    status.set_message(xml(message));
    if !what.is_empty() {
        status.set_type(what);
    }
    status
}

/// What XML 1.0 has no place for, or advises against, made visible.
fn xml(text: &str) -> String {
    let is_allowed = |letter: char| match letter {
        '\t' | '\n' => true,
        '\u{FFFE}' | '\u{FFFF}' => false,
        _ => !letter.is_control(),
    };
    text.chars()
        .map(|one| if is_allowed(one) { one } else { char::REPLACEMENT_CHARACTER })
        .collect()
}
