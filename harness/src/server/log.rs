//! Reads a server's output at a limited rate, and keeps the end of the output.

use std::collections::VecDeque;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::text::visible;

/// Number of bytes that are kept from the end of a server's output.
const KEPT_BYTES: usize = 16 * 1024;

/// Number of chunks that are kept with their times of arrival. A chunk is the result of one read.
const KEPT_CHUNKS: usize = 32;

/// Maximum number of bytes that are read from a server per time slice, so that endless output does
/// not keep a CPU busy. If a server exceeds the limit, its writes block. One log line per
/// request stays below the limit.
const MAX_BYTES_PER_SLICE: usize = 512 * 1024;

/// Duration of a time slice.
const SLICE: Duration = Duration::from_millis(25);

/// End of a server's output.
#[derive(Debug, Default)]
pub(super) struct Log {
    end: VecDeque<u8>,
    chunks: VecDeque<(Instant, Vec<u8>)>,
}

impl Log {
    fn add(&mut self, chunk: &[u8]) {
        self.end.extend(chunk);
        let excess = self.end.len().saturating_sub(KEPT_BYTES);
        self.end.drain(..excess);
        if self.chunks.len() == KEPT_CHUNKS {
            self.chunks.pop_front();
        }
        self.chunks.push_back((Instant::now(), chunk.to_vec()));
    }

    /// Returns the kept end of the output.
    pub(super) fn end(&mut self) -> &[u8] {
        self.end.make_contiguous()
    }

    /// Removes and returns the kept chunks, with their times of arrival.
    pub(super) fn take_chunks(&mut self) -> Vec<(Instant, Vec<u8>)> {
        self.chunks.drain(..).collect()
    }

    /// Returns the kept output as text. Control characters are replaced, so that they cannot affect
    /// a terminal.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.end.as_slices();
        visible(String::from_utf8_lossy(&[front, back].concat()).trim_end()).into_owned()
    }
}

/// Reads a server's output to its end. Calls `with_log` for each chunk, with a function that adds
/// the chunk to the log.
pub(super) fn read(mut output: impl Read, mut with_log: impl FnMut(&dyn Fn(&mut Log))) {
    let mut buffer = [0; 4096];
    let (mut slice_start, mut read) = (Instant::now(), 0);
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        with_log(&|log| log.add(&buffer[..count]));
        read += count;
        if slice_start.elapsed() >= SLICE {
            (slice_start, read) = (Instant::now(), 0);
        } else if read >= MAX_BYTES_PER_SLICE {
            thread::sleep(SLICE.saturating_sub(slice_start.elapsed()));
        }
    }
}

/// Returns the last 5 lines of a log, with at most 200 characters each.
pub fn last_lines(log: &str) -> String {
    let mut lines: Vec<String> =
        log.lines().rev().take(5).map(|line| line.chars().take(200).collect()).collect();
    lines.reverse();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endless_output_is_read_at_a_limited_rate() {
        const WRITTEN: usize = MAX_BYTES_PER_SLICE * 4;
        let (began, mut log) = (Instant::now(), Log::default());
        read(std::io::repeat(b'y').take(WRITTEN as u64), |add| add(&mut log));
        assert!(began.elapsed() >= SLICE * 3, "{:?}", began.elapsed());
        assert_eq!((log.end.len(), log.chunks.len()), (KEPT_BYTES, KEPT_CHUNKS));
        assert_eq!(log.text(), "y".repeat(KEPT_BYTES));
    }

    #[test]
    fn terminal_control_characters_in_output_are_replaced() {
        let mut log = Log::default();
        log.add(b"a\x1b[2J\xff\nb\n\n");
        assert_eq!(log.text(), "a\u{fffd}[2J\u{fffd}\nb");
    }
}
