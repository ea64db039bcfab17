//! `junit.xml`: case results for the test page of a CI system.

use std::fmt::{self, Write as _};

use super::exporter::Exporter;
use super::text::failure_text;
use crate::results::{CaseResult, Kind, Report, ServerResult, State};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "junit.xml",
    summary: "verdicts as JUnit XML, for the test page of a CI system; one suite per server",
    render: |document| Some(render(document.report)),
};

pub(super) fn render(report: &Report) -> String {
    let note = if report.complete { "" } else { " (the run is incomplete)" };
    let mut suites: Vec<Suite> = report.servers.iter().map(suite).collect();
    if !report.complete {
        suites.push(incomplete_run());
    }
    let mut document = String::new();
    write(&mut document, &format!("harness{note}"), &suites)
        .expect("writing to a String cannot fail");
    document
}

/// Test suite of one server.
struct Suite {
    name: String,
    /// Elapsed time of the suite in ms; 0 if no case was run.
    duration_ms: u64,
    cases: Vec<Case>,
}

impl Suite {
    /// Counts the test cases with this status element.
    fn count(&self, element: &str) -> usize {
        let matches = |case: &&Case| case.status.as_ref().is_some_and(|it| it.element == element);
        self.cases.iter().filter(matches).count()
    }
}

/// Test case of the document.
struct Case {
    name: String,
    /// Duration in ms, if known.
    duration_ms: Option<u64>,
    /// `None` if the case passed.
    status: Option<Status>,
    system_out: Option<String>,
}

/// Reason why a test case did not pass.
struct Status {
    /// Element name: `skipped`, `failure` or `error`.
    element: &'static str,
    message: String,
    /// Attribute `type`.
    kind: String,
    /// Content of the element.
    text: String,
}

/// Returns a suite with an error, so that a CI system does not show an incomplete run as passed.
fn incomplete_run() -> Suite {
    let status = Status::new("error", "unfinished", "the run is incomplete");
    Suite {
        name: "harness".to_owned(),
        duration_ms: 0,
        cases: vec![Case::new("run", Some(status))],
    }
}

fn suite(server: &ServerResult) -> Suite {
    let mut cases = Vec::new();
    if let Some(reason) = &server.not_run {
        cases.push(Case::new("not run", Some(Status::new("skipped", "", reason))));
    }
    for result in &server.cases {
        let system_out = matches!(result.kind(), Kind::Warn | Kind::Info)
            .then(|| format!("{}: {}", result.label(), result.observed));
        cases.push(Case {
            duration_ms: Some(result.duration_ms),
            system_out,
            ..Case::new(&result.name, status(server, result))
        });
    }
    for problem in server.problems() {
        cases.push(Case::new("measurement", Some(Status::new("failure", "problem", &problem))));
    }
    // Cases run in parallel, so their sum exceeds the elapsed time.
    let sum = || cases.iter().filter_map(|case| case.duration_ms).sum();
    let duration_ms = server.duration_ms.unwrap_or_else(sum);
    Suite { name: server.name.clone(), duration_ms, cases }
}

impl Case {
    fn new(name: &str, status: Option<Status>) -> Case {
        Case { name: name.to_owned(), duration_ms: None, status, system_out: None }
    }
}

impl Status {
    fn new(element: &'static str, kind: &str, message: &str) -> Status {
        let (message, kind) = (message.to_owned(), kind.to_owned());
        Status { element, message, kind, text: String::new() }
    }
}

fn status(server: &ServerResult, result: &CaseResult) -> Option<Status> {
    let element = match result.kind() {
        Kind::Pass | Kind::Warn | Kind::Info => return None,
        Kind::NotApplicable => {
            return Some(Status::new("skipped", "not applicable", &result.observed));
        }
        Kind::Known => {
            let reason = result.known_failure.as_ref().map(|known| known.reason.as_str());
            return Some(Status::new("skipped", &result.label(), reason.unwrap_or_default()));
        }
        Kind::Fail | Kind::Stale => "failure",
        Kind::Inconclusive => "error",
    };
    let kind = match result.state {
        State::Completed => result.label(),
        state => state.name().to_owned(),
    };
    let text = failure_text(&server.name, result).to_string();
    Some(Status { text, ..Status::new(element, &kind, &result.observed_with_causes()) })
}

/// Writes the document in the format of Jenkins' xUnit plugin (`junit-10.xsd`), which other CI
/// systems also read. In this format, `testsuites` has no attribute `skipped`.
fn write(to: &mut String, name: &str, suites: &[Suite]) -> fmt::Result {
    let count = |element| suites.iter().map(|suite| suite.count(element)).sum::<usize>();
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    writeln!(to, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        to,
        r#"<testsuites name="{}" tests="{tests}" failures="{}" errors="{}">"#,
        Xml(name),
        count("failure"),
        count("error"),
    )?;
    for suite in suites {
        writeln!(
            to,
            r#"    <testsuite name="{}" tests="{}" skipped="{}" errors="{}" failures="{}" time="{}">"#,
            Xml(&suite.name),
            suite.cases.len(),
            suite.count("skipped"),
            suite.count("error"),
            suite.count("failure"),
            seconds(suite.duration_ms),
        )?;
        for case in &suite.cases {
            write_case(to, &suite.name, case)?;
        }
        writeln!(to, "    </testsuite>")?;
    }
    writeln!(to, "</testsuites>")
}

fn write_case(to: &mut String, suite: &str, case: &Case) -> fmt::Result {
    write!(to, r#"        <testcase name="{}" classname="{}""#, Xml(&case.name), Xml(suite))?;
    if let Some(duration_ms) = case.duration_ms {
        write!(to, r#" time="{}""#, seconds(duration_ms))?;
    }
    if case.status.is_none() && case.system_out.is_none() {
        return writeln!(to, "/>");
    }
    writeln!(to, ">")?;
    if let Some(Status { element, message, kind, text }) = &case.status {
        write!(to, r#"            <{element} message="{}""#, Xml(message))?;
        if !kind.is_empty() {
            write!(to, r#" type="{}""#, Xml(kind))?;
        }
        match text.as_str() {
            "" => writeln!(to, "/>")?,
            text => writeln!(to, ">{}</{element}>", Xml(text))?,
        }
    }
    if let Some(text) = &case.system_out {
        writeln!(to, "            <system-out>{}</system-out>", Xml(text))?;
    }
    writeln!(to, "        </testcase>")
}

/// Formats a duration in seconds.
fn seconds(duration_ms: u64) -> String {
    format!("{}.{:03}", duration_ms / 1000, duration_ms % 1000)
}

/// Text, displayed with escapes for elements and attributes. Characters that XML 1.0 forbids or
/// discourages become U+FFFD.
struct Xml<'t>(&'t str);

impl fmt::Display for Xml<'_> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '<' => to.write_str("&lt;"),
            '>' => to.write_str("&gt;"),
            '&' => to.write_str("&amp;"),
            '"' => to.write_str("&quot;"),
            '\'' => to.write_str("&apos;"),
            '\t' | '\n' => to.write_char(letter),
            '\u{FFFE}' | '\u{FFFF}' => to.write_char(char::REPLACEMENT_CHARACTER),
            _ if letter.is_control() => to.write_char(char::REPLACEMENT_CHARACTER),
            _ => to.write_char(letter),
        })
    }
}
