//! Colour of words in the output for users. Files never contain colour.

use std::env;

use super::visible;

/// When to use colour; a value of `--color`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl ColorChoice {
    /// All values, in the order of the help.
    pub const ALL: &[ColorChoice] = &[ColorChoice::Auto, ColorChoice::Always, ColorChoice::Never];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            ColorChoice::Auto => "auto",
            ColorChoice::Always => "always",
            ColorChoice::Never => "never",
        }
    }

    /// Returns whether a stream uses colour. `is_terminal` tells whether the stream is a terminal.
    pub(crate) fn applies(self, is_terminal: bool) -> bool {
        match self {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => is_terminal && understands_sequences() && !is_set("NO_COLOR"),
        }
    }
}

/// Returns whether the terminal understands control sequences.
pub(crate) fn understands_sequences() -> bool {
    env::var_os("TERM").is_some_and(|name| !name.is_empty() && name != "dumb")
}

/// Returns whether an environment variable has a value that is not empty.
pub(crate) fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Style of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Green: success.
    Pass,
    /// Red: failure.
    Fail,
    /// Yellow: attention.
    Warn,
    /// Magenta: no result.
    Inconclusive,
    /// Dim: of no importance.
    Faint,
}

impl Style {
    /// Returns the parameter of SGR (ECMA-48), which selects the style.
    fn code(self) -> u8 {
        match self {
            Style::Pass => 32,
            Style::Fail => 31,
            Style::Warn => 33,
            Style::Inconclusive => 35,
            Style::Faint => 2,
        }
    }
}

/// Text in which some words have a style.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StyledText(Vec<(Option<Style>, String)>);

impl StyledText {
    /// Returns a text that begins with a word in a style.
    pub(crate) fn new(style: Option<Style>, word: impl Into<String>) -> StyledText {
        StyledText(vec![(style, word.into())])
    }

    /// Appends text without style.
    pub(crate) fn and(mut self, text: impl Into<String>) -> StyledText {
        self.0.push((None, text.into()));
        self
    }

    /// Returns the text for a stream. Replaces control characters, because the text may quote a
    /// server; only the styles become control sequences.
    pub(crate) fn render(&self, has_color: bool) -> String {
        let part = |(style, text): &(Option<Style>, String)| match style.filter(|_| has_color) {
            Some(style) => format!("\x1b[{}m{}\x1b[0m", style.code(), visible(text)),
            None => visible(text).into_owned(),
        };
        self.0.iter().map(part).collect()
    }
}

impl From<&str> for StyledText {
    fn from(text: &str) -> StyledText {
        StyledText::new(None, text)
    }
}

impl From<&String> for StyledText {
    fn from(text: &String) -> StyledText {
        StyledText::new(None, text)
    }
}

impl From<String> for StyledText {
    fn from(text: String) -> StyledText {
        StyledText::new(None, text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_styles_become_control_sequences() {
        let text = StyledText::new(Some(Style::Fail), "fail\x1b[2J").and(" a\x1b[0m");
        assert_eq!(text.render(true), "\x1b[31mfail\u{fffd}[2J\x1b[0m a\u{fffd}[0m");
        assert_eq!(text.render(false), "fail\u{fffd}[2J a\u{fffd}[0m");
    }

    #[test]
    fn the_choice_of_the_user_overrides_the_terminal() {
        for is_terminal in [false, true] {
            assert!(ColorChoice::Always.applies(is_terminal));
            assert!(!ColorChoice::Never.applies(is_terminal));
        }
        assert!(!ColorChoice::Auto.applies(false));
    }
}
