//! Experiment: does the server spin, that is, use the CPU without work?

use std::time::{Duration, Instant};

use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::server::proc::SchedStats;

/// Length of a window, without the time in which the server waited for a CPU.
const WINDOW: Duration = Duration::from_millis(100);

/// Minimum number of windows in a row in which a server that spins uses the CPU.
const MIN_WINDOWS: usize = 10;

/// Minimum share of a window in which a server that spins uses the CPU. A server that polls in
/// intervals uses less, and so does a server that sleeps.
const MIN_SHARE: f64 = 0.5;

/// CPU use of a process tree in a window of time.
struct CpuUse {
    /// CPU time of all threads.
    ran: Duration,
    /// Length of the window, without the time in which the server waited for a CPU.
    window: Duration,
}

impl CpuUse {
    /// Returns the CPU time as a share of the window. It exceeds 1 if several threads run.
    fn share(&self) -> f64 {
        self.ran.as_secs_f64() / self.window.as_secs_f64().max(f64::EPSILON)
    }
}

/// Requires that the server sleeps most of the time in a situation without work. `situation`
/// completes "the server sleeps while …".
///
/// A server may still work on an earlier event, such as the end of a connection, or compile its
/// code. So it spins only if it uses the CPU in every window, for at least half the timeout. The
/// share does not depend on the speed of the machine or on other load: a thread that spins never
/// sleeps, so it either runs or waits for a CPU.
///
/// # Errors
/// The server spins. Or it gets too little CPU time to tell; the case is then inconclusive.
pub(in crate::conformance) fn expect_sleep(
    ctx: &TestContext<'_>,
    situation: &str,
) -> Result<(), Failure> {
    let began = Instant::now();
    let (mut windows, mut ran, mut length) = (0, Duration::ZERO, Duration::ZERO);
    while windows < MIN_WINDOWS || began.elapsed() < ctx.timeout / 2 {
        let used = cpu_use(ctx)?;
        if used.share() < MIN_SHARE {
            ctx.evidence().record_verified();
            return Ok(());
        }
        windows += 1;
        ran += used.ran;
        length += used.window;
    }
    let share = CpuUse { ran, window: length }.share() * 100.0;
    let seen = format!(
        "it uses {share:.0} % of a CPU in {windows} successive windows of {} ms",
        WINDOW.as_millis()
    );
    Err(Failure::fail(format!("the server sleeps while {situation}"), seen))
}

/// Measures the CPU use of the server in one window.
///
/// # Errors
/// The deadline of the case passes before the end of the window.
fn cpu_use(ctx: &TestContext<'_>) -> Result<CpuUse, Failure> {
    let (began, before) = (Instant::now(), ctx.process().sched_stats());
    let mut is_asleep = false;
    loop {
        // Sleeps between two polls.
        is_asleep |= ctx.process().polls_asleep(1) > 0;
        let after = ctx.process().sched_stats();
        let elapsed = began.elapsed();
        let since = |(thread, stats): (&_, &SchedStats)| {
            *stats - before.get(thread).copied().unwrap_or_default()
        };
        let stats: Vec<SchedStats> = after.iter().map(since).collect();
        // Threads wait in parallel, so the longest wait bounds the time that the server lost.
        let waited = stats.iter().map(|stats| stats.waited).max().unwrap_or_default();
        let window = elapsed.saturating_sub(waited);
        let used = CpuUse { ran: stats.iter().map(|stats| stats.ran).sum(), window };
        // The kernel adds a wait only at its end. So a thread that spins, and waits now, may seem
        // to use little. But no poll finds it asleep.
        if window >= WINDOW && (is_asleep || used.share() >= MIN_SHARE) {
            return Ok(used);
        }
        if ctx.time_left().is_err() {
            return Err(Failure::inconclusive(
                "the machine is too busy: the server waited for a CPU most of the time",
            ));
        }
    }
}
