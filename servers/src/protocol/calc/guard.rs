//! Checks, without recursion, that a line is an expression within the limits.
//!
//! It splits the line into tokens exactly as evalexpr does and follows the grammar with one token
//! of state: an operand or an operator is expected. It computes nothing and builds no tree.

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
    if !line.iter().copied().all(is_known) {
        return Err(UNEXPECTED_CHARACTER);
    }
    let text = std::str::from_utf8(line).expect("every known byte is ASCII");
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

fn is_known(byte: u8) -> bool {
    is_of_word(byte) || b" \t+-*/%^()<>=!&|,".contains(&byte)
}

/// Returns whether `byte` belongs to a number or a name.
fn is_of_word(byte: u8) -> bool {
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

/// Splits one token off `text`, which must not be empty nor begin with a blank.
fn next_token(text: &str) -> Result<(Token, &str), Message> {
    let bytes = text.as_bytes();
    if is_of_word(bytes[0]) {
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

/// Returns the length of the number or name at the start of `bytes`, with the signed exponent of
/// `1e-3`.
fn word_length(bytes: &[u8]) -> usize {
    let run = |from: usize| from + bytes[from..].iter().take_while(|b| is_of_word(**b)).count();
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

/// The state of the grammar, and the use of each limit so far.
struct Grammar {
    wanted: Wanted,
    open: Vec<Parenthesis>,
    prefixes: usize,
    operators: usize,
}

#[derive(Clone, Copy)]
enum Wanted {
    Value,
    /// The first argument of a call: an operand, but its absence means a wrong number of arguments.
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
        Grammar { wanted: Wanted::Value, open: Vec::new(), prefixes: 0, operators: 0 }
    }

    fn accept(&mut self, token: Token) -> Result<(), Message> {
        self.wanted = match (self.wanted, token) {
            (Wanted::Value | Wanted::Argument, Token::Value) => Wanted::Operator,
            (Wanted::Value | Wanted::Argument, Token::Minus | Token::Not) => {
                self.wanted = Wanted::Value;
                self.prefix()?;
                return self.operator();
            }
            (Wanted::Value | Wanted::Argument, Token::Function(arity)) => {
                self.operator()?;
                Wanted::Call(arity)
            }
            (Wanted::Value | Wanted::Argument, Token::Open) => {
                self.open(Parenthesis::Group)?;
                Wanted::Value
            }
            (Wanted::Call(arity), Token::Open) => {
                self.open(Parenthesis::Call { arity, arguments: 1 })?;
                Wanted::Argument
            }
            (Wanted::Argument, Token::Close) => return Err(WRONG_ARGUMENTS),
            (Wanted::Operator, Token::Minus | Token::Binary) => {
                self.operator()?;
                Wanted::Value
            }
            (Wanted::Operator, Token::Comma) => {
                self.operator()?;
                self.comma()?;
                Wanted::Value
            }
            (Wanted::Operator, Token::Close) => {
                self.close()?;
                Wanted::Operator
            }
            _ => return Err(NOT_AN_EXPRESSION),
        };
        self.prefixes = 0;
        Ok(())
    }

    fn finish(self) -> Result<(), Message> {
        match self.wanted {
            Wanted::Operator if self.open.is_empty() => Ok(()),
            Wanted::Operator => Err(UNBALANCED),
            _ => Err(NOT_AN_EXPRESSION),
        }
    }

    fn operator(&mut self) -> Result<(), Message> {
        self.operators += 1;
        within(self.operators, MAX_OPERATORS, TOO_MANY_OPERATORS)
    }

    fn prefix(&mut self) -> Result<(), Message> {
        self.prefixes += 1;
        within(self.prefixes, MAX_PREFIXES, TOO_MANY_PREFIXES)
    }

    fn open(&mut self, parenthesis: Parenthesis) -> Result<(), Message> {
        self.open.push(parenthesis);
        within(self.open.len(), MAX_DEPTH, TOO_DEEP)
    }

    fn comma(&mut self) -> Result<(), Message> {
        match self.open.last_mut() {
            Some(Parenthesis::Call { arguments, .. }) => *arguments += 1,
            Some(Parenthesis::Group) | None => return Err(NOT_AN_EXPRESSION),
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), Message> {
        match self.open.pop() {
            Some(Parenthesis::Group) => Ok(()),
            Some(Parenthesis::Call { arity, arguments }) if arity.contains(&arguments) => Ok(()),
            Some(Parenthesis::Call { .. }) => Err(WRONG_ARGUMENTS),
            None => Err(UNBALANCED),
        }
    }
}

fn within(used: usize, limit: usize, message: Message) -> Result<(), Message> {
    if used > limit { Err(message) } else { Ok(()) }
}
