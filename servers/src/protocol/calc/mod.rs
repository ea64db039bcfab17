//! The `calc` service: a request is an expression, the reply its value.
//!
//! The crate evalexpr parses and evaluates. Before that, `guard` rejects every line that is not an
//! expression of the dialect below, so evalexpr's parser sees only short, valid input. No state is
//! kept between requests.
//!
//! # The dialect
//!
//! Operators from lowest to highest precedence: `||`, `&&`, `== != < <= > >=`, `+ -`, `* / %`, the
//! prefix operators `-` and `!`, `^`. All binary operators are left-associative, including `^`.
//! Operands are integers (64-bit, decimal), floats (`1.5`, `.5`, `1e-3`), `true`, `false`,
//! parentheses and the [`FUNCTIONS`]. Variables, assignment, strings, tuples, comments, `;` and a
//! prefix `+` are not supported.
//!
//! - Integers stay integers: `7 / 2` is `3` and `-7 % 3` is `-1` (both truncate towards zero). A
//!   literal or result that overflows, and division by zero, are errors.
//! - A float operand makes the operation a float operation, which may round an integer. `^` and
//!   every function but `min` and `max` always return a float.
//! - An infinite float or NaN is also an error as an intermediate value: `1 / (1e308 * 10)` is
//!   rejected.
//! - `==` and `!=` compare types first: `1 == 1.0` is `false`, `1 <= 1.0` is `true`.
//! - `&&` and `||` evaluate both sides: `false && 1 / 0 == 1` is an error.
//! - A float prints with the fewest digits that read back as the same float, and never with an
//!   exponent: `1.0` prints `1`, `1e21` prints 22 digits, and `-0.0` prints `-0`.

mod answer;
mod dialect;
mod guard;
mod steps;
#[cfg(test)]
mod tests;

pub use answer::answer;
pub use dialect::{FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS, MAX_PREFIXES};
