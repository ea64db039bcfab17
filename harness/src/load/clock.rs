//! Clocks of a load generator.

use std::time::{Duration, Instant};

use nix::time::ClockId;

/// Clock of a run, in nanoseconds since the start. Copies have the same start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Clock {
        Clock(Instant::now())
    }

    pub(super) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// Returns the CPU time of the calling thread.
pub(super) fn thread_cpu_ns() -> u64 {
    let time = ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from);
    time.as_nanos() as u64
}
