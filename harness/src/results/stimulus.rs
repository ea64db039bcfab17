//! The stimulus of a failure, and the first byte in which a reply differs.

use serde::{Deserialize, Serialize};

use crate::text::printable;

/// What the harness did that made the server fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stimulus {
    /// A client sent this data, as printable text.
    Sent(String),
    /// The harness did this.
    Action(String),
}

/// Number of equal bytes that are shown before the first different byte.
const CONTEXT_BEFORE: usize = 12;

/// Number of bytes that are shown from the first different byte on.
const CONTEXT_AFTER: usize = 8;

/// The first byte in which a received reply differs from the expected one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Difference {
    /// Number of equal bytes before it.
    pub offset: usize,
    /// The expected byte; `None` if the expected reply ends here.
    pub expected: Option<u8>,
    /// The received byte; `None` if the received reply ends here.
    pub received: Option<u8>,
    /// The expected bytes around it, as printable text.
    pub expected_context: String,
    /// The received bytes around it, as printable text.
    pub received_context: String,
}

impl Difference {
    /// Returns the first difference, or `None` if the bytes are equal.
    pub fn first(expected: &[u8], received: &[u8]) -> Option<Difference> {
        if expected == received {
            return None;
        }
        let offset = expected.iter().zip(received).take_while(|(one, other)| one == other).count();
        let context = |bytes: &[u8]| {
            let end = bytes.len().min(offset + CONTEXT_AFTER);
            printable(&bytes[offset.saturating_sub(CONTEXT_BEFORE).min(end)..end])
        };
        Some(Difference {
            offset,
            expected: expected.get(offset).copied(),
            received: received.get(offset).copied(),
            expected_context: context(expected),
            received_context: context(received),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_different_byte_is_found_with_its_context() {
        let difference = Difference::first(b"0123456789abcdefgh", b"0123456789abcdEfgh");
        let difference = difference.expect("the bytes differ");
        assert_eq!(difference.offset, 14);
        assert_eq!((difference.expected, difference.received), (Some(b'e'), Some(b'E')));
        assert_eq!(difference.received_context, "\"23456789abcdEfgh\"");
        let shorter = Difference::first(b"ab", b"a").expect("the lengths differ");
        assert_eq!((shorter.offset, shorter.expected, shorter.received), (1, Some(b'b'), None));
        assert_eq!(Difference::first(b"", b""), None);
        assert!(Difference::first(b"", b"x").is_some());
    }
}
