//! Verdicts as lines for a terminal.

use super::ServerReport;
use crate::conformance::{Judgement, Kind, Known, held};
use crate::server::last_lines;

/// A server that could not be run here, in a line.
pub fn not_run(server: &ServerReport) -> Option<String> {
    Some(format!("{}: not run: {}", server.name, server.not_run.as_ref()?))
}

/// A judgement in a line; one that needs a look in some lines more, unless nothing was run.
pub fn line(server: &str, judgement: &Judgement) -> String {
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

/// A judgement that needs a look, with its evidence in short.
pub fn failure(server: &str, judgement: &Judgement) -> String {
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
