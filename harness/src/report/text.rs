//! Case results and measurements as text for a terminal.

use super::document::ServerResult;
use crate::conformance::{CaseResult, Kind, Known, held};
use crate::figures::{count, rate, time, time_or_dash};
use crate::load::{Measurement, Outcome, Outcomes, Verdict};
use crate::server::last_lines;
use crate::stats::Quantiles;

/// Formats a server that could not run on this machine, in one line. `None` if it could run.
pub fn not_run(server: &ServerResult) -> Option<String> {
    Some(format!("{}: not run: {}", server.name, server.not_run.as_ref()?))
}

/// Formats a case result in one line. A failure has several lines, unless nothing was exercised.
pub fn line(server: &str, judgement: &CaseResult) -> String {
    let (words, name) = (judgement.words(), judgement.name);
    if judgement.kind() == Kind::Undecided && judgement.transcript.is_empty() {
        return format!("{words} {name}: {}", judgement.observed);
    }
    if !judgement.is_fine() {
        return failure(server, judgement);
    }
    match judgement.observed.as_str() {
        observed if judgement.kind() == Kind::Known => {
            let known = judgement.known.as_ref().map(Known::words).unwrap_or_default();
            format!("{words} {server} {name}: {observed}\n    known    : {known}")
        }
        "as required" => format!("{words:4} {name}"),
        observed => format!("{words:4} {name}: {observed}"),
    }
}

/// Formats a failed, inconclusive or stale case result, with a summary of its evidence.
pub fn failure(server: &str, judgement: &CaseResult) -> String {
    let mut rows = vec![
        ("required", judgement.requirement.to_owned()),
        ("expected", judgement.expected.clone()),
        ("observed", judgement.observed.clone()),
    ];
    rows.extend(judgement.hint.clone().map(|hint| ("hint", hint)));
    let left: Vec<String> =
        judgement.survivors.iter().map(|one| format!("{} ({})", one.name, one.pid)).collect();
    if !left.is_empty() {
        rows.push(("left over", left.join(", ")));
    }
    rows.extend(held(&judgement.resources).map(|held| ("held", held)));
    if !judgement.log.is_empty() {
        rows.push(("it wrote", last_lines(&judgement.log)));
    }
    rows.push(("again", judgement.replay.clone()));
    let mut lines = format!("{} {server} {}", judgement.words(), judgement.name);
    for (label, words) in rows {
        let words = words.replace('\n', &format!("\n{:15}", ""));
        lines += &format!("\n    {label:9}: {words}");
    }
    lines
}

/// Formats a measurement in one line, to follow the name of the server.
pub fn brief(one: &Measurement) -> String {
    let latency = &one.latency_intended_ns;
    let [p50, p99] = [latency.p50, latency.p99].map(time_or_dash);
    let held = one.held.map(|held| format!(", {} bytes each", held.memory_per_connection_bytes));
    // For other verdicts, `measurement` prints the caveats.
    let valid = one.validity.verdict == Verdict::Valid;
    let caveats = one.validity.caveats.iter().filter(|_| valid);
    let caveats: String = caveats.map(|caveat| format!("; {}", caveat.words)).collect();
    let not_counted = &one.syscalls_not_counted;
    let not_counted = not_counted.as_ref().map(|why| format!("; system calls not counted: {why}"));
    format!(
        "{}: {}/s, p50 {p50}, p99 {p99}{} ({}{caveats}){}",
        one.workload,
        rate(one.throughput_per_s),
        held.unwrap_or_default(),
        one.validity.verdict.name(),
        not_counted.unwrap_or_default(),
    )
}

/// Formats a measurement in several lines, one per quantity.
pub fn measurement(one: &Measurement) -> String {
    let mut rows = vec![
        ("verdict", verdict(one)),
        (
            "requests",
            format!("{} right replies/s; {}", rate(one.throughput_per_s), counts(&one.outcomes)),
        ),
        ("measured", measured(one)),
        ("connections", format!("of {}: {}", one.clients, counts(&one.connections))),
    ];
    if let Some(offered) = one.offered_per_s {
        rows.push(("due", format!("{} requests/s", rate(offered))));
        rows.push(("latency", format!("{} (from when due)", quantiles(&one.latency_intended_ns))));
        rows.push(("", format!("{} (from when sent)", quantiles(&one.latency_sent_ns))));
    } else {
        rows.push(("latency", quantiles(&one.latency_sent_ns)));
    }
    if let Some(interval) = &one.p99_interval_ns {
        let [low, high] = [interval.low, interval.high].map(time);
        rows.push(("", format!("p99 between {low} and {high} (95 % confidence)")));
    }
    if one.offered_per_s.is_some() {
        rows.push(("sent late", quantiles(&one.send_lateness_ns)));
    }
    for (outcome, times) in &one.failures_ns {
        rows.push(("until", format!("{}: {}", outcome.replace('_', " "), quantiles(times))));
    }
    rows.push(("connecting", quantiles(&one.connect_ns)));
    rows.push((
        "generator",
        format!(
            "{} of processor time per request, {:.0} % busy; {}",
            time_or_dash(one.generator_cpu_ns_per_request),
            one.generator_cpu_share * 100.0,
            one.placement
        ),
    ));
    rows.into_iter().map(|(label, words)| format!("{label:12} {words}\n")).collect()
}

fn verdict(one: &Measurement) -> String {
    let reasons = one.validity.words();
    let partial = if one.partial { " (interrupted: partial)" } else { "" };
    let name = one.validity.verdict.name();
    if reasons.is_empty() {
        format!("{name}{partial}")
    } else {
        format!("{name}{partial}: {reasons}")
    }
}

/// Formats the recorded duration, with the planned duration if the run was shorter.
fn measured(one: &Measurement) -> String {
    let seconds = |ms: u64| rate(ms as f64 / 1e3);
    let took = seconds(one.duration_ms);
    if one.duration_ms < one.planned_ms {
        format!("{took} of {} s", seconds(one.planned_ms))
    } else {
        format!("{took} s")
    }
}

fn quantiles(of: &Quantiles) -> String {
    let [p50, p90, p99, p999, max] = [of.p50, of.p90, of.p99, of.p999, of.max].map(time_or_dash);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

/// Formats the counts of all outcomes that occurred.
fn counts(outcomes: &Outcomes) -> String {
    let words: Vec<String> = Outcome::ALL
        .iter()
        .filter(|&&outcome| outcomes.get(outcome) > 0)
        .map(|&outcome| format!("{} {}", count(outcomes.get(outcome) as f64), outcome.words()))
        .collect();
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
