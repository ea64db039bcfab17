//! Comparison of received replies with the expected ones.

use super::{Connection, Connections};
use crate::load::outcome::Outcome;
use crate::load::recorder::Recorder;
use crate::load::request_reply::Cycle;

/// Maximum length of an unexpected reply that is still read, in bytes.
const LONGEST_STRANGE: usize = 4096;

impl Connections {
    /// Consumes `count` bytes of the buffer, and returns the number of requests completed.
    pub(super) fn take(
        &mut self,
        index: usize,
        count: usize,
        now: u64,
        recorder: &mut Recorder,
    ) -> u32 {
        let (mut at, mut over) = (0, 0);
        while at < count {
            let connection = &mut self.connections[index];
            let cycle = &self.cycles[usize::from(connection.group)];
            let bytes = &self.buffer[at..count];
            let opening = &self.opening.reply[usize::from(connection.opening_received)..];
            if !opening.is_empty() && connection.strange.is_none() {
                let same =
                    bytes.iter().zip(opening).take_while(|(one, other)| one == other).count();
                at += same;
                connection.opening_received += same as u16;
                if same < bytes.len().min(opening.len()) {
                    // For example a busy line in place of the greeting.
                    let begun = &self.opening.reply[..usize::from(connection.opening_received)];
                    connection.strange = Some(Box::new(begun.to_vec()));
                    connection.opening_received = self.opening.reply.len() as u16;
                }
                continue;
            }
            if connection.strange.is_none() {
                let expected = cycle.replies(connection.due, connection.received);
                let len = expected.len().min(bytes.len());
                let same = match bytes[..len] == expected[..len] {
                    true => len,
                    false => {
                        bytes.iter().zip(expected).take_while(|(one, other)| one == other).count()
                    }
                };
                let whole = connection.advance(cycle, same as u32);
                let answered = whole.min(connection.under_way);
                at += same;
                over += answered;
                self.over(index, Outcome::Answered, answered, now, recorder);
                // A surplus reply is wrong even if its bytes match: no request was sent.
                if whole > answered {
                    self.end(index, Outcome::WrongReply, recorder);
                    return over;
                }
                if same == len {
                    continue;
                }
                let connection = &mut self.connections[index];
                let cycle = &self.cycles[usize::from(connection.group)];
                let begun = cycle.reply(connection.due, connection.received).to_vec();
                connection.strange = Some(Box::new(begun));
            }
            let bytes = &self.buffer[at..count];
            let connection = &mut self.connections[index];
            let cycle = &self.cycles[usize::from(connection.group)];
            let Some(strange) = &mut connection.strange else { return over };
            let end = match cycle.end() {
                Some(end) => bytes.iter().position(|&byte| byte == end).map(|end| end + 1),
                None => Some(bytes.len()),
            };
            strange.extend_from_slice(&bytes[..end.unwrap_or(bytes.len())]);
            at += end.unwrap_or(bytes.len());
            if end.is_none() && strange.len() < LONGEST_STRANGE {
                continue;
            }
            let outcome = judge(strange);
            if !self.is_over_strangely(index, outcome, now, recorder) {
                return over;
            }
            over += 1;
        }
        over
    }

    /// Completes a request whose reply was not the expected one. Returns whether the connection
    /// stays open.
    fn is_over_strangely(
        &mut self,
        index: usize,
        outcome: Outcome,
        now: u64,
        recorder: &mut Recorder,
    ) -> bool {
        let connection = &mut self.connections[index];
        let cycle = &self.cycles[usize::from(connection.group)];
        // After two wrong replies in a row, replies and requests are out of step: further ones
        // prove nothing.
        let is_out_of_step =
            outcome == Outcome::WrongReply && connection.last == Outcome::WrongReply;
        connection.strange = None;
        connection.due = cycle.after(connection.due, 1);
        connection.received = 0;
        if connection.under_way == 0 {
            self.end(index, outcome, recorder);
            return false;
        }
        self.over(index, outcome, 1, now, recorder);
        if is_out_of_step {
            self.end(index, outcome, recorder);
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
            let len = cycle.reply_len(self.due);
            if self.received < len {
                return replies;
            }
            self.received -= len;
            self.due = cycle.after(self.due, 1);
            replies += 1;
        }
    }
}

/// Classifies a line that is not the expected reply.
fn judge(line: &[u8]) -> Outcome {
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
    fn a_line_that_is_not_the_reply_is_busy_an_error_or_wrong() {
        for (line, outcome) in [
            (&b"error: busy, come back later\n"[..], Outcome::Busy),
            (b"error: division by zero\n", Outcome::ErrorReply),
            (b"17\n", Outcome::WrongReply),
            (b"", Outcome::WrongReply),
        ] {
            assert_eq!(judge(line), outcome);
        }
    }
}
