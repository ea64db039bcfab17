//! The part of a reply that is the same in similar replies, such as a prefix of all errors.

/// Returns the whole words of a busy reply's first line before the first digit, if any. Later busy
/// lines probably begin with them, while a number, such as a count of clients, may differ.
pub(crate) fn stable_prefix(reply: &[u8]) -> Option<String> {
    let line = first_line(reply);
    let prefix = match line.iter().position(u8::is_ascii_digit) {
        Some(number) => whole_words(&line[..number], true),
        None => line,
    };
    let prefix = std::str::from_utf8(prefix).ok()?;
    (!prefix.trim().is_empty()).then(|| prefix.to_owned())
}

/// Returns the first line of a reply. A reply that ends with other bytes than a line feed may have
/// several, but a declared prefix has no line feed.
fn first_line(reply: &[u8]) -> &[u8] {
    let line = reply.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Returns the common prefix of the replies' first lines, cut after a colon or a dash, or after a
/// whole word. A prefix that ends elsewhere, such as before a number, would vary with the request
/// or the connection.
pub(in crate::conformance) fn common_prefix<'l>(
    replies: impl IntoIterator<Item = &'l [u8]>,
) -> &'l [u8] {
    let common = |left: &'l [u8], right: &[u8]| {
        let length = left.iter().zip(right).take_while(|(left, right)| left == right).count();
        &left[..length]
    };
    let lines: Vec<&[u8]> = replies.into_iter().map(first_line).collect();
    let common = lines.iter().copied().reduce(common).unwrap_or_default();
    let ends_after =
        |end: &[u8]| common.windows(end.len()).position(|it| it == end).map(|at| at + end.len());
    let at_colon = ends_after(b": ").or_else(|| ends_after(b"- "));
    match at_colon.map(|end| &common[..end]).filter(|prefix| is_balanced(prefix)) {
        Some(prefix) => prefix,
        None => {
            let continues = |line: &&[u8]| line.get(common.len()).is_some_and(is_word);
            whole_words(common, lines.iter().any(continues))
        }
    }
}

/// Returns the text up to the end of its last whole word, without an open bracket. The last word is
/// not whole if `continues`.
fn whole_words(text: &[u8], continues: bool) -> &[u8] {
    let is_end = |at: &usize| {
        let continues = text.get(*at).map_or(continues, is_word);
        text[*at - 1] != b' '
            && !(is_word(&text[*at - 1]) && continues)
            && is_balanced(&text[..*at])
    };
    let end = (1..=text.len()).rev().find(is_end).unwrap_or(0);
    &text[..end]
}

fn is_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
}

/// Returns whether each bracket is closed.
fn is_balanced(text: &[u8]) -> bool {
    let count = |bracket: u8| text.iter().filter(|byte| **byte == bracket).count();
    [(b'[', b']'), (b'(', b')'), (b'<', b'>')]
        .iter()
        .all(|&(open, close)| count(open) == count(close))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_common_prefix_ends_after_a_colon_a_dash_or_a_word() {
        for (lines, prefix) in [
            (&["error: a b", "error: a c"][..], "error: "),
            (&["error - a", "error - b"], "error - "),
            (&["ERR bad request", "ERR bad value"], "ERR bad"),
            (&["ERR:a", "ERR:b"], "ERR:"),
            (&["input 12 is invalid", "input 13 is invalid"], "input"),
            (&["invalid expression", "invalid exponent"], "invalid"),
            (&["?", "?"], "?"),
            (&["one", "two"], ""),
            (&["[Thread-140326] ?", "[Thread-140781] ?"], ""),
            (&["[Thread 1] ?", "[Thread 2] ?"], ""),
            (&["ERR [12] bad", "ERR [13] worse"], "ERR"),
            (&["E1", "E2"], ""),
            (&["-ERR", "-ERR"], "-ERR"),
            (&["bad format\nusage: A+B", "bad format\nusage: A+B"], "bad format"),
            (&["wrong\r\nusage: A+B", "wrong\r\n"], "wrong"),
            (&["\nusage: A+B", "\nusage: A+B"], ""),
            (&[], ""),
        ] {
            let found = common_prefix(lines.iter().map(|line| line.as_bytes()));
            assert_eq!(found, prefix.as_bytes(), "{lines:?}");
        }
    }
}
