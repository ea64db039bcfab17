//! Dialect of a calculator server: the accepted syntax, and arithmetic that varies between servers.

use serde::{Deserialize, Serialize};

/// Arithmetic and syntax of a calculator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Dialect {
    /// Result of `7 / 2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub division: Option<Division>,
    /// Whether integers have 64 bits and an overflow gets an error reply.
    #[serde(rename = "overflow", skip_serializing_if = "is_false")]
    pub overflow_is_error: bool,
    /// Supported operators.
    #[serde(skip_serializing_if = "Operators::is_all")]
    pub operators: Operators,
    /// The characters that the server uses for operators.
    #[serde(skip_serializing_if = "Symbols::is_default")]
    pub symbols: Symbols,
    /// Whether every request must have exactly two operands and one operator.
    #[serde(rename = "shape", with = "shape", skip_serializing_if = "is_false")]
    pub two_operands: bool,
    /// Whether negative numbers are accepted.
    #[serde(skip_serializing_if = "is_true")]
    pub negative: bool,
    /// Whether decimals such as `1.25` are accepted.
    #[serde(skip_serializing_if = "is_true")]
    pub decimals: bool,
    /// Whether parentheses are accepted.
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

    /// Returns the variant's name in flags and files.
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
        self.0.iter().all(|&supported| supported)
    }

    /// Returns whether the set contains this operator.
    pub fn has(self, operator: u8) -> bool {
        Operators::ALL.iter().position(|&it| it == operator).is_some_and(|at| self.0[at])
    }
}

impl From<Operators> for String {
    fn from(operators: Operators) -> String {
        let supported = Operators::ALL.iter().filter(|&&operator| operators.has(operator));
        supported.map(|&operator| char::from(operator)).collect()
    }
}

impl TryFrom<String> for Operators {
    type Error = String;

    fn try_from(text: String) -> Result<Operators, String> {
        let mut supported = [false; Operators::ALL.len()];
        for byte in text.bytes() {
            match Operators::ALL.iter().position(|&it| it == byte) {
                Some(index) if supported[index] => {
                    let operator = char::from(byte);
                    return Err(format!("the operator {operator} is listed twice"));
                }
                Some(index) => supported[index] = true,
                None => {
                    return Err(
                        "expected a string of the operators +-*/%, such as \"+-*/\"".to_owned()
                    );
                }
            }
        }
        if !supported[0] {
            return Err(
                "the operators must include +, which every test of a calculator uses".to_owned()
            );
        }
        Ok(Operators(supported))
    }
}

/// The characters that a server uses for the operators `+-*/%`, in this order and at most five:
/// `ASMD` for letters, or a space for two numbers without an operator. The operators without a
/// character here stand for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Symbols([u8; Operators::ALL.len()]);

impl Default for Symbols {
    fn default() -> Symbols {
        Symbols(std::array::from_fn(|at| Operators::ALL[at]))
    }
}

impl Symbols {
    fn is_default(&self) -> bool {
        *self == Symbols::default()
    }

    /// Returns the symbols with another character for this operator.
    ///
    /// # Errors
    /// Another operator has this character, or it cannot stand for an operator.
    pub fn with(self, operator: u8, symbol: u8) -> Result<Symbols, String> {
        let mut symbols = self.0;
        if let Some(at) = Operators::ALL.iter().position(|it| *it == operator) {
            symbols[at] = symbol;
        }
        Symbols::try_from(symbols.map(char::from).iter().collect::<String>())
    }

    /// Returns whether the server uses this character for an operator.
    pub fn has(self, symbol: u8) -> bool {
        self.0.contains(&symbol)
    }

    /// Returns the expression with the server's characters in place of the operators. Signs remain.
    /// Returns text that is not an expression unchanged.
    pub fn replace_operators(self, expression: &[u8]) -> Vec<u8> {
        let is_allowed = |byte: &u8| byte.is_ascii_digit() || b"+-*/%().e ".contains(byte);
        if self.is_default() || !expression.iter().all(is_allowed) {
            return expression.to_vec();
        }
        let mut previous = None;
        let replace = |&byte: &u8| {
            let ends_operand = previous
                .is_some_and(|it: u8| it.is_ascii_alphanumeric() || it == b')' || it == b'.');
            if byte != b' ' {
                previous = Some(byte);
            }
            match Operators::ALL.iter().position(|it| *it == byte) {
                Some(at) if ends_operand => self.0[at],
                _ => byte,
            }
        };
        expression.iter().map(replace).collect()
    }
}

impl From<Symbols> for String {
    fn from(symbols: Symbols) -> String {
        let is_changed = |at: &usize| symbols.0[*at] != Operators::ALL[*at];
        let length = (0..symbols.0.len()).rev().find(is_changed).map_or(0, |last| last + 1);
        symbols.0[..length].iter().map(|&symbol| char::from(symbol)).collect()
    }
}

impl TryFrom<String> for Symbols {
    type Error = String;

    fn try_from(text: String) -> Result<Symbols, String> {
        let mut symbols = Symbols::default();
        let is_symbol =
            |byte: u8| byte == b' ' || byte.is_ascii_graphic() && !byte.is_ascii_digit();
        if text.len() > symbols.0.len() || !text.bytes().all(is_symbol) {
            return Err(
                "expected at most five characters for the operators +-*/%, in this order, \
                        such as \"ASMD\""
                    .to_owned(),
            );
        }
        symbols.0[..text.len()].copy_from_slice(text.as_bytes());
        let mut sorted = symbols.0;
        sorted.sort_unstable();
        match sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            true => Err("each operator needs another character".to_owned()),
            false => Ok(symbols),
        }
    }
}

impl Default for Dialect {
    /// Returns the full syntax, with division and overflow undeclared.
    fn default() -> Dialect {
        Dialect {
            division: None,
            overflow_is_error: false,
            operators: Operators([true; Operators::ALL.len()]),
            symbols: Symbols::default(),
            two_operands: false,
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
        let mut operators = 0;
        let mut previous = None;
        for byte in expression.bytes().filter(|byte| *byte != b' ') {
            let is_sign = byte == b'-' && previous.is_none_or(|it| is_operator(&it) || it == b'(');
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
            previous = Some(byte);
        }
        (!self.two_operands || operators <= 1)
            && (self.decimals || !expression.contains('.'))
            && (self.parentheses || !expression.contains('('))
    }
}

/// Text form of `two_operands`: `any` or `two-operands`.
mod shape {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(two_operands: &bool, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(if *two_operands { "two-operands" } else { "any" })
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<bool, D::Error> {
        match String::deserialize(from)?.as_str() {
            "any" => Ok(false),
            "two-operands" => Ok(true),
            _ => Err(D::Error::custom(
                "expected \"any\", or \"two-operands\" for requests of the form a op b",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_declared_syntax_is_accepted() {
        let all = Dialect::default();
        let plain = Dialect {
            operators: Operators::try_from("+-".to_owned()).expect("valid operators"),
            two_operands: true,
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
    fn operators_are_replaced_and_signs_are_not() {
        let symbols = |text: &str| Symbols::try_from(text.to_owned());
        for (text, expression, replaced) in [
            ("ASMD", "-1.5 - -2", "-1.5 S -2"),
            ("ASMD", "(1+2)*3%4", "(1A2)M3%4"),
            (" ", "3+4", "3 4"),
            ("", "1+2", "1+2"),
        ] {
            let parsed = symbols(text).expect(text);
            assert_eq!(String::from(parsed), text);
            assert_eq!(parsed.replace_operators(expression.as_bytes()), replaced.as_bytes());
        }
        for invalid in ["ASMDEF", "A1", "AA", "-"] {
            assert!(symbols(invalid).is_err(), "{invalid}");
        }
    }

    #[test]
    fn toml_round_trips_and_rejects_invalid_values() {
        let text = "division = \"exact\"\noperators = \"+/\"\nshape = \"two-operands\"\nnegative = false\n";
        let read: Dialect = toml::from_str(text).expect("a valid dialect");
        assert!(read.operators.has(b'/') && !read.operators.has(b'*') && read.two_operands);
        let written = toml::to_string(&read).expect("a serializable dialect");
        assert_eq!(toml::from_str::<Dialect>(&written), Ok(read));
        for (invalid, quoted) in [
            ("operators = \"^\"", "+-*/%"),
            ("symbols = \"123\"", "ASMD"),
            ("shape = \"round\"", "two-operands"),
            ("speed = 1", "unknown"),
        ] {
            let error = toml::from_str::<Dialect>(invalid).expect_err(invalid);
            assert!(error.message().contains(quoted), "{error}");
        }
    }
}
