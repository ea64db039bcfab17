//! Measurement flags of `load` and `bench`.

use std::process::ExitCode;

use anyhow::Result;

use super::selection::seed_or_random;
use crate::cli::{MeasurementArgs, Require};
use crate::interrupt;
use crate::load::{MeasurementSettings, Plan};
use crate::results::{Measurement, ValidityLabel};
use crate::thresholds::ThresholdResult;
use crate::usage_error::UsageError;

/// Exit code if the harness itself failed.
const PREVENTED: u8 = 3;

impl MeasurementArgs {
    pub(crate) fn settings(&self, plan: Plan) -> MeasurementSettings<'static> {
        MeasurementSettings {
            plan,
            timeout: self.timeout,
            pin: self.pin,
            threads: self.threads.into(),
            seed: seed_or_random(self.seed),
            precision: self.precision,
            extended: self.extend,
            syscalls: false,
            interrupted: interrupt::flag(),
        }
    }

    /// Returns the exit code for these measurements: 1 if any of them has no correct reply or does
    /// not meet `--require`; otherwise 3 if this machine or the network prevented a measurement;
    /// otherwise 1 if a threshold is not met.
    pub(crate) fn exit_code<'m>(
        &self,
        measurements: impl IntoIterator<Item = &'m Measurement>,
        thresholds: &[ThresholdResult],
    ) -> ExitCode {
        if let Some(code) = interrupt::exit_code() {
            return code;
        }
        let measurements: Vec<&Measurement> = measurements.into_iter().collect();
        let is_prevented = measurements.iter().any(|it| it.is_prevented());
        let is_failure = measurements.iter().any(|it| self.is_failure(it));
        let is_unmet = thresholds.iter().any(|result| !result.is_met);
        ExitCode::from(match (is_failure, is_prevented) {
            (true, _) => 1,
            // Without figures, no threshold can be met.
            (false, true) => PREVENTED,
            (false, false) => u8::from(is_unmet),
        })
    }

    /// Returns whether a measurement makes the exit code 1.
    pub(crate) fn is_failure(&self, measurement: &Measurement) -> bool {
        if measurement.is_prevented() {
            return false;
        }
        let requires_valid = self.require == Some(Require::Valid);
        let is_rejected = requires_valid && measurement.validity.label != ValidityLabel::Valid;
        is_rejected || !measurement.has_answers()
    }
}

/// Rejects the conditions of `--require` that apply only to comparisons.
pub(crate) fn reject_comparison_conditions(require: Option<Require>) -> Result<()> {
    match require {
        None | Some(Require::Valid) => Ok(()),
        Some(Require::Conclusive | Require::NotSlower) => {
            let message = "--require conclusive and --require not-slower apply to comparisons: add \
                           --against SERVER, or use --require valid";
            Err(UsageError(message.to_owned()).into())
        }
    }
}
