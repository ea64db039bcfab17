//! Scheduler of the tests. Each running test occupies slots.
//!
//! Most tests wait, so there are more slots than CPUs. At most two tests that measure run at a
//! time. Tests of several slots start in order; tests of one slot fill the remaining slots. While a
//! CPU is idle, slots are added.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Maximum total cost of all running tests while the CPUs are busy.
pub(crate) const SLOTS: usize = 8;

/// Maximum number of slots that are added while a CPU is idle, once for tests of several slots and
/// once for cases.
const MAX_ADDED: usize = 24;

/// Interval between two readings of the CPU times.
const READING_INTERVAL: Duration = Duration::from_millis(200);

/// Share of idle CPU time above which a slot is added.
const IDLE: f64 = 0.06;

/// Share of idle CPU time below which a slot is removed.
const BUSY: f64 = 0.02;

/// Cost of a running test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cost {
    /// One case, or a few processes.
    Case,
    /// A harness process that tests a server, several cases at a time.
    Server,
    /// Like `Server`, with a server that uses as much CPU time as possible.
    Greedy,
    /// A measurement. Few other tests may run at the same time, and at most one other measurement.
    Measurement,
    /// A test with 10,000 connections. Two at the same time could exceed the descriptor limit.
    ManyConnections,
}

impl Cost {
    /// Returns the number of slots that a test of this cost occupies.
    pub(crate) const fn slots(self) -> usize {
        match self {
            Cost::Case => 1,
            Cost::Server => 2,
            Cost::Greedy => 3,
            Cost::Measurement => SLOTS / 2,
            Cost::ManyConnections => SLOTS / 2 + 1,
        }
    }
}

/// Returns the number of test threads for tests of these costs. All tests of several slots can wait
/// while the maximum number of cases runs.
pub(crate) fn threads(costs: impl Iterator<Item = Cost>) -> usize {
    costs.filter(|&cost| cost != Cost::Case).count() + SLOTS + MAX_ADDED
}

struct State {
    /// Slots in use, without added slots that cases use.
    used: usize,
    /// Number of cases that run in added slots.
    cases_in_added: usize,
    added: usize,
    /// Tests that wait for several slots, in order. Each has its own condition variable.
    waiting: VecDeque<Arc<Condvar>>,
    /// Number of running and waiting tests that measure.
    measurements: usize,
    /// Number of running tests of `Cost::ManyConnections`.
    many_connections: usize,
    /// Time of the last reading, with the total and the idle CPU time.
    last_reading: Option<(Instant, [u64; 2])>,
}

static STATE: Mutex<State> = Mutex::new(State::EMPTY);
/// Notified when a case may run.
static CASE: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a notification, but not longer than until the next reading of the CPU times.
fn wait<'s>(condition: &Condvar, state: MutexGuard<'s, State>) -> MutexGuard<'s, State> {
    condition.wait_timeout(state, READING_INTERVAL).unwrap_or_else(PoisonError::into_inner).0
}

/// Slots of a running test. Dropping it frees them.
pub(crate) struct Slots {
    cost: Cost,
    /// Whether the test is a case in an added slot.
    is_added: bool,
}

impl Slots {
    /// Waits until a test of this cost may run.
    pub(crate) fn take(cost: Cost) -> Slots {
        let mut state = lock();
        let is_added = match cost {
            Cost::Case => loop {
                state.adjust();
                if state.waiting.is_empty() && state.used < SLOTS {
                    state.used += 1;
                    break false;
                }
                if state.cases_in_added < state.added() {
                    state.cases_in_added += 1;
                    break true;
                }
                state = wait(&CASE, state);
            },
            _ => {
                // First in, first out, so that an expensive test does not starve.
                let turn = Arc::new(Condvar::new());
                state.waiting.push_back(Arc::clone(&turn));
                state.measurements += usize::from(cost == Cost::Measurement);
                while !Arc::ptr_eq(&state.waiting[0], &turn) {
                    state = turn.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                while !state.has_slots_for(cost) {
                    state = wait(&turn, state);
                    state.adjust();
                }
                state.waiting.pop_front();
                state.start(cost);
                false
            }
        };
        state.wake();
        Slots { cost, is_added }
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        let mut state = lock();
        match self.is_added {
            true => state.cases_in_added -= 1,
            false => state.used -= self.cost.slots(),
        }
        state.measurements -= usize::from(self.cost == Cost::Measurement);
        state.many_connections -= usize::from(self.cost == Cost::ManyConnections);
        state.wake();
    }
}

impl State {
    const EMPTY: State = State {
        used: 0,
        cases_in_added: 0,
        added: 0,
        waiting: VecDeque::new(),
        measurements: 0,
        many_connections: 0,
        last_reading: None,
    };

    /// Wakes the tests that may run next. A case that starts wakes the next case.
    fn wake(&self) {
        if let Some(turn) = self.waiting.front() {
            turn.notify_one();
        }
        CASE.notify_one();
    }

    /// Records that a test of several slots starts.
    fn start(&mut self, cost: Cost) {
        self.used += cost.slots();
        self.many_connections += usize::from(cost == Cost::ManyConnections);
    }

    /// Returns the number of added slots: 0 while a test measures or waits to measure.
    fn added(&self) -> usize {
        if self.measurements == 0 { self.added } else { 0 }
    }

    fn has_slots_for(&self, cost: Cost) -> bool {
        let fits_descriptors = cost != Cost::ManyConnections || self.many_connections == 0;
        fits_descriptors && self.used + cost.slots() <= SLOTS + self.added()
    }

    /// Adjusts the number of added slots to the idle CPU time since the last reading.
    fn adjust(&mut self) {
        let now = Instant::now();
        if self.last_reading.is_some_and(|(before, _)| now - before < READING_INTERVAL) {
            return;
        }
        let Some(times) = cpu_times() else { return };
        if let Some((_, before)) = self.last_reading {
            let [total, idle] =
                [0, 1].map(|index| times[index].saturating_sub(before[index]) as f64);
            if idle > IDLE * total {
                self.added = (self.added + 1).min(MAX_ADDED);
            } else if idle < BUSY * total {
                self.added = self.added.saturating_sub(1);
            }
        }
        self.last_reading = Some((now, times));
    }
}

/// These rules hold at any number of added slots.
pub(crate) fn measurements_and_many_connections_are_kept_apart() {
    let idle = || State { added: MAX_ADDED, ..State::EMPTY };
    let running = |costs: &[Cost]| {
        let mut state = idle();
        costs.iter().for_each(|&cost| state.start(cost));
        state.measurements = costs.iter().filter(|&&cost| cost == Cost::Measurement).count();
        state
    };
    assert!(running(&[Cost::Measurement]).has_slots_for(Cost::Measurement));
    for other in [Cost::Server, Cost::Greedy, Cost::Measurement, Cost::ManyConnections] {
        assert!(!running(&[Cost::Measurement; 2]).has_slots_for(other), "{other:?}");
    }
    assert_eq!(running(&[Cost::Measurement]).added(), 0);
    assert!(!running(&[Cost::ManyConnections]).has_slots_for(Cost::ManyConnections));
    assert!(running(&[Cost::ManyConnections]).has_slots_for(Cost::Server));
    assert!(!State { added: 0, ..running(&[Cost::Server; 6]) }.has_slots_for(Cost::Server));
    assert!(running(&[Cost::Server; 6]).has_slots_for(Cost::Server), "added slots can be used");
}

/// Returns the total and the idle time of all CPUs since boot (proc_stat(5)).
fn cpu_times() -> Option<[u64; 2]> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let times: Vec<u64> = fields.map_while(|field| field.parse().ok()).collect();
    let idle = times.get(3)? + times.get(4)?;
    // Guest time is included in the first two fields.
    Some([times.iter().take(8).sum(), idle])
}
