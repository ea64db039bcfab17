//! Data model of the grading report: the strengths and faults of a server.

use serde::Serialize;

use super::descriptions::{self, topic_of};
use super::evidence::{self, Line, plain};
use super::explanations;
use super::rank;
use super::severity::Severity;
use crate::report::tally::Tally;
use crate::results::{
    CaseResult, ConcurrencyModel, Fault as FaultKind, Kind, KnownFailure, Report, ServerResult,
    State,
};
use crate::text::OutputEnd;

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
    pub concurrency_model: Option<ConcurrencyModel>,
    /// Round-trip time to the server in microseconds; `None` if the harness launched it.
    pub round_trip_us: Option<u64>,
    /// Reason why the server could not run; `None` if it could run.
    pub not_run: Option<String>,
    /// Number of cases of each kind, as text.
    pub tally: String,
    /// How few of the cases judged the server, if most others do not apply.
    pub scope: Option<Scope>,
    /// Topics with at least one passed case, in the order of the cases.
    pub topics: Vec<TopicTally>,
    /// Faults, most severe first.
    pub faults: Vec<Fault>,
    /// Notes on warnings, on observations, and on known failures.
    pub notes: Vec<Note>,
    /// Inconclusive cases, grouped by reason.
    pub inconclusive: Vec<Group>,
    /// Cases that do not apply, grouped by reason.
    pub not_applicable: Vec<Group>,
}

/// Number of cases that judged a server to which most cases do not apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Scope {
    /// Number of cases with a verdict.
    pub judged: usize,
    /// Number of all cases.
    pub all: usize,
    /// Number of inconclusive cases.
    pub inconclusive: usize,
}

impl Scope {
    /// Returns the scope of a report if fewer cases have a verdict than do not apply.
    pub fn of<'r>(results: impl IntoIterator<Item = &'r CaseResult>) -> Option<Scope> {
        let tally = Tally::of(results);
        let [inconclusive, not_applicable] =
            [Kind::Inconclusive, Kind::NotApplicable].map(|kind| tally.get(kind));
        let judged = tally.total() - inconclusive - not_applicable;
        let all = tally.total();
        (judged < not_applicable).then_some(Scope { judged, all, inconclusive })
    }

    /// Formats the scope as a clause.
    pub fn text(&self) -> String {
        let (judged, all) = (self.judged, self.all);
        match self.inconclusive {
            0 => format!("only {judged} of {all} cases apply to this server"),
            _ => format!(
                "only {judged} of {all} cases judged this server: the others do not apply, or are \
                 inconclusive"
            ),
        }
    }
}

impl Grading {
    /// Returns the sentence for a server without a fault.
    pub(super) fn no_fault_text(&self) -> String {
        match self.scope {
            Some(scope) => format!("No fault was found, but {}.", scope.text()),
            None => "No fault was found.".to_owned(),
        }
    }
}

/// Result of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TopicTally {
    /// Description of the topic.
    pub topic: String,
    /// Number of cases that passed, strictly or with a warning.
    pub passed: usize,
    /// Number of cases that passed or failed, with or without a warning.
    pub conclusive: usize,
}

/// A fault: a group of failed cases with the same likely cause.
#[derive(Clone, Debug, Serialize)]
pub struct Fault {
    /// Summary of the fault, in a sentence.
    pub title: String,
    /// Severity of the fault.
    pub severity: Severity,
    /// Evidence from the first of `cases`, in at most four lines.
    pub evidence: Vec<Line>,
    /// Likely cause.
    pub cause: String,
    /// Command that reproduces the fault.
    pub reproduce: String,
    /// Names of the failed cases, most severe first.
    pub cases: Vec<String>,
}

/// A note on one case.
#[derive(Clone, Debug, Serialize)]
pub struct Note {
    /// Name of the case.
    pub case: String,
    /// Text of the note.
    pub text: String,
}

/// Cases with the same reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Group {
    /// The shared reason.
    pub reason: String,
    /// Names of the cases.
    pub cases: Vec<String>,
}

/// Row of one server in the overview table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Name of the server.
    pub name: String,
    /// Number of cases that passed strictly.
    pub passed: usize,
    /// Number of cases that passed with a warning.
    pub warn: usize,
    /// Number of cases that failed unexpectedly.
    pub fails: usize,
    /// Number of known failures.
    pub known: usize,
    /// Number of inconclusive cases.
    pub inconclusive: usize,
    /// Title of the most severe fault, or a text that says why there is none.
    pub worst_fault: String,
    /// Duration of all test cases in milliseconds, if recorded.
    pub duration_ms: Option<u64>,
    /// Detected concurrency model, if any.
    pub concurrency_model: Option<ConcurrencyModel>,
}

/// Likely cause of a fault if its cases have no hint.
pub(super) const NO_CAUSE: &str = "unknown";

/// Likely cause of a fault if the server logged an error while a client waited for a reply.
pub(super) const ERROR_BEFORE_TIMEOUT: &str = "an error ended the code that served this client, and no reply was sent: catch errors per \
     client, reply with an error line, and close the socket on every path";

impl Grading {
    /// Builds the grading report of a server from its case results.
    pub fn of(server: &ServerResult) -> Grading {
        let of_kind = |kind| server.cases.iter().filter(move |result| result.kind() == kind);
        Grading {
            name: plain(&server.name),
            command: plain(&server.command),
            contract: plain(&server.contract),
            concurrency_model: server.concurrency_model,
            round_trip_us: server.round_trip_us,
            not_run: server.not_run.as_deref().map(plain),
            tally: Tally::of(&server.cases).summary(),
            scope: Scope::of(&server.cases),
            topics: topics(&server.cases),
            faults: faults(of_kind(Kind::Fail)),
            notes: server.cases.iter().filter_map(note).collect(),
            inconclusive: groups(of_kind(Kind::Inconclusive), |result| {
                inconclusive_reason(result, &server.cases)
            }),
            not_applicable: groups(of_kind(Kind::NotApplicable), |result| plain(&result.observed)),
        }
    }
}

impl Row {
    /// Builds the row of a server.
    pub fn of(server: &ServerResult) -> Row {
        let grading = Grading::of(server);
        let tally = Tally::of(&server.cases);
        let worst_fault = match (grading.not_run, grading.faults.first()) {
            (Some(reason), _) => format!("not run: {reason}"),
            (None, Some(fault)) => fault.title.clone(),
            (None, None) if tally.get(Kind::Inconclusive) > 0 => {
                "none found, but some cases are inconclusive".to_owned()
            }
            (None, None) => "none".to_owned(),
        };
        Row {
            name: grading.name,
            passed: tally.get(Kind::Pass),
            warn: tally.get(Kind::Warn),
            fails: tally.get(Kind::Fail),
            known: tally.get(Kind::Known),
            inconclusive: tally.get(Kind::Inconclusive),
            worst_fault,
            duration_ms: server.duration_ms,
            concurrency_model: grading.concurrency_model,
        }
    }

    /// Formats the number of failed cases and the number of known failures.
    pub(super) fn failed_text(&self) -> String {
        let known = (self.known > 0).then(|| format!(" (+{} known)", self.known));
        format!("{}{}", self.fails, known.unwrap_or_default())
    }

    /// Returns the name of the detected concurrency model, or an empty string.
    pub(super) fn model_name(&self) -> &'static str {
        self.concurrency_model.map_or("", ConcurrencyModel::name)
    }

    pub(super) fn duration_text(&self) -> String {
        self.duration_ms.map_or(String::new(), |ms| format!("{:.1} s", ms as f64 / 1e3))
    }
}

impl Report {
    /// Returns the external servers.
    pub fn external(&self) -> Vec<&ServerResult> {
        self.servers.iter().filter(|server| server.external).collect()
    }
}

fn topics(cases: &[CaseResult]) -> Vec<TopicTally> {
    let topics = cases.chunk_by(|one, other| topic_of(&one.name) == topic_of(&other.name));
    let count = |topic: &[CaseResult], kinds: &[Kind]| {
        topic.iter().filter(|result| kinds.contains(&result.kind())).count()
    };
    let tally = |topic: &[CaseResult]| TopicTally {
        topic: descriptions::topic(topic_of(&topic[0].name)).to_owned(),
        passed: count(topic, &[Kind::Pass, Kind::Warn]),
        conclusive: count(topic, &[Kind::Pass, Kind::Warn, Kind::Fail, Kind::Known]),
    };
    topics.map(tally).filter(|topic| topic.passed > 0).collect()
}

/// Groups failed cases with the same cause, and groups whose faults have the same title.
fn faults<'j>(failed: impl Iterator<Item = &'j CaseResult>) -> Vec<Fault> {
    let by_cause = group_by(failed.map(|result| vec![result]), |group| cause_key(group[0]));
    let by_cause = by_cause.into_iter().map(sorted);
    let by_title = explanations::explained(group_by(by_cause, |group| title(group[0])));
    // Of the exits, the one with the smallest provocation is first.
    let mut by_title: Vec<_> = by_title.into_iter().map(sorted).collect();
    by_title.sort_by_key(|group| {
        let provocation = group[0].provoked.as_ref().map(|provoked| provoked.provocation);
        (
            rank::highest_severity(group),
            rank::is_hardening(group),
            provocation.is_none(),
            provocation,
        )
    });
    by_title.iter().map(|group| fault(group)).collect()
}

/// Sorts a group by the rank of its results.
fn sorted(mut group: Vec<&CaseResult>) -> Vec<&CaseResult> {
    let all = group.clone();
    group.sort_by_key(|result| rank_in_group(&all, result));
    group
}

/// Returns the rank of a result in its group; the first result gives the title.
///
/// Results that no other failure explains are first, the most severe ones first, and of these, the
/// result of the case that tests for the fault. If the server does not exit, that result is last:
/// such a server ignores the signal in every situation, so a general title is better.
fn rank_in_group(group: &[&CaseResult], result: &CaseResult) -> (bool, Severity, bool) {
    let fault = rank::fault(result);
    let is_own = descriptions::is_own(&result.name, fault);
    (
        explanations::is_explained(group, result),
        rank::severity(result),
        is_own == (fault == FaultKind::DoesNotExit),
    )
}

/// Joins groups of results with equal keys, in the order of the first of each.
fn group_by<'j>(
    groups: impl Iterator<Item = Vec<&'j CaseResult>>,
    key: impl Fn(&[&CaseResult]) -> String,
) -> Vec<Vec<&'j CaseResult>> {
    let mut joined: Vec<(String, Vec<&CaseResult>)> = Vec::new();
    for group in groups {
        let key = key(&group);
        match joined.iter_mut().find(|(other, _)| *other == key) {
            Some((_, found)) => found.extend(group),
            None => joined.push((key, group)),
        }
    }
    joined.into_iter().map(|(_, group)| group).collect()
}

fn fault(group: &[&CaseResult]) -> Fault {
    let first = group[0];
    Fault {
        title: title(first),
        severity: rank::highest_severity(group),
        evidence: evidence::of(first),
        cause: match first.logged_error {
            Some(_) => ERROR_BEFORE_TIMEOUT.to_owned(),
            None => explanations::shared_cause(group)
                .map(str::to_owned)
                .or_else(|| cause(&explanations::unexplained(group)))
                .or_else(|| cause(group))
                .unwrap_or_else(|| NO_CAUSE.to_owned()),
        },
        reproduce: first.provoked.as_ref().map_or(&first.reproduce, |it| &it.reproduce).clone(),
        cases: group.iter().map(|result| result.name.clone()).collect(),
    }
}

/// Returns a key that is equal for cases with probably the same cause.
///
/// The key is the first of these that applies:
/// - the fault, if the server could not be launched;
/// - the smallest provocation that makes the server exit;
/// - the last error that the server logged before it exited;
/// - the last error that the server logged before the client timed out, and the severity;
/// - the fault of a server that does not exit, exits with a wrong status, or leaves processes
///   behind;
/// - the hint and the severity;
/// - the fault, its topic and the severity; for a fault that only one case tests for, also the
///   observation.
fn cause_key(result: &CaseResult) -> String {
    let severity = rank::severity(result);
    if result.fault.is_launch() {
        return format!("not launched {:?}", result.fault);
    }
    let numberless = |text: &str| text.replace(|letter: char| letter.is_ascii_digit(), "");
    if let Some(provoked) = &result.provoked {
        return format!("provoked {:?}", provoked.provocation);
    }
    if evidence::exited_unexpectedly(result) {
        // The exit status of a multithreaded program can vary for the same error, so compare the
        // log.
        let exit = result.exit.map_or(String::new(), |exit| exit.to_string());
        return match evidence::exit_message_of(result) {
            Some(OutputEnd::Error(error)) => format!("exited {}", numberless(&error)),
            _ => format!("exited {exit} {}", topic_of(&result.name)),
        };
    }
    if let Some(error) = &result.logged_error {
        return format!("timed out {severity:?} {}", numberless(error));
    }
    if matches!(
        result.fault,
        FaultKind::DoesNotExit | FaultKind::ExitStatus | FaultKind::ProcessesRemain
    ) {
        let situation = match topic_of(&result.name) {
            "contract" => "shutdown",
            topic => topic,
        };
        return format!("{:?} {situation}", result.fault);
    }
    match hint(result) {
        Some(hint) => format!("hint {severity:?} {hint}"),
        None => {
            let (topic, fault) = (topic_of(&result.name), rank::fault(result));
            let is_own = descriptions::is_own(&result.name, fault);
            let observed = if is_own { result.observed.as_str() } else { "" };
            format!("observed {severity:?} {topic} {fault:?} {observed}")
        }
    }
}

/// Returns the hint of a result, if it names a cause.
fn hint(result: &CaseResult) -> Option<&str> {
    result.hint.as_deref().filter(|_| !result.hint_names_no_cause)
}

/// Returns the most specific hint of a group: the hint of the first case if no other case has it,
/// otherwise the rarest hint.
fn cause(group: &[&CaseResult]) -> Option<String> {
    let hints: Vec<&str> = group.iter().filter_map(|result| hint(result)).collect();
    let count = |hint: &&str| hints.iter().filter(|other| *other == hint).count();
    let rarest = hints.iter().copied().min_by_key(count)?;
    Some(plain(hint(group[0]).filter(|first| count(first) < 2).unwrap_or(rarest)))
}

fn title(result: &CaseResult) -> String {
    let title = match &result.provoked {
        Some(provoked) => Some(format!(
            "the server exits when {}",
            descriptions::provocation(provoked.provocation)
        )),
        None => descriptions::title(&result.name, rank::fault(result)),
    };
    let title = title.unwrap_or_else(|| format!("requirement not met: {}", result.requirement));
    let first = title.chars().next().map(|letter| letter.to_uppercase().to_string());
    first.unwrap_or_default() + title.get(1..).unwrap_or_default()
}

fn note(result: &CaseResult) -> Option<Note> {
    let text = match result.kind() {
        Kind::Warn => {
            format!("works, but deviates from the strict requirement: {}", result.observed)
        }
        Kind::Info => format!("observed: {}", result.observed),
        Kind::Known => {
            let reason = result.known_failure.as_ref().map(KnownFailure::text).unwrap_or_default();
            format!("known failure: {reason}")
        }
        Kind::Stale => format!("the known failure now passes: {}", result.label()),
        _ => return None,
    };
    Some(Note { case: result.name.clone(), text: plain(&text) })
}

/// Returns the reason why a case is inconclusive: the case that must pass first, unless all of
/// these cases passed.
fn inconclusive_reason(result: &CaseResult, all: &[CaseResult]) -> String {
    if result.state == State::HarnessError {
        return format!("harness error: {}", plain(&result.observed));
    }
    let has_passed = |name: &String| {
        all.iter().any(|it| it.name == *name && matches!(it.kind(), Kind::Pass | Kind::Warn))
    };
    match result.blocked_by.iter().find(|name| !has_passed(name)) {
        Some(name) => format!("{name} must pass first"),
        None => evidence::line(&result.observed),
    }
}

/// Groups cases by reason, the largest group first.
fn groups<'j>(
    cases: impl Iterator<Item = &'j CaseResult>,
    reason: impl Fn(&CaseResult) -> String,
) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for result in cases {
        let reason = reason(result);
        match groups.iter_mut().find(|group| group.reason == reason) {
            Some(group) => group.cases.push(result.name.clone()),
            None => groups.push(Group { reason, cases: vec![result.name.clone()] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.cases.len()));
    groups
}
