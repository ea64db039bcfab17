//! Evidence of a fault in at most four lines: the data sent, received and expected, and the first
//! different byte, or the exit of the server.

use serde::Serialize;

use super::{descriptions, rank};

pub(super) use crate::report::markup::plain;
use crate::results::{CaseResult, Difference, Event, EventKind, Exit, Fault, Stimulus};
use crate::text::{OutputEnd, exit_message, output_end, printable};

/// A line of evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Label: `sent`, `action`, `received`, `expected`, `difference`, `output` or `exited`.
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

/// Returns the evidence of a failed case, in at most four lines.
pub(super) fn of(result: &CaseResult) -> Vec<Line> {
    let line = |label, text: &str| Line { label, text: short(text, MAX_LINE_LENGTH) };
    if result.fault.is_launch() {
        let (observed, log) = match &result.quoted {
            Some(quoted) => (&quoted.observed, quoted.output.as_str()),
            None => (&result.observed, ""),
        };
        let output = output_end(log).map(|end| line("output", end.text()));
        return [
            Some(line("received", observed)),
            output,
            Some(line("expected", &result.expected)),
        ]
        .into_iter()
        .flatten()
        .collect();
    }
    if let Some(provoked) = &result.provoked {
        let sent = sent(&provoked.transcript);
        let exited = line("exited", &exited(provoked.exit, exit_message(&provoked.log, &[])));
        return sent.into_iter().chain([line("expected", &result.expected), exited]).collect();
    }
    let mut lines: Vec<Line> = stimulus(result).into_iter().collect();
    let Some(exit) = result.exit.filter(|_| exited_unexpectedly(result)) else {
        let output = result.logged_error.as_ref().map(|error| format!("; output: {error}"));
        let received = format!("{}{}", result.observed, connection_end(result));
        lines.push(Line {
            label: "received",
            text: short(&received, MAX_LINE_LENGTH)
                + &short(&output.unwrap_or_default(), MAX_LINE_LENGTH),
        });
        lines.push(line("expected", &result.expected));
        lines.extend(result.difference.as_ref().map(|it| line("difference", &difference(it))));
        return lines;
    };
    lines.push(match &result.client_observed {
        Some(observed) => line("received", observed),
        None => line("expected", &result.expected),
    });
    lines.push(line("exited", &exited(exit, exit_message_of(result))));
    lines
}

/// Returns the message in the server's output that most likely explains its exit.
pub(super) fn exit_message_of(result: &CaseResult) -> Option<OutputEnd> {
    exit_message(&result.log, descriptions::reason_of_an_exit(&result.name))
}

/// Formats an exit, with the error message or the last line of the output.
fn exited(exit: Exit, message: Option<OutputEnd>) -> String {
    match message {
        Some(OutputEnd::Error(error)) => format!("{exit}: {error}"),
        Some(OutputEnd::Line(line)) => format!("{exit}; last output: {line}"),
        None => exit.to_string(),
    }
}

/// Formats the first different byte, with the bytes around it.
fn difference(difference: &Difference) -> String {
    let side = |byte: Option<u8>, context: &str| match byte {
        Some(byte) => format!("{} (0x{byte:02x}) in {context}", printable(&[byte])),
        None => format!("the end of {context}"),
    };
    format!(
        "at byte {}: expected {}, received {}",
        difference.offset,
        side(difference.expected, &difference.expected_context),
        side(difference.received, &difference.received_context)
    )
}

/// Formats text as one line, truncated to the maximum length.
pub(super) fn line(text: &str) -> String {
    short(text, MAX_LINE_LENGTH)
}

/// Returns whether the fault is an unexpected exit of the server.
pub(super) fn exited_unexpectedly(result: &CaseResult) -> bool {
    rank::fault(result) == Fault::Exits && result.exit.is_some()
}

/// Returns what made the server fail: the recorded stimulus, or else the last one before its exit.
fn stimulus(result: &CaseResult) -> Option<Line> {
    let line = |label, text: &str| Some(Line { label, text: short(text, MAX_LINE_LENGTH) });
    match &result.stimulus {
        Some(Stimulus::Sent(data)) => line("sent", &short(&abbreviated(data), MAX_LINE_LENGTH)),
        Some(Stimulus::Action(action)) => line("action", action),
        None => {
            let exit = result.transcript.iter().position(is_exit);
            let end = exit.filter(|_| exited_unexpectedly(result));
            sent(&result.transcript[..end.unwrap_or(result.transcript.len())])
        }
    }
}

/// Returns the last stimulus: the last writes, FIN or RST of one client, or the last action of the
/// harness on the server.
fn sent(events: &[Event]) -> Option<Line> {
    let action = events.iter().rposition(is_action);
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

fn is_action(event: &Event) -> bool {
    matches!(event.kind, EventKind::Action { .. })
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
