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

    /// Same as [`observe`](Self::observe), but only while the verdict is `pass`: keeps the
    /// observation of a warning.
    pub(in crate::conformance) fn observe_unless_warned(&self, text: impl Into<String>) {
        if self.verdict.get() == Verdict::Pass {
            self.observe(text);
        }
    }

    /// Sets the verdict to `warn`: the server works, but deviates from the strict requirement.
    pub fn warn(&self, text: impl Into<String>) {
        self.verdict.set(Verdict::Warn);
        self.observe(text);
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

    pub(in crate::conformance) fn observation(&self) -> Option<String> {
        self.observation.borrow().clone()
    }

    pub(in crate::conformance) fn discovery(&self) -> Option<Discovery> {
        self.discovery.borrow().clone()
    }

    pub(in crate::conformance) fn verdict(&self) -> Verdict {
        self.verdict.get()
    }
}
