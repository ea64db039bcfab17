//! Data model of the grading report: strengths and faults of a server, grouped for its author.

use serde::Serialize;

use super::evidence::{self, Line, plain};
use super::rank::{self, Importance};
use super::words::{self, topic_of};
use crate::conformance::{CaseResult, Kind, Known, State};
use crate::report::document::{Report, ServerResult};
use crate::report::tally::Tally;

/// Grading report of one server.
#[derive(Clone, Debug, Serialize)]
pub struct Grading {
    /// Name of the server.
    pub name: String,
    /// Command line of the tested server.
    pub command: String,
    /// Description of the declared contract.
    pub contract: String,
    /// Detected concurrency model, if any.
    pub mechanism: Option<String>,
    /// Reason why the server could not run, if so.
    pub not_run: Option<String>,
    /// Description of the number of cases of each kind.
    pub tally: String,
    /// Topics with at least one passed case, in the order of the cases.
    pub works: Vec<Works>,
    /// Faults, most severe first.
    pub faults: Vec<Fault>,
    /// Notes on cases that passed loosely, were only observed, or concern known failures.
    pub notes: Vec<Note>,
    /// Inconclusive cases, grouped by reason.
    pub undecided: Vec<Group>,
    /// Cases that do not apply, grouped by reason.
    pub not_applicable: Vec<Group>,
}

/// Result of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Works {
    /// Description of the topic.
    pub topic: String,
    /// Number of cases that passed, strictly or loosely.
    pub works: usize,
    /// Number of conclusive cases.
    pub of: usize,
}

/// One fault, with all cases that it fails.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// Summary of the fault, in a sentence.
    pub title: String,
    /// Severity of the fault.
    pub importance: Importance,
    /// Evidence from the first of `cases`, in at most three lines.
    pub evidence: Vec<Line>,
    /// Likely cause.
    pub cause: String,
    /// Command that reproduces the fault.
    pub again: String,
    /// Names of the failed cases, most severe first.
    pub cases: Vec<&'static str>,
}

/// A note on one case.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Name of the case.
    pub case: &'static str,
    /// Text of the note.
    pub words: String,
}

/// Cases with the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// Reason of all cases.
    pub reason: String,
    /// Names of the cases.
    pub cases: Vec<&'static str>,
}

/// Row of one server in the comparison table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the server.
    pub name: String,
    /// Number of cases that passed strictly.
    pub works: usize,
    /// Number of cases that passed loosely.
    pub loose: usize,
    /// Number of cases that failed unexpectedly.
    pub fails: usize,
    /// Number of known failures.
    pub known: usize,
    /// Number of inconclusive cases.
    pub undecided: usize,
    /// Title of the most severe fault, or the reason why there is none.
    pub first: String,
    /// Duration of all test cases in milliseconds, if recorded.
    pub took_ms: Option<u64>,
    /// Detected concurrency model, if any.
    pub mechanism: Option<String>,
}

/// Cause of a fault for which no case suggests one.
const NO_CAUSE: &str =
    "not told by this alone: compare what came with what should have come, byte by byte";

/// Cause of a fault where the server logged an error while a client waited for its reply.
pub(super) const STUCK: &str = "an error ended what served this client, and nobody told it: catch errors where one \
     client is served, answer with a line, and close its socket on every way out";

/// Prefixes of hints that do not name a cause.
const NO_HINTS: &[&str] = &["--output DIR", "this is the smallest counterexample"];

impl Grading {
    /// Builds the grading report of a server from its case results.
    pub fn of(server: &ServerResult) -> Grading {
        let of_kind = |kind| server.cases.iter().filter(move |one| one.kind() == kind);
        Grading {
            name: plain(&server.name),
            command: plain(&server.command),
            contract: plain(&server.contract),
            mechanism: server.mechanism.as_deref().map(plain),
            not_run: server.not_run.as_deref().map(plain),
            tally: Tally::of(&server.cases).words(),
            works: works(&server.cases),
            faults: faults(of_kind(Kind::Fail)),
            notes: server.cases.iter().filter_map(note).collect(),
            undecided: groups(of_kind(Kind::Undecided), undecided_by),
            not_applicable: groups(of_kind(Kind::NotApplicable), |one| plain(&one.observed)),
        }
    }
}

impl Row {
    /// Builds the row of a server.
    pub fn of(server: &ServerResult) -> Row {
        let marks = Grading::of(server);
        let tally = Tally::of(&server.cases);
        let first = match (marks.not_run, marks.faults.first()) {
            (Some(reason), _) => format!("not run: {reason}"),
            (None, Some(fault)) => fault.title.clone(),
            (None, None) if tally.get(Kind::Undecided) > 0 => "not all could be found out".into(),
            (None, None) => "none".to_owned(),
        };
        Row {
            name: marks.name,
            works: tally.get(Kind::Pass),
            loose: tally.get(Kind::Loose),
            fails: tally.get(Kind::Fail),
            known: tally.get(Kind::Known),
            undecided: tally.get(Kind::Undecided),
            first,
            took_ms: server.took_ms,
            mechanism: marks.mechanism,
        }
    }

    /// Formats the number of failed cases and of known failures.
    pub(super) fn fails_words(&self) -> String {
        let known = (self.known > 0).then(|| format!(" (+{} known)", self.known));
        format!("{}{}", self.fails, known.unwrap_or_default())
    }

    pub(super) fn took_words(&self) -> String {
        self.took_ms.map_or(String::new(), |ms| format!("{:.1} s", ms as f64 / 1e3))
    }
}

impl Report {
    /// Returns the external servers.
    pub fn foreign(&self) -> Vec<&ServerResult> {
        self.servers.iter().filter(|server| server.foreign).collect()
    }
}

fn works(cases: &[CaseResult]) -> Vec<Works> {
    let topics = cases.chunk_by(|one, other| topic_of(one.name) == topic_of(other.name));
    let count = |topic: &[CaseResult], kinds: &[Kind]| {
        topic.iter().filter(|one| kinds.contains(&one.kind())).count()
    };
    let of = |topic: &[CaseResult]| Works {
        topic: words::topic(topic_of(topic[0].name)).to_owned(),
        works: count(topic, &[Kind::Pass, Kind::Loose]),
        of: count(topic, &[Kind::Pass, Kind::Loose, Kind::Fail, Kind::Known]),
    };
    topics.map(of).filter(|topic| topic.works > 0).collect()
}

fn faults<'j>(failed: impl Iterator<Item = &'j CaseResult>) -> Vec<Fault> {
    let mut alike: Vec<(String, Vec<&CaseResult>)> = Vec::new();
    for judgement in failed {
        let key = cause_key(judgement);
        match alike.iter_mut().find(|(other, _)| *other == key) {
            Some((_, group)) => group.push(judgement),
            None => alike.push((key, vec![judgement])),
        }
    }
    let mut faults: Vec<Fault> = alike.into_iter().map(|(_, group)| fault(group)).collect();
    faults.sort_by_key(|fault| fault.importance);
    faults
}

fn fault(mut group: Vec<&CaseResult>) -> Fault {
    group.sort_by_key(|judgement| rank::importance(judgement));
    let first = group[0];
    Fault {
        title: title(first),
        importance: rank::importance(first),
        evidence: evidence::of(first),
        cause: match evidence::stuck_with(first) {
            Some(_) => STUCK.to_owned(),
            None => cause(&group).unwrap_or_else(|| NO_CAUSE.to_owned()),
        },
        again: first.replay.clone(),
        cases: group.iter().map(|judgement| judgement.name).collect(),
    }
}

/// Returns a key that is equal for cases with probably the same cause.
///
/// The key is the first that applies: the server could not run; its last log line before it exited;
/// its last log line before it hung; the hint and the severity; the observation and its topic.
fn cause_key(judgement: &CaseResult) -> String {
    let importance = rank::importance(judgement);
    if rank::never_ran(judgement) {
        return "never ran".to_owned();
    }
    let numberless = |words: String| words.replace(|letter: char| letter.is_ascii_digit(), "");
    if evidence::died(judgement) {
        // The exit of a multithreaded program varies with the same error, so its log decides.
        let exit = judgement.exit.map_or(String::new(), |exit| exit.to_string());
        let last = evidence::last_words(&judgement.log).map(numberless);
        return last.map_or_else(
            || format!("died {exit} {}", topic_of(judgement.name)),
            |words| format!("died {words}"),
        );
    }
    if let Some(words) = evidence::stuck_with(judgement) {
        return format!("stuck {importance:?} {}", numberless(words));
    }
    match hint(judgement) {
        Some(hint) => format!("hint {importance:?} {hint}"),
        None => {
            let topic = topic_of(judgement.name);
            format!("seen {importance:?} {topic} {}", judgement.observed)
        }
    }
}

fn hint(judgement: &CaseResult) -> Option<&str> {
    let names_a_cause = |hint: &&str| !NO_HINTS.iter().any(|begin| hint.starts_with(begin));
    judgement.hint.as_deref().filter(names_a_cause)
}

/// Returns the rarest hint of the group, which is the most specific.
fn cause(group: &[&CaseResult]) -> Option<String> {
    let hints: Vec<&str> = group.iter().filter_map(|judgement| hint(judgement)).collect();
    let others = |hint: &&str| hints.iter().filter(|other| *other == hint).count();
    let least = hints.iter().copied().min_by_key(others)?;
    Some(plain(hint(group[0]).filter(|first| others(first) < 2).unwrap_or(least)))
}

fn title(judgement: &CaseResult) -> String {
    let words = words::wrong(judgement.name);
    let title = match (rank::never_ran(judgement), words) {
        (true, _) if judgement.state == State::Crash => "it ends before it listens".to_owned(),
        (true, _) if judgement.state == State::Hang => "it does not listen in time".to_owned(),
        (true, _) => "it does not run, or listens elsewhere".to_owned(),
        (false, Some(words)) if evidence::died(judgement) => format!("it ends when {}", words.when),
        (false, Some(words)) => words.wrong.to_owned(),
        (false, None) => format!("not so: {}", judgement.requirement),
    };
    let first = title.chars().next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + title.get(1..).unwrap_or_default()
}

fn note(judgement: &CaseResult) -> Option<Note> {
    let words = match judgement.kind() {
        Kind::Loose => format!("works, but not strictly: {}", judgement.observed),
        Kind::Info => format!("seen, not judged: {}", judgement.observed),
        Kind::Known => {
            let reason = judgement.known.as_ref().map(Known::words).unwrap_or_default();
            format!("fails, as is expected: {reason}")
        }
        Kind::Stale => format!("expected to fail, and does not: {}", judgement.words()),
        _ => return None,
    };
    Some(Note { case: judgement.name, words: plain(&words) })
}

/// Returns the reason of an inconclusive case: the case that must pass first, if known.
fn undecided_by(judgement: &CaseResult) -> String {
    if judgement.state == State::HarnessError {
        return format!("the harness could not do its work: {}", plain(&judgement.observed));
    }
    match judgement.blocked_by.first() {
        Some(name) => format!("{name} must work first"),
        None => evidence::line(&judgement.observed),
    }
}

fn groups<'j>(
    cases: impl Iterator<Item = &'j CaseResult>,
    reason: impl Fn(&CaseResult) -> String,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for judgement in cases {
        let reason = reason(judgement);
        match groups.iter_mut().find(|group| group.reason == reason) {
            Some(group) => group.cases.push(judgement.name),
            None => groups.push(Group { reason, cases: vec![judgement.name] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.cases.len()));
    groups
}
