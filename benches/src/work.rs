//! Busy share of a server under load. It shows whether the server limited the throughput.

use std::fmt;
use std::time::Duration;

use harness::load::interleaved::LoadedServer;
use harness::server::proc::{SchedStats, sched_stats};

/// Minimum busy share of a server that limits the throughput.
const BUSY: f64 = 0.9;

/// Maximum share of time on the run queue. Above it, other processes used the server's CPU.
const MAX_WAITED: f64 = 0.1;

/// Values of a loaded server at the start of an observation.
#[derive(Clone, Copy, Debug)]
pub struct WorkStart {
    sched_stats: SchedStats,
    answered: u64,
    time: Duration,
}

impl WorkStart {
    /// Starts an observation.
    pub fn of(loaded: &LoadedServer) -> WorkStart {
        WorkStart {
            sched_stats: sched_stats(&loaded.running.process.tree()),
            answered: loaded.answered,
            time: loaded.time,
        }
    }
}

/// Use of the time in which a server was loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Share of the time in which the server ran, summed over its threads.
    pub ran: f64,
    /// Share of the time on the run queue: the server was runnable, but another thread had the CPU.
    pub waited: f64,
    /// CPU time per request, in seconds.
    pub cpu_per_request: f64,
}

impl Work {
    /// Returns the values since `before`.
    pub fn since(before: &WorkStart, loaded: &LoadedServer) -> Work {
        let time = loaded.time.saturating_sub(before.time);
        let now = sched_stats(&loaded.running.process.tree());
        let share = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() / time.as_secs_f64()
        };
        let ran = share(now.ran, before.sched_stats.ran);
        let waited = share(now.waited, before.sched_stats.waited);
        let answered = (loaded.answered - before.answered) as f64;
        Work { ran, waited, cpu_per_request: ran * time.as_secs_f64() / answered }
    }

    /// Returns whether the server was busy nearly all the time, so that it limited the throughput.
    pub fn is_busy(&self) -> bool {
        self.ran + self.waited >= BUSY
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { ran, waited, cpu_per_request } = self;
        write!(
            formatter,
            "ran {:.0} % of the time and waited for a CPU {:.0} %, {:.2} µs per request",
            100.0 * ran,
            100.0 * waited,
            1e6 * cpu_per_request
        )?;
        if !self.is_busy() {
            write!(formatter, "; the load generator limited the throughput")?;
        }
        if *waited > MAX_WAITED {
            write!(formatter, "; other processes used the server's CPU")?;
        }
        Ok(())
    }
}
