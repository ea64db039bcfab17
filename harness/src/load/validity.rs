//! Validity of the results of a load run.

use serde::Serialize;

/// Validity label of the results.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// No caveat puts the results in doubt.
    #[default]
    Valid,
    /// Some requests got no correct reply, or some connections did not last.
    Faulty,
    /// The server did not keep up with the offered rate.
    Overloaded,
    /// The generator limited the results.
    GeneratorBound,
    /// Other processes or guests used too much of the machine's time.
    Disturbed,
    /// The results changed from the start of the run to its end.
    NotStationary,
    /// The results are less precise than requested.
    Imprecise,
}

/// Kind of a caveat, the gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaveatKind {
    /// Some requests or connections failed.
    Faults,
    /// The run ended early, because no connection was left.
    EndedEarly,
    /// The server did not keep up with the offered rate.
    Overload,
    /// The generator sent requests late.
    SentLate,
    /// The generator's thread was busy, and the server was not.
    GeneratorBusy,
    /// The generator's own counts disagree.
    Miscounted,
    /// The generator or the machine prevented a higher rate.
    GeneratorLimit,
    /// The generator's loop had gaps in which it neither ran nor waited: it was stopped.
    GeneratorStopped,
    /// The generator waited on the run queue of its CPU.
    RunQueue,
    /// The CPU quota of a cgroup was used up.
    Throttled,
    /// Other processes ran on the generator's CPU.
    OtherLoad,
    /// The hypervisor gave the machine's time to other guests (steal).
    Stolen,
    /// The results changed from the start of the run to its end.
    Changed,
    /// The results are less precise than requested.
    Imprecise,
    /// Server and generator shared a CPU, or may have. The results stay valid; the reader must
    /// know.
    SharedProcessor,
}

impl CaveatKind {
    /// Returns the validity label that this kind leads to.
    pub fn verdict(self) -> Verdict {
        match self {
            CaveatKind::Faults | CaveatKind::EndedEarly => Verdict::Faulty,
            CaveatKind::Overload => Verdict::Overloaded,
            CaveatKind::SentLate
            | CaveatKind::GeneratorBusy
            | CaveatKind::Miscounted
            | CaveatKind::GeneratorLimit => Verdict::GeneratorBound,
            CaveatKind::GeneratorStopped
            | CaveatKind::RunQueue
            | CaveatKind::Throttled
            | CaveatKind::OtherLoad
            | CaveatKind::Stolen => Verdict::Disturbed,
            CaveatKind::Changed => Verdict::NotStationary,
            CaveatKind::Imprecise => Verdict::Imprecise,
            CaveatKind::SharedProcessor => Verdict::Valid,
        }
    }

    /// Returns whether the cause is the generator or the machine, not the server.
    pub fn blames_generator(self) -> bool {
        matches!(self.verdict(), Verdict::GeneratorBound | Verdict::Disturbed)
    }
}

/// A reason to distrust the results.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caveat {
    /// Kind of the caveat.
    pub kind: CaveatKind,
    /// Description, with figures.
    pub words: String,
}

/// Validity label of the results, with all caveats.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// Label of the gravest caveat.
    pub verdict: Verdict,
    /// All caveats, the gravest first.
    pub caveats: Vec<Caveat>,
}

impl Verdict {
    /// Returns the name used in reports.
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Valid => "valid",
            Verdict::Faulty => "faulty",
            Verdict::Overloaded => "overloaded",
            Verdict::GeneratorBound => "generator-bound",
            Verdict::Disturbed => "disturbed",
            Verdict::NotStationary => "not-stationary",
            Verdict::Imprecise => "imprecise",
        }
    }
}

impl Validity {
    pub(super) fn by(caveats: Vec<Caveat>) -> Validity {
        let verdict = caveats.first().map_or(Verdict::Valid, |caveat| caveat.kind.verdict());
        Validity { verdict, caveats }
    }

    /// Inserts a caveat, in the order of gravity.
    pub(super) fn add(&mut self, caveat: Caveat) {
        let mut caveats = std::mem::take(&mut self.caveats);
        let graver = |one: &Caveat| one.kind as usize <= caveat.kind as usize;
        let place = caveats.iter().take_while(|one| graver(one)).count();
        caveats.insert(place, caveat);
        *self = Validity::by(caveats);
    }

    /// Returns all caveats in one line.
    pub fn words(&self) -> String {
        let words: Vec<&str> = self.caveats.iter().map(|caveat| caveat.words.as_str()).collect();
        words.join("; ")
    }

    /// Returns the first caveat whose cause is the generator or the machine, not the server.
    pub fn blames_generator(&self) -> Option<&Caveat> {
        self.caveats.iter().find(|caveat| caveat.kind.blames_generator())
    }

    /// Returns what the server did wrong, if anything. Caveats of other labels may be the machine's
    /// fault.
    pub fn problem(&self) -> Option<String> {
        (self.verdict == Verdict::Faulty).then(|| self.words())
    }
}
