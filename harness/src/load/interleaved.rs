//! Interleaved comparison of two servers.
//!
//! Both servers run at the same time, and the load alternates between them in short slices. So
//! disturbances of the machine affect both servers alike.

mod loaded_server;
mod order;
mod result;

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;

pub use loaded_server::{LoadedServer, Pair, ServerFailure};
use order::orders;
pub use result::{BusyShares, ComparisonResult, margin_percent};

use super::placement::Placement;
use super::timeouts::REPLY_TIMEOUT;
use crate::server::proc::{SchedStats, sched_stats};
use crate::server::{LaunchSpec, Launcher};
use crate::stats::Comparison;

/// Settings of an interleaved comparison.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InterleavedComparison {
    /// Number of connections to each server, with one request in flight on each.
    pub connections: usize,
    /// Duration of a slice, in which one of the servers is loaded.
    pub slice: Duration,
    /// Number of launches of each server.
    pub launches: u32,
    /// Duration of all slices together, without launches and warm-up.
    pub time: Duration,
    /// Timeout for connecting, and for each reply.
    pub timeout: Duration,
    /// Random seed for the order in which the servers are launched and loaded.
    pub seed: u64,
}

impl Default for InterleavedComparison {
    /// Returns the settings of `harness bench --against`, which take about 10 s.
    fn default() -> InterleavedComparison {
        InterleavedComparison {
            connections: 64,
            slice: Duration::from_millis(5),
            launches: 20,
            time: Duration::from_secs(6),
            timeout: REPLY_TIMEOUT,
            seed: 0,
        }
    }
}

/// Scheduling statistics of a server and its generator while the server was loaded.
#[derive(Clone, Copy, Debug, Default)]
struct LoadedTime {
    time: Duration,
    server: SchedStats,
    generator: SchedStats,
}

impl LoadedTime {
    /// Returns the values of this launch so far.
    fn now(loaded: &LoadedServer) -> LoadedTime {
        let server = sched_stats(&loaded.running.process.tree());
        LoadedTime { time: loaded.time, server, generator: loaded.generator_stats }
    }

    /// Adds the difference between two moments of a launch.
    fn add(&mut self, now: LoadedTime, before: LoadedTime) {
        self.time += now.time - before.time;
        self.server += now.server - before.server;
        self.generator += now.generator - before.generator;
    }

    fn busy_shares(&self) -> BusyShares {
        let time = self.time.as_secs_f64();
        let share = |it: SchedStats| match time > 0.0 {
            true => (it.ran + it.waited).as_secs_f64() / time,
            false => 0.0,
        };
        BusyShares { server: share(self.server), generator: share(self.generator) }
    }
}

/// Compares the throughputs of two servers. If the comparison is interrupted, the result is from
/// the slices until the interruption.
///
/// # Errors
/// [`ServerFailure`] if a server does not start or does not answer correctly. Other errors: the
/// kernel denies the harness a resource.
pub fn compare(
    launcher: &Launcher,
    specs: [&LaunchSpec; 2],
    settings: InterleavedComparison,
    placement: &Placement,
    interrupted: &AtomicBool,
) -> Result<ComparisonResult> {
    let InterleavedComparison { connections, slice, launches, time, timeout, seed } = settings;
    let mut ratios = Vec::new();
    let mut loaded_times = [LoadedTime::default(); 2];
    for order in orders(seed, launches) {
        if interrupted.load(Relaxed) {
            break;
        }
        let launch = |which: usize| {
            LoadedServer::launch(launcher, specs[which], (connections, timeout), placement)
        };
        let (first, second) = (launch(order.launched)?, launch(1 - order.launched)?);
        let servers = if order.launched == 0 { [first, second] } else { [second, first] };
        let _pinned = placement.pin_load_thread(0)?;
        let mut pair = Pair::new(servers, slice, order.loaded)?;
        let before = pair.servers.each_ref().map(LoadedTime::now);
        let deadline = Instant::now() + time / launches;
        let mut pairs = Vec::new();
        while Instant::now() < deadline && !interrupted.load(Relaxed) {
            pairs.push(pair.ratio()?);
        }
        for ((sum, loaded), before) in loaded_times.iter_mut().zip(&pair.servers).zip(before) {
            sum.add(LoadedTime::now(loaded), before);
        }
        ratios.push(pairs);
    }
    let busy = loaded_times.each_ref().map(LoadedTime::busy_shares);
    let is_shared = matches!(placement, Placement::Together(_) | Placement::OneOnly);
    Ok(ComparisonResult { comparison: Comparison::of(&ratios), busy, is_shared })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_that_were_never_loaded_have_busy_shares_of_zero() {
        assert_eq!(LoadedTime::default().busy_shares(), BusyShares::default());
    }
}
