//! The evidence of one result, for a page without its script.

use maud::{Markup, html};

use crate::results::{CaseResult, Event, Kind, format_changes};

/// Number of events shown at the beginning and at the end of a transcript.
const MAX_EVENTS: usize = 12;

pub(super) fn evidence(result: &CaseResult) -> Markup {
    html! {
        dl {
            dt { "required" } dd { (result.requirement) }
            @if let Some(known) = &result.known_failure && result.kind() == Kind::Known {
                dt { "known failure" } dd { (known.text()) }
            }
            @if result.expected != result.requirement { dt { "expected" } dd { (result.expected) } }
            dt { "observed" } dd { (result.observed_with_causes()) }
            @if let Some(hint) = &result.hint { dt { "hint" } dd { (hint) } }
            @if let Some(changes) = format_changes(&result.resources) { dt { "resources" } dd { (changes) } }
            @if let Some(exit) = result.exit { dt { "exit" } dd { "the server exited: " (exit.to_string()) } }
            @if !result.survivors.is_empty() {
                dt { "survivors" }
                dd { "killed by the harness: " @for it in &result.survivors { (it.name) " (" (it.pid) ") " } }
            }
            dt { "reproduce" } dd { code { (result.reproduce) } }
        }
        (transcript(&result.transcript))
        @if !result.log.is_empty() { p { "Last output of the server:" } pre { (result.log) } }
    }
}

fn transcript(events: &[Event]) -> Markup {
    let (first, last) = if events.len() <= 2 * MAX_EVENTS {
        (events, Default::default())
    } else {
        (&events[..MAX_EVENTS], &events[events.len() - MAX_EVENTS..])
    };
    let omitted = events.len() - first.len() - last.len();
    html! {
        @if !events.is_empty() {
            table.wire {
                @for event in first { (row(event)) }
                @if omitted > 0 { tr { td {} td {} td { "… " (omitted) " more events, in report.json …" } } }
                @for event in last { (row(event)) }
            }
        }
    }
}

fn row(event: &Event) -> Markup {
    html! {
        tr {
            td { (format!("{:.3} ms", event.at_us as f64 / 1e3)) }
            td { @if event.client > 0 { "client " (event.client) } @else { "server" } }
            td { code { (event.kind) } }
        }
    }
}
