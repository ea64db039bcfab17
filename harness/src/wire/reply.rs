//! Framing of replies.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::bytes::Bytes;
use crate::units::{duration, format_duration};

/// Usual ends of a line.
const LINE_ENDS: [&[u8]; 4] = [b"\r\n", b"\n", b"\r", b"\0"];

/// Name of [`ReplyFraming::Close`] in a manifest.
const CLOSE: &str = "close";

/// How the end of a reply is determined.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyFraming {
    /// A terminator.
    Bytes(Bytes),
    /// A fixed size in bytes; shorter replies are padded with spaces or NULs.
    Size(usize),
    /// A length prefix.
    Length(LengthPrefix),
    /// The server closes the connection.
    Close,
    /// No data arrives for this duration.
    Quiet(Duration),
}

/// Format of a length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LengthPrefix {
    /// 1 byte.
    U8,
    /// 2 bytes, big-endian.
    U16Be,
    /// 2 bytes, little-endian.
    U16Le,
    /// 4 bytes, big-endian.
    U32Be,
    /// 4 bytes, little-endian.
    U32Le,
    /// Decimal digits and a line feed.
    Line,
}

impl Default for ReplyFraming {
    /// Returns the framing of lines: a line feed as terminator.
    fn default() -> ReplyFraming {
        ReplyFraming::Bytes(Bytes::from(&b"\n"[..]))
    }
}

/// Error for an invalid length prefix of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidLength;

impl ReplyFraming {
    /// Removes the first complete reply from the received bytes, and returns the reply without
    /// length prefix, terminator or padding. Returns `None` if the reply is incomplete. Always
    /// returns `None` for `Close` and `Quiet`, where the received bytes do not determine the end.
    ///
    /// # Errors
    /// The length prefix is invalid.
    pub fn take(&self, received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, InvalidLength> {
        let (before, length, after) = match self {
            ReplyFraming::Bytes(end) => match end.find_end(received) {
                Some(at) => (0, at - end.len(), end.len()),
                None => return Ok(None),
            },
            ReplyFraming::Size(size) => (0, *size, 0),
            ReplyFraming::Length(prefix) => match prefix.decode(received)? {
                Some((header, length)) => (header, length, 0),
                None => return Ok(None),
            },
            ReplyFraming::Close | ReplyFraming::Quiet(_) => return Ok(None),
        };
        if received.len() < before + length + after {
            return Ok(None);
        }
        let mut reply: Vec<u8> = received.drain(..before + length + after).collect();
        reply.truncate(before + length);
        reply.drain(..before);
        if let ReplyFraming::Size(_) = self {
            let last = reply.iter().rposition(|byte| !matches!(byte, b' ' | 0));
            reply.truncate(last.map_or(0, |last| last + 1));
        }
        Ok(Some(reply))
    }

    /// Returns whether an incomplete reply ends with another line end than the declared one.
    pub fn is_other_end(&self, received: &[u8]) -> bool {
        let ReplyFraming::Bytes(end) = self else { return false };
        // A part of the declared end is not another end.
        let is_other = |other: &&[u8]| !end.starts_with(other) && received.ends_with(other);
        LINE_ENDS.contains(&&end[..]) && LINE_ENDS.iter().any(is_other)
    }

    /// Describes the framing with a verb phrase that follows "replies", such as `end in "\n"`.
    pub fn description(&self) -> String {
        match self {
            ReplyFraming::Bytes(end) => format!("end in {}", end.shown()),
            ReplyFraming::Size(size) => format!("have {size} bytes"),
            ReplyFraming::Length(_) => "have a length prefix".to_owned(),
            ReplyFraming::Close => "end when the server closes the connection".to_owned(),
            ReplyFraming::Quiet(time) => {
                format!("end when no data arrives for {}", format_duration(*time))
            }
        }
    }
}

impl LengthPrefix {
    /// Encodes the length of a reply as a prefix.
    pub fn encode(self, length: usize) -> Vec<u8> {
        match self {
            LengthPrefix::U8 => vec![length as u8],
            LengthPrefix::U16Be => (length as u16).to_be_bytes().to_vec(),
            LengthPrefix::U16Le => (length as u16).to_le_bytes().to_vec(),
            LengthPrefix::U32Be => (length as u32).to_be_bytes().to_vec(),
            LengthPrefix::U32Le => (length as u32).to_le_bytes().to_vec(),
            LengthPrefix::Line => format!("{length}\n").into_bytes(),
        }
    }

    /// Returns the lengths of the prefix and of the reply, once the prefix is complete.
    fn decode(self, received: &[u8]) -> Result<Option<(usize, usize)>, InvalidLength> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let reversed = |bytes: &[u8]| number(&bytes.iter().rev().copied().collect::<Vec<_>>());
        let lengths = match self {
            LengthPrefix::U8 => received.get(..1).map(|it| (1, number(it))),
            LengthPrefix::U16Be => received.get(..2).map(|it| (2, number(it))),
            LengthPrefix::U16Le => received.get(..2).map(|it| (2, reversed(it))),
            LengthPrefix::U32Be => received.get(..4).map(|it| (4, number(it))),
            LengthPrefix::U32Le => received.get(..4).map(|it| (4, reversed(it))),
            LengthPrefix::Line => {
                let end = received.iter().take(20).position(|&byte| byte == b'\n');
                if end.is_none() && received.len() >= 20 {
                    return Err(InvalidLength);
                }
                let Some(end) = end else { return Ok(None) };
                let text = std::str::from_utf8(&received[..end]).map_err(|_| InvalidLength)?;
                Some((end + 1, text.trim().parse().map_err(|_| InvalidLength)?))
            }
        };
        Ok(lengths)
    }
}

/// Maximum size of a reply in bytes: clients buffer no more.
pub const MAX_REPLY_SIZE: usize = 256 * 1024;

/// Framings that are tables in TOML.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum FramingTable {
    Size(usize),
    Length(LengthPrefix),
    Quiet(String),
}

/// TOML form of a framing: a table, or the bytes of a terminator.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum FramingToml {
    Table(FramingTable),
    Bytes(Bytes),
}

impl Serialize for ReplyFraming {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let toml = match self {
            ReplyFraming::Bytes(bytes) => FramingToml::Bytes(bytes.clone()),
            ReplyFraming::Close => FramingToml::Bytes(Bytes::from(CLOSE.as_bytes())),
            ReplyFraming::Size(size) => FramingToml::Table(FramingTable::Size(*size)),
            ReplyFraming::Length(length) => FramingToml::Table(FramingTable::Length(*length)),
            ReplyFraming::Quiet(time) => {
                FramingToml::Table(FramingTable::Quiet(format_duration(*time)))
            }
        };
        toml.serialize(to)
    }
}

impl<'d> Deserialize<'d> for ReplyFraming {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<ReplyFraming, D::Error> {
        let allowed = "write the bytes that end each reply, such as \"\\n\", or one of: \
                       \"close\", { size = 16 }, { length = \"u32-be\" } (u8, u16-be, u16-le, u32-be, u32-le, line), or \
                       { quiet = \"250ms\" }";
        let invalid = || D::Error::custom(allowed);
        match FramingToml::deserialize(from).map_err(|_| invalid())? {
            FramingToml::Bytes(bytes) if *bytes == *CLOSE.as_bytes() => Ok(ReplyFraming::Close),
            FramingToml::Bytes(bytes) if bytes.is_empty() => Err(invalid()),
            FramingToml::Bytes(bytes) => Ok(ReplyFraming::Bytes(bytes)),
            FramingToml::Table(FramingTable::Size(size))
                if !(1..=MAX_REPLY_SIZE).contains(&size) =>
            {
                let message = format!("the size must be from 1 to {MAX_REPLY_SIZE} bytes");
                Err(D::Error::custom(message))
            }
            FramingToml::Table(FramingTable::Size(size)) => Ok(ReplyFraming::Size(size)),
            FramingToml::Table(FramingTable::Length(length)) => Ok(ReplyFraming::Length(length)),
            FramingToml::Table(FramingTable::Quiet(time)) => {
                duration(&time).map(ReplyFraming::Quiet).map_err(D::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(framing: &ReplyFraming, received: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut received = received.to_vec();
        let reply = framing.take(&mut received).expect("no invalid length prefix");
        (reply, received)
    }

    #[test]
    fn a_reply_is_removed_only_when_complete() {
        for (framing, part, whole, reply) in [
            (ReplyFraming::default(), &b"42"[..], &b"42\nrest"[..], &b"42"[..]),
            (ReplyFraming::Bytes(Bytes::from(&b"\r\n"[..])), b"42\r", b"42\r\nrest", b"42"),
            (ReplyFraming::Bytes(Bytes::from(&b"\0"[..])), b"42", b"42\0rest", b"42"),
            (ReplyFraming::Size(5), b"42  ", b"42 \0\0rest", b"42"),
            (ReplyFraming::Length(LengthPrefix::U8), b"\x024", b"\x0242rest", b"42"),
            (ReplyFraming::Length(LengthPrefix::U16Le), b"\x02", b"\x02\x0042rest", b"42"),
            (ReplyFraming::Length(LengthPrefix::U32Be), b"\0\0\0\x024", b"\0\0\0\x0242rest", b"42"),
            (ReplyFraming::Length(LengthPrefix::Line), b"2\n4", b"2\n42rest", b"42"),
        ] {
            assert_eq!(take(&framing, part), (None, part.to_vec()), "{framing:?}");
            let complete = (Some(reply.to_vec()), b"rest".to_vec());
            assert_eq!(take(&framing, whole), complete, "{framing:?}");
        }
        for framing in [ReplyFraming::Close, ReplyFraming::Quiet(Duration::from_millis(50))] {
            assert_eq!(take(&framing, b"42\n").0, None);
        }
    }

    #[test]
    fn another_line_end_is_no_part_of_a_reply() {
        for (end, received, is_other) in [
            (&b"\r\n"[..], &b"error\n"[..], true),
            (b"\r\n", b"error\r", false),
            (b"\r\n", b"err", false),
            (b"\n", b"error\0", true),
            (b"\0", b"error\n", true),
            (b"\r\n", b"\n", true),
            (b"\n\n", b"error\n", false),
            (b".\r\n", b"line\r\n", false),
        ] {
            let framing = ReplyFraming::Bytes(Bytes::from(end));
            assert_eq!(framing.is_other_end(received), is_other, "{end:?} {received:?}");
        }
        assert!(!ReplyFraming::Size(5).is_other_end(b"no\n"));
    }

    #[test]
    fn an_invalid_length_prefix_is_an_error() {
        let line = ReplyFraming::Length(LengthPrefix::Line);
        assert_eq!(line.take(&mut b"error\n".to_vec()), Err(InvalidLength));
        assert_eq!(line.take(&mut vec![b'1'; 40]), Err(InvalidLength));
    }
}
