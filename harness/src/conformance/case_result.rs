//! Case results. The verdict on the server and the state of the case are separate.

use serde::{Deserialize, Serialize};

use super::discovery::Discovery;
use super::quoted::Quoted;
use super::resources::Sample;
use crate::client::Event;
use crate::exit::Exit;
use crate::server::Survivor;

/// The verdict on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server meets the requirement.
    Pass,
    /// The server works, but deviates from the strict requirement.
    Loose,
    /// The case requires nothing and reports an observation.
    Info,
    /// The server does not meet the requirement.
    Fail,
}

/// How the case itself ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It ran to its end.
    Ok,
    /// It did not run: the contract does not declare, or excludes, the behaviour under test.
    NotApplicable,
    /// The server did not answer or exit in time.
    Hang,
    /// The server exited unexpectedly.
    Crash,
    /// The server did not release a resource.
    Leak,
    /// The case tested nothing, for example because a plain request got no reply.
    Vacuous,
    /// The harness could not do its work.
    HarnessError,
}

/// Verdict and state combined, as counted and shown in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server meets the requirement.
    Pass,
    /// The server works, but deviates from the strict requirement.
    Loose,
    /// The case requires nothing and reports an observation.
    Info,
    /// The server does not meet the requirement.
    Fail,
    /// The case is inconclusive.
    Undecided,
    /// The case does not apply under the contract.
    NotApplicable,
    /// A failure that was expected, for the recorded reason.
    Known,
    /// A known failure that now passes or does not apply. Its entry is out of date.
    Stale,
}

impl Kind {
    /// All kinds.
    pub const ALL: &[Kind] = &[
        Kind::Pass,
        Kind::Loose,
        Kind::Info,
        Kind::Fail,
        Kind::Undecided,
        Kind::NotApplicable,
        Kind::Known,
        Kind::Stale,
    ];

    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Loose => "loose",
            Kind::Info => "info",
            Kind::Fail => "fail",
            Kind::Undecided => "undecided",
            Kind::NotApplicable => "not applicable",
            Kind::Known => "known failure",
            Kind::Stale => "stale expectation",
        }
    }

    /// Returns the character for a cell of a matrix.
    pub fn symbol(self) -> &'static str {
        match self {
            Kind::Pass => "✓",
            Kind::Loose => "~",
            Kind::Info => "i",
            Kind::Fail => "✗",
            Kind::Undecided => "?",
            Kind::NotApplicable => "·",
            Kind::Known => "k",
            Kind::Stale => "!",
        }
    }

    /// Returns whether the result needs no attention.
    pub fn is_fine(self) -> bool {
        matches!(self, Kind::Pass | Kind::Loose | Kind::Info | Kind::NotApplicable | Kind::Known)
    }
}

/// An accepted failure and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// The expected result of the case.
    pub verdict: KnownVerdict,
    /// The reason for accepting it.
    pub reason: String,
    /// File and line of the entry.
    pub place: String,
    /// The known failure that makes this case inconclusive, if the entry is of another case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

impl Known {
    /// Returns the reason and the place of the entry.
    pub fn words(&self) -> String {
        match self.cause {
            Some(cause) => format!("because of {cause}: {} ({})", self.reason, self.place),
            None => format!("{} ({})", self.reason, self.place),
        }
    }

    /// Returns the entry for a case that is inconclusive because of `case`.
    fn passed_on_by(&self, case: &'static str) -> Known {
        let cause = Some(self.cause.unwrap_or(case));
        Known { verdict: KnownVerdict::Undecided, cause, ..self.clone() }
    }
}

/// Results other than a pass that an entry can expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownVerdict {
    /// The server does not meet the requirement.
    #[default]
    Fail,
    /// The case is inconclusive.
    Undecided,
    /// The server works, but deviates from the strict requirement.
    Loose,
}

impl KnownVerdict {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            KnownVerdict::Fail => "fail",
            KnownVerdict::Undecided => "undecided",
            KnownVerdict::Loose => "loose",
        }
    }

    /// Returns whether a case result is the expected one.
    pub fn is_of(self, judgement: &CaseResult) -> bool {
        match self {
            KnownVerdict::Fail => judgement.found() == Kind::Fail,
            KnownVerdict::Undecided => judgement.found() == Kind::Undecided,
            KnownVerdict::Loose => judgement.found() == Kind::Loose,
        }
    }
}

/// The result of one case on one server, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// Name of the case.
    pub name: &'static str,
    /// The requirement under test.
    pub requirement: &'static str,
    /// The verdict on the server; none if the case is inconclusive.
    pub verdict: Option<Verdict>,
    /// How the case ended.
    pub state: State,
    /// The required behaviour; if the case does not apply, its requirement.
    pub expected: String,
    /// The observed behaviour; if the case does not apply, the reason.
    pub observed: String,
    /// Likely cause.
    pub hint: Option<String>,
    /// The random input for which the server does not meet the requirement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<serde_json::Value>,
    /// The cases that test the assumptions of an inconclusive case.
    ///
    /// One of them that failed is the cause. If that is a known failure, this result is one, too.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<&'static str>,
    /// The command that reproduces this result.
    pub replay: String,
    /// The traffic of the case's clients.
    pub transcript: Vec<Event>,
    /// The end of the server's output.
    pub log: String,
    /// How the server exited, if it did so by itself.
    pub exit: Option<Exit>,
    /// Processes that outlived the server's first process.
    pub survivors: Vec<Survivor>,
    /// Resource usage of the server during the case.
    pub resources: Vec<Sample>,
    /// The known failure that explains this result, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// Duration of the case, in milliseconds.
    pub took_ms: u64,
    /// The property of the server that the case detected.
    #[serde(skip)]
    pub discovery: Option<Box<Discovery>>,
    /// The observation of the client, if the server exited during the case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_saw: Option<String>,
    /// The parts of an observation that quotes the server's output.
    #[serde(skip)]
    pub quoted: Option<Box<Quoted>>,
}

impl Verdict {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Loose => "loose",
            Verdict::Info => "info",
            Verdict::Fail => "fail",
        }
    }
}

impl State {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            State::Ok => "ok",
            State::NotApplicable => "not applicable",
            State::Hang => "hang",
            State::Crash => "crash",
            State::Leak => "leak",
            State::Vacuous => "vacuous",
            State::HarnessError => "harness error",
        }
    }
}

/// Keeps in `blocked_by` the cases that failed, and passes their known failures on to the blocked
/// cases.
///
/// `known_unjudged` returns the known failure of a case that did not run.
pub(super) fn find_causes(
    judgements: &mut [CaseResult],
    known_unjudged: impl Fn(&str) -> Option<Known>,
) {
    let failed: Vec<&str> =
        judgements.iter().filter(|one| one.found() == Kind::Fail).map(|one| one.name).collect();
    for one in judgements.iter_mut() {
        if one.blocked_by.iter().any(|by| failed.contains(by)) {
            one.blocked_by.retain(|by| failed.contains(by));
        }
    }
    // A blocked case may itself block another. Each round passes known failures on by one step, and
    // settles at least one case or is the last.
    for _ in 0..judgements.len() {
        let inherited = |one: &CaseResult| {
            one.blocked_by.iter().find_map(|&by| {
                let known = match judgements.iter().find(|other| other.name == by) {
                    Some(judged) if judged.kind() == Kind::Known => judged.known.clone(),
                    Some(_) => None,
                    None => known_unjudged(by),
                };
                known.map(|known| known.passed_on_by(by))
            })
        };
        let settled: Vec<(usize, Known)> = judgements
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_blocked())
            .filter_map(|(index, one)| Some((index, inherited(one)?)))
            .collect();
        if settled.is_empty() {
            break;
        }
        for (index, known) in settled {
            judgements[index].known = Some(known);
        }
    }
}

impl CaseResult {
    /// Returns the result of a case that was not run: inconclusive, with no evidence.
    pub fn new(name: &'static str, requirement: &'static str) -> CaseResult {
        CaseResult {
            name,
            requirement,
            verdict: None,
            state: State::Vacuous,
            expected: requirement.to_owned(),
            observed: String::new(),
            hint: None,
            counterexample: None,
            blocked_by: Vec::new(),
            replay: String::new(),
            transcript: Vec::new(),
            log: String::new(),
            exit: None,
            survivors: Vec::new(),
            resources: Vec::new(),
            known: None,
            took_ms: 0,
            discovery: None,
            client_saw: None,
            quoted: None,
        }
    }

    /// Returns whether the case is inconclusive and another case may be the cause.
    pub(super) fn is_blocked(&self) -> bool {
        self.kind() == Kind::Undecided && !self.blocked_by.is_empty()
    }

    /// Returns the concurrency model, if the case detected it.
    pub fn mechanism(&self) -> Option<String> {
        let discovery = self.discovery.as_ref().filter(|_| self.state == State::Ok)?;
        discovery.mechanism.map(|mechanism| mechanism.name().to_owned())
    }

    /// Combines verdict and state, and takes known failures into account.
    pub fn kind(&self) -> Kind {
        match &self.known {
            Some(known) if known.verdict.is_of(self) => Kind::Known,
            Some(_) if self.found().is_fine() => Kind::Stale,
            _ => self.found(),
        }
    }

    /// Combines verdict and state, without regard to known failures.
    pub fn found(&self) -> Kind {
        match (self.verdict, self.state) {
            (_, State::NotApplicable) => Kind::NotApplicable,
            (Some(Verdict::Pass), State::Ok) => Kind::Pass,
            (Some(Verdict::Loose), State::Ok) => Kind::Loose,
            (Some(Verdict::Info), State::Ok) => Kind::Info,
            (Some(_), _) => Kind::Fail,
            (None, _) => Kind::Undecided,
        }
    }

    /// Returns whether the result needs no attention, for example a pass or a case that does not
    /// apply.
    pub fn is_fine(&self) -> bool {
        self.kind().is_fine()
    }

    /// Describes the result in a few words: `pass`, `fail`, `fail (hang)`, `known fail`, `not
    /// applicable`, `unexpected pass`, `stale: not applicable`.
    pub fn words(&self) -> String {
        match self.kind() {
            Kind::Known => format!("known {}", self.found_words()),
            Kind::Stale if self.state == State::NotApplicable => {
                format!("stale: {}", self.found_words())
            }
            Kind::Stale => format!("unexpected {}", self.found_words()),
            _ => self.found_words(),
        }
    }

    fn found_words(&self) -> String {
        match (self.verdict, self.state) {
            (Some(verdict), State::Ok) => verdict.name().to_owned(),
            (Some(verdict), state) => format!("{} ({})", verdict.name(), state.name()),
            (None, state) => state.name().to_owned(),
        }
    }
}
