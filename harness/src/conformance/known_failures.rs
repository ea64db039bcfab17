//! Known failures: the accepted failures of servers.

use super::case_result::{CaseResult, Known, KnownVerdict, State};

/// The accepted failures, from a file.
#[derive(Clone, Debug, Default)]
pub struct KnownFailures {
    pub(crate) entries: Vec<Entry>,
}

/// An entry of a file of known failures.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// Name of the server; none applies to every server.
    pub(crate) server: Option<String>,
    /// Name of a case, or a topic followed by a slash.
    pub(crate) case: String,
    pub(crate) known: Known,
}

impl KnownFailures {
    /// Returns the entry that expects this case result.
    pub fn known(&self, server: &str, judgement: &CaseResult) -> Option<Known> {
        let entry = self.entries.iter().find(|entry| {
            entry.is_about(server, judgement.name) && entry.known.verdict.is_of(judgement)
        })?;
        Some(entry.known.clone())
    }

    /// Returns the entry of a case that did not run and is known to fail.
    pub fn known_unjudged(&self, server: &str, case: &str) -> Option<Known> {
        let entry = self.entries.iter().find(|entry| {
            entry.is_about(server, case) && entry.known.verdict != KnownVerdict::Loose
        })?;
        Some(entry.known.clone())
    }
}

impl Entry {
    pub(crate) fn is_about(&self, server: &str, case: &str) -> bool {
        let is_same = |name: &str| name == server || is_pattern_of(server, name);
        self.server.as_deref().is_none_or(is_same) && covers(&self.case, case)
    }

    pub(crate) fn mark(&self, judgement: &mut CaseResult) {
        let Known { verdict, reason, place, .. } = &self.known;
        let what = if self.case.ends_with('/') {
            format!("`{}` in a case of {}", verdict.name(), self.case)
        } else {
            format!("`{}`", verdict.name())
        };
        judgement.expected = format!("{what}, known as: {reason}");
        judgement.hint = Some(match judgement.state {
            State::NotApplicable => format!(
                "by what is declared, the case does not apply: remove the entry from {place}, or \
                 declare again what the case needs"
            ),
            _ => format!("it is mended: remove the entry from {place}"),
        });
        judgement.known = Some(self.known.clone());
    }
}

/// Returns whether an entry that names a pattern applies to the server of this name.
///
/// The pattern's own name stands for its calculator.
fn is_pattern_of(row: &str, server: &str) -> bool {
    servers::find(row).is_some_and(|found| found.pattern.id == row && found.name() == server)
}

/// Returns whether a case is the named one or belongs to the named topic.
pub(crate) fn covers(named: &str, case: &str) -> bool {
    named == case || named.ends_with('/') && case.starts_with(named)
}
