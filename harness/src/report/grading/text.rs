//! Grading report and comparison table for a terminal.

use super::evidence::plain;
use super::sheet::{Fault, Grading, Group, Row};
use crate::report::document::ServerResult;

/// Line width in characters. Commands may exceed it, because users copy them.
const WIDTH: usize = 88;

/// Maximum number of cases named for one fault.
const NAMED: usize = 9;

/// Maximum width of the first and the last column of the comparison table, in characters.
const NAME: usize = 24;

/// Formats the grading report of one server.
pub fn sheet(server: &ServerResult) -> String {
    let marks = Grading::of(server);
    let mut page = Page::default();
    page.title(&format!("Mark sheet: {}", marks.name));
    if marks.command != marks.name {
        page.labelled(0, "command", &marks.command);
    }
    page.labelled(0, "declares", &marks.contract);
    if let Some(mechanism) = &marks.mechanism {
        page.labelled(0, "built as", mechanism);
    }
    if let Some(reason) = &marks.not_run {
        page.labelled(0, "not run", reason);
        return page.0;
    }
    page.labelled(0, "verdicts", &marks.tally);
    page.heading("What does not work, the most important first");
    if marks.faults.is_empty() {
        page.line("  Nothing was found.");
    }
    for (number, fault) in marks.faults.iter().enumerate() {
        page.fault(number + 1, fault);
    }
    if !marks.works.is_empty() {
        page.heading("What works, in how many cases");
    }
    for topic in &marks.works {
        let all = if topic.works == topic.of { "" } else { "  in part" };
        let count = format!("{:>2} of {:>2}{all}", topic.works, topic.of);
        page.line(&format!("  {:58} {count}", topic.topic));
    }
    page.notes(&marks);
    page.groups("Could not be found out", &marks.undecided);
    page.groups("Does not apply", &marks.not_applicable);
    page.0.trim_end().to_owned()
}

/// Formats the comparison table of several servers.
pub fn class(servers: &[&ServerResult]) -> String {
    let rows: Vec<Row> = servers.iter().map(|server| Row::of(server)).collect();
    let width = |of: fn(&Row) -> &str, title: &str| {
        let widths = rows.iter().map(|row| of(row).chars().count());
        widths.chain([title.len()]).max().unwrap_or(0).min(NAME)
    };
    let name = width(|row| &row.name, "server");
    let built = width(|row| row.mechanism.as_deref().unwrap_or(""), "built as");
    let fails = rows.iter().map(|row| row.fails_words().len()).chain([5]).max().unwrap_or(5);
    let mut page = Page::default();
    page.title("Class");
    let mut row = |cells: [&str; 7], first: Option<&str>| {
        let [server, works, loose, failed, undecided, took, mechanism] = cells;
        let line = format!(
            "{server:name$}  {works:>5}  {loose:>5}  {failed:>fails$}  {undecided:>9}  {took:>8}  {mechanism:built$}"
        );
        page.line(line.trim_end());
        if let Some(first) = first {
            page.wrapped("    first fault: ", 8, first);
        }
    };
    row(["server", "works", "loose", "fails", "undecided", "took", "built as"], None);
    for one in &rows {
        let [works, loose, undecided] =
            [one.works, one.loose, one.undecided].map(|count| count.to_string());
        let mechanism = cut(one.mechanism.as_deref().unwrap_or(""), built);
        let (server, fails, took) = (cut(&one.name, name), one.fails_words(), one.took_words());
        row([&server, &works, &loose, &fails, &undecided, &took, &mechanism], Some(&one.first));
    }
    page.0.trim_end().to_owned()
}

fn cut(words: &str, width: usize) -> String {
    if words.chars().count() <= width {
        return words.to_owned();
    }
    words.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, words: &str) {
        self.0 += words;
        self.0.push('\n');
    }

    fn title(&mut self, words: &str) {
        let words = cut(words, WIDTH);
        self.line(&format!("\n{words}\n{}", "=".repeat(words.chars().count())));
    }

    fn heading(&mut self, words: &str) {
        if !self.0.ends_with("\n\n") {
            self.line("");
        }
        self.line(&format!("{words}\n{}", "-".repeat(words.chars().count())));
    }

    /// Appends a label and its text, wrapped with a hanging indent.
    fn labelled(&mut self, indent: usize, label: &str, words: &str) {
        let begin = format!("{:indent$}{label:9} ", "");
        self.wrapped(&begin, indent + 10, words);
    }

    fn wrapped(&mut self, begin: &str, indent: usize, words: &str) {
        let mut line = begin.to_owned();
        let mut room = WIDTH.saturating_sub(begin.chars().count());
        let mut is_first = true;
        for word in words.split(' ') {
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
        self.labelled(4, "weight", fault.importance.words());
        for line in &fault.evidence {
            self.labelled(4, line.label, &line.words);
        }
        self.labelled(4, "cause?", &fault.cause);
        self.line(&format!("    {:9} {}", "again", plain(&fault.again)));
        let named = fault.cases[..fault.cases.len().min(NAMED)].join(" ");
        let more = fault.cases.len().saturating_sub(NAMED);
        let more = (more > 0).then(|| format!(" and {more} cases more"));
        self.labelled(4, "shows in", &(named + &more.unwrap_or_default()));
        self.line("");
    }

    fn notes(&mut self, marks: &Grading) {
        if !marks.notes.is_empty() {
            self.heading("Also seen");
        }
        for note in &marks.notes {
            self.wrapped(&format!("  {}: ", note.case), 4, &note.words);
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
