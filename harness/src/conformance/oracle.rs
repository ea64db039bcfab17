//! Oracle: random arithmetic expressions and their values.
//!
//! An expression is generated as a tree and then formatted. So the oracle needs no parser and
//! shares no code with the servers.

use std::fmt;

use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::contract::{Contract, Dialect, Division};

/// An arithmetic expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expression {
    /// A non-negative integer.
    Whole(i64),
    /// A non-negative multiple of 0.25, given as the number of quarters. It is exact in binary.
    Quarters(u32),
    /// Unary minus.
    Negative(Box<Expression>),
    /// A binary operation.
    Of(Operator, Box<Expression>, Box<Expression>),
    /// Parentheses, which may be redundant.
    Group(Box<Expression>),
}

/// A binary operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Operator {
    /// Addition.
    Plus,
    /// Subtraction.
    Minus,
    /// Multiplication.
    Times,
    /// Division.
    Over,
    /// Remainder.
    Remainder,
}

/// Largest integer up to which all integers are exact in double precision.
const MAX_EXACT_INTEGER: i64 = 1 << 53;

/// The value of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// An integer.
    Whole(i64),
    /// A double-precision number.
    Double(f64),
    /// An error.
    Error,
    /// The dialect does not define the value.
    Undefined,
}

impl Expression {
    /// Returns the value of the expression in a dialect.
    pub fn value(&self, dialect: Dialect) -> Value {
        match self {
            Expression::Whole(number) => Value::Whole(*number),
            Expression::Quarters(quarters) => Value::Double(f64::from(*quarters) / 4.0),
            Expression::Group(inner) => inner.value(dialect),
            Expression::Negative(inner) => match inner.value(dialect) {
                Value::Whole(number) => integer_value(number.checked_neg(), dialect),
                Value::Double(number) => Value::Double(-number),
                other => other,
            },
            Expression::Of(operator, left, right) => {
                match (left.value(dialect), right.value(dialect)) {
                    (Value::Undefined, _) | (_, Value::Undefined) => Value::Undefined,
                    (Value::Error, _) | (_, Value::Error) => Value::Error,
                    (Value::Whole(left), Value::Whole(right)) => {
                        integer_operation(*operator, left, right, dialect)
                    }
                    (left, right) => double_operation(*operator, left.double(), right.double()),
                }
            }
        }
    }

    /// Returns whether the value is a number, and no integer on the way to it exceeds `largest`.
    ///
    /// A server that computes with doubles would round a larger integer.
    fn is_within(&self, largest: i64, dialect: Dialect) -> bool {
        let is_small = match self.value(dialect) {
            Value::Whole(number) => number.unsigned_abs() <= largest.unsigned_abs(),
            Value::Double(_) => true,
            Value::Error | Value::Undefined => false,
        };
        is_small
            && match self {
                Expression::Whole(_) | Expression::Quarters(_) => true,
                Expression::Negative(inner) | Expression::Group(inner) => {
                    inner.is_within(largest, dialect)
                }
                Expression::Of(_, left, right) => {
                    left.is_within(largest, dialect) && right.is_within(largest, dialect)
                }
            }
    }

    /// Returns whether the expression needs integers of more than 32 bits, but only just: a server
    /// that evaluates smaller ones correctly probably has integers of 32 bits.
    pub fn just_exceeds_32_bits(&self, dialect: Dialect) -> bool {
        !self.is_within(i32::MAX.into(), dialect) && self.is_within(u32::MAX.into(), dialect)
    }

    /// Returns the precedence, from 0 for a sum or difference to 3 for a number or parentheses.
    fn precedence(&self) -> u8 {
        match self {
            Expression::Of(Operator::Plus | Operator::Minus, ..) => 0,
            Expression::Of(..) => 1,
            Expression::Negative(_) => 2,
            Expression::Whole(_) | Expression::Quarters(_) | Expression::Group(_) => 3,
        }
    }
}

fn integer_operation(operator: Operator, left: i64, right: i64, dialect: Dialect) -> Value {
    match (operator, dialect.division) {
        (Operator::Plus, _) => integer_value(left.checked_add(right), dialect),
        (Operator::Minus, _) => integer_value(left.checked_sub(right), dialect),
        (Operator::Times, _) => integer_value(left.checked_mul(right), dialect),
        (_, None) => Value::Undefined,
        (_, Some(_)) if right == 0 => Value::Error,
        (Operator::Over, Some(Division::Integer)) => {
            integer_value(left.checked_div(right), dialect)
        }
        (Operator::Remainder, Some(Division::Integer)) => {
            integer_value(left.checked_rem(right), dialect)
        }
        (Operator::Over, Some(Division::Exact)) => Value::Double(left as f64 / right as f64),
        // The sign of the remainder differs between languages.
        (Operator::Remainder, Some(Division::Exact)) => Value::Undefined,
    }
}

fn double_operation(operator: Operator, left: f64, right: f64) -> Value {
    let result = match operator {
        Operator::Plus => left + right,
        Operator::Minus => left - right,
        Operator::Times => left * right,
        Operator::Over if right != 0.0 => left / right,
        Operator::Over | Operator::Remainder => return Value::Undefined,
    };
    if result.is_finite() { Value::Double(result) } else { Value::Undefined }
}

fn integer_value(result: Option<i64>, dialect: Dialect) -> Value {
    match result {
        Some(number) => Value::Whole(number),
        None if dialect.overflow_is_error => Value::Error,
        None => Value::Undefined,
    }
}

impl Value {
    fn double(self) -> f64 {
        match self {
            Value::Whole(number) => number as f64,
            Value::Double(number) => number,
            Value::Error | Value::Undefined => f64::NAN,
        }
    }

    /// Compares a reply with this value. An undefined value equals every reply.
    pub fn compare_reply(self, reply: &[u8], contract: &Contract) -> ReplyMatch {
        let text = std::str::from_utf8(reply).unwrap_or("");
        let number = || crate::text::number(reply);
        let equal_if =
            |condition| if condition { ReplyMatch::Equal } else { ReplyMatch::Different };
        match self {
            Value::Whole(value) if text == value.to_string() => ReplyMatch::Equal,
            Value::Whole(value) => match number() {
                Some(number)
                    if number == value as f64
                        && value.unsigned_abs() <= MAX_EXACT_INTEGER.unsigned_abs() =>
                {
                    ReplyMatch::OtherFormat
                }
                _ => ReplyMatch::Different,
            },
            Value::Double(value) => {
                let is_close = |number: f64| (number - value).abs() <= 1e-12 * value.abs();
                equal_if(number().is_some_and(is_close))
            }
            Value::Error => {
                equal_if(contract.is_error(reply).unwrap_or_else(|| number().is_none()))
            }
            Value::Undefined => ReplyMatch::Equal,
        }
    }
}

/// Result of a comparison of a reply with the expected value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyMatch {
    /// The reply has the value.
    Equal,
    /// The reply has the value in another format, such as 3.0 instead of 3.
    OtherFormat,
    /// The reply has another value.
    Different,
}

/// Returns a strategy for expressions whose value in the dialect is a number. Other cases test
/// errors.
pub fn expressions(dialect: Dialect) -> impl Strategy<Value = Expression> {
    let mut operators = vec![Operator::Plus, Operator::Minus, Operator::Times];
    match dialect.division {
        Some(Division::Integer) => operators.extend([Operator::Over, Operator::Remainder]),
        Some(Division::Exact) => operators.push(Operator::Over),
        None => {}
    }
    operators.retain(|operator| dialect.operators.has(operator.sign()));
    let operator = proptest::sample::select(operators);
    // Without declared 64-bit integers, numbers may be doubles, which are exact up to 2^53.
    let largest = if dialect.overflow_is_error { i64::MAX } else { MAX_EXACT_INTEGER };
    let number = prop_oneof![
        6 => (0i64..20).prop_map(Expression::Whole),
        2 => (0i64..100_000).prop_map(Expression::Whole),
        1 => (0i64..=largest).prop_map(Expression::Whole),
        1 => (0u32..100).prop_map(Expression::Quarters),
    ];
    let depth = if dialect.two_operands { 1 } else { 5 };
    number
        .prop_recursive(depth, 24, 2, move |inner| {
            prop_oneof![
                6 => (operator.clone(), inner.clone(), inner.clone()).prop_map(
                    |(operator, left, right)| {
                        Expression::Of(operator, Box::new(left), Box::new(right))
                    }
                ),
                1 => inner.clone().prop_map(|inner| Expression::Negative(Box::new(inner))),
                1 => inner.prop_map(|inner| Expression::Group(Box::new(inner))),
            ]
        })
        .prop_filter("not an expression of the dialect", move |it| dialect.reads(&it.to_string()))
        .prop_filter("no number in the dialect, or too large", move |expression| {
            expression.is_within(largest, dialect)
        })
}

impl fmt::Display for Expression {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let write_operand = |formatter: &mut fmt::Formatter<'_>, operand: &Expression, min: u8| {
            if operand.precedence() < min {
                write!(formatter, "({operand})")
            } else {
                write!(formatter, "{operand}")
            }
        };
        match self {
            Expression::Whole(number) => write!(formatter, "{number}"),
            Expression::Quarters(quarters) => {
                write!(formatter, "{:.2}", f64::from(*quarters) / 4.0)
            }
            Expression::Group(inner) => write!(formatter, "({inner})"),
            Expression::Negative(inner) => {
                formatter.write_str("-")?;
                write_operand(formatter, inner, 3)
            }
            Expression::Of(operator, left, right) => {
                let precedence = self.precedence();
                write_operand(formatter, left, precedence)?;
                write!(formatter, " {operator} ")?;
                // Operators of equal precedence are left-associative.
                write_operand(formatter, right, precedence + 1)
            }
        }
    }
}

impl Operator {
    fn sign(self) -> u8 {
        match self {
            Operator::Plus => b'+',
            Operator::Minus => b'-',
            Operator::Times => b'*',
            Operator::Over => b'/',
            Operator::Remainder => b'%',
        }
    }
}

impl fmt::Display for Operator {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", char::from(self.sign()))
    }
}

impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Whole(number) => write!(formatter, "{number}"),
            Value::Double(number) => write!(formatter, "{number}"),
            Value::Error => formatter.write_str("an error"),
            Value::Undefined => formatter.write_str("anything"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(operator: Operator, left: Expression, right: Expression) -> Expression {
        Expression::Of(operator, Box::new(left), Box::new(right))
    }

    #[test]
    fn parentheses_are_written_only_where_needed() {
        let [one, two, three] = [1, 2, 3].map(Expression::Whole);
        let sum = of(Operator::Plus, one.clone(), two.clone());
        let difference = of(Operator::Minus, one.clone(), two.clone());
        let negative = Expression::Negative(Box::new(sum.clone()));
        for (expression, formatted) in [
            (of(Operator::Times, sum.clone(), three.clone()), "(1 + 2) * 3"),
            (of(Operator::Minus, three.clone(), difference.clone()), "3 - (1 - 2)"),
            (of(Operator::Minus, difference, three.clone()), "1 - 2 - 3"),
            (of(Operator::Over, three.clone(), of(Operator::Times, one, two)), "3 / (1 * 2)"),
            (of(Operator::Times, negative, three), "-(1 + 2) * 3"),
        ] {
            assert_eq!(expression.to_string(), formatted);
        }
    }

    #[test]
    fn intermediate_values_beyond_2_to_the_53_are_detected() {
        let large = of(Operator::Plus, Expression::Whole(MAX_EXACT_INTEGER), Expression::Whole(2));
        let small = of(Operator::Minus, large, Expression::Whole(7));
        let exact = Dialect { division: Some(Division::Exact), ..Dialect::default() };
        assert_eq!(small.value(exact), Value::Whole(MAX_EXACT_INTEGER - 5));
        assert!(!small.is_within(MAX_EXACT_INTEGER, exact));
        assert!(small.is_within(i64::MAX, Dialect::of_64_bits()));
    }

    #[test]
    fn values_follow_the_declared_dialect() {
        let integer = Dialect::of_64_bits();
        let exact = Dialect { division: Some(Division::Exact), ..Dialect::default() };
        let [seven, two] = [7, 2].map(Expression::Whole);
        let division = of(Operator::Over, seven.clone(), two.clone());
        assert_eq!(division.value(integer), Value::Whole(3));
        assert_eq!(division.value(exact), Value::Double(3.5));
        assert_eq!(division.value(Dialect::default()), Value::Undefined);
        let negative = Expression::Negative(Box::new(seven));
        assert_eq!(of(Operator::Remainder, negative, two).value(integer), Value::Whole(-1));
        let overflow = of(Operator::Plus, Expression::Whole(i64::MAX), Expression::Whole(1));
        assert_eq!(overflow.value(integer), Value::Error);
        assert_eq!(overflow.value(exact), Value::Undefined);
    }
}
