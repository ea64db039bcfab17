//! Round-trip time to a server that the harness did not launch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Round trips that are added to a wait. A wait for one event takes one or two, and a lost segment
/// or a delayed acknowledgement costs others.
const ROUND_TRIPS_PER_WAIT: u32 = 4;

/// The round-trip time to a server: the shortest time in which a connection was established.
/// Unknown until then.
#[derive(Clone, Debug)]
pub struct RoundTrip(Arc<AtomicU64>);

impl Default for RoundTrip {
    fn default() -> RoundTrip {
        RoundTrip(Arc::new(AtomicU64::new(u64::MAX)))
    }
}

impl RoundTrip {
    /// Records the time from connect until the connection was established: one round trip, or more
    /// if a segment was lost.
    pub(super) fn record(&self, connect_time: Duration) {
        let ns = u64::try_from(connect_time.as_nanos()).unwrap_or(u64::MAX);
        self.0.fetch_min(ns, Relaxed);
    }

    /// Returns the round-trip time, if it is known.
    pub fn known(&self) -> Option<Duration> {
        match self.0.load(Relaxed) {
            u64::MAX => None,
            ns => Some(Duration::from_nanos(ns)),
        }
    }

    /// Returns the round-trip time; zero if it is unknown.
    pub(super) fn get(&self) -> Duration {
        self.known().unwrap_or_default()
    }

    /// Returns the time for the round trips of a wait.
    pub(super) fn time_of_a_wait(&self) -> Duration {
        self.get() * ROUND_TRIPS_PER_WAIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_round_trip_time_is_the_shortest_connect_time() {
        let round_trip = RoundTrip::default();
        assert_eq!(round_trip.known(), None);
        for ms in [1150, 150, 151] {
            round_trip.clone().record(Duration::from_millis(ms));
        }
        assert_eq!(round_trip.known(), Some(Duration::from_millis(150)));
    }
}
