//! Test context: gives a case its server under test, its test clients and its deadlines.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::case_result::Verdict;
use super::discovery::Discovery;
use super::failure::Failure;
use super::settings::{PATIENCES, PLAIN, Runner};
use crate::client::{ClientError, Happening, Transcript};
use crate::concurrency::{self, Mechanism, Seen};
use crate::contract::Contract;
use crate::exit::Exit;
use crate::server::proc::{self, ResourceUsage};
use crate::server::{Ended, LaunchSpec, Place, Process, Server};
use crate::text::printable;

/// The host that a launched server listens on.
pub(super) const LOOPBACK: &str = "127.0.0.1";

/// Deadline for a server to reject a connection over the limit.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// Deadline for a server to become idle before it is measured. A server that spins never does.
const REST: Duration = Duration::from_secs(1);

/// Time that a server gets to exit after a failed case, so that a crash is seen.
pub(super) const DYING: Duration = Duration::from_millis(200);

/// Multiple of the slowest reply time after which silence counts as no reply.
const SLOWER: u32 = 6;

/// Shortest silence after which a server that cannot make progress counts as silent.
const SOON: Duration = Duration::from_millis(10);

/// Multiple of the timeout for which a server that uses the CPU is still waited for.
pub(super) const WORKING: u32 = 3;

/// Interval at which a condition is polled that takes a moment to become true.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(5);

/// Shortest and longest polling interval of [`TestContext::wait_for`].
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(40)];

/// What a case gets: the server under test, a client factory, deadlines and evidence.
pub struct TestContext<'a> {
    /// The contract that the server declares.
    pub contract: &'a Contract,
    /// Random seed of the case.
    pub seed: u64,
    /// Timeout of one wait, for a reply or an event.
    pub patience: Duration,
    judge: &'a Runner,
    spec: &'a LaunchSpec,
    place: &'a Place,
    server: RefCell<Server>,
    /// How the first of several servers exited, if it did so by itself.
    death: RefCell<Option<Ended>>,
    /// Timeout that replaces `patience` while a counterexample is shrunk.
    pub(super) hurry: Cell<Option<Duration>>,
    replayed: Cell<bool>,
    pub(super) transcript: Transcript,
    pub(super) clients: Cell<usize>,
    /// Number of clients of the current server process.
    of_this_life: Cell<u32>,
    pub(super) learned: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    met: Cell<usize>,
    /// The longest time to the reply to a plain request.
    slowest: Cell<Duration>,
    /// Whether a plain request was answered. Only then is an error a failure of the requirement.
    pub(super) served: Cell<bool>,
    may_end: Cell<bool>,
    observed: RefCell<Option<String>>,
    discovery: RefCell<Option<Discovery>>,
    /// The verdict if the case returns without a failure.
    verdict: Cell<Verdict>,
    out_of_time: Cell<Instant>,
    /// Time for which this thread and the server's threads had waited for a CPU, and when that was
    /// last read.
    waited: Cell<Duration>,
    given_at: Cell<Instant>,
    /// Time by which the deadline was extended for waiting for a CPU.
    given: Cell<Duration>,
}

impl<'a> TestContext<'a> {
    pub(super) fn new(
        judge: &'a Runner,
        spec: &'a LaunchSpec,
        server: Server,
        place: &'a Place,
    ) -> TestContext<'a> {
        TestContext {
            contract: &spec.contract,
            seed: judge.seed,
            patience: judge.patience,
            judge,
            spec,
            place,
            server: RefCell::new(server),
            death: RefCell::default(),
            hurry: Cell::default(),
            replayed: Cell::default(),
            transcript: Transcript::begin(),
            clients: Cell::new(0),
            of_this_life: Cell::new(0),
            learned: RefCell::default(),
            met: Cell::new(0),
            slowest: Cell::new(Duration::ZERO),
            served: Cell::new(false),
            may_end: Cell::new(false),
            observed: RefCell::default(),
            discovery: RefCell::default(),
            verdict: Cell::new(Verdict::Pass),
            out_of_time: Cell::new(judge.out_of_time()),
            waited: Cell::new(proc::scheduled_thread().waited),
            given_at: Cell::new(Instant::now()),
            given: Cell::default(),
        }
    }

    /// Returns the timeout of the next wait, limited by the deadline of the case.
    ///
    /// # Errors
    /// The deadline of the case has passed.
    pub(super) fn patience_left(&self) -> Result<Duration, ClientError> {
        let patience = self.hurry.get().unwrap_or(self.patience);
        if self.out_of_time.get() <= Instant::now() {
            self.make_up_for_waiting();
        }
        match self.out_of_time.get().saturating_duration_since(Instant::now()).min(patience) {
            Duration::ZERO => Err(ClientError::OutOfTime),
            left => Ok(left),
        }
    }

    /// Extends the deadline of the case by the time that this thread and the server waited for a
    /// CPU.
    ///
    /// On a busy machine the case would otherwise time out. The extension is at most the usual
    /// duration of a case.
    fn make_up_for_waiting(&self) {
        let server = proc::scheduled(&self.server.borrow().process.tree()).waited;
        let waited = proc::scheduled_thread().waited + server;
        // The sum counts threads that wait in parallel one by one, and omits threads that have
        // exited.
        let elapsed = self.given_at.replace(Instant::now()).elapsed();
        let lost = waited.saturating_sub(self.waited.replace(waited)).min(elapsed);
        let given = lost.min((self.patience * PATIENCES).saturating_sub(self.given.get()));
        self.given.set(self.given.get() + given);
        self.out_of_time.set(self.judge.not_later(self.out_of_time.get() + given));
    }

    /// Records the reply time of a plain request.
    pub(super) fn answered_within(&self, time: Duration) {
        self.slowest.set(self.slowest.get().max(time));
    }

    /// Returns the silence after which a server counts as silent: `at_least`, or several times the
    /// slowest reply time.
    ///
    /// The server must also be asleep. That alone proves nothing: a server that waits for a timer
    /// is asleep, too.
    pub(super) fn quiet(&self, at_least: Duration) -> Duration {
        at_least.max(self.slowest.get() * SLOWER).min(at_least.max(self.patience))
    }

    /// Returns how many requests, at most `most`, a case has time for, if each takes `each`.
    pub(super) fn asked_in_time(&self, each: Duration, most: usize) -> usize {
        let in_time = (self.patience / 4).as_micros() / each.as_micros().max(1);
        most.min(usize::try_from(in_time).unwrap_or(most)).max(1)
    }

    /// Returns the failure for a plain request without a reply. The case is inconclusive unless an
    /// earlier plain request was answered.
    pub(super) fn not_served(&self, what: &str, trouble: &ClientError) -> Failure {
        if self.served.get() {
            Failure::trouble(what, trouble)
        } else {
            Failure::blocked(PLAIN, format!("before {what}: {trouble}"))
                .hint("what did the server write?")
        }
    }

    /// Returns the address that the server listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.borrow().address
    }

    /// Returns the address for one more connection. Launches a new server if the current one has
    /// reached its client limit.
    pub(super) fn living(&self) -> Result<SocketAddr, ClientError> {
        if self.contract.wire.clients_per_life.is_some_and(|most| self.of_this_life.get() >= most) {
            self.relaunch().map_err(|finding| ClientError::NotConnected(finding.observed))?;
        }
        self.of_this_life.set(self.of_this_life.get() + 1);
        Ok(self.address())
    }

    /// Returns the request as sent on the wire, with its framing.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        self.contract.sent(request)
    }

    /// Splits a framed request in two parts, with the cut inside the request itself.
    pub fn halves(&self, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let mut first = self.sent(request);
        let rest = first.split_off(self.contract.wire.request.before.len() + 3);
        (first, rest)
    }

    pub(super) fn judge_service(
        &self,
        expected: &str,
        served: Result<Vec<u8>, ClientError>,
    ) -> Result<(), Failure> {
        match served {
            Ok(reply) => match self.learned.borrow().get(&request(7)) {
                Some(learned) if *learned != reply => {
                    Err(Failure::fail(format!("{expected}: {}", printable(learned)), printable(&reply)))
                }
                _ if self.contract.is_busy(&reply) => {
                    Err(Failure::fail(expected, printable(&reply)).hint(
                        "it still counts a client that is gone: is the place given back on every way out?",
                    ))
                }
                _ => {
                    self.was_met();
                    Ok(())
                }
            },
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Polls until `holds` returns true. Goes on after the timeout while the server uses the CPU,
    /// as it may only lack CPU time.
    ///
    /// # Errors
    /// The condition is still false after the timeout; returns the failure of `otherwise`.
    pub fn wait_until(
        &self,
        holds: impl FnMut() -> bool,
        otherwise: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        self.wait_for(self.patience, holds, otherwise)
    }

    /// Same as [`wait_until`](Self::wait_until), with the timeout `patience`.
    ///
    /// # Errors
    /// The condition is still false after the timeout.
    pub fn wait_for(
        &self,
        patience: Duration,
        mut holds: impl FnMut() -> bool,
        otherwise: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        while !holds() {
            let waited = began.elapsed();
            if waited > patience * WORKING || waited > patience && self.is_asleep() {
                // The server may have made it true after the last poll, just before it fell asleep.
                if holds() {
                    break;
                }
                return Err(otherwise());
            }
            // A poll costs CPU time, much of it if the server has many threads. This interval
            // detects the condition at most a tenth too late.
            thread::sleep((waited / 10).clamp(PAUSES[0], PAUSES[1]));
        }
        self.was_met();
        Ok(())
    }

    /// Counts one requirement as verified. A case that verifies none cannot pass.
    pub fn was_met(&self) {
        self.met.set(self.met.get() + 1);
    }

    /// Records an observation for the report. Passed cases report it, too.
    pub fn observe(&self, words: impl Into<String>) {
        *self.observed.borrow_mut() = Some(words.into());
    }

    /// Same as [`observe`](Self::observe), but keeps the observation of a verdict other than pass.
    pub(super) fn observe_unless_loose(&self, words: impl Into<String>) {
        if self.verdict.get() == Verdict::Pass {
            self.observe(words);
        }
    }

    /// Sets the verdict to loose: the server works, but deviates from the strict requirement.
    pub fn loosely(&self, words: impl Into<String>) {
        self.verdict.set(Verdict::Loose);
        self.observe(words);
    }

    /// Sets the verdict to info: the case requires nothing and only reports this observation.
    pub fn inform(&self, words: impl Into<String>) {
        self.was_met();
        self.verdict.set(Verdict::Info);
        self.observe(words);
    }

    /// Records a property that the contract does not declare and the case detected.
    pub(super) fn discovered(&self, discovery: Discovery) {
        self.inform(discovery.sentence());
        *self.discovery.borrow_mut() = Some(discovery);
    }

    /// Records the concurrency model, whether or not the contract declares one.
    pub(super) fn saw_mechanism(&self, mechanism: Mechanism) {
        let seen = Discovery { mechanism: Some(mechanism), ..Discovery::default() };
        *self.discovery.borrow_mut() = Some(seen);
    }

    /// Adds a note to the transcript that belongs to no client.
    pub fn note(&self, words: impl Into<String>) {
        self.transcript.add(0, Happening::Note(words.into()));
    }

    /// Returns the current resource usage of the server's processes.
    pub fn holdings(&self) -> ResourceUsage {
        self.server.borrow().process.holdings()
    }

    /// Returns whether every thread of the server sleeps, in five polls in a row.
    pub fn is_asleep(&self) -> bool {
        self.seen_asleep(5) == 5
    }

    /// Returns whether the server can make no progress without new input.
    ///
    /// True only after several times its slowest reply time since `began`.
    pub(super) fn is_still_since(&self, began: Instant) -> bool {
        let least = SOON.max(self.slowest.get() * SLOWER);
        self.served.get()
            && began.elapsed() >= least
            && concurrency::is_still(&self.server.borrow().process.tree())
    }

    /// Waits up to 1 s for the server to become idle. Otherwise a worker pool that still starts
    /// would be counted as the cost of clients.
    pub fn let_it_rest(&self) {
        let deadline = Instant::now() + REST;
        while !self.is_asleep() && Instant::now() < deadline {}
    }

    /// Returns in how many of `looks` polls every thread of the server sleeps.
    pub fn seen_asleep(&self, looks: usize) -> usize {
        let look = |_: &usize| {
            thread::sleep(TRY_EVERY);
            proc::is_asleep(&self.server.borrow().process.tree())
        };
        (0..looks).filter(look).count()
    }

    /// Returns the server's peak memory since the last call, in bytes.
    pub fn peak_since_last(&self) -> u64 {
        let tree = self.server.borrow().process.tree();
        let peak = proc::peak_bytes(&tree);
        proc::reset_peak(&tree);
        peak
    }

    /// Runs `meanwhile` while the server can open no more descriptors.
    ///
    /// # Errors
    /// The failure of `meanwhile`, or the harness may not change the server's limits.
    pub fn without_descriptors<T>(
        &self,
        meanwhile: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // The server may still hold descriptors of clients that have just closed.
        self.wait_until(|| self.is_asleep(), || Failure::vacuous("the server never rests"))?;
        let tree = self.server.borrow().process.tree();
        let undo = proc::exhaust_descriptors(&tree).map_err(|error| {
            Failure::harness_error("the harness may limit the server", error.to_string())
        })?;
        self.note("the server has no descriptor left");
        let found = meanwhile();
        proc::restore_descriptors(&undo);
        self.note("the server has descriptors again");
        found
    }

    /// Returns whether the file exists in the server's mount namespace.
    ///
    /// # Errors
    /// The harness may not access the server's root directory.
    pub fn has_file(&self, path: &Path) -> Result<bool, Failure> {
        let tree = self.server.borrow().process.tree();
        match proc::have_file(&tree, path) {
            // The root of another user's process is not readable. Without a read-only file system
            // the harness made no separate root for the server.
            Err(_) if !self.spec.limits.read_only => Ok(false),
            seen => seen.map_err(|error| {
                let seen = error.to_string();
                Failure::harness_error("the harness may look at the server's files", seen)
            }),
        }
    }

    /// Detects the server's concurrency model from outside.
    pub fn how_it_is_built(&self) -> Seen {
        concurrency::see(&self.server.borrow())
    }

    /// Sends a signal to the server. From then on, an exit is no crash.
    pub fn signal(&self, signal: Signal) {
        self.may_end.set(true);
        self.note(format!("{signal} to the server"));
        self.server.borrow_mut().process.signal(signal);
    }

    /// Waits up to `deadline` for the server to exit.
    pub fn wait_for_exit(&self, deadline: Duration) -> Option<Exit> {
        self.server.borrow().process.wait_for_exit(deadline)
    }

    /// Waits for the server to exit. Extends `patience` while the server uses the CPU, as it may
    /// only lack CPU time.
    pub fn exits_within(&self, patience: Duration) -> Option<Exit> {
        let began = Instant::now();
        loop {
            let exit = self.wait_for_exit(patience.saturating_sub(began.elapsed()).max(TRY_EVERY));
            let waited = began.elapsed();
            let is_over = waited >= patience * WORKING || waited >= patience && self.is_asleep();
            if exit.is_some() || is_over {
                // The server may have exited after the last poll, just after it fell asleep.
                return exit.or_else(|| self.wait_for_exit(TRY_EVERY));
            }
        }
    }

    /// Returns the number of the server's processes.
    pub fn processes(&self) -> usize {
        self.server.borrow().process.tree().len()
    }

    /// Starts a second instance of the server on the same port, beside the first or after it.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_again(&self) -> Result<Process, Failure> {
        // The port it was launched with; the server may listen on another one.
        self.start_at(LOOPBACK, &self.address().port().to_string())
    }

    /// Starts a second instance of the server with this host and port.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_at(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.note(format!("the server is started again on {host} port {port}"));
        Ok(self.judge.launcher.start(self.spec, host, port)?)
    }

    /// Same as [`start_at`](Self::start_at), without the privilege to bind ports below 1024.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start_unprivileged(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.note(format!("the server is started again on {host} port {port}, unprivileged"));
        Ok(self.judge.launcher.unprivileged().start(self.spec, host, port)?)
    }

    /// Returns the addresses that the server listens on at its port, with the one found at its
    /// launch.
    pub fn listens_on(&self) -> Vec<IpAddr> {
        let server = self.server.borrow();
        let mut addresses = server.process.listening();
        addresses.push(server.listens_on);
        addresses.retain(|address| address.port() == server.listens_on.port());
        let mut hosts: Vec<IpAddr> =
            addresses.iter().map(|address| address.ip().to_canonical()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Returns the time from the launch until the server listened.
    pub fn listened_after(&self) -> Duration {
        self.server.borrow().listened_after
    }

    /// Returns the number of the server's connections in CLOSE_WAIT: closed by the client, but not
    /// by the server.
    pub fn in_close_wait(&self) -> usize {
        proc::in_close_wait(self.address().port())
    }

    /// Returns whether the server listens now.
    pub fn is_listening(&self) -> bool {
        let server = self.server.borrow();
        server.process.listening().contains(&server.listens_on)
    }

    /// Launches a new server in place of the current one. Keeps how that exited, if it did so by
    /// itself.
    ///
    /// # Errors
    /// The new server cannot be launched.
    pub(super) fn relaunch(&self) -> Result<(), Failure> {
        if self.spec.fixed_port.is_some() {
            // Both servers use the same fixed port.
            let process = &mut self.server.borrow_mut().process;
            process.wait_for_exit(self.hurry.get().map_or(DYING, |_| TRY_EVERY));
            process.stop();
            self.place.clear()?;
        }
        let server = self.judge.launcher.launch(self.spec)?;
        self.of_this_life.set(0);
        self.transcript.add(0, Happening::Note("the server is launched afresh".to_owned()));
        let process = self.server.replace(server).process;
        // A server that is about to crash may need a moment to exit.
        process.wait_for_exit(self.hurry.get().map_or(DYING, |_| TRY_EVERY));
        let ended = process.end();
        if ended.exit.is_some_and(|exit| !self.contract.may_end_by(exit)) {
            self.death.borrow_mut().get_or_insert(ended);
        }
        Ok(())
    }

    /// Sets the timeout of each wait, or restores the default, and restarts the deadline of the
    /// case.
    pub(super) fn hurry(&self, patience: Option<Duration>) {
        self.hurry.set(patience);
        self.out_of_time.set(self.judge.out_of_time());
    }

    /// Returns the saved counterexample, if this run is a replay. The case then tests nothing else.
    pub(super) fn replayed(&self) -> Option<&Value> {
        self.replayed.set(true);
        self.judge.replay.as_ref()
    }

    pub(super) fn take_apart(self) -> Evidence {
        Evidence {
            transcript: self.transcript,
            process: self.server.into_inner().process,
            death: self.death.into_inner(),
            replayed: self.replayed.get(),
            met: self.met.get(),
            served: self.served.get(),
            may_end: self.may_end.get(),
            observed: self.observed.into_inner(),
            discovery: self.discovery.into_inner(),
            verdict: self.verdict.get(),
        }
    }
}

/// Evidence of a case, taken from its test context at the end.
pub(super) struct Evidence {
    pub(super) transcript: Transcript,
    pub(super) process: Process,
    pub(super) death: Option<Ended>,
    pub(super) replayed: bool,
    pub(super) met: usize,
    pub(super) served: bool,
    pub(super) may_end: bool,
    pub(super) observed: Option<String>,
    pub(super) discovery: Option<Discovery>,
    pub(super) verdict: Verdict,
}

/// Runs `work` in a thread beside the case.
///
/// # Errors
/// The system cannot create a thread.
pub(super) fn beside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(|error| {
        Failure::harness_error("the machine has a thread for the harness", error.to_string())
    })
}

/// Returns a plain request for a number: calculators and echo servers send the same reply to it.
pub(super) fn request(number: usize) -> Vec<u8> {
    (41_000 + number).to_string().into_bytes()
}
