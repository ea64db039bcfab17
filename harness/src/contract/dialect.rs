//! Arithmetic of a calculator server: the points where calculators differ, and the accepted syntax.

use serde::{Deserialize, Serialize};

/// Arithmetic and syntax of a calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Dialect {
    /// Result of `7 / 2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub division: Option<Division>,
    /// Integers have 64 bits, and overflow is an error.
    #[serde(rename = "overflow", skip_serializing_if = "is_false")]
    pub overflow_is_error: bool,
    /// Supported operators.
    #[serde(skip_serializing_if = "Operators::is_all")]
    pub operators: Operators,
    /// Every request has exactly two operands and one operator.
    #[serde(rename = "shape", with = "shape", skip_serializing_if = "is_false")]
    pub is_binary: bool,
    /// Accepts negative numbers.
    #[serde(skip_serializing_if = "is_true")]
    pub negative: bool,
    /// Accepts decimals such as `1.25`.
    #[serde(skip_serializing_if = "is_true")]
    pub decimals: bool,
    /// Accepts parentheses.
    #[serde(skip_serializing_if = "is_true")]
    pub parentheses: bool,
}

fn is_true(value: &bool) -> bool {
    *value
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Result of `7 / 2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Division {
    /// `3`: rounds towards zero; the remainder has the sign of the dividend.
    Integer,
    /// `3.5`.
    Exact,
}

impl Division {
    /// All variants.
    pub const ALL: &[Division] = &[Division::Integer, Division::Exact];

    /// Returns its name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Division::Integer => "integer",
            Division::Exact => "exact",
        }
    }
}

/// A subset of `+-*/%`, written as a string of those characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Operators([bool; Operators::ALL.len()]);

impl Operators {
    const ALL: &[u8] = b"+-*/%";

    fn is_all(&self) -> bool {
        self.0.iter().all(|&there| there)
    }

    /// Returns whether the set contains this operator.
    pub fn has(self, operator: u8) -> bool {
        Operators::ALL.iter().position(|&one| one == operator).is_some_and(|at| self.0[at])
    }
}

impl From<Operators> for String {
    fn from(operators: Operators) -> String {
        let there = Operators::ALL.iter().filter(|&&operator| operators.has(operator));
        there.map(|&operator| char::from(operator)).collect()
    }
}

impl TryFrom<String> for Operators {
    type Error = String;

    fn try_from(text: String) -> Result<Operators, String> {
        let mut found = [false; Operators::ALL.len()];
        for byte in text.bytes() {
            match Operators::ALL.iter().position(|&one| one == byte) {
                Some(at) => found[at] = true,
                None => return Err("write some of +-*/%, such as \"+-*/\"".to_owned()),
            }
        }
        if !found[0] {
            return Err("a calculator is asked for sums at least: write + among them".to_owned());
        }
        Ok(Operators(found))
    }
}

impl Default for Dialect {
    /// Returns the full syntax, with division and overflow undeclared.
    fn default() -> Dialect {
        Dialect {
            division: None,
            overflow_is_error: false,
            operators: Operators([true; Operators::ALL.len()]),
            is_binary: false,
            negative: true,
            decimals: true,
            parentheses: true,
        }
    }
}

impl Dialect {
    /// Returns the dialect with 64-bit integers and integer division.
    pub fn of_64_bits() -> Dialect {
        let division = Some(Division::Integer);
        Dialect { division, overflow_is_error: true, ..Dialect::default() }
    }

    /// Returns whether an expression is within the declared syntax.
    pub fn reads(self, expression: &str) -> bool {
        let is_operator = |byte: &u8| Operators::ALL.contains(byte);
        let bytes = || expression.bytes().filter(|byte| *byte != b' ');
        let mut operators = 0;
        let mut before = None;
        for byte in bytes() {
            let is_sign = byte == b'-' && before.is_none_or(|it| is_operator(&it) || it == b'(');
            if is_sign {
                if !self.negative {
                    return false;
                }
            } else if is_operator(&byte) {
                operators += 1;
                if !self.operators.has(byte) {
                    return false;
                }
            }
            before = Some(byte);
        }
        (!self.is_binary || operators <= 1)
            && (self.decimals || !expression.contains('.'))
            && (self.parentheses || !expression.contains('('))
    }
}

/// Text form of `is_binary`: `any` or `binary`.
mod shape {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(is_binary: &bool, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if *is_binary { "binary" } else { "any" })
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<bool, D::Error> {
        match String::deserialize(from)?.as_str() {
            "any" => Ok(false),
            "binary" => Ok(true),
            _ => Err(D::Error::custom("write \"any\", or \"binary\" for a op b")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_calculator_reads_is_as_it_says() {
        let all = Dialect::default();
        let plain = Dialect {
            operators: Operators::try_from("+-".to_owned()).expect("they are operators"),
            is_binary: true,
            negative: false,
            decimals: false,
            parentheses: false,
            ..all
        };
        for (expression, is_read) in [
            ("8", true),
            ("1 + 2", true),
            ("1 * 2", false),
            ("1 + 2 - 3", false),
            ("-1 + 2", false),
            ("1 - -2", false),
            ("1.5 + 2", false),
            ("(1 + 2)", false),
        ] {
            assert!(all.reads(expression), "{expression}");
            assert_eq!(plain.reads(expression), is_read, "{expression}");
        }
    }

    #[test]
    fn a_dialect_is_written_as_it_is_read() {
        let text =
            "division = \"exact\"\noperators = \"+/\"\nshape = \"binary\"\nnegative = false\n";
        let read: Dialect = toml::from_str(text).expect("it is right");
        assert!(read.operators.has(b'/') && !read.operators.has(b'*') && read.is_binary);
        let written = toml::to_string(&read).expect("it can be written");
        assert_eq!(toml::from_str::<Dialect>(&written), Ok(read));
        for (wrong, word) in [
            ("operators = \"^\"", "+-*/%"),
            ("shape = \"round\"", "binary"),
            ("speed = 1", "unknown"),
        ] {
            let error = toml::from_str::<Dialect>(wrong).expect_err(wrong);
            assert!(error.message().contains(word), "{error}");
        }
    }
}
