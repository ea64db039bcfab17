//! The verdict on the server, the state of the case, and their combination.

use serde::{Deserialize, Serialize};

/// The verdict on the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The server meets the requirement.
    Pass,
    /// The server meets only a relaxed form of the requirement.
    Warn,
    /// The case reports an observation and has no requirement.
    Info,
    /// The server does not meet the requirement.
    Fail,
}

/// How the case ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The case ran to its end, with any verdict.
    Completed,
    /// The case did not run: the contract excludes or does not declare the tested behaviour.
    NotApplicable,
    /// The server did not answer or exit in time.
    Hang,
    /// The server exited unexpectedly.
    Crash,
    /// The server did not release a resource.
    Leak,
    /// The case could not be tried, for example because a plain request got no reply.
    Inconclusive,
    /// The harness itself failed, for example because no descriptor was left.
    HarnessError,
}

/// Verdict and state combined, as counted and shown in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The server meets the requirement.
    Pass,
    /// The server meets only a relaxed form of the requirement.
    Warn,
    /// The case reports an observation and has no requirement.
    Info,
    /// The server does not meet the requirement.
    Fail,
    /// The case could not be tried.
    Inconclusive,
    /// The contract rules the case out.
    NotApplicable,
    /// The failure is known and accepted.
    Known,
    /// A known failure now passes or does not apply, so its entry is out of date.
    Stale,
}

impl Kind {
    /// All kinds.
    pub const ALL: &[Kind] = &[
        Kind::Pass,
        Kind::Warn,
        Kind::Info,
        Kind::Fail,
        Kind::Inconclusive,
        Kind::NotApplicable,
        Kind::Known,
        Kind::Stale,
    ];

    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Pass => "pass",
            Kind::Warn => "warn",
            Kind::Info => "info",
            Kind::Fail => "fail",
            Kind::Inconclusive => "inconclusive",
            Kind::NotApplicable => "not applicable",
            Kind::Known => "known failure",
            Kind::Stale => "stale known failure",
        }
    }

    /// Returns the character for a cell of a matrix.
    pub fn symbol(self) -> &'static str {
        match self {
            Kind::Pass => "✓",
            Kind::Warn => "~",
            Kind::Info => "i",
            Kind::Fail => "✗",
            Kind::Inconclusive => "?",
            Kind::NotApplicable => "·",
            Kind::Known => "k",
            Kind::Stale => "!",
        }
    }

    /// Returns whether the result needs no attention.
    pub fn is_fine(self) -> bool {
        matches!(self, Kind::Pass | Kind::Warn | Kind::Info | Kind::NotApplicable | Kind::Known)
    }
}

impl Verdict {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Warn => "warn",
            Verdict::Info => "info",
            Verdict::Fail => "fail",
        }
    }
}

impl State {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            State::Completed => "completed",
            State::NotApplicable => "not applicable",
            State::Hang => "hang",
            State::Crash => "crash",
            State::Leak => "leak",
            State::Inconclusive => "inconclusive",
            State::HarnessError => "harness error",
        }
    }
}

/// Level of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Required of every server with a contract to which the case applies.
    Required,
    /// Robustness against hostile input and exhausted resources: malformed requests, floods,
    /// clients that never read, a process without free descriptors.
    Hardening,
}

impl Level {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Level::Required => "required",
            Level::Hardening => "hardening",
        }
    }
}
