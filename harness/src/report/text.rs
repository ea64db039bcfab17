//! Case results and measurements as text for a terminal.

use std::fmt;

use crate::figures::{count, counted, rate, time, time_or_dash};
use crate::results::{
    CaseResult, Kind, KnownFailure, LocalErrors, Measurement, Outcome, Outcomes, Reconnects,
    ServerResult, ValidityLabel, format_changes,
};
use crate::server::last_lines;
use crate::stats::Quantiles;

/// Formats the reason why a server could not run, in one line. `None` if the server could run.
pub fn not_run_line(server: &ServerResult) -> Option<String> {
    Some(format!("{}: not run: {}", server.name, server.not_run.as_ref()?))
}

/// Text of a case result: its label, and what follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseText {
    /// The verdict and state in a few words, see [`CaseResult::label`].
    pub label: String,
    /// The rest of the text.
    pub rest: String,
}

impl fmt::Display for CaseText {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}{}", self.label, self.rest)
    }
}

/// Formats a case result in one line, or in several if the case failed or is inconclusive. An
/// inconclusive case without a transcript has one line.
pub fn case_text(server: &str, result: &CaseResult) -> CaseText {
    let (label, name) = (result.label(), &result.name);
    let space = " ".repeat(4_usize.saturating_sub(label.len()) + 1);
    if result.kind() == Kind::Inconclusive && result.transcript.is_empty() {
        let rest = format!(" {name}: {}", result.observed_with_causes());
        return CaseText { label, rest };
    }
    if !result.is_fine() {
        return failure_text(server, result);
    }
    let rest = match result.observed.as_str() {
        observed if result.kind() == Kind::Known => {
            let known = result.known_failure.as_ref().map(KnownFailure::text).unwrap_or_default();
            format!(" {server} {name}: {observed}\n    known    : {known}")
        }
        "as required" => format!("{space}{name}"),
        observed => format!("{space}{name}: {observed}"),
    };
    CaseText { label, rest }
}

/// Formats a failed, inconclusive or stale case result, with a summary of its evidence.
pub fn failure_text(server: &str, result: &CaseResult) -> CaseText {
    let mut rows = vec![
        ("required", result.requirement.to_owned()),
        ("expected", result.expected.clone()),
        ("observed", result.observed_with_causes()),
    ];
    rows.extend(result.hint.clone().map(|hint| ("hint", hint)));
    let survivors: Vec<String> =
        result.survivors.iter().map(|it| format!("{} ({})", it.name, it.pid)).collect();
    if !survivors.is_empty() {
        rows.push(("survivors", survivors.join(", ")));
    }
    rows.extend(format_changes(&result.resources).map(|changes| ("resources", changes)));
    if !result.log.is_empty() {
        rows.push(("output", last_lines(&result.log)));
    }
    rows.push(("reproduce", result.reproduce.clone()));
    let mut rest = format!(" {server} {}", result.name);
    for (label, text) in rows {
        let text = text.replace('\n', &format!("\n{:15}", ""));
        rest += &format!("\n    {label:9}: {text}");
    }
    CaseText { label: result.label(), rest }
}

/// Formats a measurement in one line, to print after the name of the server.
pub fn measurement_line(measurement: &Measurement) -> String {
    let latency = &measurement.latency_intended_ns;
    let [p50, p99] = [latency.p50, latency.p99].map(time_or_dash);
    let memory = measurement.idle_connections.as_ref().map(|idle| {
        format!(", {} bytes per connection", count(idle.memory_per_connection_bytes as f64))
    });
    let is_valid = measurement.validity.label == ValidityLabel::Valid;
    let caveats = measurement.validity.caveats.iter().filter(|_| is_valid);
    let caveats: String = caveats.map(|caveat| format!("; {}", caveat.text)).collect();
    let outages = measurement.reconnects.as_ref().map(|it| {
        format!(", {}, outage {}", counted(count(it.reconnected as f64), "reconnect"), outage(it))
    });
    let not_counted = &measurement.syscalls_not_counted;
    let not_counted =
        not_counted.as_ref().map(|reason| format!("; system calls not counted: {reason}"));
    format!(
        "{}: {}/s, p50 {p50}, p99 {p99}{}{} ({}{caveats}){}",
        measurement.workload,
        rate(measurement.throughput_per_s),
        memory.unwrap_or_default(),
        outages.unwrap_or_default(),
        measurement.validity.label.name(),
        not_counted.unwrap_or_default(),
    )
}

/// Formats a measurement in several lines, one per quantity.
pub fn measurement_text(measurement: &Measurement) -> String {
    let mut rows = vec![
        ("validity", validity(measurement)),
        (
            "requests",
            format!(
                "{} correct replies/s; {}",
                rate(measurement.throughput_per_s),
                counts(&measurement.outcomes)
            ),
        ),
        ("measured", measured_duration(measurement)),
        (
            "connections",
            format!(
                "{} planned: {}{}",
                measurement.clients,
                counts(&measurement.connections),
                local_errors(&measurement.local_errors)
            ),
        ),
    ];
    if let Some(offered) = measurement.offered_per_s {
        rows.push(("offered", format!("{} requests/s", rate(offered))));
        rows.push((
            "latency",
            format!("{} (from the scheduled time)", quantiles(&measurement.latency_intended_ns)),
        ));
        rows.push((
            "",
            format!("{} (from the send time)", quantiles(&measurement.latency_sent_ns)),
        ));
    } else {
        rows.push(("latency", quantiles(&measurement.latency_sent_ns)));
    }
    if let Some(interval) = &measurement.p99_interval_ns {
        let [low, high] = [interval.low, interval.high].map(time);
        rows.push(("", format!("p99 between {low} and {high} (95 % confidence)")));
    }
    if measurement.offered_per_s.is_some() {
        rows.push(("lateness", quantiles(&measurement.send_lateness_ns)));
    }
    for (outcome, times) in &measurement.failures_ns {
        rows.push(("failed after", format!("{}: {}", outcome.label(), quantiles(times))));
    }
    if let Some(reconnects) = &measurement.reconnects {
        rows.push(("reconnects", reconnect_counts(reconnects)));
        rows.push(("outage", format!("{} (from the close to the next reply)", outage(reconnects))));
    }
    rows.push(("connect", quantiles(&measurement.connect_ns)));
    rows.push((
        "generator",
        format!(
            "{} of CPU time per request, {:.0} % busy; {}",
            time_or_dash(measurement.generator_cpu_ns_per_request),
            measurement.generator_cpu_share * 100.0,
            measurement.placement
        ),
    ));
    rows.into_iter().map(|(label, text)| format!("{label:12} {text}\n")).collect()
}

/// Formats the connections that have no outcome of the server, with the reasons.
fn local_errors(errors: &LocalErrors) -> String {
    errors
        .iter()
        .map(|(error, number)| format!(", {} not open ({})", count(number as f64), error.label()))
        .collect()
}

fn reconnect_counts(reconnects: &Reconnects) -> String {
    let Reconnects { reconnected, failed_attempts, down_at_end, .. } = reconnects;
    let failed = counted(count(*failed_attempts as f64), "failed attempt");
    let down = counted(count(*down_at_end as f64), "connection");
    format!("{}; {failed}; {down} down at the end", count(*reconnected as f64))
}

/// Formats the length of the outages.
fn outage(reconnects: &Reconnects) -> String {
    let Quantiles { p50, p99, max, .. } = reconnects.outage_ns;
    let [p50, p99, max] = [p50, p99, max].map(time_or_dash);
    format!("p50 {p50}, p99 {p99}, max {max}")
}

fn validity(measurement: &Measurement) -> String {
    let reasons = measurement.validity.text();
    let partial = if measurement.partial { " (interrupted: partial)" } else { "" };
    let name = measurement.validity.label.name();
    if reasons.is_empty() {
        format!("{name}{partial}")
    } else {
        format!("{name}{partial}: {reasons}")
    }
}

/// Formats the measured duration, with the planned duration if the run was shorter.
fn measured_duration(measurement: &Measurement) -> String {
    let seconds = |ms: u64| rate(ms as f64 / 1e3);
    let duration = seconds(measurement.duration_ms);
    if measurement.duration_ms < measurement.planned_ms {
        format!("{duration} of {} s", seconds(measurement.planned_ms))
    } else {
        format!("{duration} s")
    }
}

fn quantiles(times: &Quantiles) -> String {
    let Quantiles { p50, p90, p99, p999, max, .. } = *times;
    let [p50, p90, p99, p999, max] = [p50, p90, p99, p999, max].map(time_or_dash);
    format!("p50 {p50}, p90 {p90}, p99 {p99}, p99.9 {p999}, max {max}")
}

/// Formats the counts of all outcomes that occurred.
fn counts(outcomes: &Outcomes) -> String {
    let counts: Vec<String> = Outcome::ALL
        .iter()
        .filter(|&&outcome| outcomes.get(outcome) > 0)
        .map(|&outcome| format!("{} {}", count(outcomes.get(outcome) as f64), outcome.label()))
        .collect();
    if counts.is_empty() { "none".to_owned() } else { counts.join(", ") }
}
