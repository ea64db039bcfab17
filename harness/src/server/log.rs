//! Captures the end of a server's output, at a limited rate.

use std::collections::VecDeque;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::text::visible;

/// Number of bytes kept from the end of a server's output.
const KEPT: usize = 16 * 1024;

/// Number of chunks kept with their times of arrival. A chunk is the result of one read.
const PIECES_KEPT: usize = 32;

/// Maximum number of bytes read from a server per time slice. A server that writes more has to
/// wait; otherwise endless output would keep a CPU busy. A log line per request stays below the
/// limit.
const MOST_IN_A_SLICE: usize = 512 * 1024;
const SLICE: Duration = Duration::from_millis(25);

/// End of a server's output.
#[derive(Debug, Default)]
pub(super) struct Log {
    end: VecDeque<u8>,
    pieces: VecDeque<(Instant, Vec<u8>)>,
}

impl Log {
    fn add(&mut self, piece: &[u8]) {
        self.end.extend(piece);
        let excess = self.end.len().saturating_sub(KEPT);
        self.end.drain(..excess);
        if self.pieces.len() == PIECES_KEPT {
            self.pieces.pop_front();
        }
        self.pieces.push_back((Instant::now(), piece.to_vec()));
    }

    /// Removes and returns the last chunks with their times of arrival.
    pub(super) fn take_pieces(&mut self) -> Vec<(Instant, Vec<u8>)> {
        self.pieces.drain(..).collect()
    }

    /// Returns the text with control characters replaced, so that they cannot affect a terminal.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.end.as_slices();
        visible(String::from_utf8_lossy(&[front, back].concat()).trim_end()).into_owned()
    }
}

/// Reads a server's output to its end, and passes each chunk to the log.
pub(super) fn read(mut output: impl Read, mut with_log: impl FnMut(&dyn Fn(&mut Log))) {
    let mut buffer = [0; 4096];
    let (mut slice, mut read) = (Instant::now(), 0);
    while let Ok(count @ 1..) = output.read(&mut buffer) {
        with_log(&|log| log.add(&buffer[..count]));
        read += count;
        if slice.elapsed() >= SLICE {
            (slice, read) = (Instant::now(), 0);
        } else if read >= MOST_IN_A_SLICE {
            thread::sleep(SLICE.saturating_sub(slice.elapsed()));
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
    fn output_without_end_is_read_no_faster_than_so() {
        const SENT: usize = MOST_IN_A_SLICE * 4;
        let (began, mut kept) = (Instant::now(), Log::default());
        read(std::io::repeat(b'y').take(SENT as u64), |add| add(&mut kept));
        assert!(began.elapsed() >= SLICE * 3, "{:?}", began.elapsed());
        assert_eq!((kept.end.len(), kept.pieces.len()), (KEPT, PIECES_KEPT));
        assert_eq!(kept.text(), "y".repeat(KEPT));
    }

    #[test]
    fn what_could_harm_a_terminal_is_made_visible() {
        let mut log = Log::default();
        log.add(b"a\x1b[2J\xff\nb\n\n");
        assert_eq!(log.text(), "a\u{fffd}[2J\u{fffd}\nb");
    }
}
