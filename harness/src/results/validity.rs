//! Validity of the results of a load run.

use serde::{Deserialize, Serialize};

/// Validity label of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum ValidityLabel {
    /// No caveat makes the results doubtful.
    #[default]
    Valid,
    /// Some requests got no correct reply, or some connections did not stay open.
    Faulty,
    /// The server did not keep up with the offered rate.
    Overloaded,
    /// The generator limited the results.
    GeneratorBound,
    /// Other processes, other guests of the hypervisor, or a CPU quota took too much CPU time.
    Disturbed,
    /// The results changed from the start of the run to its end.
    NotStationary,
    /// The results are less precise than requested.
    Imprecise,
}

/// Kind of a caveat, in order of severity, most severe first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum CaveatKind {
    /// Some requests or connections failed.
    Faults,
    /// The run ended early because no connection was open.
    EndedEarly,
    /// This machine or the network could not open or keep connections.
    LocalErrors,
    /// The server did not keep up with the offered rate.
    Overload,
    /// The generator sent requests late.
    SentLate,
    /// The generator's thread was busy, but the server was not.
    GeneratorBusy,
    /// The generator's own counts disagree.
    Miscounted,
    /// The generator or the machine prevented a higher rate.
    GeneratorLimit,
    /// The generator was stopped: its loop had gaps in which it neither ran nor waited.
    GeneratorStopped,
    /// The generator waited on the run queue of its CPU.
    RunQueue,
    /// The CPU quota of a cgroup was used up.
    Throttled,
    /// Other processes ran on the generator's CPU.
    OtherLoad,
    /// The hypervisor gave this machine's CPU time to other guests (steal).
    Stolen,
    /// The results changed from the start of the run to its end.
    Changed,
    /// The results are less precise than requested.
    Imprecise,
    /// Server and generator shared a CPU, or may have shared a CPU. The results stay valid.
    SharedProcessor,
}

impl CaveatKind {
    /// Returns the validity label of results with this caveat.
    pub fn label(self) -> ValidityLabel {
        match self {
            CaveatKind::Faults | CaveatKind::EndedEarly => ValidityLabel::Faulty,
            CaveatKind::Overload => ValidityLabel::Overloaded,
            CaveatKind::LocalErrors
            | CaveatKind::SentLate
            | CaveatKind::GeneratorBusy
            | CaveatKind::Miscounted
            | CaveatKind::GeneratorLimit => ValidityLabel::GeneratorBound,
            CaveatKind::GeneratorStopped
            | CaveatKind::RunQueue
            | CaveatKind::Throttled
            | CaveatKind::OtherLoad
            | CaveatKind::Stolen => ValidityLabel::Disturbed,
            CaveatKind::Changed => ValidityLabel::NotStationary,
            CaveatKind::Imprecise => ValidityLabel::Imprecise,
            CaveatKind::SharedProcessor => ValidityLabel::Valid,
        }
    }

    /// Returns whether the cause is the generator or the machine, not the server.
    pub fn blames_generator_or_machine(self) -> bool {
        matches!(self.label(), ValidityLabel::GeneratorBound | ValidityLabel::Disturbed)
    }
}

/// A reason to distrust the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Caveat {
    /// Kind of the caveat.
    pub kind: CaveatKind,
    /// Description, with figures.
    pub text: String,
}

/// Validity label of the results, with all caveats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Validity {
    /// Label of the most severe caveat.
    pub label: ValidityLabel,
    /// All caveats, most severe first.
    pub caveats: Vec<Caveat>,
}

impl ValidityLabel {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            ValidityLabel::Valid => "valid",
            ValidityLabel::Faulty => "faulty",
            ValidityLabel::Overloaded => "overloaded",
            ValidityLabel::GeneratorBound => "generator-bound",
            ValidityLabel::Disturbed => "disturbed",
            ValidityLabel::NotStationary => "not-stationary",
            ValidityLabel::Imprecise => "imprecise",
        }
    }
}

impl Validity {
    /// Creates the validity from caveats, most severe first.
    pub(crate) fn with_caveats(caveats: Vec<Caveat>) -> Validity {
        let label = caveats.first().map_or(ValidityLabel::Valid, |caveat| caveat.kind.label());
        Validity { label, caveats }
    }

    /// Inserts a caveat, in order of severity.
    pub(crate) fn add(&mut self, caveat: Caveat) {
        let mut caveats = std::mem::take(&mut self.caveats);
        let is_before = |other: &Caveat| other.kind as usize <= caveat.kind as usize;
        let position = caveats.iter().take_while(|other| is_before(other)).count();
        caveats.insert(position, caveat);
        *self = Validity::with_caveats(caveats);
    }

    /// Returns all caveats in one line.
    pub fn text(&self) -> String {
        let texts: Vec<&str> = self.caveats.iter().map(|caveat| caveat.text.as_str()).collect();
        texts.join("; ")
    }

    /// Returns the first caveat whose cause is the generator or the machine, not the server.
    pub fn blames_generator_or_machine(&self) -> Option<&Caveat> {
        self.caveats.iter().find(|caveat| caveat.kind.blames_generator_or_machine())
    }

    /// Describes the faults of the server, if any. `None` for other labels, because the machine may
    /// be the cause.
    pub fn problem(&self) -> Option<String> {
        (self.label == ValidityLabel::Faulty).then(|| self.text())
    }
}
