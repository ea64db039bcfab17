//! Parses and formats durations, sizes, rates and numbers of the command line.

use std::time::Duration;

/// Maximum duration: a deadline must not overflow.
const LONGEST_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match duration_or_none(text)? {
        Duration::ZERO => Err("it must be more than nothing".to_owned()),
        duration => Ok(duration),
    }
}

/// Parses a duration like [`duration`], except that 0 is permitted and means "none".
pub(crate) fn duration_or_none(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(duration) if duration > LONGEST_TIME => Err("a year is the most".to_owned()),
        Ok(duration) => Ok(duration),
        Err(_) => Err("write a duration such as 250ms or 2s".to_owned()),
    }
}

/// Formats a duration in the syntax of the command line.
pub(crate) fn written(time: Duration) -> String {
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

/// Parses a number that may be 0.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| "write a whole number".to_owned())
}

pub(crate) fn port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a port, from 1 to 65535".to_owned()),
        Ok(port) => Ok(port),
    }
}

pub(crate) fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("write a whole number from 1 up".to_owned()),
        Ok(number) => Ok(number),
    }
}

/// Maximum size of a line, which bounds the buffers of servers.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

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
        Some(bytes @ 1..=LONGEST_LINE) => Ok(bytes),
        _ => Err("write a size such as 4096 or 64KiB, of 16MiB at most".to_owned()),
    }
}

/// Replaces the escapes `\n`, `\r`, `\t`, `\0` and `\\` as most languages do.
pub(crate) fn text(written: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut letters = written.chars();
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
    fn sizes_and_durations_are_read_as_people_write_them() {
        assert_eq!(size("4096"), Ok(4096));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["", "0", "-1", "64K", "17MiB", "99999999999999999999KiB"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "0s", "2", "soon", "2years"] {
            assert!(duration(wrong).is_err(), "{wrong}");
            assert_eq!(duration_or_none(wrong).is_err(), wrong != "0s", "{wrong}");
        }
    }
}
