//! The evidence of all results for the script of the page: JSON, compressed, in Base64.

use std::io::Write;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;

use super::address::server_id;
use super::matrix::class;
use crate::results::{CaseResult, Event, EventKind, Kind, Report, Sample, format_changes};

/// Maximum size of the encoded evidence in bytes, so that the page stays below 2 MB.
const MAX_SIZE: usize = 900_000;

/// Maximum number of events in all transcripts together.
const MAX_EVENTS: usize = 40_000;

/// Maximum number of samples of the resource usage of a result.
const MAX_SAMPLES: usize = 40;

/// The results of one server.
#[derive(Serialize)]
struct ServerEvidence<'r> {
    id: String,
    name: &'r str,
    results: Vec<ResultEvidence<'r>>,
}

/// One result. Empty fields are left out.
#[derive(Serialize)]
struct ResultEvidence<'r> {
    case: &'r str,
    /// Class of the verdict in the style sheet.
    class: &'static str,
    /// Whether the result needs attention.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    bad: bool,
    label: String,
    required: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<&'r str>,
    observed: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    known: Option<String>,
    reproduce: &'r str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<Lane>,
    #[serde(skip_serializing_if = "Option::is_none")]
    omitted: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<String>,
    #[serde(skip_serializing_if = "<[Sample]>::is_empty")]
    samples: &'r [Sample],
    #[serde(skip_serializing_if = "Option::is_none")]
    exit: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    survivors: Vec<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    log: &'r str,
}

/// An event of a transcript: time in microseconds, client (0 is the server), kind, text.
#[derive(Serialize)]
struct Lane(u64, usize, &'static str, String);

/// Encodes the evidence of all results. Long transcripts are shortened if the result would be too
/// large.
pub(super) fn encoded(report: &Report) -> String {
    let is_shown = |result: &&CaseResult| !result.found().is_fine();
    let transcripts = report.results().filter(is_shown).count().max(1);
    let mut max_events = MAX_EVENTS / transcripts;
    loop {
        let text = encoded_with(report, max_events);
        if text.len() <= MAX_SIZE || max_events == 0 {
            return text;
        }
        max_events /= 4;
    }
}

fn encoded_with(report: &Report, max_events: usize) -> String {
    let servers: Vec<ServerEvidence<'_>> = report
        .servers
        .iter()
        .map(|server| ServerEvidence {
            id: server_id(&server.name),
            name: &server.name,
            results: server.cases.iter().map(|result| evidence(result, max_events)).collect(),
        })
        .collect();
    let json = serde_json::to_vec(&servers).expect("evidence can always be serialized");
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&json).expect("writing to a Vec cannot fail");
    STANDARD.encode(encoder.finish().expect("writing to a Vec cannot fail"))
}

fn evidence(result: &CaseResult, max_events: usize) -> ResultEvidence<'_> {
    let is_passed = result.found().is_fine();
    let all = if is_passed { &[][..] } else { result.transcript.as_slice() };
    let half = max_events / 2;
    let is_long = all.len() > max_events;
    let (first, last) =
        if is_long { (&all[..half], &all[all.len() - half..]) } else { (all, &all[..0]) };
    let known = result.known_failure.as_ref().filter(|_| result.kind() == Kind::Known);
    ResultEvidence {
        case: &result.name,
        class: class(result.kind()),
        bad: !result.is_fine(),
        label: result.label(),
        required: &result.requirement,
        expected: Some(result.expected.as_str()).filter(|it| *it != result.requirement),
        observed: result.observed_with_causes(),
        hint: result.hint.as_deref(),
        known: known.map(|it| it.text()),
        reproduce: &result.reproduce,
        events: first.iter().chain(last).map(lane).collect(),
        omitted: is_long.then(|| all.len() - first.len() - last.len()),
        resources: format_changes(&result.resources).filter(|_| !is_passed),
        samples: if is_passed {
            &[]
        } else {
            &result.resources[..result.resources.len().min(MAX_SAMPLES)]
        },
        exit: result.exit.map(|exit| exit.to_string()),
        survivors: result.survivors.iter().map(|it| format!("{} ({})", it.name, it.pid)).collect(),
        log: if is_passed { "" } else { &result.log },
    }
}

fn lane(event: &Event) -> Lane {
    let kind = match event.kind {
        EventKind::Sent { .. } | EventKind::SentFin | EventKind::SentReset => "sent",
        EventKind::Received { .. } | EventKind::ReceivedFin | EventKind::ReceivedReset => {
            "received"
        }
        EventKind::Output { .. } | EventKind::Exited { .. } => "server",
        EventKind::ClientError { .. } => "error",
        EventKind::Connected { .. } | EventKind::Action { .. } | EventKind::Note { .. } => "note",
    };
    Lane(event.at_us, event.client, kind, event.kind.to_string())
}
