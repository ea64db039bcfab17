//! The findings of a report as Markdown, for the README and the summary.

use std::fmt::Write;

use super::chart::Styles;
use super::key_figures::{COLUMNS, Cell, Column, Figure, KeyFigures, Row, recommendations};
use super::markup::escaped;
use crate::figures::significant;
use crate::results::Report;

/// Maximum number of tied leaders that an answer names.
const MAX_LEADERS: usize = 4;

/// The columns of the table.
const SHOWN: &[&str] = &["throughput", "p99", "p99-fixed-rate", "memory", "cpu"];

/// Renders the answers, and the key figures of the fastest server of each family and of the
/// external servers, as far as they serve 64 connections.
pub fn findings(report: &Report) -> String {
    let mut text = String::new();
    write(report, &mut text).expect("writing to a String cannot fail");
    text
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    let figures = KeyFigures::of(report);
    answers(&figures, text)?;
    let styles = Styles::of(report);
    let is_shown = |row: &&Row<'_>| {
        let number = styles.number(&row.server.name);
        let is_named =
            row.server.external || number.is_some_and(|number| styles.all()[number].is_default);
        is_named && row.figure(Column::named("throughput")).is_some()
    };
    let rows: Vec<&Row<'_>> = figures.rows.iter().filter(is_shown).collect();
    if !rows.is_empty() {
        writeln!(text)?;
        table(&rows, text)?;
    }
    Ok(())
}

/// Writes a line for each recommendation.
pub(super) fn answers(figures: &KeyFigures<'_>, text: &mut String) -> std::fmt::Result {
    for it in recommendations(figures) {
        if it.leaders.is_empty() {
            writeln!(text, "- **{}**: {}.", it.need, it.because)?;
            continue;
        }
        let named: Vec<String> =
            it.leaders.iter().take(MAX_LEADERS).map(|name| format!("`{name}`")).collect();
        let more = match it.leaders.len() {
            0..=MAX_LEADERS => String::new(),
            all if it.is_tie => format!(" and {} more, tied", all - MAX_LEADERS),
            all => format!(" and {} more", all - MAX_LEADERS),
        };
        writeln!(text, "- **{}**: {}{more}, {}.", it.need, named.join(", "), escaped(&it.because))?;
    }
    Ok(())
}

fn table(rows: &[&Row<'_>], text: &mut String) -> std::fmt::Result {
    let columns: Vec<&Column> = COLUMNS.iter().filter(|it| SHOWN.contains(&it.id)).collect();
    write!(text, "| server |")?;
    for column in &columns {
        write!(text, " {}, {} |", column.title, column.unit)?;
    }
    writeln!(text, " when full |\n|---|{}---|", "--:|".repeat(columns.len()))?;
    for row in rows {
        write!(text, "| `{}` |", escaped(&row.server.name))?;
        for column in &columns {
            match row.cell(column) {
                Cell::Figure(figure) => write!(text, " {} |", cell(column, figure))?,
                Cell::Missing(missing) => write!(text, " {} |", escaped(&missing.short))?,
            }
        }
        writeln!(text, " {} |", row.when_full_text())?;
    }
    Ok(())
}

/// Formats a figure with its interval: `293 (286–299)`.
fn cell(column: &Column, figure: &Figure) -> String {
    let value = column.text(figure);
    let interval = figure.interval.filter(|it| it.low != it.high);
    let interval =
        interval.map(|it| format!(" ({}–{})", significant(it.low), significant(it.high)));
    let mark = if figure.caveat.is_some() { "\\*" } else { "" };
    format!("{value}{mark}{}", interval.unwrap_or_default())
}
