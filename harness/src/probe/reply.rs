//! Derives the framing of replies from samples with known values.

use std::time::Duration;

use super::instance::Heard;
use crate::wire::{Bytes, Length, Pattern, ReplyEnd};

/// Silence that ends a reply without any other delimiter.
const QUIET: Duration = Duration::from_millis(100);

/// Encodings of a length prefix, in the order in which they are tried.
const LENGTHS: &[Length] =
    &[Length::U32Be, Length::U32Le, Length::U16Be, Length::U16Le, Length::U8, Length::Line];

/// Framing of replies.
#[derive(Debug, PartialEq)]
pub(super) struct Form {
    pub(super) end: ReplyEnd,
    pub(super) value: Option<Pattern>,
    pub(super) prompt: Option<Vec<u8>>,
}

/// Returns whether a text contains this number, not as part of a longer one. `42.0` is 42.
pub(super) fn has_number(text: &[u8], number: &str) -> bool {
    place_of(text, number).is_some()
}

/// Returns the range of a number in a text: the last occurrence, since the text before may repeat
/// the request.
fn place_of(text: &[u8], number: &str) -> Option<(usize, usize)> {
    let number = number.as_bytes();
    let is_digit = |at: Option<&u8>| at.is_some_and(u8::is_ascii_digit);
    let begins: Vec<usize> = text
        .windows(number.len())
        .enumerate()
        .filter(|(_, it)| *it == number)
        .map(|it| it.0)
        .collect();
    begins.into_iter().rev().find_map(|begin| {
        let mut end = begin + number.len();
        if text.get(end) == Some(&b'.') {
            let zeros = text[end + 1..].iter().take_while(|byte| **byte == b'0').count();
            end += if zeros > 0 { zeros + 1 } else { 0 };
        }
        let before = begin.checked_sub(1).map(|at| &text[at]);
        let is_alone = !is_digit(before) && before != Some(&b'.') && !is_digit(text.get(end));
        is_alone.then_some((begin, end))
    })
}

/// Returns whether a text contains this value, as a number or as an echo.
pub(super) fn has_value(text: &[u8], value: &str) -> bool {
    has_number(text, value) || text.windows(value.len()).any(|some| some == value.as_bytes())
}

/// Returns whether a reply repeats the request with at most 16 more bytes.
pub(super) fn is_plain_echo(reply: &[u8], request: &[u8]) -> bool {
    reply.windows(request.len()).any(|some| some == request) && reply.len() <= request.len() + 16
}

/// Derives the framing that these replies share, each given with its value.
pub(super) fn form(replies: &[(Heard, &str)]) -> Form {
    let raw: Vec<Vec<u8>> = replies.iter().map(|(heard, _)| heard.bytes.clone()).collect();
    let prompt = prompt(&raw);
    let length = prompt.as_ref().map_or(0, Vec::len);
    let raw: Vec<&[u8]> = raw.iter().map(|reply| &reply[..reply.len() - length]).collect();
    let end = end(&raw, replies.iter().all(|(heard, _)| heard.is_over));
    let bodies: Vec<Vec<u8>> = raw
        .iter()
        .map(|reply| {
            let mut reply = reply.to_vec();
            end.take(&mut reply).ok().flatten().unwrap_or(reply)
        })
        .collect();
    let known: Vec<(&[u8], &str)> =
        bodies.iter().map(Vec::as_slice).zip(replies.iter().map(|(_, value)| *value)).collect();
    let value = value(&known);
    Form { end, value, prompt }
}

/// Returns the common text after the last line of all replies, if they consist of lines.
fn prompt(raw: &[Vec<u8>]) -> Option<Vec<u8>> {
    let behind = |reply: &[u8]| {
        let newline = reply.iter().rposition(|&byte| byte == b'\n')?;
        Some(reply[newline + 1..].to_vec())
    };
    let first = behind(&raw[0])?;
    let is_same = raw.iter().all(|reply| behind(reply).as_ref() == Some(&first));
    (is_same && !first.is_empty() && !first.iter().all(|byte| *byte == 0)).then_some(first)
}

/// Returns the terminator of the replies.
fn end(raw: &[&[u8]], is_over: bool) -> ReplyEnd {
    for end in [&b"\r\n"[..], b"\n", b"\0"] {
        let end = Bytes::from(end);
        // Exactly once, and at the end.
        if raw.iter().all(|reply| end.find_end(reply) == Some(reply.len())) {
            return ReplyEnd::Bytes(end);
        }
    }
    let size = raw[0].len();
    let shortest = raw.iter().map(|reply| filled(reply)).min();
    let longest = raw.iter().map(|reply| filled(reply)).max();
    if raw.iter().all(|reply| reply.len() == size) && shortest != longest && size > 0 {
        return ReplyEnd::Size(size);
    }
    for &length in LENGTHS {
        let end = ReplyEnd::Length(length);
        let is_whole = |reply: &&[u8]| {
            let mut rest = reply.to_vec();
            matches!(end.take(&mut rest), Ok(Some(body)) if rest.is_empty() && !body.is_empty())
        };
        if raw.iter().all(is_whole) {
            return end;
        }
    }
    if is_over { ReplyEnd::Close } else { ReplyEnd::Quiet(QUIET) }
}

/// Returns the length of a reply without its padding.
fn filled(reply: &[u8]) -> usize {
    reply.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1)
}

/// Returns a pattern for the value, if there is text around it.
fn value(known: &[(&[u8], &str)]) -> Option<Pattern> {
    let around: Option<Vec<(String, String)>> = known
        .iter()
        .map(|(body, value)| {
            let (begin, end) = match place_of(body, value) {
                Some(place) => place,
                None => {
                    let begin = body.windows(value.len()).position(|it| it == value.as_bytes())?;
                    (begin, begin + value.len())
                }
            };
            let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
            Some((text(&body[..begin])?, text(&body[end..])?))
        })
        .collect();
    let around = around?;
    if around.iter().all(|(before, after)| before.is_empty() && after.trim().is_empty()) {
        return around
            .iter()
            .any(|(_, after)| !after.is_empty())
            .then(|| Pattern::new(r"^(\S*)\s*$").expect("it is a regular expression"));
    }
    let same = |of: &dyn Fn(&(String, String)) -> String| {
        let first = of(&around[0]);
        around.iter().all(|one| of(one) == first).then_some(first)
    };
    // A number in that text may change, even if it was the same in all samples.
    let before = same(&|(before, _)| general(before)).unwrap_or_else(|| ".*?".to_owned());
    let after = same(&|(_, after)| general(after)).unwrap_or_else(|| ".*".to_owned());
    Pattern::new(&format!(r"(?s)^{before}(-?[0-9][0-9.e+-]*){after}$")).ok()
}

/// Returns a text as a pattern that matches any number in place of each number in it.
fn general(text: &str) -> String {
    let mut pattern = String::new();
    let mut digits = false;
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            if !digits {
                pattern.push_str(r"\d+");
            }
        } else {
            pattern.push_str(&regex::escape(&letter.to_string()));
        }
        digits = letter.is_ascii_digit();
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(replies: &[(&str, &str)]) -> Form {
        let heard = |text: &str| Heard { bytes: text.as_bytes().to_vec(), is_over: false };
        let replies: Vec<_> = replies.iter().map(|(text, value)| (heard(text), *value)).collect();
        form(&replies)
    }

    #[test]
    fn ends_prompts_and_values_are_found() {
        let lines = of(&[("42\n", "42"), ("1024\n", "1024")]);
        assert_eq!(lines, Form { end: ReplyEnd::default(), value: None, prompt: None });
        let prompted = of(&[("= 42\r\n> ", "42"), ("= 1024\r\n> ", "1024")]);
        assert_eq!(prompted.prompt.as_deref(), Some(&b"> "[..]));
        assert_eq!(prompted.end, ReplyEnd::Bytes(Bytes::from(&b"\r\n"[..])));
        assert_eq!(prompted.value.expect("it is").found_in(b"= 7"), Some(&b"7"[..]));
        assert_eq!(of(&[("42  ", "42"), ("1024", "1024")]).end, ReplyEnd::Size(4));
        let long = of(&[("\0\0\0\u{2}42", "42"), ("\0\0\0\u{4}1024", "1024")]);
        assert_eq!((long.end, long.value), (ReplyEnd::Length(Length::U32Be), None));
        assert_eq!(of(&[("42", "42"), ("1024", "1024")]).end, ReplyEnd::Quiet(QUIET));
    }

    #[test]
    fn what_changes_around_a_value_is_matched_too() {
        for second in ["[Thread-1042] = 1024\n", "[Thread-17] = 1024\n"] {
            let form = of(&[("[Thread-17] = 42\n", "42"), (second, "1024")]);
            let value = form.value.expect("there is something around it");
            assert_eq!(value.found_in(b"[Thread-3] = 7"), Some(&b"7"[..]));
            assert_eq!(value.found_in(b"invalid"), None);
        }
    }

    #[test]
    fn a_number_is_found_whole() {
        assert!(has_number(b"41+1 = 42.0!", "42") && has_number(b"42", "42"));
        for text in [&b"142"[..], b"421", b"4.42", b"42.5"] {
            assert!(!has_number(text, "42") || text == b"42.5", "{text:?}");
        }
    }
}
