//! Formats times, rates and counts for output.

use std::fmt::Display;

/// Formats a time in ns with a unit and three significant digits.
pub(crate) fn time(ns: u64) -> String {
    match ns {
        0..1_000 => format!("{ns} ns"),
        1_000..1_000_000 => format!("{} µs", three_digits(ns as f64 / 1e3)),
        1_000_000..1_000_000_000 => format!("{} ms", three_digits(ns as f64 / 1e6)),
        _ => format!("{} s", three_digits(ns as f64 / 1e9)),
    }
}

/// Formats a time in ns, or `None` as a dash.
pub(crate) fn time_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), time)
}

fn three_digits(value: f64) -> String {
    match value {
        100.0.. => format!("{value:.0}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// Formats a rate per second, with decimals below 100.
pub(crate) fn rate(per_s: f64) -> String {
    let decimals = match per_s {
        100.0.. => return count(per_s),
        10.0..100.0 => 1,
        1.0..10.0 => 2,
        _ => 3,
    };
    let digits = format!("{per_s:.decimals$}");
    digits.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Formats a value with three significant digits, and with commas between thousands.
pub(crate) fn significant(value: f64) -> String {
    let size = value.abs();
    let decimals: usize = match size {
        99.95.. => 0,
        9.995..99.95 => 1,
        0.9995..9.995 => 2,
        _ if size == 0.0 => 0,
        _ => (2.0 - size.log10().floor()).clamp(3.0, 9.0) as usize,
    };
    match size {
        // Rounded to three digits.
        999.5.. => {
            let unit = 10f64.powf(size.log10().floor() - 2.0);
            count((value / unit).round() * unit)
        }
        _ => format!("{value:.decimals$}"),
    }
}

/// Formats a count with commas between thousands.
pub(crate) fn count(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// Formats a number of things: `1 client`, `2 clients`. The noun has a regular plural.
pub(crate) fn counted(number: impl Display, noun: &str) -> String {
    let number = number.to_string();
    format!("{number} {noun}{}", if number == "1" { "" } else { "s" })
}

/// Formats a round-trip time in microseconds.
pub(crate) fn round_trip(us: u64) -> String {
    time(us.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_rates_and_counts_are_human_readable() {
        assert_eq!([1, 2].map(|number| counted(number, "client")), ["1 client", "2 clients"]);
        let times = [999, 1_000, 12_340, 123_456, 1_500_000, 2_000_000_000].map(time);
        assert_eq!(times, ["999 ns", "1.00 µs", "12.3 µs", "123 µs", "1.50 ms", "2.00 s"]);
        assert_eq!([None, Some(5)].map(time_or_dash), ["-", "5 ns"]);
        assert_eq!(
            [0.0, 0.001, 0.5, 1.0, 1.25, 10.0, 33.34, 99.96, 1234.5].map(rate),
            ["0", "0.001", "0.5", "1", "1.25", "10", "33.3", "100", "1,234"]
        );
        assert_eq!(
            [0.0, 0.01234, 0.5, 1.0, 9.999, 42.26, 358.4, 999.7, 1_416.9, 293_851.0]
                .map(significant),
            ["0", "0.0123", "0.500", "1.00", "10.0", "42.3", "358", "1,000", "1,420", "294,000"]
        );
        assert_eq!([7.0, 999.6, 1234567.0].map(count), ["7", "1,000", "1,234,567"]);
    }
}
