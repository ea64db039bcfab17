//! Exit code of a run, determined by `--fail-on`.

use crate::results::{Kind, Report, State};

/// A value of `--fail-on`: results that make the exit code 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailOn {
    /// A case or a measurement failed, or a known failure now passes.
    Fail,
    /// A case was inconclusive.
    Inconclusive,
    /// A server works, but deviates from the strict requirement.
    Warn,
    /// A case does not apply under the contract.
    NotApplicable,
    /// No result.
    None,
}

impl FailOn {
    /// All values, in the order of the help.
    pub const ALL: &[FailOn] =
        &[FailOn::Fail, FailOn::Inconclusive, FailOn::Warn, FailOn::NotApplicable, FailOn::None];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            FailOn::Fail => "fail",
            FailOn::Inconclusive => "inconclusive",
            FailOn::Warn => "warn",
            FailOn::NotApplicable => "not-applicable",
            FailOn::None => "none",
        }
    }

    fn matches(self, report: &Report) -> bool {
        let any = |kinds: &[Kind]| report.results().any(|result| kinds.contains(&result.kind()));
        match self {
            FailOn::Fail => any(&[Kind::Fail, Kind::Stale]) || report.problems().next().is_some(),
            FailOn::Inconclusive => any(&[Kind::Inconclusive]),
            FailOn::Warn => any(&[Kind::Warn]),
            FailOn::NotApplicable => any(&[Kind::NotApplicable]),
            FailOn::None => false,
        }
    }
}

impl Report {
    /// Returns the exit code: 3 if the harness failed in a case, otherwise 1 if a value of
    /// `fail_on` matches the report, otherwise 0.
    pub fn exit_code(&self, fail_on: &[FailOn]) -> u8 {
        if self.results().any(|result| result.state == State::HarnessError) {
            3
        } else {
            u8::from(fail_on.iter().any(|it| it.matches(self)))
        }
    }
}
