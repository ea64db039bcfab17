//! The result of one case, with its evidence.

use serde::{Deserialize, Serialize};

use super::concurrency_model::ConcurrencyModel;
use super::discovery::Discovery;
use super::event::Event;
use super::fault::Fault;
use super::known_failure::KnownFailure;
use super::obstacle::Obstacle;
use super::overload::Overload;
use super::provocation::Provoked;
use super::quoted::Quoted;
use super::resources::Sample;
use super::stimulus::{Difference, Stimulus};
use super::survivor::Survivor;
use super::verdict::{Kind, Level, State, Verdict};
use crate::exit::Exit;

/// The result of one case on one server, with its evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CaseResult {
    /// Name of the case.
    pub name: String,
    /// The requirement under test.
    pub requirement: String,
    /// The level of the requirement.
    pub level: Level,
    /// The verdict on the server; `None` if the case is inconclusive or does not apply.
    pub verdict: Option<Verdict>,
    /// How the case ended.
    pub state: State,
    /// The required behaviour; if the case does not apply, its requirement.
    pub expected: String,
    /// The observed behaviour; if the case does not apply, the reason.
    pub observed: String,
    /// Likely cause, or where to look for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the hint names no cause.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub hint_names_no_cause: bool,
    /// The smallest generated input for which the server fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterexample: Option<serde_json::Value>,
    /// If this case is inconclusive: the cases that test its assumptions. The failure of one of
    /// these cases is the cause. If that failure is known, this result also counts as known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<String>,
    /// If this case is inconclusive: what kept the harness from judging it, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    /// The command that reproduces this result.
    pub reproduce: String,
    /// The traffic of the case's clients. Reports keep it only for results that need attention.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transcript: Vec<Event>,
    /// The end of the server's output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// If a client timed out: the last error message that the server had printed by then. Later
    /// ones may concern the disconnect of the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logged_error: Option<String>,
    /// How the server exited, if the harness did not stop it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Processes that still ran after the server's first process had exited.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub survivors: Vec<Survivor>,
    /// Resource usage of the server during the case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<Sample>,
    /// The known failure that explains this result, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_failure: Option<KnownFailure>,
    /// Duration of the case, in milliseconds.
    pub duration_ms: u64,
    /// The property of the server that the case detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub discovery: Option<Box<Discovery>>,
    /// What happened to a connection over the limit, if the case opened one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overload: Option<Overload>,
    /// The client's observation, if the server exited during the case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_observed: Option<String>,
    /// The parts of an observation that quotes the server's output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quoted: Option<Box<Quoted>>,
    /// The way in which the server failed, if the verdict is `fail`. Absent in JSON if only this
    /// case tests for the fault.
    #[serde(default, skip_serializing_if = "Fault::is_requirement")]
    pub fault: Fault,
    /// What the harness did that made the server fail, if the case knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stimulus: Option<Stimulus>,
    /// The first byte in which the received reply differs from the expected one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub difference: Option<Box<Difference>>,
    /// The smallest provocation that makes the server exit in the same way, if it exited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provoked: Option<Box<Provoked>>,
    /// Whether `observed` includes how the connection ended (FIN or RST).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub observes_connection_end: bool,
    /// Whether the value to replay is not a counterexample of this case. No report has such a
    /// result.
    #[serde(skip)]
    pub is_wrong_counterexample: bool,
}

impl CaseResult {
    /// Returns the result of a case that was not run: inconclusive, with no evidence.
    pub fn new(name: impl Into<String>, requirement: impl Into<String>) -> CaseResult {
        let requirement = requirement.into();
        CaseResult {
            name: name.into(),
            expected: requirement.clone(),
            requirement,
            level: Level::Required,
            verdict: None,
            state: State::Inconclusive,
            observed: String::new(),
            hint: None,
            hint_names_no_cause: false,
            counterexample: None,
            blocked_by: Vec::new(),
            obstacle: None,
            reproduce: String::new(),
            transcript: Vec::new(),
            log: String::new(),
            logged_error: None,
            exit: None,
            survivors: Vec::new(),
            resources: Vec::new(),
            known_failure: None,
            duration_ms: 0,
            discovery: None,
            overload: None,
            client_observed: None,
            quoted: None,
            fault: Fault::default(),
            stimulus: None,
            difference: None,
            provoked: None,
            observes_connection_end: false,
            is_wrong_counterexample: false,
        }
    }

    /// Removes the transcript, the output and the resource usage of a result that needs no
    /// attention: they are most of the size of a report.
    pub(crate) fn remove_evidence_of_success(&mut self) {
        if self.found().is_fine() {
            self.transcript.clear();
            self.resources.clear();
            self.log.clear();
        }
    }

    /// Returns whether the case is inconclusive and another case may be the cause.
    pub(crate) fn is_blocked(&self) -> bool {
        self.kind() == Kind::Inconclusive && !self.blocked_by.is_empty()
    }

    /// Returns the observed behaviour, followed by the names of cases that may be the cause.
    pub fn observed_with_causes(&self) -> String {
        match self.found() {
            Kind::Inconclusive if !self.blocked_by.is_empty() => {
                format!("{} (see {})", self.observed, self.blocked_by.join(", "))
            }
            _ => self.observed.clone(),
        }
    }

    /// Returns the concurrency model, if the case detected it.
    pub fn concurrency_model(&self) -> Option<ConcurrencyModel> {
        self.discovery.as_ref().filter(|_| self.state == State::Completed)?.concurrency_model
    }

    /// Combines verdict and state, and takes known failures into account.
    pub fn kind(&self) -> Kind {
        match &self.known_failure {
            Some(known) if known.verdict.kind() == self.found() => Kind::Known,
            Some(_) if self.found().is_fine() => Kind::Stale,
            _ => self.found(),
        }
    }

    /// Combines verdict and state, and ignores known failures.
    pub fn found(&self) -> Kind {
        match (self.verdict, self.state) {
            (_, State::NotApplicable) => Kind::NotApplicable,
            (Some(Verdict::Pass), State::Completed) => Kind::Pass,
            (Some(Verdict::Warn), State::Completed) => Kind::Warn,
            (Some(Verdict::Info), State::Completed) => Kind::Info,
            (Some(_), _) => Kind::Fail,
            (None, _) => Kind::Inconclusive,
        }
    }

    /// Returns whether the result needs no attention, for example a pass or a case that does not
    /// apply.
    pub fn is_fine(&self) -> bool {
        self.kind().is_fine()
    }

    /// Describes the result in a few words: `pass`, `fail`, `fail (hang)`, `known fail`, `not
    /// applicable`, `unexpected pass`, `stale: not applicable`.
    pub fn label(&self) -> String {
        match self.kind() {
            Kind::Known => format!("known {}", self.found_label()),
            Kind::Stale if self.state == State::NotApplicable => {
                format!("stale: {}", self.found_label())
            }
            Kind::Stale => format!("unexpected {}", self.found_label()),
            _ => self.found_label(),
        }
    }

    fn found_label(&self) -> String {
        match (self.verdict, self.state) {
            (Some(verdict), State::Completed) => verdict.name().to_owned(),
            (Some(verdict), state) => format!("{} ({})", verdict.name(), state.name()),
            (None, state) => state.name().to_owned(),
        }
    }
}
