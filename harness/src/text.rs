//! Makes text from servers safe to display.

use std::borrow::Cow;

/// Replaces each control character except line feed and tab by U+FFFD. A server could otherwise
/// move the cursor, rewrite lines, or send commands to the user's terminal. Bidirectional controls
/// count too, because they change the order in which text is displayed.
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

/// Maximum number of bytes of a message to display.
const SHOWN: usize = 96;

/// Returns bytes as a quoted ASCII string. A long one is cut and followed by its length.
pub fn printable(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(SHOWN)];
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
    fn no_control_character_but_line_feed_and_tab_is_shown() {
        // ESC and BEL of ECMA-48, its one-byte CSI, DEL, CR, and a bidirectional override.
        assert_eq!(
            visible("\x1b]0;t\x07\u{9b}J\x7f\r\u{202e}"),
            "\u{fffd}]0;t\u{fffd}\u{fffd}J\u{fffd}\u{fffd}\u{fffd}"
        );
        assert_eq!(visible("a\tb\nü"), "a\tb\nü");
    }
}
