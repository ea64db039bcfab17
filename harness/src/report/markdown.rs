//! `summary.md`: a summary of the report for the page of a CI run, a commit or a pull request.
//!
//! The summary of any report has at most [`MAX_SIZE`] bytes: parts that are too long end with the
//! number of the omitted rows.

mod tables;

use std::fmt::Write;

use super::bounded::{details, section};
use super::exporter::Exporter;
use super::grading::{Category, Cause};
use super::markup::{clipped, code, escaped};
use super::tally::Tally;
use crate::figures::counted;
use crate::results::{Kind, Report, Verdict};

pub(super) const EXPORTER: Exporter = Exporter {
    file_name: "summary.md",
    summary: "verdict, failures by likely cause and key figures as Markdown, at most 20 KB",
    render: |document| Some(render(document.report)),
};

/// Maximum size of the summary, in bytes.
const MAX_SIZE: usize = 20_000;

/// Maximum size of the list of failures, in bytes.
const MAX_FAILURES: usize = 5_000;

/// Maximum size of each short list, in bytes.
const MAX_LIST: usize = 900;

/// Maximum length of quoted text, in characters.
const MAX_QUOTED: usize = 160;

/// Maximum length of a command, in characters.
const MAX_COMMAND: usize = 300;

/// Maximum number of results that are named for a cause.
const MAX_NAMED_RESULTS: usize = 3;

pub(super) fn render(report: &Report) -> String {
    let mut page = String::new();
    write(report, &mut page).expect("writing to a String cannot fail");
    page
}

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(page, "# Socket servers compared\n")?;
    if !report.complete {
        writeln!(
            page,
            "**The run is incomplete: the report has only the results from before it stopped.**\n"
        )?;
    }
    let causes = report.causes();
    writeln!(page, "{}\n", verdict(report, &causes))?;
    environment(report, page)?;
    not_run(report, page)?;
    failures(&causes, page)?;
    tables::key_figures(report, page)?;
    known(report, page)?;
    observations(report, page)?;
    tables::verdicts(report, page)?;
    tables::measurements(report, page, MAX_SIZE)
}

/// Returns the verdict on all servers in one line.
fn verdict(report: &Report, causes: &[Cause]) -> String {
    let has = |is_wanted: fn(Category) -> bool| causes.iter().any(|it| is_wanted(it.category));
    let verdict = match () {
        () if has(|it| it != Category::Inconclusive) => "Failed",
        () if !causes.is_empty() => "Inconclusive",
        () if report.servers_run().is_empty() => "Not run",
        () if !report.complete => "No failure so far",
        () => "Passed",
    };
    let servers = format!("{} tested", counted(report.servers_run().len(), "server"));
    let tally = Tally::of(report.results());
    let problems = match report.problems().count() {
        0 => String::new(),
        count => format!("; {}", counted(count, "failed measurement")),
    };
    match report.results().next() {
        Some(_) => format!("**{verdict}.** {servers}. Verdicts: {}{problems}.", tally.summary()),
        None => format!("**{verdict}.** {servers}, no case{problems}."),
    }
}

fn environment(report: &Report, page: &mut String) -> std::fmt::Result {
    let environment = &report.environment;
    let part = |text: &str| escaped(&clipped(text, 80));
    writeln!(
        page,
        "{}, seed {}, started {}; {}, {}, {} CPUs, {}; harness {}, {} build.\n",
        code(&clipped(&environment.command, MAX_QUOTED)),
        report.seed,
        part(&environment.started_at),
        part(&environment.kernel),
        part(&environment.cpu_model),
        environment.cpus,
        part(&report.plan),
        part(&environment.version),
        part(&environment.build),
    )
}

fn not_run(report: &Report, page: &mut String) -> std::fmt::Result {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for (server, reason) in report.servers_not_run() {
        match reasons.iter_mut().find(|(other, _)| *other == reason) {
            Some((_, servers)) => servers.push(server.label()),
            None => reasons.push((reason, vec![server.label()])),
        }
    }
    let row = |(reason, servers): &(&str, Vec<String>)| {
        let names = escaped(&clipped(&servers.join(", "), MAX_QUOTED));
        let reason = escaped(&clipped(reason, MAX_QUOTED));
        format!("- Not run ({}): **{names}**: {reason}\n", servers.len())
    };
    let rows: Vec<String> = reasons.iter().map(row).collect();
    section("", &rows, MAX_LIST, "reasons", page)
}

fn failures(causes: &[Cause], page: &mut String) -> std::fmt::Result {
    let rows: Vec<String> = causes.iter().map(cause).collect();
    section("## Results that need attention\n\n", &rows, MAX_FAILURES, "causes", page)
}

fn cause(cause: &Cause) -> String {
    let severity = match cause.category {
        Category::Failed(severity) => format!(" ({})", severity.label()),
        _ => String::new(),
    };
    let mut text = format!(
        "- **{}**{severity}: {}: {}",
        escaped(&clipped(&cause.title, MAX_QUOTED)),
        cause.counts(),
        escaped(&clipped(&cause.results_text(MAX_NAMED_RESULTS), MAX_QUOTED)),
    );
    if let Some(likely_cause) = &cause.likely_cause {
        text += &format!("\\\n  Likely cause: {}", escaped(&clipped(likely_cause, MAX_QUOTED)));
    }
    for line in &cause.evidence {
        text += &format!("\\\n  {}: {}", line.label, code(&clipped(&line.text, MAX_QUOTED)));
    }
    if let Some(reproduce) = cause.reproduce.as_deref().filter(|command| !command.is_empty()) {
        text += &format!("\\\n  Reproduce: {}", code(&clipped(reproduce, MAX_COMMAND)));
    }
    text + "\n"
}

fn known(report: &Report, page: &mut String) -> std::fmt::Result {
    let known = report.known_failures();
    let rows: Vec<String> = known
        .iter()
        .map(|(server, result, known)| {
            format!(
                "- {} {}: {}: {}\n",
                escaped(&clipped(&server.name, MAX_QUOTED)),
                escaped(&clipped(&result.name, MAX_QUOTED)),
                result.label(),
                escaped(&clipped(&known.text(), MAX_QUOTED)),
            )
        })
        .collect();
    let title = format!("Known failures ({})", rows.len());
    details(&title, "", &rows, MAX_LIST, "known failures", page)
}

/// Writes the results of the kind `info`: properties that were observed but are not declared.
fn observations(report: &Report, page: &mut String) -> std::fmt::Result {
    let mut rows = Vec::new();
    for server in &report.servers {
        for result in &server.cases {
            if result.verdict == Some(Verdict::Info) && result.kind() == Kind::Info {
                let [name, case, observed] = [&server.name, &result.name, &result.observed]
                    .map(|text| escaped(&clipped(text, MAX_QUOTED)));
                rows.push(format!("- {name} {case}: {observed}\n"));
            }
        }
    }
    let title = format!("Observed, not declared ({})", rows.len());
    details(&title, "", &rows, MAX_LIST, "observations", page)
}
