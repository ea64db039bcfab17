//! Parses and formats durations, sizes, rates and numbers of the command line.

use std::time::Duration;

/// Maximum duration, so that adding it to an `Instant` cannot overflow.
const MAX_DURATION: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("the duration must be greater than 0".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a duration. 0 is permitted and means "none".
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > MAX_DURATION => {
            Err("the duration must be at most 1 year".to_owned())
        }
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a duration such as 250ms or 2s".to_owned()),
    }
}

/// Formats a duration in the syntax that [`duration`] parses.
pub(crate) fn format_duration(time: Duration) -> String {
    humantime::format_duration(time).to_string().replace(' ', "")
}

pub(crate) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.001..=1e8).contains(&rate) => Ok(rate),
        _ => Err("write a number of requests per second, such as 2000".to_owned()),
    }
}

pub(crate) fn percent(text: &str) -> Result<f64, String> {
    match text.trim_end_matches('%').parse::<f64>() {
        Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(percent / 100.0),
        _ => Err("write a percentage, such as 5".to_owned()),
    }
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a port, from 1 to 65535".to_owned()),
        Ok(port) => Ok(port),
    }
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number of at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Maximum size. It bounds the buffers of servers.
const MAX_SIZE: usize = 16 * 1024 * 1024;

pub(crate) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix("KiB") {
        Some(digits) => (digits, 1024),
        None => match text.strip_suffix("MiB") {
            Some(digits) => (digits, 1024 * 1024),
            None => (text, 1),
        },
    };
    let bytes = digits.trim().parse::<usize>().ok().and_then(|count| count.checked_mul(unit));
    match bytes {
        Some(bytes @ 1..=MAX_SIZE) => Ok(bytes),
        _ => Err("write a size such as 4096 or 64KiB, at most 16MiB".to_owned()),
    }
}

/// Units of time, in nanoseconds. `µ` is the micro sign (U+00B5) or the Greek letter (U+03BC).
const TIMES: &[(&str, f64)] =
    &[("ns", 1.0), ("us", 1e3), ("\u{b5}s", 1e3), ("\u{3bc}s", 1e3), ("ms", 1e6), ("s", 1e9)];

/// Units of memory, in bytes.
const SIZES: &[(&str, f64)] =
    &[("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("GiB", 1024.0 * 1024.0 * 1024.0), ("B", 1.0)];

/// Parses a time with a unit, such as `1.5ms`, and returns nanoseconds.
pub(crate) fn nanoseconds(text: &str) -> Result<f64, String> {
    let expected = "write a time with a unit (ns, us, \u{b5}s, ms or s), such as 10ms";
    with_unit(text, TIMES).ok_or_else(|| expected.to_owned())
}

/// Parses a number of bytes with or without a unit, such as `4096` or `1.5KiB`.
pub(crate) fn bytes(text: &str) -> Result<f64, String> {
    let expected = "write a number of bytes, or a size in KiB, MiB or GiB, such as 16KiB";
    with_unit(text, SIZES).or_else(|| number(text)).ok_or_else(|| expected.to_owned())
}

/// Parses a plain number of at least 0.
pub(crate) fn plain_number(text: &str) -> Result<f64, String> {
    number(text).ok_or_else(|| "write a plain number, such as 2000".to_owned())
}

fn with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    units.iter().find_map(|(unit, factor)| Some(number(text.strip_suffix(unit)?)? * factor))
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    // `parse` also accepts `inf`, `nan`, a sign and an exponent.
    let is_plain = text.chars().all(|letter| letter.is_ascii_digit() || letter == '.');
    text.parse().ok().filter(|_| is_plain)
}

/// Replaces the escapes `\n`, `\r`, `\t`, `\0`, `\\`, `\'` and `\"`.
pub(crate) fn unescape(escaped: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut letters = escaped.chars();
    while let Some(letter) = letters.next() {
        text.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('r') => '\r',
                Some('t') => '\t',
                Some('0') => '\0',
                Some('\\') => '\\',
                Some('\'') => '\'',
                Some('"') => '"',
                _ => return Err("write \\n, \\r, \\t, \\0 or \\\\ after a backslash".to_owned()),
            },
            letter => letter,
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_sizes_and_durations_are_parsed_and_invalid_ones_are_rejected() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for invalid in ["", "0", "-1", "64K", "17MiB", "99999999999999999999KiB"] {
            assert!(size(invalid).is_err(), "{invalid}");
        }
        for invalid in ["", "0s", "2", "soon", "2years"] {
            assert!(duration(invalid).is_err(), "{invalid}");
            assert_eq!(duration_or_none(invalid).is_err(), invalid != "0s", "{invalid}");
        }
    }
    #[test]
    fn times_sizes_and_numbers_of_thresholds_are_parsed() {
        for (text, ns) in [
            ("10ms", 1e7),
            ("1.5us", 1500.0),
            ("2 \u{b5}s", 2e3),
            ("2\u{3bc}s", 2e3),
            ("7ns", 7.0),
            ("0.5s", 5e8),
        ] {
            assert_eq!(nanoseconds(text), Ok(ns), "{text}");
        }
        for (text, size) in
            [("4096", 4096.0), ("1.5KiB", 1536.0), ("2 MiB", 2097152.0), ("3B", 3.0)]
        {
            assert_eq!(bytes(text), Ok(size), "{text}");
        }
        assert_eq!(plain_number(" 0.5"), Ok(0.5));
        for invalid in ["", "ms", "10", "-1ms", "1e3ms", "infs", "nan", "10 minutes"] {
            assert!(nanoseconds(invalid).is_err(), "{invalid}");
        }
        for invalid in ["", "-1", "1e3", "inf", "nan", "10ms", "1.2.3"] {
            assert!(bytes(invalid).is_err() && plain_number(invalid).is_err(), "{invalid}");
        }
    }
}
