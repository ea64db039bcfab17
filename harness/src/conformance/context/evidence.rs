//! Evidence of a case: transcript, observation, and number of verified requirements.

use std::cell::{Cell, RefCell};

use crate::client::Transcript;
use crate::results::{ConcurrencyModel, Discovery, EventKind, Overload, Verdict};

/// The evidence that a case has collected so far.
pub struct Evidence {
    transcript: Transcript,
    /// Number of verified requirements.
    verified: Cell<usize>,
    observation: RefCell<Option<String>>,
    /// The deviations from the strict requirement.
    warnings: RefCell<Vec<String>>,
    discovery: RefCell<Option<Discovery>>,
    overload: RefCell<Option<Overload>>,
    /// The verdict if the case returns without a failure.
    verdict: Cell<Verdict>,
}

impl Evidence {
    pub(super) fn new(transcript: Transcript) -> Evidence {
        Evidence {
            transcript,
            verified: Cell::default(),
            observation: RefCell::default(),
            warnings: RefCell::default(),
            discovery: RefCell::default(),
            overload: RefCell::default(),
            verdict: Cell::new(Verdict::Pass),
        }
    }

    /// Counts one requirement as verified. A case without a verified requirement cannot pass.
    pub fn record_verified(&self) {
        self.verified.set(self.verified.get() + 1);
    }

    /// Records an observation for the report, in place of the previous one. The report shows the
    /// observation even if the case passes.
    pub fn observe(&self, text: impl Into<String>) {
        *self.observation.borrow_mut() = Some(text.into());
    }

    /// Sets the verdict to `warn`: the server works, but deviates from the strict requirement. The
    /// report then shows the warnings, and no other observation.
    pub fn warn(&self, text: impl Into<String>) {
        self.verdict.set(Verdict::Warn);
        let (text, mut warnings) = (text.into(), self.warnings.borrow_mut());
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }

    /// Sets the verdict to `info`: the case reports this observation without a requirement.
    pub fn inform(&self, text: impl Into<String>) {
        self.record_verified();
        self.verdict.set(Verdict::Info);
        self.observe(text);
    }

    /// Records a detected property that the contract does not declare. Sets the verdict to `info`.
    pub(in crate::conformance) fn report_discovery(&self, discovery: Discovery) {
        self.inform(discovery.sentence());
        *self.discovery.borrow_mut() = Some(discovery);
    }

    /// Records the detected concurrency model, even if the contract declares one.
    pub(in crate::conformance) fn record_concurrency_model(&self, model: ConcurrencyModel) {
        let discovery = Discovery { concurrency_model: Some(model), ..Discovery::default() };
        *self.discovery.borrow_mut() = Some(discovery);
    }

    /// Records what happened to a connection over the limit.
    pub(in crate::conformance) fn record_overload(&self, overload: Overload) {
        *self.overload.borrow_mut() = Some(overload);
    }

    pub(in crate::conformance) fn overload(&self) -> Option<Overload> {
        self.overload.borrow().clone()
    }

    /// Adds a note to the transcript that belongs to no client.
    pub fn note(&self, text: impl Into<String>) {
        self.transcript.add(0, EventKind::note(text));
    }

    pub(in crate::conformance) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    pub(in crate::conformance) fn has_verified_any(&self) -> bool {
        self.verified.get() > 0
    }

    /// Returns the warnings of a case with the verdict `warn`, otherwise its observation.
    pub(in crate::conformance) fn observation(&self) -> Option<String> {
        match self.verdict.get() {
            Verdict::Warn => Some(self.warnings.borrow().join("; ")),
            _ => self.observation.borrow().clone(),
        }
    }

    pub(in crate::conformance) fn discovery(&self) -> Option<Discovery> {
        self.discovery.borrow().clone()
    }

    pub(in crate::conformance) fn verdict(&self) -> Verdict {
        self.verdict.get()
    }
}
