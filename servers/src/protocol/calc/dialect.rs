//! The limits, functions and error messages of the dialect.

use std::ops::RangeInclusive;

/// Maximum length of a line in bytes; a longer line is rejected without parsing.
pub const MAX_LENGTH: usize = 4096;

/// Maximum depth of nested parentheses.
pub const MAX_DEPTH: usize = 64;

/// Maximum number of prefix operators in a row.
pub const MAX_PREFIXES: usize = 16;

/// Maximum number of operators in a line; a comma and a function call count as one each.
pub const MAX_OPERATORS: usize = 256;

/// The functions, each with its number of arguments.
///
/// All of them are pure, allocate nothing that outlives the request, and cannot panic. evalexpr's
/// other functions are excluded. `math::abs`, `shl` and `shr` panic or wrap on extreme integers.
/// `str::…`, `len`, `contains…` and `typeof` work on strings and tuples. `if` evaluates both
/// branches. `math::is_…` are useless, because every value is finite. The bitwise functions are not
/// arithmetic.
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

/// An error message; it never contains a part of the request.
pub(super) type Message = &'static str;

pub(super) const DIVISION_BY_ZERO: Message = "division by zero";
pub(super) const EMPTY: Message = "empty request";
pub(super) const NOT_AN_EXPRESSION: Message = "not an expression";
pub(super) const NOT_FINITE: Message = "not a finite number";
pub(super) const OVERFLOW: Message = "overflow";
pub(super) const TOO_DEEP: Message = "too deeply nested (limit 64)";
pub(super) const TOO_LONG: Message = "line too long (limit 4096 bytes)";
pub(super) const TOO_MANY_OPERATORS: Message = "too many operators (limit 256)";
pub(super) const TOO_MANY_PREFIXES: Message = "too many signs in a row (limit 16)";
pub(super) const UNBALANCED: Message = "unbalanced parentheses";
pub(super) const UNEXPECTED_CHARACTER: Message = "unexpected character";
pub(super) const UNKNOWN_NAME: Message = "unknown name";
pub(super) const WRONG_ARGUMENTS: Message = "wrong number of arguments";
pub(super) const WRONG_TYPE: Message = "wrong type";
