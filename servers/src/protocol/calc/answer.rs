//! Answers one request of the `calc` service.

use std::io::Write as _;

use super::{guard, steps};

/// Appends the value of the expression `line`, or a message that begins with `error: `, without a
/// newline.
///
/// For any input, the reply is printable ASCII and shorter than 400 bytes. An error never repeats
/// part of the request. Time and stack are bounded by [`MAX_LENGTH`](super::MAX_LENGTH),
/// [`MAX_DEPTH`](super::MAX_DEPTH), [`MAX_PREFIXES`](super::MAX_PREFIXES) and
/// [`MAX_OPERATORS`](super::MAX_OPERATORS).
pub fn answer(line: &[u8], reply: &mut Vec<u8>) {
    match guard::check(line).and_then(steps::evaluate) {
        Ok(value) => write!(reply, "{value}"),
        Err(message) => write!(reply, "error: {message}"),
    }
    .expect("writing to a Vec does not fail");
}
