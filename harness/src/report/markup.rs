//! Text of servers and users in pages and tables.

/// Escapes text that may come from a server, so that it is not interpreted as Markdown or HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for letter in plain(text).chars() {
        match letter {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            _ if "\\`*_[]|#~$".contains(letter) => escaped.extend(['\\', letter]),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Replaces line ends and tabs by spaces, and control, invisible and bidirectional formatting
/// characters by U+FFFD.
pub(super) fn plain(text: &str) -> String {
    let is_invisible = |letter: char| matches!(letter, '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}');
    text.chars()
        .map(|letter| match letter {
            '\n' | '\r' | '\t' => ' ',
            _ if letter.is_control() || is_invisible(letter) => char::REPLACEMENT_CHARACTER,
            _ => letter,
        })
        .collect()
}

/// Formats text as a Markdown code span, with a fence longer than any run of backticks in the text.
/// Do not use the span in a table, because a `|` would end the cell.
pub(super) fn code(text: &str) -> String {
    let text = plain(text);
    let longest_run = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest_run + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Truncates text to a number of characters, with `…` for the omitted part.
pub(super) fn clipped(text: &str, max_length: usize) -> String {
    if text.chars().count() <= max_length {
        return text.to_owned();
    }
    text.chars().take(max_length.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_in_text_cannot_end_the_code_span() {
        let spans = ["a", "a`b", "``", "`a", "line\nend"].map(code);
        assert_eq!(spans, ["`a`", "``a`b``", "``` `` ```", "`` `a ``", "`line end`"]);
    }

    #[test]
    fn text_is_neither_markdown_nor_html() {
        assert_eq!(
            escaped("<b>&amp;</b> *x* [a](b) `c` | # ~~d~~ $e$ \\ \u{1b}\n_f_"),
            "&lt;b&gt;&amp;amp;&lt;/b&gt; \\*x\\* \\[a\\](b) \\`c\\` \\| \\# \\~\\~d\\~\\~ \\$e\\$ \
             \\\\ \u{fffd} \\_f\\_"
        );
    }

    #[test]
    fn clipped_text_has_a_mark() {
        assert_eq!(["abc", "abcd", "äöüß"].map(|text| clipped(text, 3)), ["abc", "ab…", "äö…"]);
    }
}
