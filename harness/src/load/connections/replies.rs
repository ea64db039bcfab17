//! Comparison of received replies with the expected ones.

use super::{Connection, Connections};
use crate::load::recorder::Recorder;
use crate::load::request_reply::Cycle;
use crate::results::Outcome;

/// Length in bytes at which an unexpected reply counts as complete.
const MAX_UNEXPECTED_LENGTH: usize = 4096;

/// Result of comparing received bytes with the expected replies.
enum Match {
    /// All bytes match.
    Full,
    /// A byte differs, so the current reply is unexpected.
    Differs,
    /// There was a surplus reply, so the connection was closed.
    Closed,
}

impl Connections {
    /// Handles `count` received bytes in the buffer, and returns the number of requests completed.
    pub(super) fn handle_bytes(
        &mut self,
        index: usize,
        count: usize,
        now: u64,
        recorder: &mut Recorder,
    ) -> u32 {
        let (mut at, mut over) = (0, 0);
        while at < count {
            let connection = &self.connections[index];
            if connection.unexpected.is_none() {
                if usize::from(connection.opening_received) < self.opening.reply.len() {
                    at += self.take_opening(index, at, count);
                    continue;
                }
                let (same, answered, compared) = self.compare(index, (at, count), now, recorder);
                at += same;
                over += answered;
                match compared {
                    Match::Full => continue,
                    Match::Differs => {}
                    Match::Closed => return over,
                }
            }
            let (taken, outcome) = self.take_unexpected(index, at, count);
            at += taken;
            let Some(outcome) = outcome else { continue };
            if !self.complete_unexpected(index, outcome, now, recorder) {
                return over;
            }
            over += 1;
        }
        over
    }

    /// Compares bytes of the buffer with the opening, and returns the number of bytes that match.
    fn take_opening(&mut self, index: usize, at: usize, count: usize) -> usize {
        let connection = &mut self.connections[index];
        let bytes = &self.buffer[at..count];
        let opening = &self.opening.reply[usize::from(connection.opening_received)..];
        let same = matching(bytes, opening);
        connection.opening_received += same as u16;
        if same < bytes.len().min(opening.len()) {
            // The server sent something else, for example a busy line in place of the greeting.
            let begun = &self.opening.reply[..usize::from(connection.opening_received)];
            connection.unexpected = Some(Box::new(begun.to_vec()));
            connection.opening_received = self.opening.reply.len() as u16;
        }
        same
    }

    /// Compares bytes of the buffer with the expected replies. Returns the number of bytes that
    /// match and the number of requests completed.
    fn compare(
        &mut self,
        index: usize,
        (at, count): (usize, usize),
        now: u64,
        recorder: &mut Recorder,
    ) -> (usize, u32, Match) {
        let connection = &mut self.connections[index];
        let cycle = &self.cycles[usize::from(connection.group)];
        let bytes = &self.buffer[at..count];
        let expected = cycle.replies(connection.expected, connection.received);
        let len = expected.len().min(bytes.len());
        let same = match bytes[..len] == expected[..len] {
            true => len,
            false => matching(bytes, expected),
        };
        let whole = connection.advance(cycle, same as u32);
        let answered = whole.min(connection.in_flight);
        self.complete(index, Outcome::Answered, answered, now, recorder);
        // A surplus reply is wrong even if its bytes match: no request was sent.
        if whole > answered {
            self.close_with(index, Outcome::WrongReply, recorder);
            return (same, answered, Match::Closed);
        }
        if same == len {
            return (same, answered, Match::Full);
        }
        let connection = &mut self.connections[index];
        let cycle = &self.cycles[usize::from(connection.group)];
        let begun = cycle.reply(connection.expected, connection.received).to_vec();
        connection.unexpected = Some(Box::new(begun));
        (same, answered, Match::Differs)
    }

    /// Consumes bytes of an unexpected reply. Returns their number, and the outcome once the reply
    /// is complete or too long.
    fn take_unexpected(
        &mut self,
        index: usize,
        at: usize,
        count: usize,
    ) -> (usize, Option<Outcome>) {
        let bytes = &self.buffer[at..count];
        let connection = &mut self.connections[index];
        let cycle = &self.cycles[usize::from(connection.group)];
        let end = match cycle.end() {
            Some(end) => bytes.iter().position(|&byte| byte == end).map(|end| end + 1),
            None => Some(bytes.len()),
        };
        let taken = end.unwrap_or(bytes.len());
        let unexpected = connection.unexpected.get_or_insert_default();
        unexpected.extend_from_slice(&bytes[..taken]);
        let is_over = end.is_some() || unexpected.len() >= MAX_UNEXPECTED_LENGTH;
        (taken, is_over.then(|| classify(unexpected)))
    }

    /// Completes a request that got an unexpected reply. Returns whether the connection stays open.
    fn complete_unexpected(
        &mut self,
        index: usize,
        outcome: Outcome,
        now: u64,
        recorder: &mut Recorder,
    ) -> bool {
        let connection = &mut self.connections[index];
        let cycle = &self.cycles[usize::from(connection.group)];
        // Two wrong replies in a row suggest that replies and requests are out of step. Comparing
        // further replies would prove nothing.
        let is_out_of_step =
            outcome == Outcome::WrongReply && connection.last_outcome == Outcome::WrongReply;
        connection.unexpected = None;
        connection.expected = cycle.after(connection.expected, 1);
        connection.received = 0;
        if connection.in_flight == 0 {
            self.close_with(index, outcome, recorder);
            return false;
        }
        self.complete(index, outcome, 1, now, recorder);
        if is_out_of_step {
            self.close_with(index, outcome, recorder);
        }
        !is_out_of_step
    }
}

impl Connection {
    /// Consumes bytes that match the expected replies, and returns the number of replies completed.
    fn advance(&mut self, cycle: &Cycle, bytes: u32) -> u32 {
        let mut replies = 0;
        self.received += bytes;
        loop {
            let len = cycle.reply_len(self.expected);
            if self.received < len {
                return replies;
            }
            self.received -= len;
            self.expected = cycle.after(self.expected, 1);
            replies += 1;
        }
    }
}

/// Returns the length of the common prefix.
fn matching(bytes: &[u8], expected: &[u8]) -> usize {
    bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count()
}

/// Classifies an unexpected reply.
fn classify(line: &[u8]) -> Outcome {
    if line.starts_with(b"error: busy") {
        Outcome::Busy
    } else if line.starts_with(b"error") {
        Outcome::ErrorReply
    } else {
        Outcome::WrongReply
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexpected_line_is_classified_as_busy_error_or_wrong() {
        for (line, outcome) in [
            (&b"error: busy, come back later\n"[..], Outcome::Busy),
            (b"error: division by zero\n", Outcome::ErrorReply),
            (b"17\n", Outcome::WrongReply),
            (b"", Outcome::WrongReply),
        ] {
            assert_eq!(classify(line), outcome);
        }
    }
}
