//! Experiment: finds the longest line that a server answers.

use servers::Service;

use crate::client::{ClientError, MAX_REPLY_LENGTH};
use crate::conformance::assumptions::CONNECTION_SLOTS;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::requests::{max_padded, padded, reply_to_padded, request};
use crate::text::printable;

/// Length of the longest request that the experiment sends, in bytes.
const MAX_REQUEST_LENGTH: usize = 1024 * 1024;

/// Maximum number of round trips of a line and its reply.
const ROUND_TRIPS_PER_LINE: u32 = 16;

/// Length limit of the lines that a server answers.
pub(in crate::conformance) struct LongestLine {
    /// Length of the longest line that got the expected reply, in bytes.
    pub(in crate::conformance) answered: usize,
    /// Length of the shortest line that did not get the expected reply, in bytes, and its outcome.
    /// `None` if all lines got it.
    pub(in crate::conformance) unanswered: Option<(usize, UnansweredOutcome)>,
    /// Whether the time of the case ended the search for the limit.
    pub(in crate::conformance) is_out_of_time: bool,
}

/// Outcome of a line that is too long.
pub(in crate::conformance) enum UnansweredOutcome {
    /// An unexpected reply.
    OtherReply(Vec<u8>),
    /// A client error instead of a reply.
    ClientError(ClientError),
}

/// Finds the longest line that the server answers: doubles the line length, then bisects. Stops if
/// the server hangs or crashes.
///
/// # Errors
/// A short line gets no reply. The case is then inconclusive.
pub(in crate::conformance) fn longest_line(ctx: &TestContext<'_>) -> Result<LongestLine, Failure> {
    let mut client = ctx.clients().connect()?;
    let short = client.learn_reply(&request(1))?;
    let next = client.learn_reply(&request(2))?;
    let max = match ctx.contract.service {
        Service::Calc => MAX_REQUEST_LENGTH,
        Service::Echo => MAX_REPLY_LENGTH,
    };
    let max = max.min(max_padded(ctx.contract));
    let plain = ctx.contract.payload(&request(1));
    let mut found = LongestLine { answered: plain.len(), unanswered: None, is_out_of_time: false };
    // A long line and its reply take several round trips (slow start, RFC 5681).
    let quiet = SHORT_TIMEOUT + ctx.round_trip() * ROUND_TRIPS_PER_LINE;
    while let Some(size) = found.next_size(max) {
        if !ctx.permits_a_step() {
            found.is_out_of_time = true;
            break;
        }
        let line = padded(ctx.contract, &request(1), size);
        // Not every length has a request.
        let size = line.len();
        if size <= found.answered {
            break;
        }
        let outcome = match client.raw_ask_until_quiescent(&line, quiet) {
            Ok(reply) if reply == reply_to_padded(ctx.contract, &short, &line) => {
                if client.ask(&request(2)).is_ok_and(|reply| reply != next) {
                    let seen = format!("a line of {size} bytes gets more than one reply");
                    return Err(Failure::assumption_failed(&["framing/sizes"], seen));
                }
                found.answered = size;
                continue;
            }
            Err(ClientError::OutOfTime) => {
                found.is_out_of_time = true;
                break;
            }
            Ok(other) => UnansweredOutcome::OtherReply(other),
            Err(error) => UnansweredOutcome::ClientError(error),
        };
        let hangs = matches!(outcome, UnansweredOutcome::ClientError(ClientError::Silent(..)));
        found.unanswered = Some((size, outcome));
        if hangs {
            break;
        }
        // The server may also answer the rest of the line, so continue with a new connection.
        client.close();
        match ctx.clients().connect_with_retry(&request(1)) {
            Ok(new) => client = new,
            Err(failure) if failure.verdict.is_none() => {
                let seen = failure.observed;
                let text = format!("a client that connects after another has disconnected: {seen}");
                return Err(Failure::assumption_failed(CONNECTION_SLOTS, text));
            }
            Err(_) => break,
        }
    }
    Ok(found)
}

impl LongestLine {
    /// Returns the next line length to try, at most `max`, or `None` if the limit is found.
    fn next_size(&self, max: usize) -> Option<usize> {
        let (upper_bound, size) = match &self.unanswered {
            None => (max, (self.answered * 2).min(max)),
            Some((too_long, _)) => (too_long - 1, self.answered.midpoint(*too_long)),
        };
        (self.answered < upper_bound).then_some(size)
    }

    /// Describes the outcome of the line that is too long, if any. Includes its length if the limit
    /// is not exact.
    pub(in crate::conformance) fn outcome(&self) -> Option<String> {
        let (size, outcome) = self.unanswered.as_ref()?;
        let text = match outcome {
            UnansweredOutcome::OtherReply(line) => printable(line),
            UnansweredOutcome::ClientError(error) => error.to_string(),
        };
        Some(match self.is_exact() {
            true => text,
            false => format!("at {size} bytes: {text}"),
        })
    }

    /// Returns whether the limit is exact: a line of one more byte was too long.
    pub(in crate::conformance) fn is_exact(&self) -> bool {
        self.unanswered.as_ref().is_some_and(|(size, _)| *size == self.answered + 1)
    }

    pub(in crate::conformance) fn text(&self) -> String {
        let answered = format!("requests up to {} bytes answered", self.answered);
        match self.outcome() {
            Some(outcome) => format!("{answered}; a longer one: {outcome}"),
            None if self.is_out_of_time => {
                format!("{answered}; the case had no time for longer ones")
            }
            None => format!("{answered}; longer requests were not tried"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_is_found_by_exponential_and_binary_search() {
        for limit in [5, 6, 100, 4096, 65_535, MAX_REQUEST_LENGTH - 1, MAX_REQUEST_LENGTH] {
            let mut found = LongestLine { answered: 5, unanswered: None, is_out_of_time: false };
            let mut lines = 0;
            while let Some(size) = found.next_size(MAX_REQUEST_LENGTH) {
                lines += 1;
                match size <= limit {
                    true => found.answered = size,
                    false => {
                        found.unanswered = Some((size, UnansweredOutcome::OtherReply(Vec::new())))
                    }
                }
            }
            assert_eq!(found.answered, limit);
            assert_eq!(found.is_exact(), limit < MAX_REQUEST_LENGTH);
            assert!(lines <= 40, "{lines} lines were sent");
        }
    }
}
