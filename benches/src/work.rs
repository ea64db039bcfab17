//! Busy share of a server under load: whether the server limited the throughput.

use std::fmt;
use std::time::Duration;

use harness::load::interleaved::Loaded;
use harness::server::proc::{Scheduled, scheduled};

/// Minimum busy share of a server that limits the throughput.
const BUSY: f64 = 0.9;

/// Maximum share of time on the run queue of a server with a CPU of its own.
const TAKEN: f64 = 0.1;

/// Values at the start of an observation.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    scheduled: Scheduled,
    asked: u64,
    time: Duration,
}

impl Before {
    /// Starts an observation.
    pub fn of(loaded: &Loaded) -> Before {
        Before {
            scheduled: scheduled(&loaded.running.process.tree()),
            asked: loaded.asked,
            time: loaded.time,
        }
    }
}

/// Use of the time in which a server was loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// Share in which the server ran.
    pub ran: f64,
    /// Share in which it was runnable, and another thread had the CPU.
    pub waited: f64,
    /// CPU time per request, in seconds.
    pub each: f64,
}

impl Work {
    /// Returns the values since `before`.
    pub fn since(before: &Before, loaded: &Loaded) -> Work {
        let time = loaded.time.saturating_sub(before.time);
        let now = scheduled(&loaded.running.process.tree());
        let part = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() / time.as_secs_f64()
        };
        let ran = part(now.ran, before.scheduled.ran);
        let waited = part(now.waited, before.scheduled.waited);
        let asked = (loaded.asked - before.asked) as f64;
        Work { ran, waited, each: ran * time.as_secs_f64() / asked }
    }

    /// Returns whether the server was busy all the time.
    pub fn is_busy(&self) -> bool {
        self.ran + self.waited >= BUSY
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { ran, waited, each } = self;
        write!(
            formatter,
            "ran {:.0} % of the time and waited for a processor {:.0} %, {:.2} µs for each request",
            100.0 * ran,
            100.0 * waited,
            1e6 * each
        )?;
        if !self.is_busy() {
            write!(formatter, "; it was the load that limited the throughput")?;
        }
        if *waited > TAKEN {
            write!(formatter, "; others took its processor")?;
        }
        Ok(())
    }
}
