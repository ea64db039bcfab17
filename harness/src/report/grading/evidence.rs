//! Evidence of a fault in at most three lines: sent, received and expected data, or the server's
//! exit.

use serde::Serialize;

use super::rank::never_ran;
use crate::client::{Event, EventKind};
use crate::conformance::{CaseResult, State};

/// A line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Label: `sent`, `done`, `came`, `wanted`, `wrote` or `ended`.
    pub label: &'static str,
    /// Text of the line.
    pub words: String,
}

/// Maximum length of a line, in characters.
const LONG: usize = 200;

/// Maximum length of one write in the line of sent data, in characters.
const PIECE: usize = 96;

/// Maximum number of writes in the line of sent data.
const PIECES: usize = 6;

/// Length of the longest run of equal characters that is not abbreviated.
const RUN: usize = 8;

/// Words that mark a log line as an error message, in lower case.
const TELLING: &[&str] =
    &["error", "exception", "panic", "fault", "abort", "assert", "terminate", "overflow", "fatal"];

/// Prefixes of lines after the error message, in the logs of Rust, Node.js, Java and Go.
const TRAILING: &[&str] = &["note:", "at ", "node.js v", "goroutine ", "exit status "];

/// Returns the evidence of a failed case, in at most three lines.
pub(super) fn of(judgement: &CaseResult) -> Vec<Line> {
    let line = |label, words: &str| Line { label, words: short(words, LONG) };
    if never_ran(judgement) {
        let (ended, log) = match &judgement.quoted {
            Some(quoted) => (&quoted.seen, quoted.output.as_str()),
            None => (&judgement.observed, ""),
        };
        let wrote = last_words(log).map(|words| line("wrote", &words));
        return [Some(line("came", ended)), wrote, Some(line("wanted", &judgement.expected))]
            .into_iter()
            .flatten()
            .collect();
    }
    let mut lines: Vec<Line> = sent(judgement).into_iter().collect();
    let Some(exit) = judgement.exit.filter(|_| died(judgement)) else {
        let stuck = stuck_with(judgement).map(|words| format!("; the server wrote: {words}"));
        let came = format!("{}{}", judgement.observed, ending(judgement));
        lines.push(Line {
            label: "came",
            words: short(&came, LONG) + &short(&stuck.unwrap_or_default(), LONG),
        });
        lines.push(line("wanted", &judgement.expected));
        return lines;
    };
    lines.push(match &judgement.client_saw {
        Some(saw) => line("came", saw),
        None => line("wanted", &judgement.expected),
    });
    let last = last_words(&judgement.log).map_or(String::new(), |words| format!(": {words}"));
    lines.push(line("ended", &format!("{exit}{last}")));
    lines
}

/// Formats text as one line, truncated to the maximum length.
pub(super) fn line(words: &str) -> String {
    short(words, LONG)
}

/// Returns whether the fault is an unexpected exit of the server.
pub(super) fn died(judgement: &CaseResult) -> bool {
    judgement.state == State::Crash && judgement.exit.is_some()
}

/// Returns the last error message of a log, or its last line if there is no error message.
pub(super) fn last_words(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let tells = |line: &&str| {
        let line = line.to_lowercase();
        !TRAILING.iter().any(|begin| line.starts_with(begin))
            && TELLING.iter().any(|word| line.contains(word))
    };
    let Some(place) = lines.iter().rposition(tells) else {
        return lines.last().map(|line| plain(line));
    };
    // Rust prints the location of a panic in one line, and its message in the next.
    let next = lines.get(place + 1).filter(|_| lines[place].contains("panicked at"));
    let words = next.map_or(lines[place].to_owned(), |next| format!("{} {next}", lines[place]));
    Some(plain(&words))
}

/// Returns an error message that the server logged before the client timed out. It is probably the
/// cause. Later output concerns the disconnect of the client.
pub(super) fn stuck_with(judgement: &CaseResult) -> Option<String> {
    let last = judgement.transcript.iter().rev().find(|event| event.client > 0)?;
    let wrote = |event: &Event| event.is_output() && event.at_us < last.at_us;
    let telling = |words: &String| {
        let words = words.to_lowercase();
        TELLING.iter().any(|word| words.contains(word))
    };
    let silent = judgement.state == State::Hang;
    let is_before = silent && judgement.transcript.iter().any(wrote);
    is_before.then(|| last_words(&judgement.log))?.filter(telling)
}

/// Returns the last stimulus: the last writes, FIN or RST of one client, or the last action of the
/// harness on the server.
fn sent(judgement: &CaseResult) -> Option<Line> {
    let death = judgement.transcript.iter().position(is_death);
    let end = death.filter(|_| died(judgement)).unwrap_or(judgement.transcript.len());
    let events = &judgement.transcript[..end];
    let did = events.iter().rposition(|event| event.client == 0 && !event.is_output());
    let from = events.iter().rposition(is_sent);
    let line = |label, words: String| Some(Line { label, words: short(&words, LONG) });
    match (did, from) {
        (Some(did), None) => line("done", events[did].what.clone()),
        (Some(did), Some(from)) if did > from => line("done", events[did].what.clone()),
        (_, Some(_)) => {
            let client = focus(events)?;
            let own: Vec<&Event> = events.iter().filter(|event| event.client == client).collect();
            let last = own.iter().rposition(|event| is_sent(event))? + 1;
            let first =
                own[..last].iter().rposition(|event| !is_sent(event)).map_or(0, |at| at + 1);
            let writes = own[first..last].iter().map(|event| piece(&event.what)).collect();
            line("sent", pieces(client, writes))
        }
        (None, None) => None,
    }
}

fn is_death(event: &Event) -> bool {
    event.kind == EventKind::Exited
}

fn is_sent(event: &Event) -> bool {
    event.client > 0 && event.kind == EventKind::Sent
}

/// Returns the client with the last event, if it sent something; otherwise the last sender.
fn focus(events: &[Event]) -> Option<usize> {
    let has_sent = |client| events.iter().any(|event| event.client == client && is_sent(event));
    let waited = events.iter().rev().find(|event| event.client > 0)?.client;
    let sent = || events.iter().rev().find(|event| is_sent(event)).map(|event| event.client);
    if has_sent(waited) { Some(waited) } else { sent() }
}

fn piece(what: &str) -> String {
    short(&squeezed(what.trim_start_matches("→ ")), PIECE)
}

fn pieces(client: usize, pieces: Vec<String>) -> String {
    let who = if client > 1 { format!("client {client}: ") } else { String::new() };
    let writes = pieces.iter().filter(|piece| piece.starts_with('"')).count();
    let cut = if pieces.len() > PIECES { "… " } else { "" };
    let shown = pieces[pieces.len().saturating_sub(PIECES)..].join(" ");
    let many = if writes > 1 { format!(" ({writes} writes)") } else { String::new() };
    format!("{who}{cut}{shown}{many}")
}

/// Returns the end of the connection, FIN or RST, unless the observation mentions it.
fn ending(judgement: &CaseResult) -> &'static str {
    let said = |word: &str| judgement.observed.contains(word);
    let client = judgement.transcript.iter().rev().find(|event| event.client > 0);
    match client.map(|event| event.what.as_str()) {
        Some("← FIN") if !said("closed") && !said("FIN") => ", then FIN",
        Some("← RST") if !said("reset") && !said("RST") => ", then RST",
        _ => "",
    }
}

/// Abbreviates long runs of equal characters.
fn squeezed(words: &str) -> String {
    let letters: Vec<char> = words.chars().collect();
    let mut squeezed = String::new();
    for run in letters.chunk_by(|one, other| one == other) {
        let kept = if run.len() > RUN { 3 } else { run.len() };
        squeezed.extend(&run[..kept]);
        squeezed.push_str(if run.len() > RUN { "…" } else { "" });
    }
    squeezed.replace("……", "…")
}

/// Truncates text to `room` characters, with `…` for the omitted part. A byte count at the end is
/// kept.
fn short(words: &str, room: usize) -> String {
    let words = squeezed(&plain(words));
    if words.chars().count() <= room {
        return words;
    }
    let size = words.rfind("\" (").filter(|_| words.ends_with(" bytes)"));
    let end = size.map_or("", |at| &words[at..]);
    let kept: String = words.chars().take(room.saturating_sub(end.chars().count() + 1)).collect();
    format!("{}…{end}", kept.trim_end_matches('…'))
}

/// Replaces line ends and tabs by spaces, and control, invisible and bidirectional formatting
/// characters by U+FFFD.
pub(super) fn plain(words: &str) -> String {
    let is_unseen = |letter: char| matches!(letter, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    words
        .chars()
        .map(|letter| match letter {
            '\n' | '\r' | '\t' => ' ',
            _ if letter.is_control() || is_unseen(letter) => char::REPLACEMENT_CHARACTER,
            _ => letter,
        })
        .collect()
}
