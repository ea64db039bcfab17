//! Whether figures are to be believed.

use serde::Serialize;

/// Whether figures are to be believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// They are.
    #[default]
    Valid,
    /// Not every request was answered rightly, or not every connection lasted.
    Faulty,
    /// The server did not keep up with what was due.
    Overloaded,
    /// They are as much the generator's as the server's.
    GeneratorBound,
    /// Others were given too much of the machine's time.
    Disturbed,
    /// The run was another at its end than at its beginning.
    NotStationary,
    /// They are less precise than was asked for.
    Imprecise,
}

/// What a caveat is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum CaveatKind {
    /// Requests or connections did not end well.
    Faults,
    /// The run ended before its time, because no connection was left.
    EndedEarly,
    /// The server did not keep up with what was due.
    Overload,
    /// The generator sent requests late.
    SentLate,
    /// The generator's thread was busy, and the server was not.
    GeneratorBusy,
    /// The generator's own counts disagree.
    Miscounted,
    /// No higher rate was reached because of the generator or the machine.
    GeneratorLimit,
    /// The generator's loop had gaps in which it neither ran nor waited: it was stopped.
    GeneratorStopped,
    /// The generator waited for its processor.
    RunQueue,
    /// A cgroup's CPU quota was used up.
    Throttled,
    /// Others ran on the generator's processor.
    OtherLoad,
    /// The hypervisor gave the machine's time to others.
    Stolen,
    /// The run was another at its end than at its beginning.
    Changed,
    /// The figures are less precise than was asked for.
    Imprecise,
    /// Server and generator shared a processor, or may have: to be known of a valid run, too.
    SharedProcessor,
}

impl CaveatKind {
    /// The verdict that it leads to.
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

    /// Whether the generator or the machine is to blame, and not the server.
    pub fn blames_generator(self) -> bool {
        matches!(self.verdict(), Verdict::GeneratorBound | Verdict::Disturbed)
    }
}

/// Something that stands against figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caveat {
    /// What it is about.
    pub kind: CaveatKind,
    /// In words, with figures.
    pub words: String,
}

/// A verdict, and all that stands against the figures.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Validity {
    /// The gravest.
    pub verdict: Verdict,
    /// All of them, the gravest first.
    pub caveats: Vec<Caveat>,
}

impl Verdict {
    /// The word used in reports.
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

    /// Adds one more, in its place by gravity.
    pub(super) fn add(&mut self, caveat: Caveat) {
        let mut caveats = std::mem::take(&mut self.caveats);
        let graver = |one: &Caveat| one.kind as usize <= caveat.kind as usize;
        let place = caveats.iter().take_while(|one| graver(one)).count();
        caveats.insert(place, caveat);
        *self = Validity::by(caveats);
    }

    /// All caveats in one line.
    pub fn words(&self) -> String {
        let words: Vec<&str> = self.caveats.iter().map(|caveat| caveat.words.as_str()).collect();
        words.join("; ")
    }

    /// The first caveat by which the generator or the machine is to blame, and not the server.
    pub fn blames_generator(&self) -> Option<&Caveat> {
        self.caveats.iter().find(|caveat| caveat.kind.blames_generator())
    }

    /// What the server did wrong, in words, if so: what else stands against figures may be the
    /// machine's.
    pub fn problem(&self) -> Option<String> {
        (self.verdict == Verdict::Faulty).then(|| self.words())
    }
}
