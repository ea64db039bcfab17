//! `marks.html`: the grading reports for screen and print: the comparison table, then one page per
//! server.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::sheet::{Fault, Grading, Group, Row};
use crate::report::document::Report;
use crate::report::exporter::Exporter;

pub(in crate::report) const EXPORTER: Exporter = Exporter {
    file_name: "marks.html",
    summary: "the same to be read and printed: a page for each foreign server, the table first",
    render,
};

const STYLE: &str = concat!(include_str!("../style.css"), include_str!("marks.css"));

fn render(report: &Report) -> Option<String> {
    let servers = report.foreign();
    let marks: Vec<Grading> = servers.iter().map(|server| Grading::of(server)).collect();
    let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
    let [first, ..] = marks.as_slice() else { return None };
    let title = if marks.len() > 1 { "Class" } else { first.name.as_str() };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Mark sheet: " (title) }
                style { (PreEscaped(STYLE)) }
            }
            body.marks {
                @if !report.complete {
                    p.warning { "The run was not finished; this is what it had." }
                }
                @if marks.len() > 1 { (class(report, &rows)) }
                @for (number, marks) in marks.iter().enumerate() { (sheet(report, number, marks)) }
            }
        }
    };
    Some(page.into_string() + "\n")
}

fn anchor(number: usize) -> String {
    format!("server-{}", number + 1)
}

fn class(report: &Report, rows: &[Row]) -> Markup {
    html! {
        nav {
            h1 { "Class" }
            p.command { (rows.len()) " servers, judged " (report.environment.began) ", seed " (report.seed) ". Each name leads to its page." }
            table.class {
                thead {
                    tr {
                        th { "server" }
                        th.count { "works" } th.count { "loose" } th.count { "fails" } th.count { "undecided" }
                        th { "first fault" } th.count { "took" } th { "built as" }
                    }
                }
                tbody {
                    @for (number, row) in rows.iter().enumerate() {
                        tr {
                            th scope="row" { a href={ "#" (anchor(number)) } { (row.name) } }
                            td.count.pass { (row.works) }
                            td.count { (row.loose) }
                            td.count.fail[row.fails > 0] { (row.fails_words()) }
                            td.count { (row.undecided) }
                            td { (row.first) }
                            td.count { (row.took_words()) }
                            td { (row.mechanism.as_deref().unwrap_or("")) }
                        }
                    }
                }
            }
            p.legend { "Works: as required. Loose: works, but not as the strict wording asks. Undecided: could not be found out, mostly because something else must work first. What a server does not declare is not judged." }
        }
    }
}

fn sheet(report: &Report, number: usize, marks: &Grading) -> Markup {
    html! {
        section.sheet id=(anchor(number)) {
            header {
                p.kicker { "Mark sheet" }
                h1 { (marks.name) }
                dl {
                    @if marks.command != marks.name { dt { "command" } dd { code { (marks.command) } } }
                    dt { "declares" } dd { (marks.contract) }
                    @if let Some(mechanism) = &marks.mechanism { dt { "built as" } dd { (mechanism) } }
                    @if let Some(reason) = &marks.not_run {
                        dt { "not run" } dd.bad { (reason) }
                    } @else {
                        dt { "verdicts" } dd { strong { (marks.tally) } }
                    }
                    dt { "judged" } dd { (report.environment.began) ", seed " (report.seed) }
                }
            }
            @if marks.not_run.is_none() { (body(marks)) }
        }
    }
}

fn body(marks: &Grading) -> Markup {
    html! {
        h2 { "What does not work, the most important first" }
        @if marks.faults.is_empty() { p { "Nothing was found." } }
        ol.faults { @for one in &marks.faults { (fault(one)) } }
        @if !marks.works.is_empty() {
            h2 { "What works" }
            table.works {
                @for topic in &marks.works {
                    tr {
                        td class=(if topic.works == topic.of { "pass" } else { "loose" }) {
                            (if topic.works == topic.of { "✓" } else { "in part" })
                        }
                        td { (topic.topic) }
                        td.count { (topic.works) " of " (topic.of) " cases" }
                    }
                }
            }
        }
        @if !marks.notes.is_empty() {
            h2 { "Also seen" }
            ul.small { @for note in &marks.notes { li { code { (note.case) } ": " (note.words) } } }
        }
        (groups("Could not be found out", &marks.undecided))
        (groups("Does not apply", &marks.not_applicable))
    }
}

fn fault(fault: &Fault) -> Markup {
    html! {
        li {
            h3 { (fault.title) }
            p.weight { (fault.importance.words()) }
            dl {
                @for line in &fault.evidence { dt { (line.label) } dd { code { (line.words) } } }
                dt { "likely cause" } dd.cause { (fault.cause) }
                dt { "again" } dd { code { (fault.again) } }
                dt { "shows in" } dd.cases { @for case in &fault.cases { span { (case) } " " } }
            }
        }
    }
}

fn groups(title: &str, groups: &[Group]) -> Markup {
    let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
    html! {
        @if !groups.is_empty() {
            h2 { (title) " (" (cases) ")" }
            ul.small {
                @for group in groups {
                    li { (group.reason) ": " span.quiet { (group.cases.join(", ")) } }
                }
            }
        }
    }
}
