//! What happens to a connection over the connection limit.

use serde::{Deserialize, Serialize};
use servers::OverloadPolicy;

/// The observed handling of a connection over the limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Overload {
    /// What happened to the connection.
    pub outcome: OverloadOutcome,
    /// Time from the call of connect to the rejection, in microseconds. If nothing happened: the
    /// time after which the client gave up.
    pub after_us: u64,
    /// The line that the client received, in quotes and escaped, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
}

/// Outcome of a connection over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OverloadOutcome {
    /// Connected, but not served: the connection waits for a slot.
    Waits,
    /// The connection was refused.
    Refused,
    /// Connected, then reset.
    Reset,
    /// Got the busy line, then a FIN.
    Busy,
    /// Got another line, then a FIN.
    Message,
    /// Closed without data.
    Closed,
    /// The connection was not established in time.
    TimesOut,
    /// Served: there is no limit, or it was not reached.
    Served,
    /// None of these.
    Other,
}

impl OverloadOutcome {
    /// All outcomes, in the order of reports.
    pub const ALL: &[OverloadOutcome] = &[
        OverloadOutcome::Waits,
        OverloadOutcome::Refused,
        OverloadOutcome::Reset,
        OverloadOutcome::Busy,
        OverloadOutcome::Message,
        OverloadOutcome::Closed,
        OverloadOutcome::TimesOut,
        OverloadOutcome::Served,
        OverloadOutcome::Other,
    ];

    /// Returns the outcome that this policy requires.
    pub fn of_policy(policy: OverloadPolicy) -> OverloadOutcome {
        match policy {
            OverloadPolicy::Wait => OverloadOutcome::Waits,
            OverloadPolicy::Refuse => OverloadOutcome::Refused,
            OverloadPolicy::Reset => OverloadOutcome::Reset,
            OverloadPolicy::Busy => OverloadOutcome::Busy,
        }
    }

    /// Describes what the client meets, as a phrase that follows "the client".
    pub fn phrase(self) -> &'static str {
        match self {
            OverloadOutcome::Waits => "waits",
            OverloadOutcome::Refused => "is refused",
            OverloadOutcome::Reset => "is reset",
            OverloadOutcome::Busy => "is told busy",
            OverloadOutcome::Message => "is told another line",
            OverloadOutcome::Closed => "is closed",
            OverloadOutcome::TimesOut => "times out",
            OverloadOutcome::Served => "is served",
            OverloadOutcome::Other => "meets something else",
        }
    }

    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            OverloadOutcome::Waits => "waits",
            OverloadOutcome::Refused => "refused",
            OverloadOutcome::Reset => "reset",
            OverloadOutcome::Busy => "told busy",
            OverloadOutcome::Message => "told another line",
            OverloadOutcome::Closed => "closed",
            OverloadOutcome::TimesOut => "times out",
            OverloadOutcome::Served => "served",
            OverloadOutcome::Other => "other",
        }
    }
}
