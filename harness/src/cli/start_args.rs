//! Flags for the start of servers that the harness launches.

use std::time::Duration;

use clap::Args;

use crate::server::{LaunchSpec, Readiness};
use crate::units::{duration, format_duration};
use crate::wire::ReplyRegex;

/// Condition and timeout for a launched server to be ready.
#[derive(Clone, Debug, Default, Args)]
pub struct StartArgs {
    /// Time in which a launched server must listen (default: 20s, or the `start-timeout` of the
    /// manifest).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub start_timeout: Option<Duration>,
    /// Text that a launched server prints when it is ready, for servers that listen before they
    /// serve: a regular expression (default: a server is ready when it listens).
    #[arg(long, value_name = "TEXT", value_parser = ReplyRegex::new)]
    pub ready: Option<ReplyRegex>,
}

impl StartArgs {
    /// Returns whether no flag was given.
    pub fn is_empty(&self) -> bool {
        self.start_timeout.is_none() && self.ready.is_none()
    }

    /// Returns these flags, and those of `other` that are missing here.
    pub fn or(self, other: StartArgs) -> StartArgs {
        StartArgs {
            start_timeout: self.start_timeout.or(other.start_timeout),
            ready: self.ready.or(other.ready),
        }
    }

    /// Replaces the values for which a flag was given.
    pub fn set(&self, readiness: &mut Readiness) {
        if let Some(timeout) = self.start_timeout {
            readiness.timeout = timeout;
        }
        if let Some(text) = &self.ready {
            readiness.text = Some(text.clone());
        }
    }

    /// Replaces the values of a launch spec for which a flag was given, and adds the flags to the
    /// command that reproduces its results.
    pub fn set_in(&self, spec: &mut LaunchSpec) {
        self.set(&mut spec.readiness);
        spec.check_arguments += &self.flags();
        if let Some(other) = &mut spec.with_idle_timeout {
            self.set_in(other);
        }
    }

    /// Returns the flags, each after a space, quoted for a shell.
    fn flags(&self) -> String {
        let timeout =
            self.start_timeout.map(|time| format!("--start-timeout={}", format_duration(time)));
        let ready = self.ready.as_ref().map(|text| format!("--ready={}", text.as_str()));
        let quoted = |flag: String| {
            format!(" {}", shlex::try_quote(&flag).map_or(flag.clone(), |text| text.into_owned()))
        };
        timeout.into_iter().chain(ready).map(quoted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_flag_replaces_only_its_own_recorded_value() {
        let text = ReplyRegex::new("^ready$").expect("a valid expression");
        let given = StartArgs { start_timeout: None, ready: Some(text.clone()) };
        let recorded = StartArgs {
            start_timeout: Some(Duration::from_secs(60)),
            ready: ReplyRegex::new("other").ok(),
        };
        let both = given.or(recorded);
        assert_eq!((both.start_timeout, both.ready), (Some(Duration::from_secs(60)), Some(text)));
    }
}
