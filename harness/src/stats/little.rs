//! Little's law.

/// How far the figures of a run are from Little's law, L = λW: what throughput and latency say was
/// in flight, less what was, as a part of that; 0.05 is 5 % too much. It holds of whatever enters
/// and leaves, however it arrives (Little, "A proof for the queuing formula L = λW", Operations
/// Research 9, 1961), so a residual is the measurement's: requests counted but not timed, or timed
/// from another moment than they were in flight from. Not a number if nothing was in flight.
pub fn littles_residual(mean_in_flight: f64, throughput_per_s: f64, mean_latency_s: f64) -> f64 {
    throughput_per_s * mean_latency_s / mean_in_flight - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_flight_is_throughput_times_latency() {
        assert_eq!(littles_residual(64.0, 128_000.0, 0.000_5), 0.0);
    }

    #[test]
    fn latency_that_leaves_out_the_wait_is_a_negative_residual() {
        assert_eq!(littles_residual(8.0, 1_000.0, 0.002), -0.75);
        assert!(littles_residual(0.0, 0.0, 0.0).is_nan());
    }
}
