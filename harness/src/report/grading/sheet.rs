//! What works in a server and what does not, grouped for its author.

use serde::Serialize;

use super::evidence::{self, Line, plain};
use super::rank::{self, Importance};
use super::words::{self, topic_of};
use crate::conformance::{CaseResult, Kind, Known, State};
use crate::report::document::{Report, ServerResult};
use crate::report::tally::Tally;

/// The marks of one server.
#[derive(Clone, Debug, Serialize)]
pub struct Grading {
    /// Its name.
    pub name: String,
    /// The command that was judged.
    pub command: String,
    /// What it declares.
    pub contract: String,
    /// How it is built, if that is known.
    pub mechanism: Option<String>,
    /// Why it could not be run, if so.
    pub not_run: Option<String>,
    /// How many cases there are of each kind, in words.
    pub tally: String,
    /// Topics of which something works, in the order of the cases.
    pub works: Vec<Works>,
    /// What does not work, the most important first.
    pub faults: Vec<Fault>,
    /// What works loosely, was only looked at, or was expected otherwise.
    pub notes: Vec<Note>,
    /// What could not be found out, by the reason.
    pub undecided: Vec<Group>,
    /// What does not apply, by the reason.
    pub not_applicable: Vec<Group>,
}

/// How much of a topic works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Works {
    /// What it is about.
    pub topic: String,
    /// Cases that work, strictly or loosely.
    pub works: usize,
    /// Cases that were decided.
    pub of: usize,
}

/// One thing that is wrong, in however many cases it shows.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// What is wrong, in a sentence.
    pub title: String,
    /// How important that is.
    pub importance: Importance,
    /// What was seen, in three lines at most.
    pub evidence: Vec<Line>,
    /// What is likely to be the cause.
    pub cause: String,
    /// The command that shows it again.
    pub again: String,
    /// The cases in which it shows. The evidence is from the first.
    pub cases: Vec<&'static str>,
}

/// Something about one case.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// The case.
    pub case: &'static str,
    /// What is to be said.
    pub words: String,
}

/// Cases that have the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The reason.
    pub reason: String,
    /// The cases.
    pub cases: Vec<&'static str>,
}

/// A server's row in the table of several.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// Cases that work.
    pub works: usize,
    /// Cases that work loosely.
    pub loose: usize,
    /// Cases that fail.
    pub fails: usize,
    /// Cases that fail, as was expected.
    pub known: usize,
    /// Cases that could not be found out.
    pub undecided: usize,
    /// The most important fault, or why there is nothing to say.
    pub first: String,
    /// How long judging it took.
    pub took_ms: Option<u64>,
    /// How it is built, if that is known.
    pub mechanism: Option<String>,
}

/// What is said where the case knows no cause.
const NO_CAUSE: &str =
    "not told by this alone: compare what came with what should have come, byte by byte";

/// What is said of an error that was written while a client waited.
pub(super) const STUCK: &str = "an error ended what served this client, and nobody told it: catch errors where one \
     client is served, answer with a line, and close its socket on every way out";

/// What hints begin with that name no cause.
const NO_HINTS: &[&str] = &["--output DIR", "this is the smallest counterexample"];

impl Grading {
    /// The marks of a server, from its verdicts.
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
    /// The row of a server.
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

    /// How many cases fail, and how many more were expected to.
    pub(super) fn fails_words(&self) -> String {
        let known = (self.known > 0).then(|| format!(" (+{} known)", self.known));
        format!("{}{}", self.fails, known.unwrap_or_default())
    }

    pub(super) fn took_words(&self) -> String {
        self.took_ms.map_or(String::new(), |ms| format!("{:.1} s", ms as f64 / 1e3))
    }
}

impl Report {
    /// The servers that were not written here.
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

/// Equal for cases that failed by the same cause, as far as that can be told: the server could not
/// be run, or it ended with the same last words, or it was stuck with the same, or the hint is the
/// same and of the same weight, or it knew no cause and did the same.
fn cause_key(judgement: &CaseResult) -> String {
    let importance = rank::importance(judgement);
    if rank::never_ran(judgement) {
        return "never ran".to_owned();
    }
    let numberless = |words: String| words.replace(|letter: char| letter.is_ascii_digit(), "");
    if evidence::died(judgement) {
        // A program of several threads may end one way or another by the same error.
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

/// Of several hints the one that fewest others have: it is the least general.
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

/// Why a case could not find out: another that must work first, if it names one.
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
