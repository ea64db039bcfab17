//! Checks, without recursion, that a line is an expression within the limits.
//!
//! The guard splits the line into the same tokens as evalexpr. Its state is the kind of token that
//! the grammar expects next, and the open parentheses. It computes nothing and builds no tree.

use std::ops::RangeInclusive;

use super::dialect::{
    EMPTY, FUNCTIONS, MAX_DEPTH, MAX_LENGTH, MAX_OPERATORS, MAX_PREFIXES, Message,
    NOT_AN_EXPRESSION, OVERFLOW, TOO_DEEP, TOO_LONG, TOO_MANY_OPERATORS, TOO_MANY_PREFIXES,
    UNBALANCED, UNEXPECTED_CHARACTER, UNKNOWN_NAME, WRONG_ARGUMENTS,
};

/// Returns the line as text if it is an expression within every limit.
pub(super) fn check(line: &[u8]) -> Result<&str, Message> {
    if line.len() > MAX_LENGTH {
        return Err(TOO_LONG);
    }
    if !line.iter().copied().all(is_allowed) {
        return Err(UNEXPECTED_CHARACTER);
    }
    let text = std::str::from_utf8(line).expect("every allowed byte is ASCII");
    let mut rest = text.trim_start_matches(BLANKS);
    if rest.is_empty() {
        return Err(EMPTY);
    }
    let mut grammar = Grammar::new();
    while !rest.is_empty() {
        let (token, after) = next_token(rest)?;
        grammar.accept(token)?;
        rest = after.trim_start_matches(BLANKS);
    }
    grammar.finish()?;
    Ok(text)
}

const BLANKS: [char; 2] = [' ', '\t'];

fn is_allowed(byte: u8) -> bool {
    is_word_byte(byte) || b" \t+-*/%^()<>=!&|,".contains(&byte)
}

/// Returns whether `byte` belongs to a number or a name.
fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._:".contains(&byte)
}

#[derive(Clone, Copy)]
enum Token {
    /// A number, `true` or `false`.
    Value,
    Function(Arity),
    /// `-`: a prefix where an operand is expected, otherwise a binary operator.
    Minus,
    Not,
    /// Any other binary operator.
    Binary,
    Comma,
    Open,
    Close,
}

/// The number of arguments that a function takes.
type Arity = &'static RangeInclusive<usize>;

/// Splits the first token off `text`, which must be non-empty and not begin with a blank.
fn next_token(text: &str) -> Result<(Token, &str), Message> {
    let bytes = text.as_bytes();
    if is_word_byte(bytes[0]) {
        let (word, rest) = text.split_at(word_length(bytes));
        return Ok((word_token(word)?, rest));
    }
    let (token, length) = match bytes {
        [b'<' | b'>' | b'=' | b'!', b'=', ..] | [b'&', b'&', ..] | [b'|', b'|', ..] => {
            (Token::Binary, 2)
        }
        [b'+' | b'*' | b'/' | b'%' | b'^' | b'<' | b'>', ..] => (Token::Binary, 1),
        [b'-', ..] => (Token::Minus, 1),
        [b'!', ..] => (Token::Not, 1),
        [b',', ..] => (Token::Comma, 1),
        [b'(', ..] => (Token::Open, 1),
        [b')', ..] => (Token::Close, 1),
        _ => return Err(NOT_AN_EXPRESSION),
    };
    Ok((token, &text[length..]))
}

/// Returns the length of the number or name at the start of `bytes`, including a signed exponent as
/// in `1e-3`.
fn word_length(bytes: &[u8]) -> usize {
    let run = |from: usize| from + bytes[from..].iter().take_while(|b| is_word_byte(**b)).count();
    let length = run(0);
    let is_number = is_numeric(bytes[0]);
    match (&bytes[length - 1..length], bytes.get(length)) {
        (b"e" | b"E", Some(b'+' | b'-')) if is_number => run(length + 1),
        _ => length,
    }
}

fn is_numeric(first: u8) -> bool {
    first.is_ascii_digit() || first == b'.'
}

fn word_token(word: &str) -> Result<Token, Message> {
    if !is_numeric(word.as_bytes()[0]) {
        if word == "true" || word == "false" {
            return Ok(Token::Value);
        }
        let known = FUNCTIONS.iter().find(|(name, _)| *name == word);
        return known.map(|(_, arity)| Token::Function(arity)).ok_or(UNKNOWN_NAME);
    }
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        // evalexpr would silently read an integer that overflows as a float.
        return word.parse::<i64>().map(|_| Token::Value).map_err(|_| OVERFLOW);
    }
    word.parse::<f64>().map(|_| Token::Value).map_err(|_| NOT_AN_EXPRESSION)
}

/// The state of the grammar, and the counts that the limits apply to.
struct Grammar {
    expected: Expected,
    open_parentheses: Vec<Parenthesis>,
    prefixes: usize,
    operators: usize,
}

#[derive(Clone, Copy)]
enum Expected {
    Value,
    /// The first argument of a call. If it is missing, the number of arguments is wrong.
    Argument,
    Operator,
    /// The opening parenthesis of a call.
    Call(Arity),
}

enum Parenthesis {
    Group,
    Call { arity: Arity, arguments: usize },
}

impl Grammar {
    fn new() -> Self {
        Grammar {
            expected: Expected::Value,
            open_parentheses: Vec::new(),
            prefixes: 0,
            operators: 0,
        }
    }

    fn accept(&mut self, token: Token) -> Result<(), Message> {
        self.expected = match (self.expected, token) {
            (Expected::Value | Expected::Argument, Token::Value) => Expected::Operator,
            (Expected::Value | Expected::Argument, Token::Minus | Token::Not) => {
                self.expected = Expected::Value;
                self.count_prefix()?;
                return self.count_operator();
            }
            (Expected::Value | Expected::Argument, Token::Function(arity)) => {
                self.count_operator()?;
                Expected::Call(arity)
            }
            (Expected::Value | Expected::Argument, Token::Open) => {
                self.open_parenthesis(Parenthesis::Group)?;
                Expected::Value
            }
            (Expected::Call(arity), Token::Open) => {
                self.open_parenthesis(Parenthesis::Call { arity, arguments: 1 })?;
                Expected::Argument
            }
            (Expected::Argument, Token::Close) => return Err(WRONG_ARGUMENTS),
            (Expected::Operator, Token::Minus | Token::Binary) => {
                self.count_operator()?;
                Expected::Value
            }
            (Expected::Operator, Token::Comma) => {
                self.count_operator()?;
                self.next_argument()?;
                Expected::Value
            }
            (Expected::Operator, Token::Close) => {
                self.close_parenthesis()?;
                Expected::Operator
            }
            _ => return Err(NOT_AN_EXPRESSION),
        };
        self.prefixes = 0;
        Ok(())
    }

    fn finish(self) -> Result<(), Message> {
        match self.expected {
            Expected::Operator if self.open_parentheses.is_empty() => Ok(()),
            Expected::Operator => Err(UNBALANCED),
            _ => Err(NOT_AN_EXPRESSION),
        }
    }

    fn count_operator(&mut self) -> Result<(), Message> {
        self.operators += 1;
        check_limit(self.operators, MAX_OPERATORS, TOO_MANY_OPERATORS)
    }

    fn count_prefix(&mut self) -> Result<(), Message> {
        self.prefixes += 1;
        check_limit(self.prefixes, MAX_PREFIXES, TOO_MANY_PREFIXES)
    }

    fn open_parenthesis(&mut self, parenthesis: Parenthesis) -> Result<(), Message> {
        self.open_parentheses.push(parenthesis);
        check_limit(self.open_parentheses.len(), MAX_DEPTH, TOO_DEEP)
    }

    fn next_argument(&mut self) -> Result<(), Message> {
        match self.open_parentheses.last_mut() {
            Some(Parenthesis::Call { arguments, .. }) => *arguments += 1,
            Some(Parenthesis::Group) | None => return Err(NOT_AN_EXPRESSION),
        }
        Ok(())
    }

    fn close_parenthesis(&mut self) -> Result<(), Message> {
        match self.open_parentheses.pop() {
            Some(Parenthesis::Group) => Ok(()),
            Some(Parenthesis::Call { arity, arguments }) if arity.contains(&arguments) => Ok(()),
            Some(Parenthesis::Call { .. }) => Err(WRONG_ARGUMENTS),
            None => Err(UNBALANCED),
        }
    }
}

fn check_limit(used: usize, limit: usize, message: Message) -> Result<(), Message> {
    if used > limit { Err(message) } else { Ok(()) }
}
