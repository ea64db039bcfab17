//! Workflow commands: lines of standard output that CI systems execute.
//!
//! GitHub Actions executes `::name properties::data` at the begin of a line, after any white space,
//! and `##[name]data` anywhere in a line. Azure Pipelines executes `##vso[…]`, and TeamCity
//! `##teamcity[…]`. Text of a server must not contain such a command: it could mask words of the
//! log, or report errors in files.

use std::borrow::Cow;

/// Begin of a command of GitHub Actions.
const PREFIX: &str = "::";

/// Begin of a command that may be anywhere in a line. A name and a bracket follow.
const INLINE_PREFIX: &str = "##";

/// Makes text harmless for CI systems: inserts a backslash into each workflow command.
pub(crate) fn defused(text: &str) -> Cow<'_, str> {
    let is_command = |line: &str| line.trim_start().starts_with(PREFIX);
    if !text.lines().any(is_command) {
        return without_brackets(text, "\\[");
    }
    let lines = text.split('\n').map(|line| {
        let command = line.trim_start();
        let space = &line[..line.len() - command.len()];
        if is_command(line) { format!("{space}\\{command}") } else { line.to_owned() }
    });
    let lines: Vec<String> = lines.collect();
    Cow::Owned(without_brackets(&lines.join("\n"), "\\[").into_owned())
}

/// Makes a JSON document or a basic string of TOML harmless for CI systems. The values do not
/// change: `##` occurs only in strings, where `[` may be written as an escape sequence. No line of
/// a document begins with `::`.
pub(crate) fn defused_json(document: &str) -> Cow<'_, str> {
    without_brackets(document, "\\u005b")
}

/// Replaces the bracket of each command with `##`.
fn without_brackets<'t>(text: &'t str, bracket: &str) -> Cow<'t, str> {
    let mut defused = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(INLINE_PREFIX) {
        let name = rest[at..].trim_start_matches('#');
        let after_name = name.trim_start_matches(|letter: char| letter.is_ascii_alphabetic());
        let end = rest.len() - after_name.len();
        defused.push_str(&rest[..end]);
        rest = after_name;
        if let Some(after_bracket) = after_name.strip_prefix('[') {
            defused.push_str(bracket);
            rest = after_bracket;
        }
    }
    if defused.is_empty() {
        return Cow::Borrowed(text);
    }
    defused.push_str(rest);
    Cow::Owned(defused)
}

/// Severity of an annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// An error.
    Error,
    /// A warning.
    Warning,
}

/// Formats the command that adds an annotation to a run of GitHub Actions, in one line.
pub(crate) fn annotation(level: Level, title: &str, message: &str) -> String {
    let name = match level {
        Level::Error => "error",
        Level::Warning => "warning",
    };
    format!("::{name} title={}::{}", property(title), data(message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns whether GitHub Actions, Azure Pipelines or TeamCity may execute a line of the text.
    fn is_executed(text: &str) -> bool {
        let prefixes = ["##[", "##vso[", "##teamcity["];
        text.split(['\n', '\r']).any(|line| line.trim_start().starts_with("::"))
            || prefixes.iter().any(|prefix| text.contains(prefix))
    }

    #[test]
    fn no_command_in_text_is_executed() {
        for (text, expected) in [
            ("::error::x", "\\::error::x"),
            ("a\n \t\u{a0}::add-mask::e\nb", "a\n \t\u{a0}\\::add-mask::e\nb"),
            ("a ##[error]b ###[group]c", "a ##\\[error]b ###\\[group]c"),
            ("##vso[task.setvariable]##teamcity[x", "##vso\\[task.setvariable]##teamcity\\[x"),
            (":::stop", "\\:::stop"),
            ("\n::a::\n::b::\n", "\n\\::a::\n\\::b::\n"),
        ] {
            assert!(is_executed(text), "{text:?}");
            assert_eq!(defused(text), expected);
            assert!(!is_executed(expected), "{expected:?}");
        }
    }

    #[test]
    fn other_text_is_unchanged() {
        for text in ["", "a::b", "a\nb ## c", "# [a]", "[::1]:80", "##", "a##"] {
            assert_eq!(defused(text), text);
        }
    }

    #[test]
    fn a_json_document_keeps_its_values() {
        let value = serde_json::json!({ "a": ["##[error]x", "#", "##a", ["::b"]] });
        let document = serde_json::to_string_pretty(&value).expect("a document");
        let defused = defused_json(&document);
        assert!(is_executed(&document) && !is_executed(&defused), "{defused}");
        let read: serde_json::Value = serde_json::from_str(&defused).expect("a document");
        assert_eq!(read, value);
    }

    #[test]
    fn an_annotation_is_one_line_and_its_text_cannot_end_a_property() {
        let text = "a:b,c%0A\r\n::warning::d";
        assert_eq!(
            annotation(Level::Error, text, text),
            "::error title=a%3Ab%2Cc%250A%0D%0A%3A%3Awarning%3A%3Ad::a:b,c%250A%0D%0A::warning::d"
        );
    }
}
