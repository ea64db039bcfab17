//! Makes text from servers safe to display.

use std::borrow::Cow;

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

#[cfg(test)]
mod tests {
    use super::*;

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
