//! Evidence of a fault in at most three lines: the data sent, received and expected, or the exit of
//! the server.

use serde::Serialize;

use super::rank::failed_to_launch;
pub(super) use crate::report::markup::plain;
use crate::results::{CaseResult, Event, EventKind, State};

/// A line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Label: `sent`, `action`, `received`, `expected`, `output` or `exited`.
    pub label: &'static str,
    /// Text of the line.
    pub text: String,
}

/// Maximum length of a line, in characters.
const MAX_LINE_LENGTH: usize = 200;

/// Maximum length of one write in the line of sent data, in characters.
const MAX_WRITE_LENGTH: usize = 96;

/// Maximum number of writes in the line of sent data.
const MAX_WRITES: usize = 6;

/// Maximum length of a run of equal characters; longer runs are abbreviated.
const MAX_REPEATS: usize = 8;

/// Words that mark a log line as an error message, in lower case.
const ERROR_WORDS: &[&str] =
    &["error", "exception", "panic", "fault", "abort", "assert", "terminate", "overflow", "fatal"];

/// Prefixes of lines after the error message, in the logs of Rust, Node.js, Java and Go.
const TRAILER_PREFIXES: &[&str] = &["note:", "at ", "node.js v", "goroutine ", "exit status "];

/// Returns the evidence of a failed case, in at most three lines.
pub(super) fn of(result: &CaseResult) -> Vec<Line> {
    let line = |label, text: &str| Line { label, text: short(text, MAX_LINE_LENGTH) };
    if failed_to_launch(result) {
        let (observed, log) = match &result.quoted {
            Some(quoted) => (&quoted.observed, quoted.output.as_str()),
            None => (&result.observed, ""),
        };
        let output = last_error(log).map(|error| line("output", &error));
        return [
            Some(line("received", observed)),
            output,
            Some(line("expected", &result.expected)),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    let mut lines: Vec<Line> = sent(result).into_iter().collect();
    let Some(exit) = result.exit.filter(|_| exited_unexpectedly(result)) else {
        let output = error_before_timeout(result).map(|error| format!("; output: {error}"));
        let received = format!("{}{}", result.observed, connection_end(result));
        lines.push(Line {
            label: "received",
            text: short(&received, MAX_LINE_LENGTH)
                + &short(&output.unwrap_or_default(), MAX_LINE_LENGTH),
        });
        lines.push(line("expected", &result.expected));
        return lines;
    };
    lines.push(match &result.client_observed {
        Some(observed) => line("received", observed),
        None => line("expected", &result.expected),
    });
    let error = last_error(&result.log).map_or(String::new(), |error| format!(": {error}"));
    lines.push(line("exited", &format!("{exit}{error}")));
    lines
}

/// Formats text as one line, truncated to the maximum length.
pub(super) fn line(text: &str) -> String {
    short(text, MAX_LINE_LENGTH)
}

/// Returns whether the fault is an unexpected exit of the server.
pub(super) fn exited_unexpectedly(result: &CaseResult) -> bool {
    result.state == State::Crash && result.exit.is_some()
}

/// Returns the last error message of a log, or its last line if there is no error message.
pub(super) fn last_error(log: &str) -> Option<String> {
    let lines: Vec<&str> = log.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let is_error = |line: &&str| {
        let line = line.to_lowercase();
        !TRAILER_PREFIXES.iter().any(|prefix| line.starts_with(prefix))
            && ERROR_WORDS.iter().any(|word| line.contains(word))
    };
    let Some(index) = lines.iter().rposition(is_error) else {
        return lines.last().map(|line| plain(line));
    };
    // Rust prints the location of a panic in one line, and its message in the next.
    let next = lines.get(index + 1).filter(|_| lines[index].contains("panicked at"));
    let error = next.map_or(lines[index].to_owned(), |next| format!("{} {next}", lines[index]));
    Some(plain(&error))
}

/// Returns the error message of the log, if the server hung and wrote output before the client
/// timed out. The error is probably the cause of the hang. Output after the timeout would concern
/// the disconnect of the client.
pub(super) fn error_before_timeout(result: &CaseResult) -> Option<String> {
    let last = result.transcript.iter().rev().find(|event| event.client > 0)?;
    let is_earlier_output = |event: &Event| event.kind.is_output() && event.at_us < last.at_us;
    let is_error = |line: &String| {
        let line = line.to_lowercase();
        ERROR_WORDS.iter().any(|word| line.contains(word))
    };
    let has_output = result.state == State::Hang && result.transcript.iter().any(is_earlier_output);
    has_output.then(|| last_error(&result.log))?.filter(is_error)
}

/// Returns the last stimulus: the last writes, FIN or RST of one client, or the last action of the
/// harness on the server.
fn sent(result: &CaseResult) -> Option<Line> {
    let exit = result.transcript.iter().position(is_exit);
    let end = exit.filter(|_| exited_unexpectedly(result)).unwrap_or(result.transcript.len());
    let events = &result.transcript[..end];
    let action = events.iter().rposition(|event| event.client == 0 && !event.kind.is_output());
    let sent = events.iter().rposition(is_sent);
    let line = |label, text: String| Some(Line { label, text: short(&text, MAX_LINE_LENGTH) });
    match (action, sent) {
        (Some(action), None) => line("action", events[action].kind.to_string()),
        (Some(action), Some(sent)) if action > sent => {
            line("action", events[action].kind.to_string())
        }
        (_, Some(_)) => {
            let client = relevant_client(events)?;
            let events: Vec<&Event> =
                events.iter().filter(|event| event.client == client).collect();
            let end = events.iter().rposition(|event| is_sent(event))? + 1;
            let begin =
                events[..end].iter().rposition(|event| !is_sent(event)).map_or(0, |at| at + 1);
            let writes = events[begin..end].iter().map(|event| format_write(&event.kind)).collect();
            line("sent", format_writes(client, writes))
        }
        (None, None) => None,
    }
}

fn is_exit(event: &Event) -> bool {
    matches!(event.kind, EventKind::Exited { .. })
}

fn is_sent(event: &Event) -> bool {
    event.client > 0 && event.kind.is_sent()
}

/// Returns the client with the last event, if that client sent data. Otherwise returns the last
/// client that sent data.
fn relevant_client(events: &[Event]) -> Option<usize> {
    let has_sent = |client| events.iter().any(|event| event.client == client && is_sent(event));
    let last = events.iter().rev().find(|event| event.client > 0)?.client;
    let last_sender = || events.iter().rev().find(|event| is_sent(event)).map(|it| it.client);
    if has_sent(last) { Some(last) } else { last_sender() }
}

fn format_write(kind: &EventKind) -> String {
    match kind {
        EventKind::Sent { data } => short(&abbreviated(data), MAX_WRITE_LENGTH),
        EventKind::SentFin => "FIN".to_owned(),
        EventKind::SentReset => "RST".to_owned(),
        other => other.to_string(),
    }
}

/// Joins the last writes of a client, with the client's number unless it is 1.
fn format_writes(client: usize, writes: Vec<String>) -> String {
    let prefix = if client > 1 { format!("client {client}: ") } else { String::new() };
    // FIN and RST are not quoted, and do not count as writes.
    let count = writes.iter().filter(|write| write.starts_with('"')).count();
    let omitted = if writes.len() > MAX_WRITES { "… " } else { "" };
    let shown = writes[writes.len().saturating_sub(MAX_WRITES)..].join(" ");
    let count = if count > 1 { format!(" ({count} writes)") } else { String::new() };
    format!("{prefix}{omitted}{shown}{count}")
}

/// Returns how the connection ended (FIN or RST), unless the observation includes it.
fn connection_end(result: &CaseResult) -> &'static str {
    let last = result.transcript.iter().rev().find(|event| event.client > 0);
    match last.filter(|_| !result.observes_connection_end).map(|event| &event.kind) {
        Some(EventKind::ReceivedFin) => ", then FIN",
        Some(EventKind::ReceivedReset) => ", then RST",
        _ => "",
    }
}

/// Abbreviates long runs of equal characters.
fn abbreviated(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut abbreviated = String::new();
    for run in letters.chunk_by(|one, other| one == other) {
        let kept = if run.len() > MAX_REPEATS { 3 } else { run.len() };
        abbreviated.extend(&run[..kept]);
        abbreviated.push_str(if run.len() > MAX_REPEATS { "…" } else { "" });
    }
    abbreviated.replace("……", "…")
}

/// Truncates text to `max_length` characters, with `…` for the omitted part. Keeps a byte count at
/// the end.
fn short(text: &str, max_length: usize) -> String {
    let text = abbreviated(&plain(text));
    if text.chars().count() <= max_length {
        return text;
    }
    let byte_count = text.rfind("\" (").filter(|_| text.ends_with(" bytes)"));
    let end = byte_count.map_or("", |at| &text[at..]);
    let kept = max_length.saturating_sub(end.chars().count() + 1);
    let begin: String = text.chars().take(kept).collect();
    format!("{}…{end}", begin.trim_end_matches('…'))
}
