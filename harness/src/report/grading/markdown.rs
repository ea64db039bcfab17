//! `marks.md`: the grading reports of external servers, and their comparison table.

use std::fmt::Write;

use super::evidence::plain;
use super::sheet::{Fault, Grading, Group, Row};
use crate::report::document::Report;
use crate::report::exporter::Exporter;
use crate::report::markdown::escaped;

pub(in crate::report) const EXPORTER: Exporter = Exporter {
    file_name: "marks.md",
    summary: "foreign servers: what works in each and what does not, for its author; a table of several",
    render: |report| {
        let mut page = String::new();
        let is_any = !report.foreign().is_empty();
        is_any.then(|| write(report, &mut page).expect("a string takes everything"))?;
        Some(page)
    },
};

fn write(report: &Report, page: &mut String) -> std::fmt::Result {
    let servers = report.foreign();
    let several = servers.len() > 1;
    if several {
        writeln!(page, "# Class\n")?;
    }
    if !report.complete {
        writeln!(page, "**The run was not finished; this is what it had.**\n")?;
    }
    if several {
        let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
        class(&rows, page)?;
    }
    servers.iter().try_for_each(|server| sheet(&Grading::of(server), page))
}

fn class(rows: &[Row], page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "| server | works | loose | fails | undecided | first fault | took | built as |"
    )?;
    writeln!(page, "|---|--:|--:|--:|--:|---|--:|---|")?;
    for row in rows {
        writeln!(
            page,
            "| {} | {} | {} | {} | {} | {} | {} | {} |",
            escaped(&row.name),
            row.works,
            row.loose,
            row.fails_words(),
            row.undecided,
            escaped(&row.first),
            row.took_words(),
            escaped(row.mechanism.as_deref().unwrap_or("")),
        )?;
    }
    writeln!(page)
}

fn sheet(marks: &Grading, page: &mut String) -> std::fmt::Result {
    writeln!(page, "# Mark sheet: {}\n", escaped(&marks.name))?;
    if marks.command != marks.name {
        writeln!(page, "- command: {}", code(&marks.command))?;
    }
    writeln!(page, "- declares: {}", escaped(&marks.contract))?;
    if let Some(mechanism) = &marks.mechanism {
        writeln!(page, "- built as: {}", escaped(mechanism))?;
    }
    if let Some(reason) = &marks.not_run {
        return writeln!(page, "- **not run**: {}\n", escaped(reason));
    }
    writeln!(page, "- verdicts: {}\n", escaped(&marks.tally))?;
    writeln!(page, "## What does not work, the most important first\n")?;
    if marks.faults.is_empty() {
        writeln!(page, "Nothing was found.\n")?;
    }
    for (number, one) in marks.faults.iter().enumerate() {
        fault(number + 1, one, page)?;
    }
    if !marks.works.is_empty() {
        writeln!(page, "## What works\n\n| it | cases |\n|---|--:|")?;
        for topic in &marks.works {
            writeln!(page, "| {} | {} of {} |", escaped(&topic.topic), topic.works, topic.of)?;
        }
        writeln!(page)?;
    }
    if !marks.notes.is_empty() {
        writeln!(page, "## Also seen\n")?;
        for note in &marks.notes {
            writeln!(page, "- {}: {}", note.case, escaped(&note.words))?;
        }
        writeln!(page)?;
    }
    groups("Could not be found out", &marks.undecided, page)?;
    groups("Does not apply", &marks.not_applicable, page)
}

fn fault(number: usize, fault: &Fault, page: &mut String) -> std::fmt::Result {
    writeln!(page, "### {number}. {}\n", escaped(&fault.title))?;
    writeln!(page, "- weight: {}", fault.importance.words())?;
    for line in &fault.evidence {
        writeln!(page, "- {}: {}", line.label, code(&line.words))?;
    }
    writeln!(page, "- likely cause: {}", escaped(&fault.cause))?;
    writeln!(page, "- again: {}", code(&fault.again))?;
    writeln!(page, "- shows in: {}\n", fault.cases.join(", "))
}

fn groups(title: &str, groups: &[Group], page: &mut String) -> std::fmt::Result {
    if groups.is_empty() {
        return Ok(());
    }
    let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
    writeln!(page, "## {title} ({cases})\n")?;
    for group in groups {
        let names = group.cases.join(", ");
        writeln!(page, "- {} ({}): {names}", escaped(&group.reason), group.cases.len())?;
    }
    writeln!(page)
}

/// Formats text as a Markdown code span, with a fence longer than any run of backticks in the text.
/// Unsuitable for tables, because a `|` would end the cell.
fn code(words: &str) -> String {
    let words = plain(words);
    let longest = words.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if words.starts_with('`') || words.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{words}{pad}{fence}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_words_end_the_code_that_they_stand_in() {
        let words = ["a", "a`b", "``", "`a", "line\nend"].map(code);
        assert_eq!(words, ["`a`", "``a`b``", "``` `` ```", "`` `a ``", "`line end`"]);
    }
}
