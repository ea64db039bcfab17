//! Property tests on a live server: random values, and shrinking of a value that fails.
//!
//! The smallest counterexample can be replayed.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::case_result::State;
use super::context::TestContext;
use super::failure::{Detail, Failure};
use super::settings::PATIENCES;
use crate::wire::ReplyEnd;

/// Time limit for shrinking.
const SHRINKING: Duration = Duration::from_secs(8);

/// Number of smallest counterexamples that are retried until one fails again. A failure may depend
/// on timing.
const SMALLEST: usize = 6;

/// Timeout while shrinking: a multiple of the slowest passed run, and its lower bound.
///
/// A short timeout may cause wrong failures, so the smallest counterexample is retried with the
/// full timeout.
const SLOWER: u32 = 4;
const LEAST_PATIENCE: Duration = Duration::from_millis(150);

/// A property of a server: the setup of a run, and the check.
struct Property<P, H> {
    prepare: P,
    holds: H,
}

impl<'a> TestContext<'a> {
    /// Tests a property on `runs` random values.
    ///
    /// The fixture of `prepare` is reused while the property holds. A replay tests only the saved
    /// value.
    ///
    /// # Errors
    /// The property does not hold. The failure has the smallest counterexample.
    pub(super) fn property<F, T>(
        &self,
        runs: u32,
        what: &str,
        values: impl Strategy<Value = T>,
        prepare: impl Fn() -> Result<F, Failure>,
        holds: impl Fn(&mut F, &T) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        T: Debug + PartialEq + Serialize + DeserializeOwned,
    {
        let property = Property { prepare, holds };
        if let Some(value) = self.replayed() {
            let value =
                T::deserialize(value).map_err(|error| Failure::misfit(error.to_string()))?;
            property.of_fresh(&value).map_err(|finding| finding.of(&value))?;
            self.observe("what failed once is as required now");
            return Ok(());
        }
        let mut fixture = (property.prepare)()?;
        let mut runner = TestRunner::new_with_rng(Config::default(), random(self.seed));
        let mut slowest = Duration::ZERO;
        let runs = self.runs_in_time(runs);
        for _ in 0..runs {
            let began = Instant::now();
            let tree = values
                .new_tree(&mut runner)
                .unwrap_or_else(|reason| panic!("no value can be drawn: {reason}"));
            match (property.holds)(&mut fixture, &tree.current()) {
                Ok(()) => slowest = slowest.max(began.elapsed()),
                Err(finding) if finding.verdict.is_none() => return Err(finding),
                // The idle timeout may have closed an idle client, so this is no failure of the
                // property.
                Err(finding)
                    if finding.state == State::Ok
                        && self.contract.idle_timeout.is_some_and(|it| began.elapsed() >= it) =>
                {
                    fixture = (property.prepare)()?;
                }
                Err(finding) => {
                    drop(fixture);
                    return Err(self.smallest(&property, tree, finding, slowest * SLOWER));
                }
            }
        }
        self.observe_unless_loose(format!("{runs} random {what}, all right"));
        Ok(())
    }

    /// Returns `runs`, or fewer if a case has no time for them because replies end by a timeout.
    fn runs_in_time(&self, runs: u32) -> u32 {
        match self.contract.wire.reply_end {
            ReplyEnd::Quiet(quiet) => {
                let in_time =
                    (self.patience * PATIENCES / 2).as_millis() / quiet.as_millis().max(1);
                runs.min(u32::try_from(in_time).unwrap_or(runs)).max(1)
            }
            _ => runs,
        }
    }

    /// Returns the failure of the smallest value that fails twice: with the short timeout, and then
    /// with the full timeout on a new server.
    fn smallest<F, T, P, H>(
        &self,
        property: &Property<P, H>,
        mut tree: impl ValueTree<Value = T>,
        first: Failure,
        patience: Duration,
    ) -> Failure
    where
        T: PartialEq + Serialize,
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        let whole = tree.current();
        let again = |value: &T| {
            self.relaunch().ok()?;
            property.of_fresh(value).err().filter(|finding| finding.verdict.is_some())
        };
        // The relaunch comes first: it gives a server that is about to crash a moment to exit.
        if self.relaunch().is_err() {
            return first.of(&whole);
        }
        self.hurry(Some(patience.max(LEAST_PATIENCE).min(self.patience)));
        let small = self.shrunk(property, &mut tree);
        self.hurry(None);
        for value in small.iter().rev().take(SMALLEST).chain([&whole]) {
            if let Some(finding) = again(value) {
                return finding.of(value);
            }
        }
        let observed = format!("{} (it failed once and not again)", first.observed);
        Failure { observed, ..first }.of(&whole)
    }

    /// Returns smaller and smaller values that fail.
    fn shrunk<F, T, P, H>(
        &self,
        property: &Property<P, H>,
        tree: &mut impl ValueTree<Value = T>,
    ) -> Vec<T>
    where
        T: PartialEq,
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        let deadline = Instant::now() + SHRINKING;
        let (mut failed, mut fixture) = (Vec::new(), (property.prepare)().ok());
        let mut smaller = tree.simplify();
        while smaller && Instant::now() < deadline {
            let value = tree.current();
            if failed.last() == Some(&value) {
                smaller = tree.simplify();
                continue;
            }
            let Some(prepared) = &mut fixture else { break };
            let held = (property.holds)(prepared, &value);
            if held.as_ref().is_err_and(|finding| finding.verdict.is_some()) {
                failed.push(value);
                smaller = tree.simplify();
            } else {
                smaller = tree.complicate();
            }
            if let Err(finding) = held {
                drop(fixture);
                let afresh = |_| self.relaunch().and_then(|()| (property.prepare)());
                // A server that hangs or crashed must be replaced.
                fixture = match finding.state {
                    State::Hang => afresh(finding).ok(),
                    _ => (property.prepare)().or_else(afresh).ok(),
                };
            }
        }
        failed
    }
}

impl<P, H> Property<P, H> {
    fn of_fresh<F, T>(&self, value: &T) -> Result<(), Failure>
    where
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        (self.holds)(&mut (self.prepare)()?, value)
    }
}

impl Failure {
    /// Adds the counterexample to a failure.
    fn of(self, value: &impl Serialize) -> Failure {
        let counterexample = serde_json::to_value(value).ok();
        let detail = counterexample.map(|value| Box::new(Detail::Counterexample(value)));
        let hint = self.hint.or(Some("this is the smallest counterexample that was found".into()));
        Failure { detail, hint, ..self }
    }
}

/// Returns the random generator of a seed.
fn random(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
