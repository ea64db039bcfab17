//! What a case found. Two things are kept apart: what the server did, and how the case went.

use serde::Serialize;

use crate::client::Event;
use crate::server::{Exit, Survivor};

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
    /// It works, but not as the strict wording asks; or nothing was required.
    Loose,
    /// Not as required.
    Fail,
    /// The case could not find out.
    Undecided,
    /// Ruled out by the contract.
    NotApplicable,
}

impl Kind {
    /// All of them.
    pub const ALL: &[Kind] =
        &[Kind::Pass, Kind::Loose, Kind::Fail, Kind::Undecided, Kind::NotApplicable];

    /// The word used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Loose => "loose",
            Kind::Fail => "fail",
            Kind::Undecided => "undecided",
            Kind::NotApplicable => "not applicable",
        }
    }

    /// One character for a cell of a matrix.
    pub fn symbol(self) -> &'static str {
        match self {
            Kind::Pass => "✓",
            Kind::Loose => "~",
            Kind::Fail => "✗",
            Kind::Undecided => "?",
            Kind::NotApplicable => "·",
        }
    }
}

/// The verdict on one server in one case, with its evidence.
#[derive(Clone, Debug, Serialize)]
pub struct Judgement {
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
    /// How long the case took, in milliseconds.
    pub took_ms: u64,
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

impl Judgement {
    /// Both axes in one.
    pub fn kind(&self) -> Kind {
        match (self.verdict, self.state) {
            (_, State::NotApplicable) => Kind::NotApplicable,
            (Some(Verdict::Pass), State::Ok) => Kind::Pass,
            (Some(Verdict::Loose | Verdict::Info), State::Ok) => Kind::Loose,
            (Some(_), _) => Kind::Fail,
            (None, _) => Kind::Undecided,
        }
    }

    /// Whether nobody needs to look at it: the server did as required, or the case does not
    /// apply.
    pub fn is_fine(&self) -> bool {
        matches!(self.kind(), Kind::Pass | Kind::Loose | Kind::NotApplicable)
    }

    /// The judgement in one or two words: `pass`, `fail`, `fail (hang)`, `not applicable`.
    pub fn words(&self) -> String {
        match (self.verdict, self.state) {
            (Some(verdict), State::Ok) => verdict.name().to_owned(),
            (Some(verdict), state) => format!("{} ({})", verdict.name(), state.name()),
            (None, state) => state.name().to_owned(),
        }
    }
}
