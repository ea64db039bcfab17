//! What a case found. Two things are kept apart: what the server did, and how the case went.

use serde::{Deserialize, Serialize};

use super::discovery::Discovery;
use super::resources::Sample;
use crate::client::Event;
use crate::exit::Exit;
use crate::server::Survivor;

/// What the server did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As required.
    Pass,
    /// It works, but not as the strict wording asks.
    Loose,
    /// Nothing was required; what was seen is told.
    Info,
    /// Not as required.
    Fail,
}

/// How the case itself went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// To its end.
    Ok,
    /// Not run: the contract does not claim, or excludes, what the case is about.
    NotApplicable,
    /// The server did not answer or end in time.
    Hang,
    /// The server ended, and should not have.
    Crash,
    /// Something was left behind.
    Leak,
    /// Nothing was exercised: not even a plain request was answered.
    Vacuous,
    /// The harness could not do its work.
    HarnessError,
}

/// Both taken together, as they are counted and shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// As required.
    Pass,
    /// It works, but not as the strict wording asks.
    Loose,
    /// Nothing was required; what was seen is told.
    Info,
    /// Not as required.
    Fail,
    /// The case could not find out.
    Undecided,
    /// Ruled out by the contract.
    NotApplicable,
    /// Not as required, as was expected for a reason that is given.
    Known,
    /// Expected to be not as required, and fine or not applicable now: the expectation is out of
    /// date.
    Stale,
}

impl Kind {
    /// All of them.
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

    /// The word used in reports.
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

    /// One character for a cell of a matrix.
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

    /// Whether nobody needs to look at it.
    pub fn is_fine(self) -> bool {
        matches!(self, Kind::Pass | Kind::Loose | Kind::Info | Kind::NotApplicable | Kind::Known)
    }
}

/// What a server is expected to fail in, and why that is put up with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Known {
    /// What is expected of the case.
    pub verdict: KnownVerdict,
    /// Why.
    pub reason: String,
    /// The file and line that say so.
    pub place: String,
    /// The case that is known to fail, where that is another one: this one is inconclusive
    /// because of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<&'static str>,
}

impl Known {
    /// Why, and who says so.
    pub fn words(&self) -> String {
        match self.cause {
            Some(cause) => format!("because of {cause}: {} ({})", self.reason, self.place),
            None => format!("{} ({})", self.reason, self.place),
        }
    }

    /// The same for a case that is inconclusive because of `case`.
    fn passed_on_by(&self, case: &'static str) -> Known {
        let cause = Some(self.cause.unwrap_or(case));
        Known { verdict: KnownVerdict::Undecided, cause, ..self.clone() }
    }
}

/// What can be expected of a case other than to pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KnownVerdict {
    /// Not as required.
    #[default]
    Fail,
    /// The case cannot find out.
    Undecided,
    /// It works, but not as the strict wording asks.
    Loose,
}

impl KnownVerdict {
    /// The word used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            KnownVerdict::Fail => "fail",
            KnownVerdict::Undecided => "undecided",
            KnownVerdict::Loose => "loose",
        }
    }

    /// Whether that is what a case found.
    pub fn is_of(self, judgement: &CaseResult) -> bool {
        match self {
            KnownVerdict::Fail => judgement.found() == Kind::Fail,
            KnownVerdict::Undecided => judgement.found() == Kind::Undecided,
            KnownVerdict::Loose => judgement.found() == Kind::Loose,
        }
    }
}

/// The verdict on one server in one case, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct CaseResult {
    /// The case's name.
    pub name: &'static str,
    /// What is required.
    pub requirement: &'static str,
    /// What the server did; none if the case could not find out.
    pub verdict: Option<Verdict>,
    /// How the case went.
    pub state: State,
    /// What would have been right; for a case that is not applicable, why it is not.
    pub expected: String,
    /// What was seen.
    pub observed: String,
    /// What may be the cause.
    pub hint: Option<String>,
    /// The value that was drawn and for which it is not as required.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<serde_json::Value>,
    /// Of an inconclusive case: the cases that judge what it takes for granted. One of them that
    /// failed is the cause, and if that is a known failure, so is this.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<&'static str>,
    /// The command that does exactly this again.
    pub replay: String,
    /// What happened on the wire.
    pub transcript: Vec<Event>,
    /// The end of the server's output.
    pub log: String,
    /// How the server ended, if it did so by itself.
    pub exit: Option<Exit>,
    /// Processes that were still there when the server's first process had ended.
    pub survivors: Vec<Survivor>,
    /// What the server held meanwhile.
    pub resources: Vec<Sample>,
    /// Why this was to be expected, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<Known>,
    /// How long the case took, in milliseconds.
    pub took_ms: u64,
    /// What the case found out about a property of the server.
    #[serde(skip)]
    pub discovery: Option<Box<Discovery>>,
}

impl Verdict {
    /// The word used in reports.
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
    /// The words used in reports.
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

/// Names the failures that keep other cases of the same server from being tried, and passes known
/// failures on to them. `known_unjudged` tells of a case that was not judged whether it is known to
/// fail.
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
    // One that is inconclusive may itself be the cause of another: each round passes causes on by
    // one step, and at least one case is settled in each but the last.
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
    /// Whether another case may be the cause that this one is inconclusive, and known to fail.
    pub(super) fn is_blocked(&self) -> bool {
        self.kind() == Kind::Undecided && !self.blocked_by.is_empty()
    }

    /// How the server is built, if that is what was looked at and seen.
    pub fn mechanism(&self) -> Option<String> {
        let discovery = self.discovery.as_ref().filter(|_| self.state == State::Ok)?;
        discovery.mechanism.map(|mechanism| mechanism.name().to_owned())
    }

    /// Both axes in one, and whether that was to be expected.
    pub fn kind(&self) -> Kind {
        match &self.known {
            Some(known) if known.verdict.is_of(self) => Kind::Known,
            Some(_) if self.found().is_fine() => Kind::Stale,
            _ => self.found(),
        }
    }

    /// Both axes in one, whatever was expected.
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

    /// Whether nobody needs to look at it: the server did as required, or the case does not
    /// apply.
    pub fn is_fine(&self) -> bool {
        self.kind().is_fine()
    }

    /// The judgement in a few words: `pass`, `fail`, `fail (hang)`, `known fail`,
    /// `not applicable`, `unexpected pass`, `stale: not applicable`.
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
