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

mod answer;
mod dialect;
mod guard;
mod steps;
#[cfg(test)]
mod tests;

pub use answer::answer;
pub use dialect::{FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS, MAX_PREFIXES};
