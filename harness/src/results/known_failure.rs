//! Known failures: accepted failures of servers.

use serde::{Deserialize, Serialize};

use super::verdict::Kind;

/// An accepted failure and its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KnownFailure {
    /// The expected result of the case.
    pub verdict: KnownVerdict,
    /// The reason for accepting it.
    pub reason: String,
    /// File and line of the entry.
    pub location: String,
    /// Set if the entry names a different case, whose failure makes the case of this result
    /// inconclusive: the name of that case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl KnownFailure {
    /// Describes the entry by its reason and location.
    pub fn text(&self) -> String {
        match &self.cause {
            Some(cause) => format!("because of {cause}: {} ({})", self.reason, self.location),
            None => format!("{} ({})", self.reason, self.location),
        }
    }

    /// Returns the entry for a case that is inconclusive because of the known failure of `case`.
    pub(crate) fn inherited_from(&self, case: &str) -> KnownFailure {
        let cause = self.cause.clone().or_else(|| Some(case.to_owned()));
        KnownFailure { verdict: KnownVerdict::Inconclusive, cause, ..self.clone() }
    }
}

/// Results other than a pass that an entry can expect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum KnownVerdict {
    /// The server does not meet the requirement.
    #[default]
    Fail,
    /// The case is inconclusive.
    Inconclusive,
    /// The server meets only a relaxed form of the requirement.
    Warn,
}

impl KnownVerdict {
    /// Returns the name used in files and reports.
    pub fn name(self) -> &'static str {
        match self {
            KnownVerdict::Fail => "fail",
            KnownVerdict::Inconclusive => "inconclusive",
            KnownVerdict::Warn => "warn",
        }
    }

    /// Returns the kind of result that an entry with this verdict expects.
    pub fn kind(self) -> Kind {
        match self {
            KnownVerdict::Fail => Kind::Fail,
            KnownVerdict::Inconclusive => Kind::Inconclusive,
            KnownVerdict::Warn => Kind::Warn,
        }
    }
}
