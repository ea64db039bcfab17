//! The evidence of a fault in three lines: what was sent, what came, what should have come; or how
//! the server ended.

use serde::Serialize;

use super::rank::never_ran;
use crate::client::{Event, EventKind};
use crate::conformance::{CaseResult, State};

/// One line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// What it tells: `sent`, `came`, `wanted`, `ended`.
    pub label: &'static str,
    /// In words.
    pub words: String,
}

/// Letters of a line.
const LONG: usize = 200;

/// Letters of one piece of what was sent.
const PIECE: usize = 96;

/// Pieces of what was sent that are shown.
const PIECES: usize = 6;

/// Letters of a kind that are shown when many follow each other.
const RUN: usize = 8;

/// What a line of output has in it that tells why something went wrong.
const TELLING: &[&str] =
    &["error", "exception", "panic", "fault", "abort", "assert", "terminate", "overflow", "fatal"];

/// What lines begin with that come after the one that tells: of Rust, Node.js, Java, Go.
const TRAILING: &[&str] = &["note:", "at ", "node.js v", "goroutine ", "exit status "];

/// Three lines, or fewer.
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

/// Words in one line, shortened.
pub(super) fn line(words: &str) -> String {
    short(words, LONG)
}

/// Whether the fault is that the server ended.
pub(super) fn died(judgement: &CaseResult) -> bool {
    judgement.state == State::Crash && judgement.exit.is_some()
}

/// The last line that tells why something went wrong; without one, the last line.
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
    // Rust says where in one line, and what in the next.
    let next = lines.get(place + 1).filter(|_| lines[place].contains("panicked at"));
    let words = next.map_or(lines[place].to_owned(), |next| format!("{} {next}", lines[place]));
    Some(plain(&words))
}

/// What the server wrote of an error before the client gave up waiting: mostly why it waited in
/// vain. What it writes afterwards is about the client that has gone.
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

/// What was done last, to which an answer was due: writes, FIN and RST of one client, or what the
/// harness did to the server.
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

/// The client that waited last, if it had sent something; otherwise the one that sent last.
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

/// How the connection ended, where the words do not say it.
fn ending(judgement: &CaseResult) -> &'static str {
    let said = |word: &str| judgement.observed.contains(word);
    let client = judgement.transcript.iter().rev().find(|event| event.client > 0);
    match client.map(|event| event.what.as_str()) {
        Some("← FIN") if !said("closed") && !said("FIN") => ", then FIN",
        Some("← RST") if !said("reset") && !said("RST") => ", then RST",
        _ => "",
    }
}

/// The same letter again and again is shown a few times.
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

/// In plain letters, with `…` for what there is no room for. How many bytes a message had stays.
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

/// Without line ends, and without what a terminal or a reader's eye would be led astray by.
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
