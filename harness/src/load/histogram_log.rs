//! Latency of each interval in a format for other tools: HdrHistogram's interval log, with
//! histograms in the compressed V2 format (hdrhistogram.github.io/HdrHistogram).

use std::io::{self, Write};
use std::time::{Duration, SystemTime};

use hdrhistogram::serialization::interval_log::{
    IntervalLogWriterBuilder, IntervalLogWriterError, Tag,
};
use hdrhistogram::serialization::{V2DeflateSerializeError, V2DeflateSerializer};

use super::engine::RunResult;
use super::interval::Interval;

/// Divisor of the printed values: by convention, programs that read the log show milliseconds.
const NANOSECONDS_PER_MILLISECOND: f64 = 1e6;

/// Writes the log, with two histograms for each interval and for the time after the end.
///
/// Latencies with the tag `intended` begin at the scheduled time, those with `sent` at the sending.
///
/// # Errors
/// The log cannot be written.
pub fn write(to: impl Write, ran: &RunResult) -> io::Result<()> {
    write_intervals(to, ran.clock_began, ran.intervals.iter().chain([&ran.after]))
}

fn write_intervals<'i>(
    mut to: impl Write,
    clock_began: SystemTime,
    intervals: impl Iterator<Item = &'i Interval>,
) -> io::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("[Histogram log format version 1.3]")
        .add_comment("latency of correct replies, in nanoseconds")
        .with_max_value_divisor(NANOSECONDS_PER_MILLISECOND)
        .with_start_time(clock_began)
        .begin_log_with(&mut to, &mut serializer)?;
    let tags =
        ["intended", "sent"].map(|tag| Tag::new(tag).expect("a tag without commas or spaces"));
    for interval in intervals {
        let [start, duration] = [interval.start_ns, interval.duration_ns].map(Duration::from_nanos);
        let both = [&interval.scheduled, &interval.sent];
        for (histogram, tag) in both.into_iter().zip(tags) {
            if histogram.is_empty() {
                continue;
            }
            log.write_histogram(histogram, start, duration, Some(tag)).map_err(io_error)?;
        }
    }
    to.flush()
}

/// Returns the I/O error of the log, without the names of the library's types.
fn io_error(error: IntervalLogWriterError<V2DeflateSerializeError>) -> io::Error {
    match error {
        IntervalLogWriterError::IoError(error)
        | IntervalLogWriterError::SerializeError(V2DeflateSerializeError::IoError(error)) => error,
        IntervalLogWriterError::SerializeError(error) => {
            io::Error::other(format!("a histogram cannot be encoded: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;

    #[test]
    fn the_log_has_one_line_per_interval_with_recorded_values() {
        let mut interval = Interval::new(5_000_000_000);
        interval.duration_ns = 1_000_000_000;
        let mut log = Vec::new();
        let empty = interval.clone();
        interval.sent.record(2_000_000).expect("in range");
        let intervals = [interval.clone(), empty, interval];
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        write_intervals(&mut log, began, intervals.iter()).expect("a log");
        let starts = IntervalLogIterator::new(&log).filter_map(|entry| match entry {
            Ok(LogEntry::StartTime(start)) => Some(start),
            _ => None,
        });
        assert_eq!(starts.collect::<Vec<_>>(), [Duration::from_secs(7)]);
        let lines = IntervalLogIterator::new(&log).filter_map(|entry| match entry {
            Ok(LogEntry::Interval(line)) => Some((
                line.tag().map(|tag| tag.as_str().to_owned()),
                line.start_timestamp(),
                line.duration(),
                line.max(),
            )),
            _ => None,
        });
        let [five, one] = [5, 1].map(Duration::from_secs);
        let expected = (Some("sent".to_owned()), five, one);
        let lines: Vec<_> = lines.collect();
        assert_eq!(lines.len(), 2);
        for (tag, start, duration, max) in lines {
            assert_eq!((tag, start, duration), expected);
            assert!((max - 2.0).abs() < 0.01, "{max} ms");
        }
    }
}
