//! `junit.xml`: case results for the test page of a CI system.

use std::fmt::{self, Write as _};

use super::document::{Report, ServerResult};
use super::exporter::Exporter;
use super::text::failure;
use crate::conformance::{CaseResult, Kind, State};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "junit.xml",
    summary: "verdicts as JUnit XML, for the test page of a CI system; a suite is a server",
    render: |report| Some(render(report)),
};

pub(super) fn render(report: &Report) -> String {
    let finished = if report.complete { "" } else { " (the run was not finished)" };
    let mut suites: Vec<Suite> = report.servers.iter().map(suite).collect();
    if !report.complete {
        suites.push(unfinished());
    }
    let mut document = String::new();
    write(&mut document, &format!("harness{finished}"), &suites)
        .expect("a String accepts everything");
    document
}

/// A test suite of the document: one server.
struct Suite {
    name: String,
    /// Sum of the durations of all cases in ms; 0 if none ran.
    took_ms: u64,
    cases: Vec<Case>,
}

impl Suite {
    fn count(&self, element: &str) -> usize {
        let has = |case: &&Case| case.status.as_ref().is_some_and(|it| it.element == element);
        self.cases.iter().filter(has).count()
    }
}

/// A test case of the document, with its duration in ms if known.
struct Case {
    name: String,
    took_ms: Option<u64>,
    /// `None` if the case passed.
    status: Option<Status>,
    system_out: Option<String>,
}

/// Reason why a test case did not pass.
struct Status {
    /// Element name: `skipped`, `failure` or `error`.
    element: &'static str,
    message: String,
    kind: String,
    text: String,
}

/// Returns a suite with an error, so that an incomplete run is not reported as passed.
fn unfinished() -> Suite {
    let status = Status::new("error", "unfinished", "the run was not finished");
    Suite { name: "harness".to_owned(), took_ms: 0, cases: vec![Case::new("run", Some(status))] }
}

fn suite(server: &ServerResult) -> Suite {
    let mut cases = Vec::new();
    if let Some(reason) = &server.not_run {
        cases.push(Case::new("not run", Some(Status::new("skipped", "", reason))));
    }
    for judgement in &server.cases {
        let told = matches!(judgement.kind(), Kind::Loose | Kind::Info)
            .then(|| format!("{}: {}", judgement.words(), judgement.observed));
        cases.push(Case {
            took_ms: Some(judgement.took_ms),
            system_out: told,
            ..Case::new(judgement.name, status(server, judgement))
        });
    }
    for problem in server.problems() {
        cases.push(Case::new("measurement", Some(Status::new("failure", "problem", &problem))));
    }
    // Cases run in parallel, so the sum exceeds the elapsed time.
    let took_ms = cases.iter().filter_map(|case| case.took_ms).sum();
    Suite { name: server.name.clone(), took_ms, cases }
}

impl Case {
    fn new(name: &str, status: Option<Status>) -> Case {
        Case { name: name.to_owned(), took_ms: None, status, system_out: None }
    }
}

impl Status {
    fn new(element: &'static str, kind: &str, message: &str) -> Status {
        let (message, kind) = (message.to_owned(), kind.to_owned());
        Status { element, message, kind, text: String::new() }
    }
}

fn status(server: &ServerResult, judgement: &CaseResult) -> Option<Status> {
    let element = match judgement.kind() {
        Kind::Pass | Kind::Loose | Kind::Info => return None,
        Kind::NotApplicable => {
            return Some(Status::new("skipped", "not applicable", &judgement.observed));
        }
        Kind::Known => {
            let known = judgement.known.as_ref().map(|known| known.reason.as_str());
            return Some(Status::new("skipped", &judgement.words(), known.unwrap_or_default()));
        }
        Kind::Fail | Kind::Stale => "failure",
        Kind::Undecided => "error",
    };
    let kind = match judgement.state {
        State::Ok => judgement.words(),
        state => state.name().to_owned(),
    };
    let text = failure(&server.name, judgement);
    Some(Status { text, ..Status::new(element, &kind, &judgement.observed) })
}

/// Writes the document in the dialect of Jenkins' JUnit plugin, which other CI systems also read.
fn write(to: &mut String, name: &str, suites: &[Suite]) -> fmt::Result {
    let all = |element| suites.iter().map(|suite| suite.count(element)).sum::<usize>();
    let tests: usize = suites.iter().map(|suite| suite.cases.len()).sum();
    writeln!(to, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    writeln!(
        to,
        r#"<testsuites name="{}" tests="{tests}" skipped="{}" failures="{}" errors="{}">"#,
        Xml(name),
        all("skipped"),
        all("failure"),
        all("error"),
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
            seconds(suite.took_ms),
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
    if let Some(took_ms) = case.took_ms {
        write!(to, r#" time="{}""#, seconds(took_ms))?;
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

fn seconds(took_ms: u64) -> String {
    format!("{}.{:03}", took_ms / 1000, took_ms % 1000)
}

/// Escapes text for elements and attributes. Characters that XML 1.0 forbids or discourages become
/// U+FFFD.
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
