//! Syntax of the sample requests: spaces around operators, and the characters of operators.

use crate::contract::Symbols;
use crate::wire::respaced;

/// How a calculator expects an expression.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Syntax {
    /// Whether operators have spaces around them.
    pub(crate) spaced: bool,
    /// The characters of the operators.
    pub(crate) symbols: Symbols,
}

impl Syntax {
    /// Returns the syntax with or without spaces around operators.
    pub(super) fn of_spaces(spaced: bool) -> Syntax {
        Syntax { spaced, ..Syntax::default() }
    }

    /// Returns an expression without spaces in this syntax.
    pub(crate) fn written(self, expression: &str) -> Vec<u8> {
        let expression = respaced(expression.as_bytes(), self.spaced);
        self.symbols.replace_operators(&expression)
    }
}
