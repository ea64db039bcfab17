//! Byte strings, templates and patterns of a manifest.

use std::fmt;
use std::ops::{Deref, Range};

use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Error, SeqAccess, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::text::printable;

/// Memory limit of a compiled pattern, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// A byte string, written as text, or as a list of numbers if it is not UTF-8.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes(Vec<u8>);

/// Template of a request as sent: `{}` stands for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Bytes before the request.
    pub before: Bytes,
    /// Bytes after the request, which terminate it.
    pub after: Bytes,
}

/// A regular expression. Matching takes time linear in the length of the input.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Bytes {
    /// Returns the end of the first occurrence of these bytes in `received`.
    pub fn find_end(&self, received: &[u8]) -> Option<usize> {
        if self.is_empty() {
            return Some(0);
        }
        received.windows(self.len()).position(|some| some == &self[..]).map(|at| at + self.len())
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
        struct Either;
        impl<'d> Visitor<'d> for Either {
            type Value = Bytes;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a text, such as \"\\r\\n\" or \"\\u0000\", or a list of bytes")
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
        from.deserialize_any(Either)
    }
}

impl Default for Template {
    /// Returns the template of a line.
    fn default() -> Template {
        Template { before: Bytes::default(), after: Bytes::from(&b"\n"[..]) }
    }
}

impl Template {
    /// Returns the template as a quoted string for messages.
    pub fn words(&self) -> String {
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
        let ends = Bytes(b"{}".to_vec());
        let end = ends.find_end(&text);
        let Some(end) = end.filter(|&end| ends.find_end(&text[end..]).is_none()) else {
            let words = "write {} once, where the request stands, as in \"{}\\n\"";
            return Err(D::Error::custom(words));
        };
        Ok(Template { before: Bytes::from(&text[..end - 2]), after: Bytes::from(&text[end..]) })
    }
}

impl Pattern {
    /// Compiles a regular expression.
    ///
    /// # Errors
    /// A message that says what is wrong with it.
    pub fn new(text: &str) -> Result<Pattern, String> {
        let built = RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
        built.map(Pattern).map_err(|error| format!("it is no regular expression: {error}"))
    }

    /// Returns the first group, or the whole match. `None` if there is no match.
    pub fn found_in<'r>(&self, reply: &'r [u8]) -> Option<&'r [u8]> {
        self.place_in(reply).map(|place| &reply[place])
    }

    /// Returns the range of the first group, or of the whole match.
    pub fn place_in(&self, reply: &[u8]) -> Option<Range<usize>> {
        let captures = self.0.captures(reply)?;
        captures.get(1).or_else(|| captures.get(0)).map(|found| found.range())
    }

    /// Returns whether it matches anywhere.
    pub fn is_in(&self, reply: &[u8]) -> bool {
        self.0.is_match(reply)
    }

    /// Returns the regular expression as text.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

impl<'d> Deserialize<'d> for Pattern {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<Pattern, D::Error> {
        Pattern::new(&String::deserialize(from)?).map_err(D::Error::custom)
    }
}
