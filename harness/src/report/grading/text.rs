//! Grading report and overview table for a terminal.

use super::evidence::plain;
use super::model::{Fault, Grading, Group, Row};
use crate::figures::round_trip;
use crate::results::ServerResult;

/// Line width in characters. Commands are not wrapped, so that users can copy them.
const WIDTH: usize = 88;

/// Maximum number of case names listed for one fault.
const MAX_NAMED_CASES: usize = 9;

/// Maximum width of the first and the last column of the overview table, in characters.
const MAX_NAME_WIDTH: usize = 24;

/// Formats the grading report of one server.
pub fn grading(server: &ServerResult) -> String {
    let grading = Grading::of(server);
    let mut page = Page::default();
    page.title(&format!("Grading report: {}", grading.name));
    if grading.command != grading.name {
        page.labelled(0, "command", &grading.command);
    }
    page.labelled(0, "declares", &grading.contract);
    if let Some(model) = grading.concurrency_model {
        page.labelled(0, "model", model.name());
    }
    if let Some(us) = grading.round_trip_us {
        page.labelled(0, "round trip", &round_trip(us));
    }
    if let Some(reason) = &grading.not_run {
        page.labelled(0, "not run", reason);
        return page.0;
    }
    page.labelled(0, "verdicts", &grading.tally);
    page.heading("Faults, most severe first");
    if grading.faults.is_empty() {
        page.wrapped("  ", 2, &grading.no_fault_text());
    }
    for (number, fault) in grading.faults.iter().enumerate() {
        page.fault(number + 1, fault);
    }
    if !grading.topics.is_empty() {
        page.heading(
            "What works, with the number of cases that passed, strictly or with a warning",
        );
    }
    for topic in &grading.topics {
        let all = if topic.passed == topic.conclusive { "" } else { "  partly" };
        let count = format!("{:>2} of {:>2}{all}", topic.passed, topic.conclusive);
        page.line(&format!("  {:58} {count}", topic.topic));
    }
    page.notes(&grading);
    page.groups("Inconclusive", &grading.inconclusive);
    page.groups("Not applicable", &grading.not_applicable);
    page.0.trim_end().to_owned()
}

/// Formats the overview table of several servers.
pub fn overview(servers: &[&ServerResult]) -> String {
    let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
    let width = |of: fn(&Row) -> &str, title: &str| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.chain([title.len()]).max().unwrap_or(0).min(MAX_NAME_WIDTH)
    };
    let name_width = width(|row| &row.name, "server");
    let model_width = width(|row| row.model_name(), "model");
    let failed_width = rows.iter().map(|row| row.failed_text().len()).chain([6]).max().unwrap_or(6);
    let mut page = Page::default();
    page.title("Overview");
    let mut row = |cells: [&str; 7], worst_fault: Option<&str>| {
        let [server, passed, warn, failed, inconclusive, duration, model] = cells;
        let line = format!(
            "{server:name_width$}  {passed:>6}  {warn:>5}  {failed:>failed_width$}  {inconclusive:>12}  {duration:>8}  {model:model_width$}"
        );
        page.line(line.trim_end());
        if let Some(worst_fault) = worst_fault {
            page.wrapped("    worst fault: ", 8, worst_fault);
        }
    };
    row(["server", "passed", "warn", "failed", "inconclusive", "duration", "model"], None);
    for server in &rows {
        let [passed, warn, inconclusive] =
            [server.passed, server.warn, server.inconclusive].map(|count| count.to_string());
        let model = cut(server.model_name(), model_width);
        let (name, failed, duration) =
            (cut(&server.name, name_width), server.failed_text(), server.duration_text());
        row(
            [&name, &passed, &warn, &failed, &inconclusive, &duration, &model],
            Some(&server.worst_fault),
        );
    }
    page.0.trim_end().to_owned()
}

/// Truncates text to the width, with `…` for the omitted part.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

/// A text page that is wrapped to [`WIDTH`].
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, text: &str) {
        self.0 += text;
        self.0.push('\n');
    }

    fn title(&mut self, text: &str) {
        let text = cut(text, WIDTH);
        self.line(&format!("\n{text}\n{}", "=".repeat(text.chars().count())));
    }

    fn heading(&mut self, text: &str) {
        if !self.0.ends_with("\n\n") {
            self.line("");
        }
        self.line(&format!("{text}\n{}", "-".repeat(text.chars().count())));
    }

    /// Appends a label and its text, wrapped with a hanging indent.
    fn labelled(&mut self, indent: usize, label: &str, text: &str) {
        let prefix = format!("{:indent$}{label:12} ", "");
        self.wrapped(&prefix, indent + 13, text);
    }

    /// Appends a prefix and a text. Wraps the text, with an indent on the following lines.
    fn wrapped(&mut self, prefix: &str, indent: usize, text: &str) {
        let mut line = prefix.to_owned();
        let mut room = WIDTH.saturating_sub(prefix.chars().count());
        let mut is_first = true;
        for word in text.split(' ') {
            let length = word.chars().count() + usize::from(!is_first);
            if length > room && !is_first {
                self.line(line.trim_end());
                line = " ".repeat(indent);
                room = WIDTH.saturating_sub(indent);
                is_first = true;
            }
            if !is_first {
                line.push(' ');
            }
            line += word;
            room = room.saturating_sub(length);
            is_first = false;
        }
        self.line(line.trim_end());
    }

    fn fault(&mut self, number: usize, fault: &Fault) {
        self.wrapped(&format!("{number:>2}. "), 4, &fault.title);
        self.labelled(4, "severity", fault.severity.label());
        for line in &fault.evidence {
            self.labelled(4, line.label, &line.text);
        }
        self.labelled(4, "likely cause", &fault.cause);
        self.line(&format!("    {:12} {}", "reproduce", plain(&fault.reproduce)));
        let names = fault.cases[..fault.cases.len().min(MAX_NAMED_CASES)].join(" ");
        let more = fault.cases.len().saturating_sub(MAX_NAMED_CASES);
        let more = (more > 0).then(|| format!(" and {more} more cases"));
        self.labelled(4, "failed cases", &(names + &more.unwrap_or_default()));
        self.line("");
    }

    fn notes(&mut self, grading: &Grading) {
        if !grading.notes.is_empty() {
            self.heading("Notes");
        }
        for note in &grading.notes {
            self.wrapped(&format!("  {}: ", note.case), 4, &note.text);
        }
    }

    fn groups(&mut self, title: &str, groups: &[Group]) {
        if groups.is_empty() {
            return;
        }
        let cases: usize = groups.iter().map(|group| group.cases.len()).sum();
        self.heading(&format!("{title} ({cases})"));
        for group in groups {
            self.wrapped(&format!("  {:>2}  ", group.cases.len()), 6, &group.reason);
        }
    }
}
