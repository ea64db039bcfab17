//! What a case found. Two things are kept apart: what the server did, and how the case went.

use serde::Serialize;

use crate::client::Event;
use crate::server::Exit;

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
    /// Whether nobody needs to look at it: the server did as required, or the case does not
    /// apply.
    pub fn is_fine(&self) -> bool {
        match self.state {
            State::NotApplicable => true,
            State::Ok => self.verdict.is_some_and(|verdict| verdict != Verdict::Fail),
            _ => false,
        }
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
