//! Little's law.

/// Returns the residual of Little's law, L = λW: (throughput × latency) / (mean number in flight),
/// minus 1. With 0.05, the product is 5 % larger than the measured number in flight. NaN if no
/// request was in flight.
///
/// The law holds for any arrival process (Little, "A proof for the queuing formula L = λW",
/// Operations Research 9, 1961). So a residual is an error of the measurement. Either requests were
/// counted but not timed, or their time in flight and their latency start at different moments.
pub fn littles_residual(mean_in_flight: f64, throughput_per_s: f64, mean_latency_s: f64) -> f64 {
    throughput_per_s * mean_latency_s / mean_in_flight - 1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_in_flight_equal_throughput_times_latency() {
        assert_eq!(littles_residual(64.0, 128_000.0, 0.000_5), 0.0);
    }

    #[test]
    fn latency_without_queueing_time_gives_a_negative_residual() {
        assert_eq!(littles_residual(8.0, 1_000.0, 0.002), -0.75);
        assert!(littles_residual(0.0, 0.0, 0.0).is_nan());
    }
}
