//! Known failures: the accepted failures of servers.

use crate::results::{CaseResult, KnownFailure, KnownVerdict, State};

/// The accepted failures, from a file.
#[derive(Clone, Debug, Default)]
pub struct KnownFailures {
    pub(crate) entries: Vec<Entry>,
}

/// An entry of a file of known failures.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Name of the server; `None` matches every server. `select-calc` also matches the name of its
    /// pattern, `select`.
    pub(crate) server: Option<String>,
    /// Name of a case, or a topic followed by `/`.
    pub(crate) case: String,
    pub(crate) known: KnownFailure,
}

impl KnownFailures {
    /// Returns the known failure of the entry that matches this result, if any.
    pub fn known(&self, server: &str, result: &CaseResult) -> Option<KnownFailure> {
        let entry = self.entries.iter().find(|entry| {
            entry.applies_to(server, &result.name) && entry.known.verdict.kind() == result.found()
        })?;
        Some(entry.known.clone())
    }

    /// Returns the known failure of a case that did not run, if an entry accepts its failure.
    pub fn known_without_result(&self, server: &str, case: &str) -> Option<KnownFailure> {
        let entry = self.entries.iter().find(|entry| {
            entry.applies_to(server, case) && entry.known.verdict != KnownVerdict::Warn
        })?;
        Some(entry.known.clone())
    }
}

impl Entry {
    /// Returns whether the entry applies to this case of this server.
    pub(crate) fn applies_to(&self, server: &str, case: &str) -> bool {
        let is_same = |name: &str| name == server || is_calculator_of(name, server);
        self.server.as_deref().is_none_or(is_same) && covers(&self.case, case)
    }

    /// Reports in a result that the known failure did not occur.
    pub(crate) fn mark_stale(&self, result: &mut CaseResult) {
        let KnownFailure { verdict, reason, location, .. } = &self.known;
        let expected = if self.case.ends_with('/') {
            format!("`{}` in a case of {}", verdict.name(), self.case)
        } else {
            format!("`{}`", verdict.name())
        };
        result.expected = format!("the known result {expected} ({reason})");
        result.hint = Some(match result.state {
            State::NotApplicable => format!(
                "the case does not apply to what is declared: remove the entry at {location}, or declare \
                 what the case needs"
            ),
            _ => format!("the known failure no longer occurs: remove the entry at {location}"),
        });
        result.hint_names_no_cause = false;
        result.known_failure = Some(self.known.clone());
    }
}

/// Returns whether `server` is the name of a pattern, and `name` the name of its calculator.
fn is_calculator_of(name: &str, server: &str) -> bool {
    servers::find(server).is_some_and(|found| found.pattern.id == server && found.name() == name)
}

/// Returns whether `name` is this case, or its topic followed by `/`.
pub(crate) fn covers(name: &str, case: &str) -> bool {
    name == case || name.ends_with('/') && case.starts_with(name)
}
