//! Condition and timeout for a server to be ready.

use std::time::Duration;

use crate::wire::ReplyRegex;

/// Default of `--start-timeout`. Interpreters on a busy machine need seconds.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Condition and timeout for a server to be ready: it listens, and has printed the declared text,
/// if any.
#[derive(Clone, Debug, PartialEq)]
pub struct Readiness {
    /// Time from the start of the command in which the server must be ready.
    pub timeout: Duration,
    /// Regular expression that the output of a ready server matches.
    pub text: Option<ReplyRegex>,
}

impl Default for Readiness {
    fn default() -> Readiness {
        Readiness { timeout: START_TIMEOUT, text: None }
    }
}
