//! What a case is given: a server to talk to, and to do things to.

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

/// The host that a server is told to listen on.
pub(super) const LOOPBACK: &str = "127.0.0.1";

/// How soon a client must know that it is turned away.
pub(super) const PROMPT: Duration = Duration::from_secs(1);

/// How long a server is given to come to rest before it is measured. One that spins never does.
const REST: Duration = Duration::from_secs(1);

/// How long a server that failed may take to be seen dead.
pub(super) const DYING: Duration = Duration::from_millis(200);

/// How many times as long as the slowest reply silence must last to be believed.
const SLOWER: u32 = 6;

/// How long silence must last at the least to be believed of a server that is still.
const SOON: Duration = Duration::from_millis(10);

/// For how many times the patience a server may go on working.
pub(super) const WORKING: u32 = 3;

/// Pause between two tries of something that takes a moment to become true.
pub(super) const TRY_EVERY: Duration = Duration::from_millis(5);

/// The shortest and the longest pause between two looks at what is waited for.
const PAUSES: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(40)];

/// A server in the hands of a case.
pub struct TestContext<'a> {
    /// What it declares.
    pub contract: &'a Contract,
    /// For all chance in the case.
    pub seed: u64,
    /// How long to wait for what should come.
    pub patience: Duration,
    judge: &'a Runner,
    spec: &'a LaunchSpec,
    place: &'a Place,
    server: RefCell<Server>,
    /// How the first server of several came to its end by itself.
    death: RefCell<Option<Ended>>,
    /// The patience while a counterexample is made smaller.
    pub(super) hurry: Cell<Option<Duration>>,
    replayed: Cell<bool>,
    pub(super) transcript: Transcript,
    pub(super) clients: Cell<usize>,
    /// Of them, those of the server that is there now.
    of_this_life: Cell<u32>,
    pub(super) learned: RefCell<HashMap<Vec<u8>, Vec<u8>>>,
    met: Cell<usize>,
    /// The slowest reply to a plain request that was learned.
    slowest: Cell<Duration>,
    /// A plain request has been answered: what goes wrong from now on is a finding.
    pub(super) served: Cell<bool>,
    may_end: Cell<bool>,
    observed: RefCell<Option<String>>,
    discovery: RefCell<Option<Discovery>>,
    /// If all goes well.
    verdict: Cell<Verdict>,
    out_of_time: Cell<Instant>,
    /// How long this thread and the server's had waited for a processor when that was last looked
    /// at, and when that was.
    waited: Cell<Duration>,
    given_at: Cell<Instant>,
    /// Time that was added because of that.
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

    /// How long may still be waited for one thing.
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

    /// A machine that is busy keeps this thread and the server from running: the case gets that
    /// time back, up to as much as a case usually has.
    pub(super) fn make_up_for_waiting(&self) {
        let server = proc::scheduled(&self.server.borrow().process.tree()).waited;
        let waited = proc::scheduled_thread().waited + server;
        // Threads of a server that wait side by side are counted one by one, and those that have
        // ended no more.
        let elapsed = self.given_at.replace(Instant::now()).elapsed();
        let lost = waited.saturating_sub(self.waited.replace(waited)).min(elapsed);
        let given = lost.min((self.patience * PATIENCES).saturating_sub(self.given.get()));
        self.given.set(self.given.get() + given);
        self.out_of_time.set(self.judge.not_later(self.out_of_time.get() + given));
    }

    /// A plain request was answered in this time.
    pub(super) fn answered_within(&self, time: Duration) {
        self.slowest.set(self.slowest.get().max(time));
    }

    /// How long silence must last to be believed of a server that rests: at least so long, and
    /// several times as long as a plain request took. One that waits for a timer rests, too.
    pub(super) fn quiet(&self, at_least: Duration) -> Duration {
        at_least.max(self.slowest.get() * SLOWER).min(at_least.max(self.patience))
    }

    /// As many requests as are surely answered while a case lasts, where each takes so long, and so
    /// many at the most.
    pub(super) fn asked_in_time(&self, each: Duration, most: usize) -> usize {
        let in_time = (self.patience / 4).as_micros() / each.as_micros().max(1);
        most.min(usize::try_from(in_time).unwrap_or(most)).max(1)
    }

    /// A plain request did not get its reply. Unless one has before, there is nothing to judge.
    pub(super) fn not_served(&self, what: &str, trouble: &ClientError) -> Failure {
        if self.served.get() {
            Failure::trouble(what, trouble)
        } else {
            Failure::blocked(PLAIN, format!("before {what}: {trouble}"))
                .hint("what did the server write?")
        }
    }

    /// Where the server listens.
    pub fn address(&self) -> SocketAddr {
        self.server.borrow().address
    }

    /// Where one more client can connect. A server that has served as many as it lives for is
    /// launched afresh.
    pub(super) fn living(&self) -> Result<SocketAddr, ClientError> {
        if self.contract.wire.clients_per_life.is_some_and(|most| self.of_this_life.get() >= most) {
            self.relaunch().map_err(|finding| ClientError::NotConnected(finding.observed))?;
        }
        self.of_this_life.set(self.of_this_life.get() + 1);
        Ok(self.address())
    }

    /// A request as it is sent.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        self.contract.sent(request)
    }

    /// Of a request as it is sent, its first bytes and the rest: cut within the request itself.
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

    /// Waits until `holds` does. A server that works may only lack a processor, and is waited for.
    ///
    /// # Errors
    /// It does not within the patience of the case; `otherwise` tells what is so instead.
    pub fn wait_until(
        &self,
        holds: impl FnMut() -> bool,
        otherwise: impl FnOnce() -> Failure,
    ) -> Result<(), Failure> {
        self.wait_for(self.patience, holds, otherwise)
    }

    /// As [`wait_until`](Self::wait_until), for so long.
    ///
    /// # Errors
    /// It does not.
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
                // What it did before it came to rest is done now.
                if holds() {
                    break;
                }
                return Err(otherwise());
            }
            // A look costs processor time, much of it if there are many threads. What lasts is
            // seen no more than a tenth too late.
            thread::sleep((waited / 10).clamp(PAUSES[0], PAUSES[1]));
        }
        self.was_met();
        Ok(())
    }

    /// Something required was seen to be so. A case in which nothing was cannot pass.
    pub fn was_met(&self) {
        self.met.set(self.met.get() + 1);
    }

    /// What was seen, for the report, also when all is well.
    pub fn observe(&self, words: impl Into<String>) {
        *self.observed.borrow_mut() = Some(words.into());
    }

    /// As [`observe`](Self::observe), where nothing is told that matters more.
    pub(super) fn observe_unless_loose(&self, words: impl Into<String>) {
        if self.verdict.get() == Verdict::Pass {
            self.observe(words);
        }
    }

    /// It works, but not as the strict wording asks.
    pub fn loosely(&self, words: impl Into<String>) {
        self.verdict.set(Verdict::Loose);
        self.observe(words);
    }

    /// Nothing was required; this was seen.
    pub fn inform(&self, words: impl Into<String>) {
        self.was_met();
        self.verdict.set(Verdict::Info);
        self.observe(words);
    }

    /// Nothing was declared; this was discovered.
    pub(super) fn discovered(&self, discovery: Discovery) {
        self.inform(discovery.sentence());
        *self.discovery.borrow_mut() = Some(discovery);
    }

    /// Records the concurrency model, whether or not one was expected.
    pub(super) fn saw_mechanism(&self, mechanism: Mechanism) {
        let seen = Discovery { mechanism: Some(mechanism), ..Discovery::default() };
        *self.discovery.borrow_mut() = Some(seen);
    }

    /// Writes something down that is no client's doing.
    pub fn note(&self, words: impl Into<String>) {
        self.transcript.add(0, Happening::Note(words.into()));
    }

    /// What the server's processes hold now.
    pub fn holdings(&self) -> ResourceUsage {
        self.server.borrow().process.holdings()
    }

    /// Whether every thread of the server's waits for something, seen several times in a row.
    pub fn is_asleep(&self) -> bool {
        self.seen_asleep(5) == 5
    }

    /// Whether the server can do nothing by itself any more, at least several times as long as its
    /// slowest reply took after `began`.
    pub(super) fn is_still_since(&self, began: Instant) -> bool {
        let least = SOON.max(self.slowest.get() * SLOWER);
        self.served.get()
            && began.elapsed() >= least
            && concurrency::is_still(&self.server.borrow().process.tree())
    }

    /// Waits for a moment in which the server rests, if there is one soon: a pool that is still
    /// being set up would be taken for what clients cost.
    pub fn let_it_rest(&self) {
        let deadline = Instant::now() + REST;
        while !self.is_asleep() && Instant::now() < deadline {}
    }

    /// In how many of so many looks every thread of the server's waits for something.
    pub fn seen_asleep(&self, looks: usize) -> usize {
        let look = |_: &usize| {
            thread::sleep(TRY_EVERY);
            proc::is_asleep(&self.server.borrow().process.tree())
        };
        (0..looks).filter(look).count()
    }

    /// The most memory that the server has had since the last call, in bytes.
    pub fn peak_since_last(&self) -> u64 {
        let tree = self.server.borrow().process.tree();
        let peak = proc::peak_bytes(&tree);
        proc::reset_peak(&tree);
        peak
    }

    /// Lets the server open no descriptor more, for as long as `meanwhile` takes.
    ///
    /// # Errors
    /// What `meanwhile` finds; or the harness may not limit the server.
    pub fn without_descriptors<T>(
        &self,
        meanwhile: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        // Clients that have just left may still hold theirs.
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

    /// Whether this file exists for the server, which may have a file system of its own.
    ///
    /// # Errors
    /// The harness may not look.
    pub fn has_file(&self, path: &Path) -> Result<bool, Failure> {
        let tree = self.server.borrow().process.tree();
        match proc::have_file(&tree, path) {
            // Another user's processes hide their root. The harness gave it none of its own.
            Err(_) if !self.spec.limits.read_only => Ok(false),
            seen => seen.map_err(|error| {
                let seen = error.to_string();
                Failure::harness_error("the harness may look at the server's files", seen)
            }),
        }
    }

    /// How the server is built, as far as that can be told from outside.
    pub fn how_it_is_built(&self) -> Seen {
        concurrency::see(&self.server.borrow())
    }

    /// Sends a signal to the server, which may end from now on.
    pub fn signal(&self, signal: Signal) {
        self.may_end.set(true);
        self.note(format!("{signal} to the server"));
        self.server.borrow_mut().process.signal(signal);
    }

    /// Waits for the server to end.
    pub fn wait_for_exit(&self, deadline: Duration) -> Option<Exit> {
        self.server.borrow().process.wait_for_exit(deadline)
    }

    /// Waits for the server to exit. One that works may only lack a processor, and is given more
    /// time.
    pub fn exits_within(&self, patience: Duration) -> Option<Exit> {
        let began = Instant::now();
        loop {
            let exit = self.wait_for_exit(patience.saturating_sub(began.elapsed()).max(TRY_EVERY));
            let waited = began.elapsed();
            let is_over = waited >= patience * WORKING || waited >= patience && self.is_asleep();
            if exit.is_some() || is_over {
                // What it did before it came to rest is done now.
                return exit.or_else(|| self.wait_for_exit(TRY_EVERY));
            }
        }
    }

    /// The server's processes that are there now.
    pub fn processes(&self) -> usize {
        self.server.borrow().process.tree().len()
    }

    /// Starts the same server once more in the same place, beside the first or after it.
    ///
    /// # Errors
    /// It cannot even be started.
    pub fn start_again(&self) -> Result<Process, Failure> {
        // Where it was told to listen, which need not be where it does.
        self.start_at(LOOPBACK, &self.address().port().to_string())
    }

    /// Starts the same server once more, told these words for host and port.
    ///
    /// # Errors
    /// It cannot even be started.
    pub fn start_at(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.note(format!("the server is started again on {host} port {port}"));
        Ok(self.judge.launcher.start(self.spec, host, port)?)
    }

    /// As [`start_at`](Self::start_at), without the privilege to listen on the system's ports.
    ///
    /// # Errors
    /// It cannot even be started.
    pub fn start_unprivileged(&self, host: &str, port: &str) -> Result<Process, Failure> {
        self.note(format!("the server is started again on {host} port {port}, unprivileged"));
        Ok(self.judge.launcher.unprivileged().start(self.spec, host, port)?)
    }

    /// The addresses that the server listens on at its port: those that it has now, and the first.
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

    /// How long the server took until it listened.
    pub fn listened_after(&self) -> Duration {
        self.server.borrow().listened_after
    }

    /// How many connections its clients have ended and it has not.
    pub fn in_close_wait(&self) -> usize {
        proc::in_close_wait(self.address().port())
    }

    /// Whether the server listens at the moment.
    pub fn is_listening(&self) -> bool {
        let server = self.server.borrow();
        server.process.listening().contains(&server.listens_on)
    }

    /// Launches the server once more, in place of the one that is there; how that ended, if by
    /// itself, is kept.
    ///
    /// # Errors
    /// It cannot be launched any more.
    pub(super) fn relaunch(&self) -> Result<(), Failure> {
        if self.spec.fixed_port.is_some() {
            // There is one port for both.
            let process = &mut self.server.borrow_mut().process;
            process.wait_for_exit(self.hurry.get().map_or(DYING, |_| TRY_EVERY));
            process.stop();
            self.place.clear()?;
        }
        let server = self.judge.launcher.launch(self.spec)?;
        self.of_this_life.set(0);
        self.transcript.add(0, Happening::Note("the server is launched afresh".to_owned()));
        let process = self.server.replace(server).process;
        // One that is about to die may need a moment.
        process.wait_for_exit(self.hurry.get().map_or(DYING, |_| TRY_EVERY));
        let ended = process.end();
        if ended.exit.is_some_and(|exit| !self.contract.may_end_by(exit)) {
            self.death.borrow_mut().get_or_insert(ended);
        }
        Ok(())
    }

    /// Waits for so long at the most, until told otherwise: the time that this takes is not
    /// counted.
    pub(super) fn hurry(&self, patience: Option<Duration>) {
        self.hurry.set(patience);
        self.out_of_time.set(self.judge.out_of_time());
    }

    /// The counterexample to try again, and nothing else, if there is one.
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

/// What is left of a subject when its case is over.
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

/// Works in a thread beside the case.
///
/// # Errors
/// The machine has no thread left.
pub(super) fn beside<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Failure> {
    thread::Builder::new().spawn_scoped(scope, work).map_err(|error| {
        Failure::harness_error("the machine has a thread for the harness", error.to_string())
    })
}

/// A request that calculators and echoes answer alike, a different one for each number.
pub(super) fn request(number: usize) -> Vec<u8> {
    (41_000 + number).to_string().into_bytes()
}
