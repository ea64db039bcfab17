//! Evaluates one line.

use std::io::Write as _;

use super::{guard, steps};

/// Appends the value of the expression `line`, or words that begin with `error: `; no newline.
///
/// Whatever the bytes, what is appended is printable ASCII, shorter than 400 bytes, and never
/// repeats any part of the request in an error. The time and stack it takes are bounded by
/// [`MAX_LENGTH`], [`MAX_DEPTH`], [`MAX_PREFIXES`] and [`MAX_OPERATORS`].
pub fn answer(line: &[u8], reply: &mut Vec<u8>) {
    match guard::check(line).and_then(steps::evaluate) {
        Ok(value) => write!(reply, "{value}"),
        Err(words) => write!(reply, "error: {words}"),
    }
    .expect("writing to a Vec does not fail");
}
