//! The `calc` service: a line that holds an expression is answered by its value.
//!
//! evalexpr evaluates; `guard` first refuses every line that is not plainly an expression of the
//! dialect below, so that evalexpr's parser only ever meets short lines without surprises. There
//! is no state from one request to the next and no knowledge of sockets or line ends.
//!
//! # The dialect
//!
//! From loosest to tightest: `||`, `&&`, `== != < <= > >=`, `+ -`, `* / %`, the prefixes `-` and
//! `!`, `^`. All binary operators associate to the left, `^` too. There are whole numbers (64-bit,
//! decimal), floats (`1.5`, `.5`, `1e-3`), `true`, `false`, parentheses and the [`FUNCTIONS`].
//! Variables, assignment, strings, tuples, comments, `;` and a prefix `+` are not in it.
//!
//! - Whole numbers stay whole: `7 / 2` is `3` and `-7 % 3` is `-1` (both cut towards zero). A
//!   literal or result that does not fit, and division by zero, are errors.
//! - A float on either side makes the operation one of floats, which may round a whole number;
//!   `^` and every function but `min` and `max` give a float always.
//! - A float that is infinite or not a number is an error wherever it arises, not only as the
//!   result: `1 / (1e308 * 10)` is refused.
//! - `==` and `!=` compare kinds first: `1 == 1.0` is `false`, `1 <= 1.0` is `true`.
//! - `&&` and `||` evaluate both sides: `false && 1 / 0 == 1` is an error.
//! - A float prints with the fewest digits that read back as the same float and never with an
//!   exponent: `1.0` prints `1`, `1e21` prints 22 digits, and there is a `-0`.

mod guard;
mod steps;

use std::io::Write as _;
use std::ops::RangeInclusive;

/// Bytes in a line; a longer one is refused unread.
pub const MAX_LENGTH: usize = 4096;

/// Parentheses open at once.
pub const MAX_DEPTH: usize = 64;

/// Prefix operators in a row.
pub const MAX_PREFIXES: usize = 16;

/// Operators in a line, where a comma and a function call count as one each.
pub const MAX_OPERATORS: usize = 256;

/// The functions a line may call, each with the number of arguments it takes.
///
/// All are pure, allocate nothing that outlives the request and cannot panic. evalexpr's other
/// functions are left out: `math::abs`, `shl` and `shr` panic or wrap on extreme whole numbers;
/// `str::…`, `len`, `contains…` and `typeof` are about strings and tuples; `if` evaluates both
/// branches; `math::is_…` ask what is settled, for every value is finite; and the bitwise ones
/// are not arithmetic.
pub const FUNCTIONS: &[(&str, RangeInclusive<usize>)] = &[
    ("min", 2..=usize::MAX),
    ("max", 2..=usize::MAX),
    ("floor", 1..=1),
    ("ceil", 1..=1),
    ("round", 1..=1),
    ("math::sqrt", 1..=1),
    ("math::cbrt", 1..=1),
    ("math::hypot", 2..=2),
    ("math::pow", 2..=2),
    ("math::exp", 1..=1),
    ("math::exp2", 1..=1),
    ("math::ln", 1..=1),
    ("math::log", 2..=2),
    ("math::log2", 1..=1),
    ("math::log10", 1..=1),
    ("math::sin", 1..=1),
    ("math::cos", 1..=1),
    ("math::tan", 1..=1),
    ("math::asin", 1..=1),
    ("math::acos", 1..=1),
    ("math::atan", 1..=1),
    ("math::atan2", 2..=2),
    ("math::sinh", 1..=1),
    ("math::cosh", 1..=1),
    ("math::tanh", 1..=1),
    ("math::asinh", 1..=1),
    ("math::acosh", 1..=1),
    ("math::atanh", 1..=1),
];

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

/// What is wrong with a request, in words that are the same for every request.
type Words = &'static str;

const DIVISION_BY_ZERO: Words = "division by zero";
const EMPTY: Words = "empty request";
const NOT_AN_EXPRESSION: Words = "not an expression";
const NOT_FINITE: Words = "not a finite number";
const OVERFLOW: Words = "overflow";
const TOO_DEEP: Words = "too deeply nested (limit 64)";
const TOO_LONG: Words = "line too long (limit 4096 bytes)";
const TOO_MANY_OPERATORS: Words = "too many operators (limit 256)";
const TOO_MANY_PREFIXES: Words = "too many signs in a row (limit 16)";
const UNBALANCED: Words = "unbalanced parentheses";
const UNEXPECTED_CHARACTER: Words = "unexpected character";
const UNKNOWN_NAME: Words = "unknown name";
const WRONG_ARGUMENTS: Words = "wrong number of arguments";
const WRONG_TYPE: Words = "wrong type";

#[cfg(test)]
mod tests;
