//! Which tests run at the same time. Most of them wait, so more run than there are CPUs; one that
//! measures runs alone.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Default of `--test-threads`: enough for the cheapest tests to use all slots.
pub(crate) const TEST_THREADS: usize = SLOTS;

/// What all running tests may cost together.
pub(crate) const SLOTS: usize = 12;

/// How many slots a test takes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost(usize);

impl Cost {
    /// One case, or a few processes.
    pub(crate) const CASE: Cost = Cost(1);
    /// A harness process that judges a server in all cases, several at a time.
    pub(crate) const SERVER: Cost = Cost(2);
    /// The same, where the server uses all CPU time that it gets.
    pub(crate) const GREEDY: Cost = Cost(3);
    /// Nothing else may run: the test measures.
    pub(crate) const ALONE: Cost = Cost(SLOTS);
}

struct State {
    free: usize,
    /// Tickets of the tests that wait: the next to give, and the next to serve.
    next: u64,
    serving: u64,
}

static STATE: Mutex<State> = Mutex::new(State { free: SLOTS, next: 0, serving: 0 });
static CHANGED: Condvar = Condvar::new();

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Slots that a test has. They are free again when it is dropped.
pub(crate) struct Slots(Cost);

impl Slots {
    /// Waits for free slots. First come, first served, so that an expensive test is not overtaken
    /// for ever.
    pub(crate) fn take(cost: Cost) -> Slots {
        let mut state = lock();
        let ticket = state.next;
        state.next += 1;
        let must_wait = |state: &mut State| state.serving != ticket || state.free < cost.0;
        state = CHANGED.wait_while(state, must_wait).unwrap_or_else(PoisonError::into_inner);
        state.serving += 1;
        state.free -= cost.0;
        CHANGED.notify_all();
        Slots(cost)
    }
}

impl Drop for Slots {
    fn drop(&mut self) {
        lock().free += self.0.0;
        CHANGED.notify_all();
    }
}
