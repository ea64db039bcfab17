//! Derives the framing of replies from samples with known values.

use std::time::Duration;

use servers::Service;

use super::received::Received;
use crate::wire::{Bytes, LengthPrefix, ReplyFraming, ReplyRegex};

/// Silence that ends a reply without a terminator, size or length prefix.
const REPLY_SILENCE: Duration = Duration::from_millis(100);

/// Length prefixes, in the order in which they are tried.
const LENGTH_PREFIXES: &[LengthPrefix] = &[
    LengthPrefix::U32Be,
    LengthPrefix::U32Le,
    LengthPrefix::U16Be,
    LengthPrefix::U16Le,
    LengthPrefix::U8,
    LengthPrefix::Line,
];

/// Derived framing of replies, with the value and the prompt.
#[derive(Debug, PartialEq)]
pub(super) struct Framing {
    pub(super) end: ReplyFraming,
    pub(super) value: Option<ReplyRegex>,
    pub(super) prompt: Option<Vec<u8>>,
}

/// Returns whether a text contains this number, and not only as part of a longer number. `42.0`
/// counts as 42.
pub(super) fn has_number(text: &[u8], number: &str) -> bool {
    range_of(text, number).is_some()
}

/// Returns the range of the last occurrence of a number in a text. Earlier occurrences may be part
/// of a repeated request.
fn range_of(text: &[u8], number: &str) -> Option<(usize, usize)> {
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
        let is_fraction = text.get(end) == Some(&b'.') && is_digit(text.get(end + 1));
        let is_alone =
            !is_digit(before) && before != Some(&b'.') && !is_digit(text.get(end)) && !is_fraction;
        is_alone.then_some((begin, end))
    })
}

/// Returns whether a text contains the bytes of this value, anywhere.
pub(super) fn has_value(text: &[u8], value: &str) -> bool {
    text.windows(value.len()).any(|window| window == value.as_bytes())
}

/// Maximum number of bytes around the request in an echo, without padding.
const MAX_AROUND_ECHO: usize = 16;

/// Returns whether a reply repeats the request, with a few more bytes around it and any padding.
pub(super) fn is_plain_echo(reply: &[u8], request: &[u8]) -> bool {
    reply.windows(request.len()).any(|window| window == request)
        && unpadded_length(reply) <= request.len() + MAX_AROUND_ECHO
}

/// A sample request, with its value and the reply to it.
pub(super) struct KnownReply {
    pub(super) request: Vec<u8>,
    pub(super) value: String,
    pub(super) received: Received,
}

/// Derives the framing that these replies share.
pub(super) fn derive(replies: &[KnownReply], service: Service) -> Framing {
    let raw: Vec<Vec<u8>> = replies.iter().map(|it| it.received.bytes.clone()).collect();
    let prompt = prompt(&raw);
    let length = prompt.as_ref().map_or(0, Vec::len);
    let raw: Vec<&[u8]> = raw.iter().map(|reply| &reply[..reply.len() - length]).collect();
    let end = end(&raw, replies.iter().all(|it| it.received.is_closed));
    let bodies: Vec<Vec<u8>> = raw
        .iter()
        .map(|reply| {
            let mut reply = reply.to_vec();
            end.take(&mut reply).ok().flatten().unwrap_or(reply)
        })
        .collect();
    let value = value(&bodies, replies, service);
    Framing { end, value, prompt }
}

/// Returns the text after the last line feed, if it is not empty and the same in all replies.
fn prompt(raw: &[Vec<u8>]) -> Option<Vec<u8>> {
    let after_last_line = |reply: &[u8]| {
        let newline = reply.iter().rposition(|&byte| byte == b'\n')?;
        Some(reply[newline + 1..].to_vec())
    };
    let first = after_last_line(&raw[0])?;
    let is_same = raw.iter().all(|reply| after_last_line(reply).as_ref() == Some(&first));
    (is_same && !first.is_empty() && !first.iter().all(|byte| *byte == 0)).then_some(first)
}

/// Returns how the end of the replies is determined.
fn end(raw: &[&[u8]], is_closed: bool) -> ReplyFraming {
    for end in [&b"\r\n"[..], b"\n", b"\0", b"\n\n", b"\r\n\r\n"] {
        let end = Bytes::from(end);
        // The terminator occurs once, at the end.
        if raw.iter().all(|reply| end.find_end(reply) == Some(reply.len())) {
            return ReplyFraming::Bytes(end);
        }
    }
    let size = raw[0].len();
    let shortest = raw.iter().map(|reply| unpadded_length(reply)).min();
    let longest = raw.iter().map(|reply| unpadded_length(reply)).max();
    if raw.iter().all(|reply| reply.len() == size) && shortest != longest && size > 0 {
        return ReplyFraming::Size(size);
    }
    for &length in LENGTH_PREFIXES {
        let end = ReplyFraming::Length(length);
        let is_complete = |reply: &&[u8]| {
            let mut rest = reply.to_vec();
            matches!(end.take(&mut rest), Ok(Some(body)) if rest.is_empty() && !body.is_empty())
        };
        if raw.iter().all(is_complete) {
            return end;
        }
    }
    if is_closed { ReplyFraming::Close } else { ReplyFraming::Quiet(REPLY_SILENCE) }
}

/// Returns the length of a reply without its padding.
fn unpadded_length(reply: &[u8]) -> usize {
    reply.iter().rposition(|byte| !matches!(byte, b' ' | 0)).map_or(0, |last| last + 1)
}

/// Text of a reply before or after the value, with the request that got the reply.
struct Surrounding<'r> {
    text: String,
    request: &'r [u8],
}

/// Returns a regular expression for the value, if the replies have text around the value.
fn value(bodies: &[Vec<u8>], replies: &[KnownReply], service: Service) -> Option<ReplyRegex> {
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (body, KnownReply { request, value, .. }) in bodies.iter().zip(replies) {
        let (begin, end) = match range_of(body, value) {
            Some(range) => range,
            None => {
                let begin = body.windows(value.len()).position(|it| it == value.as_bytes())?;
                (begin, begin + value.len())
            }
        };
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(str::to_owned);
        before.push(Surrounding { text: text(&body[..begin])?, request });
        after.push(Surrounding { text: text(&body[end..])?, request });
    }
    let is_calc = service == Service::Calc;
    if before.iter().chain(&after).all(|it| it.text.is_empty()) {
        return None;
    }
    if is_calc
        && before.iter().all(|it| it.text.is_empty())
        && after.iter().all(|it| it.text.trim().is_empty())
    {
        return Some(ReplyRegex::new(r"^(\S*)\s*$").expect("a valid regular expression"));
    }
    let (before, after) = (surrounding_regex(&before), surrounding_regex(&after));
    if !is_calc && (before.is_none() || after.is_none()) {
        // An echo can be any text, so it cannot be told from a text around it that varies.
        return None;
    }
    let before = before.unwrap_or_else(|| ".*?".to_owned());
    let after = after.unwrap_or_else(|| ".*".to_owned());
    let value = if is_calc { "-?[0-9][0-9.e+-]*" } else { ".*" };
    ReplyRegex::new(&format!("(?s)^{before}({value}){after}$")).ok()
}

/// Returns a regular expression for texts that differ only in their numbers and in the request that
/// they repeat. `None` if they differ in anything else.
fn surrounding_regex(texts: &[Surrounding<'_>]) -> Option<String> {
    // A number around the value may vary, even if it is the same in all samples.
    let of_numbers = || texts.iter().map(|it| generalized(&it.text)).collect();
    // Other requests have other numbers and operators, and not always two numbers.
    let of_requests = |parts: RepeatedParts| -> Option<Vec<String>> {
        let regex = |it: &Surrounding<'_>| {
            let (begin, end) = parts(&it.text, it.request)?;
            Some(generalized(&it.text[..begin]) + ".*" + &generalized(&it.text[end..]))
        };
        texts.iter().map(regex).collect()
    };
    let regexes = [whole_request, operands, last_operand, first_operand];
    let regexes = regexes.into_iter().filter_map(of_requests).chain([of_numbers()]);
    let is_same = |regexes: &Vec<String>| regexes.iter().all(|it| *it == regexes[0]);
    regexes.into_iter().find(is_same).and_then(|regexes| regexes.into_iter().next())
}

/// Returns the range of the part of a text that repeats a request, if any.
type RepeatedParts = fn(&str, &[u8]) -> Option<(usize, usize)>;

fn whole_request(text: &str, request: &[u8]) -> Option<(usize, usize)> {
    let request = std::str::from_utf8(request).ok()?;
    text.rfind(request).map(|begin| (begin, begin + request.len()))
}

/// From the first number of the request to the last one: `41 + 1`, or `41 and 1`.
fn operands(text: &str, request: &[u8]) -> Option<(usize, usize)> {
    let (last, end) = last_operand(text, request)?;
    let (first, _) = first_operand(&text[..last], request)?;
    Some((first, end))
}

fn first_operand(text: &str, request: &[u8]) -> Option<(usize, usize)> {
    range_of(text.as_bytes(), numbers(request).first()?)
}

fn last_operand(text: &str, request: &[u8]) -> Option<(usize, usize)> {
    range_of(text.as_bytes(), numbers(request).last()?)
}

/// Returns the numbers in a request.
fn numbers(request: &[u8]) -> Vec<&str> {
    let request = std::str::from_utf8(request).unwrap_or_default();
    request.split(|it: char| !it.is_ascii_digit()).filter(|it| !it.is_empty()).collect()
}

/// Returns a regular expression for the text, with `\d+` in place of each number.
fn generalized(text: &str) -> String {
    let mut regex = String::new();
    let mut in_number = false;
    for letter in text.chars() {
        if letter.is_ascii_digit() {
            if !in_number {
                regex.push_str(r"\d+");
            }
        } else {
            regex.push_str(&regex::escape(&letter.to_string()));
        }
        in_number = letter.is_ascii_digit();
    }
    regex
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framing_of_requests(replies: &[(&str, &str, &str)]) -> Framing {
        let known = |&(request, reply, value): &(&str, &str, &str)| KnownReply {
            request: request.as_bytes().to_vec(),
            value: value.to_owned(),
            received: Received { bytes: reply.as_bytes().to_vec(), is_closed: false },
        };
        derive(&replies.iter().map(known).collect::<Vec<_>>(), Service::Calc)
    }

    fn framing_of(replies: &[(&str, &str)]) -> Framing {
        let requests = ["41+1", "1000+24"];
        let with_request = |(&request, &(reply, value))| (request, reply, value);
        let replies: Vec<_> = requests.iter().zip(replies).map(with_request).collect();
        framing_of_requests(&replies)
    }

    #[test]
    fn reply_ends_prompts_and_values_are_detected() {
        let lines = framing_of(&[("42\n", "42"), ("1024\n", "1024")]);
        assert_eq!(lines, Framing { end: ReplyFraming::default(), value: None, prompt: None });
        let prompted = framing_of(&[("= 42\r\n> ", "42"), ("= 1024\r\n> ", "1024")]);
        assert_eq!(prompted.prompt.as_deref(), Some(&b"> "[..]));
        assert_eq!(prompted.end, ReplyFraming::Bytes(Bytes::from(&b"\r\n"[..])));
        assert_eq!(prompted.value.expect("a regular expression").value_in(b"= 7"), Some(&b"7"[..]));
        assert_eq!(framing_of(&[("42  ", "42"), ("1024", "1024")]).end, ReplyFraming::Size(4));
        let long = framing_of(&[("\0\0\0\u{2}42", "42"), ("\0\0\0\u{4}1024", "1024")]);
        assert_eq!((long.end, long.value), (ReplyFraming::Length(LengthPrefix::U32Be), None));
        assert_eq!(
            framing_of(&[("42", "42"), ("1024", "1024")]).end,
            ReplyFraming::Quiet(REPLY_SILENCE)
        );
    }

    #[test]
    fn varying_text_around_a_value_is_matched() {
        for second in ["[Thread-1042] = 1024\n", "[Thread-17] = 1024\n"] {
            let framing = framing_of(&[("[Thread-17] = 42\n", "42"), (second, "1024")]);
            let value = framing.value.expect("a regular expression");
            assert_eq!(value.value_in(b"[Thread-3] = 7"), Some(&b"7"[..]));
            assert_eq!(value.value_in(b"invalid"), None);
        }
    }

    #[test]
    fn text_that_repeats_the_request_matches_any_request() {
        for (first, second, third, other) in [
            ("41+1 = 42", "1000+24 = 1024", "3+4 = 7", "-2+3*4 = 10"),
            ("(41 + 1) is 42", "(1000 + 24) is 1024", "(3 + 4) is 7", "((1)) is 10"),
            ("41 and 1 is 42!", "1000 and 24 is 1024!", "3 and 4 is 7!", "-5 and 2*3 is 10!"),
            ("42 = 41+1", "1024 = 1000+24", "7 = 3+4", "10 = -2+3*4"),
            ("[9] 41+1=42", "[9] 1000+24=1024", "[10] 3+4=7", "[11] 5*2=10"),
            ("with 1: 42", "with 24: 1024", "with 4: 7", "with -3: 10"),
        ] {
            let replies = [("41+1", first, "42"), ("1000+24", second, "1024"), ("3+4", third, "7")];
            let value = framing_of_requests(&replies).value.expect("a regular expression");
            assert_eq!(value.value_in(other.as_bytes()), Some(&b"10"[..]), "{}", value.as_str());
        }
    }

    #[test]
    fn a_number_matches_only_as_a_whole() {
        assert!(has_number(b"41+1 = 42.0!", "42") && has_number(b"42", "42"));
        assert!(has_number(b"The result is 42.", "42"));
        for text in [&b"142"[..], b"421", b"4.42", b"42.5", b"42.05"] {
            assert!(!has_number(text, "42"), "{text:?}");
        }
    }
}
