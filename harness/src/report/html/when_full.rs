//! What happens to a connection over the limit, by behaviour.

use maud::{Markup, html};

use super::address::{result_link, server_link};
use super::summary::glyph;
use crate::figures::time;
use crate::results::{CaseResult, Overload, OverloadOutcome, Report, ServerResult};

/// Servers with the same behaviour; the observation and the case that made it, if any.
type Group<'r> = Vec<(&'r ServerResult, Option<(&'r Overload, &'r CaseResult)>)>;

pub(super) fn section(report: &Report) -> Markup {
    let groups: Vec<(OverloadOutcome, Group<'_>)> = OverloadOutcome::ALL
        .iter()
        .map(|&outcome| (outcome, group(report, outcome)))
        .filter(|(_, group)| !group.is_empty())
        .collect();
    html! {
        section id="when-full" {
            h2 { "When a server is full" }
            @if groups.is_empty() { p { "No server declares a connection limit, and no case observed one." } }
            @else {
                p.legend { "What a client meets whose connection is over the limit of the server, from the call of connect. The times are one observation for each server, with the low limit of the tests." }
                div.scroll role="region" aria-label="Behaviour when full" tabindex="0" {
                    table.plain {
                        thead { tr { th scope="col" { "behaviour" } th scope="col" { "servers" } th scope="col" { "known after: median (range)" } th scope="col" { "the client receives" } th scope="col" { "which" } } }
                        tbody { @for (outcome, group) in &groups { (row(*outcome, group)) } }
                    }
                }
            }
        }
    }
}

fn group(report: &Report, outcome: OverloadOutcome) -> Group<'_> {
    let is_met = |server: &&ServerResult| server.overload_outcome() == Some(outcome);
    let servers = report.servers_run().into_iter().filter(is_met);
    servers.map(|server| (server, server.overload())).collect()
}

fn row(outcome: OverloadOutcome, group: &Group<'_>) -> Markup {
    let overloads: Vec<&Overload> =
        group.iter().filter_map(|(_, it)| Some(it.as_ref()?.0)).collect();
    let mut lines: Vec<&str> = overloads.iter().filter_map(|it| it.line.as_deref()).collect();
    lines.sort_unstable();
    lines.dedup();
    html! {
        tr {
            th scope="row" { (glyph(outcome)) " " (outcome.name()) }
            td.number { (group.len()) }
            td.times { (times(outcome, &overloads)) }
            td {
                @for (index, line) in lines.iter().take(3).enumerate() { @if index > 0 { br; } code { (line) } }
                @if lines.is_empty() { (received(outcome)) }
            }
            td.which {
                @for (index, (server, observation)) in group.iter().enumerate() {
                    @if index > 0 { ", " }
                    @match observation {
                        Some((_, case)) => a href=(result_link(&server.name, &case.name)) { (server.name) },
                        None => { a href=(server_link(&server.name)) { (server.name) } " (declared, not observed)" },
                    }
                }
            }
        }
    }
}

fn times(outcome: OverloadOutcome, overloads: &[&Overload]) -> String {
    let times: Vec<f64> = overloads.iter().map(|it| it.after_us as f64 * 1e3).collect();
    let (Some(low), Some(high)) =
        (times.iter().copied().reduce(f64::min), times.iter().copied().reduce(f64::max))
    else {
        return "–".to_owned();
    };
    let shown = |ns: f64| time(ns.round() as u64);
    match outcome {
        OverloadOutcome::Waits | OverloadOutcome::TimesOut => {
            format!("nothing within {}", shown(low))
        }
        _ if times.len() == 1 => shown(low),
        _ => {
            let mut sorted = times.clone();
            sorted.sort_by(f64::total_cmp);
            let middle = f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
            format!("{} ({} to {})", shown(middle), shown(low), shown(high))
        }
    }
}

fn received(outcome: OverloadOutcome) -> &'static str {
    match outcome {
        OverloadOutcome::Waits => "nothing, until a connection slot is free",
        OverloadOutcome::Refused => "ECONNREFUSED from connect",
        OverloadOutcome::Reset => "ECONNRESET",
        OverloadOutcome::Closed => "an end of file",
        OverloadOutcome::TimesOut => "nothing: connect does not return",
        _ => "",
    }
}
