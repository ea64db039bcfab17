//! Little's law.

/// Returns the residual of Little's law, L = λW: throughput times latency over the measured mean
/// number in flight, minus 1. 0.05 is 5 % too much.
///
/// The law holds for any arrival process (Little, "A proof for the queuing formula L = λW",
/// Operations Research 9, 1961). So a residual is an error of the measurement. Either requests were
/// counted but not timed, or their time in flight and their latency start at different moments. NaN
/// if nothing was in flight.
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
