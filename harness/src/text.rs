//! Makes text from servers safe to display.

mod error_message;
pub mod style;

use std::borrow::Cow;

pub use error_message::{NO_FREE_DESCRIPTOR, OutputEnd, exit_message, output_end};

/// Replaces each control character except line feed and tab by U+FFFD. Otherwise a server could
/// move the cursor, rewrite lines, or send commands to the user's terminal. Also replaces
/// bidirectional controls, which change the order in which text is displayed.
pub(crate) fn visible(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) {
        return Cow::Borrowed(text);
    }
    let shown = |letter| if is_visible(letter) { letter } else { char::REPLACEMENT_CHARACTER };
    Cow::Owned(text.chars().map(shown).collect())
}

fn is_visible(letter: char) -> bool {
    match letter {
        '\n' | '\t' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !letter.is_control(),
    }
}

/// Maximum number of bytes that [`printable`] displays.
const MAX_PRINTED: usize = 96;

/// Returns bytes as a quoted ASCII string. If there are more than 96 bytes, truncates the string
/// and appends the number of bytes.
pub fn printable(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(MAX_PRINTED)];
    let text = shown.escape_ascii();
    if shown.len() == bytes.len() {
        format!("\"{text}\"")
    } else {
        format!("\"{text}…\" ({} bytes)", bytes.len())
    }
}

/// Returns the number that a text consists of, apart from white space at its ends.
pub fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// Maximum length of a name in a file name, in characters.
const MAX_NAME_LENGTH: usize = 80;

/// Returns a name of a server or a case as a part of a file name: without characters that need
/// quoting in file names or shells, without `..` and `--`, with at most 80 ASCII characters.
/// Different names can have the same result.
pub(crate) fn file_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let words = name.split(|letter| !plain(letter)).map(|word| word.trim_matches('.'));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    match words.join("-") {
        name if name.is_empty() => "server".to_owned(),
        name => name.chars().take(MAX_NAME_LENGTH).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_sanitized_for_any_server_name() {
        for (name, plain) in [
            ("select-echo", "select-echo"),
            ("python3 './my server.py' {host} {port}", "python3-my-server.py-host-port"),
            ("../../etc/passwd", "etc-passwd"),
            ("a--b/\0\n", "a-b"),
            ("…", "server"),
        ] {
            assert_eq!(file_name(name), plain);
        }
        assert_eq!(file_name(&"x".repeat(1000)).len(), MAX_NAME_LENGTH);
    }

    #[test]
    fn control_characters_except_line_feed_and_tab_are_replaced() {
        // ESC, BEL and the one-byte CSI of ECMA-48; DEL, CR, and a bidirectional override.
        assert_eq!(
            visible("\x1b]0;t\x07\u{9b}J\x7f\r\u{202e}"),
            "\u{fffd}]0;t\u{fffd}\u{fffd}J\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(visible("a\tb\nü"), "a\tb\nü");
    }

    #[test]
    fn unprintable_bytes_are_escaped_and_long_input_is_truncated() {
        assert_eq!(printable(b"\x1b[2J\xff\n\"1\""), r#""\x1b[2J\xff\n\"1\"""#);
        assert!(printable(&[b'x'; 1000]).ends_with("…\" (1000 bytes)"));
    }
}
