//! What a server did with the time in which it was loaded: whether it is what limited the
//! throughput.

use std::fmt;
use std::time::Duration;

use harness::load::interleaved::Loaded;
use harness::server::proc::{Scheduled, scheduled};

/// A server that had something to do for a smaller part of the time is not what limited the
/// throughput.
const BUSY: f64 = 0.9;

/// A server that waited for a processor for a larger part of the time did not have one to itself.
const TAKEN: f64 = 0.1;

/// What was so when a server's work began to count.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    scheduled: Scheduled,
    asked: u64,
    time: Duration,
}

impl Before {
    /// It begins to count now.
    pub fn of(loaded: &Loaded) -> Before {
        Before {
            scheduled: scheduled(&loaded.running.process.tree()),
            asked: loaded.asked,
            time: loaded.time,
        }
    }
}

/// What a server did with the time in which it was loaded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Work {
    /// The part in which it ran.
    pub ran: f64,
    /// The part in which it would have run if others had not.
    pub waited: f64,
    /// How long it ran for each request, in seconds.
    pub each: f64,
}

impl Work {
    /// From then until now.
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

    /// Whether it had something to do all the time.
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
