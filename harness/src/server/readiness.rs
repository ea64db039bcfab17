//! When a server counts as ready, and how long the harness waits for that.

use std::time::Duration;

use crate::wire::ReplyRegex;

/// Default of `--start-timeout`. Interpreters on a busy machine need seconds.
pub const START_TIMEOUT: Duration = Duration::from_secs(20);

/// When a server counts as ready: when it listens, and has printed a text if one is declared.
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
