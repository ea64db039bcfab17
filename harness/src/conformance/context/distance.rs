//! The distance to the server: waits are longer and experiments smaller if the server is far away.

use std::time::Duration;

use super::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::round_trip::RoundTrip;
use crate::conformance::settings::TIMEOUTS_PER_CASE;
use crate::results::Obstacle;

/// Round-trip time from which a server counts as far away. In a local network, it is below 1 ms.
const FAR: Duration = Duration::from_millis(5);

impl TestContext<'_> {
    /// Returns the round-trip time to the server; zero if the harness launched it.
    pub(in crate::conformance) fn round_trip(&self) -> Duration {
        self.round_trip.as_ref().map_or(Duration::ZERO, RoundTrip::get)
    }

    /// Records the time in which a connection was established.
    pub(in crate::conformance) fn record_connect_time(&self, time: Duration) {
        if let Some(round_trip) = &self.round_trip {
            round_trip.record(time);
        }
    }

    /// Returns a timeout for a server next to the harness, plus the round trips of a wait.
    pub(in crate::conformance) fn with_round_trips(&self, timeout: Duration) -> Duration {
        timeout + self.round_trip.as_ref().map_or(Duration::ZERO, RoundTrip::time_of_a_wait)
    }

    /// Returns whether the round trips of many requests take much of the time of a case.
    pub(in crate::conformance) fn is_far(&self) -> bool {
        self.round_trip() >= FAR
    }

    /// Returns `max`, or the number of repetitions that a case has time for if the server is far
    /// away: at least 1. `round_trips` is the number of round trips of one repetition.
    pub(in crate::conformance) fn repetitions(&self, max: usize, round_trips: u32) -> usize {
        if !self.is_far() {
            return max;
        }
        let number = self.repetition_time().as_micros()
            / (self.round_trip() * round_trips).as_micros().max(1);
        max.min(usize::try_from(number).unwrap_or(max)).max(1)
    }

    /// Returns the time for the repetitions of a case at a far server. It is a small part of the
    /// time limit of the case, which has several such series and must have time to wait for a
    /// failure.
    pub(in crate::conformance) fn repetition_time(&self) -> Duration {
        self.timeout / 2
    }

    /// Returns whether an experiment with a varying number of steps has time for another step. It
    /// ends after half of the time of the case, or a quarter if each step takes long, so that its
    /// result is known.
    pub(in crate::conformance) fn permits_a_step(&self) -> bool {
        let share = if self.is_far() { 0.25 } else { 0.5 };
        self.deadlines.elapsed_share() < share
    }

    /// Requires that the case has time for this number of round trips.
    ///
    /// # Errors
    /// The server is too far away. The case is then inconclusive.
    pub(in crate::conformance) fn require_round_trips(&self, number: usize) -> Result<(), Failure> {
        let time = self.timeout * TIMEOUTS_PER_CASE;
        let needed = self.round_trip().as_secs_f64() * number as f64;
        match self.distance() {
            Some(obstacle) if needed > time.as_secs_f64() * 0.75 => {
                let consequence = format!(
                    "the case needs {number} round trips, which take {needed:.0} s of its {} s",
                    time.as_secs()
                );
                Err(Failure::obstacle(obstacle, &consequence))
            }
            _ => Ok(()),
        }
    }

    /// Returns the obstacle if the server is far away.
    pub(in crate::conformance) fn distance(&self) -> Option<Obstacle> {
        let round_trip_us = u64::try_from(self.round_trip().as_micros()).unwrap_or(u64::MAX);
        self.is_far().then_some(Obstacle::Distance { round_trip_us })
    }
}
