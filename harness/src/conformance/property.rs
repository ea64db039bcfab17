//! Property tests on a running server: random values, and shrinking of a value that fails.

use std::fmt::Debug;
use std::iter;
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::context::TestContext;
use super::failure::{Detail, Failure};
use super::settings::TIMEOUTS_PER_CASE;
use crate::results::State;
use crate::wire::ReplyFraming;

/// Time limit for shrinking.
const SHRINK_TIME: Duration = Duration::from_secs(8);

/// Maximum number of counterexamples that are retried, smallest first, until one fails again. A
/// failure may depend on timing.
const MAX_RETRIES: usize = 6;

/// Timeout while shrinking, as a multiple of the slowest passed run.
///
/// A short timeout may cause false failures, so the smallest counterexample is retried with the
/// full timeout.
const TIMEOUT_FACTOR: u32 = 4;

/// Shortest timeout while shrinking.
const MIN_TIMEOUT: Duration = Duration::from_millis(150);

/// A property of a server: `prepare` returns the fixture of a run, and `holds` checks a value.
struct Property<P, H> {
    prepare: P,
    holds: H,
}

impl<'a> TestContext<'a> {
    /// Tests a property on `runs` random values.
    ///
    /// `prepare` returns a fixture, which is reused while the property holds. `values_name` is the
    /// plural noun for the values in the report. A replay tests only the saved value.
    ///
    /// # Errors
    /// The property does not hold. The failure contains the smallest counterexample found.
    pub(super) fn property<F, T>(
        &self,
        runs: u32,
        values_name: &str,
        values: impl Strategy<Value = T>,
        prepare: impl Fn() -> Result<F, Failure>,
        holds: impl Fn(&mut F, &T) -> Result<(), Failure>,
    ) -> Result<(), Failure>
    where
        T: Debug + PartialEq + Serialize + DeserializeOwned,
    {
        let property = Property { prepare, holds };
        if let Some(value) = self.counterexample() {
            let value = T::deserialize(value)
                .map_err(|error| Failure::wrong_counterexample(error.to_string()))?;
            property.check_twice(&value).map_err(|failure| failure.with_counterexample(&value))?;
            self.evidence().observe("as required for the saved counterexample");
            return Ok(());
        }
        let mut fixture = (property.prepare)()?;
        let mut runner = TestRunner::new_with_rng(Config::default(), random_generator(self.seed));
        let mut slowest = Duration::ZERO;
        let runs = self.runs_in_time(runs);
        let (first, mut done, mut previous) = (Instant::now(), 0, None);
        while done < runs
            && (done == 0 || !self.is_far() || first.elapsed() < self.repetition_time())
        {
            done += 1;
            let began = Instant::now();
            let tree = values
                .new_tree(&mut runner)
                .unwrap_or_else(|reason| panic!("no random value can be generated: {reason}"));
            match (property.holds)(&mut fixture, &tree.current()) {
                Ok(()) => {
                    slowest = slowest.max(began.elapsed());
                    previous = Some(tree);
                }
                Err(failure) if failure.verdict.is_none() => return Err(failure),
                // The run took longer than the idle timeout, so the server may have closed the
                // connection as its contract permits.
                Err(failure)
                    if failure.state == State::Completed
                        && self.contract.idle_timeout.is_some_and(|it| began.elapsed() >= it) =>
                {
                    fixture = (property.prepare)()?;
                }
                Err(failure) => {
                    drop(fixture);
                    return Err(self.smallest_failure(
                        &property,
                        tree,
                        previous,
                        failure,
                        slowest * TIMEOUT_FACTOR,
                    ));
                }
            }
        }
        self.evidence().observe(format!("{done} random {values_name}: all correct"));
        Ok(())
    }

    /// Returns `runs`, or fewer if replies end by a timeout and the case has no time for all runs.
    fn runs_in_time(&self, runs: u32) -> u32 {
        match self.contract.wire.reply_end {
            ReplyFraming::Quiet(quiet) => {
                let max_runs =
                    (self.timeout * TIMEOUTS_PER_CASE / 2).as_millis() / quiet.as_millis().max(1);
                runs.min(u32::try_from(max_runs).unwrap_or(runs)).max(1)
            }
            _ => runs,
        }
    }

    /// Returns the failure of the smallest value that fails twice: with the short timeout, and then
    /// with the full timeout on a new server. If the value that failed `first` does not fail again,
    /// the cause may be the value before it, after which the server closed the connection. Returns
    /// `first` if neither fails twice.
    fn smallest_failure<F, T, V, P, H>(
        &self,
        property: &Property<P, H>,
        tree: V,
        previous: Option<V>,
        first: Failure,
        timeout: Duration,
    ) -> Failure
    where
        T: PartialEq + Serialize,
        V: ValueTree<Value = T>,
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        let original = tree.current();
        for mut tree in iter::once(tree).chain(previous) {
            let value = tree.current();
            let retry = |value: &T| {
                self.relaunch().ok()?;
                property.check_twice(value).err().filter(|failure| failure.verdict.is_some())
            };
            // Relaunch before the timeout is shortened, so that a server that is about to crash has
            // time to exit.
            if self.relaunch().is_err() {
                return first.with_counterexample(&original);
            }
            self.deadlines().override_timeout(Some(timeout.max(MIN_TIMEOUT).min(self.timeout)));
            let smaller = self.shrink(property, &mut tree);
            self.deadlines().override_timeout(None);
            for value in smaller.iter().rev().take(MAX_RETRIES).chain([&value]) {
                if let Some(failure) = retry(value) {
                    return failure.with_counterexample(value);
                }
            }
        }
        let observed = format!("{} (it failed once and did not fail again)", first.observed);
        Failure { observed, ..first }.with_counterexample(&original)
    }

    /// Shrinks a value. Returns the values that failed, the smallest last.
    fn shrink<F, T, P, H>(
        &self,
        property: &Property<P, H>,
        tree: &mut impl ValueTree<Value = T>,
    ) -> Vec<T>
    where
        T: PartialEq,
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        let deadline = Instant::now() + SHRINK_TIME;
        let (mut failed, mut fixture) = (Vec::new(), (property.prepare)().ok());
        let mut has_next = tree.simplify();
        while has_next && Instant::now() < deadline {
            let value = tree.current();
            if failed.last() == Some(&value) {
                has_next = tree.simplify();
                continue;
            }
            let Some(prepared) = &mut fixture else { break };
            let result = property.holds_twice(prepared, &value);
            if result.as_ref().is_err_and(|failure| failure.verdict.is_some()) {
                failed.push(value);
                has_next = tree.simplify();
            } else {
                has_next = tree.complicate();
            }
            if let Err(failure) = result {
                drop(fixture);
                let on_new_server = |_| self.relaunch().and_then(|()| (property.prepare)());
                // A server that hangs or has crashed must be replaced.
                fixture = match failure.state {
                    State::Hang => on_new_server(failure).ok(),
                    _ => (property.prepare)().or_else(on_new_server).ok(),
                };
            }
        }
        failed
    }
}

impl<P, H> Property<P, H> {
    /// Checks a value twice with a new fixture.
    fn check_twice<F, T>(&self, value: &T) -> Result<(), Failure>
    where
        P: Fn() -> Result<F, Failure>,
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        self.holds_twice(&mut (self.prepare)()?, value)
    }

    /// Checks a value twice: a server may reply, and then close the connection.
    fn holds_twice<F, T>(&self, fixture: &mut F, value: &T) -> Result<(), Failure>
    where
        H: Fn(&mut F, &T) -> Result<(), Failure>,
    {
        (self.holds)(fixture, value)?;
        (self.holds)(fixture, value).map_err(Failure::on_next_request)
    }
}

impl Failure {
    /// Adds a counterexample to the failure.
    fn with_counterexample(self, value: &impl Serialize) -> Failure {
        let counterexample = serde_json::to_value(value).ok();
        let detail = counterexample.map(|value| Box::new(Detail::Counterexample(value)));
        let hint_names_no_cause = self.hint.is_none();
        let hint = self.hint.or(Some("this is the smallest counterexample that was found".into()));
        Failure { detail, hint, hint_names_no_cause, ..self }
    }
}

/// Returns a random number generator with this seed.
fn random_generator(seed: u64) -> TestRng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRng::from_seed(RngAlgorithm::ChaCha, &bytes)
}
