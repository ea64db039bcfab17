//! What a server writes: its end is kept, and it is read no faster than is good for the harness.

use std::collections::VecDeque;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use crate::text::visible;

/// How much of the end of a server's output is kept, in bytes.
const KEPT: usize = 16 * 1024;

/// How many of the last pieces of a server's output are kept with the time they came at. A piece is
/// what one read gave.
const PIECES_KEPT: usize = 32;

/// How much of a server's output is read in a slice of time. A server that writes more waits: one
/// that never ends would keep a processor busy with being read. Logs of a line for each request stay
/// below.
const MOST_IN_A_SLICE: usize = 512 * 1024;
const SLICE: Duration = Duration::from_millis(25);

/// The end of what a server wrote.
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

    /// The last pieces, and when each came. They are kept no longer.
    pub(super) fn take_pieces(&mut self) -> Vec<(Instant, Vec<u8>)> {
        self.pieces.drain(..).collect()
    }

    /// Control characters are made visible, so that they can do nothing to a terminal.
    pub(super) fn text(&self) -> String {
        let (front, back) = self.end.as_slices();
        visible(String::from_utf8_lossy(&[front, back].concat()).trim_end()).into_owned()
    }
}

/// Reads all that a server writes, and hands each piece to the log.
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

/// The last lines of a log, cut where they are long.
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
