//! Byte strings, request templates and regular expressions of a manifest.

use std::fmt;
use std::ops::{Deref, Range};

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::printable;

/// Memory limit of a compiled regular expression, in bytes.
const MAX_REGEX_SIZE: usize = 1 << 20;

/// A byte string. In TOML, it is a string, or an array of numbers if it is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

/// Template of a request on the wire. In TOML, `{}` is the placeholder for the payload: an
/// expression, or the line to echo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Bytes before the payload.
    pub before: Bytes,
    /// Bytes after the payload: the terminator of the request.
    pub after: Bytes,
}

/// A regular expression for replies. Matching takes time linear in the length of the reply.
#[derive(Clone, Debug)]
pub struct ReplyRegex(Regex);

impl Bytes {
    /// Returns the index after the first occurrence of these bytes in `received`.
    pub fn find_end(&self, received: &[u8]) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        received
            .windows(self.len())
            .position(|window| window == &self[..])
            .map(|at| at + self.len())
    }

    /// Returns the bytes as a quoted string for messages.
    pub fn shown(&self) -> String {
        printable(&self.0)
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Bytes {
    fn from(bytes: &[u8]) -> Bytes {
        Bytes(bytes.to_vec())
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => to.serialize_str(text),
            Err(_) => {
                let mut list = to.serialize_seq(Some(self.0.len()))?;
                self.0.iter().try_for_each(|byte| list.serialize_element(byte))?;
                list.end()
            }
        }
    }
}

impl<'d> Deserialize<'d> for Bytes {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Bytes, D::Error> {
        struct StringOrArray;
        impl<'d> Visitor<'d> for StringOrArray {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter
                    .write_str("a string, such as \"\\r\\n\" or \"\\u0000\", or an array of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Bytes, E> {
                Ok(Bytes(text.as_bytes().to_vec()))
            }

            fn visit_seq<A: SeqAccess<'d>>(self, mut list: A) -> Result<Bytes, A::Error> {
                let mut bytes = Vec::new();
                while let Some(byte) = list.next_element()? {
                    bytes.push(byte);
                }
                Ok(Bytes(bytes))
            }
        }
        from.deserialize_any(StringOrArray)
    }
}

impl Default for Template {
    /// Returns the template of a line: the request and a line feed.
    fn default() -> Template {
        Template { before: Bytes::default(), after: Bytes::from(&b"\n"[..]) }
    }
}

impl Template {
    /// Returns the template as a quoted string for messages.
    pub fn description(&self) -> String {
        let text = [&self.before[..], b"{}", &self.after[..]].concat();
        format!("{} ({{}} is the request)", printable(&text))
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Bytes([&self.before[..], b"{}", &self.after[..]].concat()).serialize(to)
    }
}

impl<'d> Deserialize<'d> for Template {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Template, D::Error> {
        let text = Bytes::deserialize(from)?;
        let placeholder = Bytes(b"{}".to_vec());
        let end = placeholder.find_end(&text);
        let Some(end) = end.filter(|&end| placeholder.find_end(&text[end..]).is_none()) else {
            let usage = "write {} once, in place of the payload, as in \"{}\\n\"";
            return Err(D::Error::custom(usage));
        };
        Ok(Template { before: Bytes::from(&text[..end - 2]), after: Bytes::from(&text[end..]) })
    }
}

impl ReplyRegex {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// The text is not a valid regular expression, or needs too much memory. The message has the
    /// reason.
    pub fn new(text: &str) -> Result<ReplyRegex, String> {
        let build = |is_unicode| {
            RegexBuilder::new(text).unicode(is_unicode).size_limit(MAX_REGEX_SIZE).build()
        };
        // A reply may have any bytes. Only some expressions, such as `[é]`, need Unicode.
        let regex = build(false).or_else(|_| build(true));
        regex.map(ReplyRegex).map_err(|error| format!("not a valid regular expression: {error}"))
    }

    /// Returns the first group, or the whole match if there is no group. `None` without a match.
    pub fn value_in<'r>(&self, reply: &'r [u8]) -> Option<&'r [u8]> {
        self.range_in(reply).map(|range| &reply[range])
    }

    /// Returns the range of [`value_in`](Self::value_in).
    pub fn range_in(&self, reply: &[u8]) -> Option<Range<usize>> {
        let captures = self.0.captures(reply)?;
        captures.get(1).or_else(|| captures.get(0)).map(|group| group.range())
    }

    /// Returns whether the regular expression matches any part of the reply.
    pub fn is_match(&self, reply: &[u8]) -> bool {
        self.0.is_match(reply)
    }

    /// Returns the regular expression as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for ReplyRegex {
    fn eq(&self, other: &ReplyRegex) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for ReplyRegex {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'d> Deserialize<'d> for ReplyRegex {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<ReplyRegex, D::Error> {
        ReplyRegex::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
