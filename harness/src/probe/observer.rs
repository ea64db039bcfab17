//! Display of a probe in progress.

/// Displays the progress and the findings of a probe.
pub trait ProbeObserver: Sync {
    /// Called when a phase begins.
    fn on_phase(&self, _name: &str) {}

    /// Called when experiments are about to run, with their number.
    fn on_experiments(&self, _number: usize) {}

    /// Called after each experiment.
    fn on_experiment_end(&self) {}

    /// Prints a finding. Control characters in it are escaped.
    fn on_finding(&self, line: &str);

    /// Prints the reason why the probe failed. Control characters in it are escaped.
    fn on_failure(&self, line: &str);

    /// Called after the last experiment, before the manifest entry is written.
    fn on_end(&self) {}
}
