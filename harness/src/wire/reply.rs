//! Terminators of replies.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

use super::bytes::Bytes;
use crate::units::{duration, written};

/// Name of the terminator [`ReplyEnd::Close`] in a manifest.
const CLOSE: &str = "close";

/// Terminator of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum ReplyEnd {
    /// These bytes.
    Bytes(Bytes),
    /// A fixed size in bytes; shorter replies are padded with spaces or NULs.
    Size(usize),
    /// A length prefix.
    Length(Length),
    /// Close of the connection.
    Close,
    /// Silence of this duration.
    Quiet(Duration),
}

/// Encoding of a length prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
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

impl Default for ReplyEnd {
    /// Returns a line feed.
    fn default() -> ReplyEnd {
        ReplyEnd::Bytes(Bytes::from(&b"\n"[..]))
    }
}

/// The length prefix of a reply is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoLength;

impl ReplyEnd {
    /// Removes the first complete reply from the received bytes and returns it without its
    /// terminator. Returns `None` if it is incomplete. A reply that ends with silence or with the
    /// connection never is complete.
    ///
    /// # Errors
    /// The length prefix is invalid.
    pub fn take(&self, received: &mut Vec<u8>) -> Result<Option<Vec<u8>>, NoLength> {
        let (before, length, after) = match self {
            ReplyEnd::Bytes(end) => match end.find_end(received) {
                Some(at) => (0, at - end.len(), end.len()),
                None => return Ok(None),
            },
            ReplyEnd::Size(size) => (0, *size, 0),
            ReplyEnd::Length(form) => match form.read(received)? {
                Some((header, length)) => (header, length, 0),
                None => return Ok(None),
            },
            ReplyEnd::Close | ReplyEnd::Quiet(_) => return Ok(None),
        };
        if received.len() < before + length + after {
            return Ok(None);
        }
        let mut reply: Vec<u8> = received.drain(..before + length + after).collect();
        reply.truncate(before + length);
        reply.drain(..before);
        if let ReplyEnd::Size(_) = self {
            let filled = reply.iter().rposition(|byte| !matches!(byte, b' ' | 0));
            reply.truncate(filled.map_or(0, |last| last + 1));
        }
        Ok(Some(reply))
    }

    /// Describes the terminator, as the predicate of "replies".
    pub fn words(&self) -> String {
        match self {
            ReplyEnd::Bytes(end) => format!("end in {}", end.shown()),
            ReplyEnd::Size(size) => format!("are of {size} bytes"),
            ReplyEnd::Length(_) => "have their length before them".to_owned(),
            ReplyEnd::Close => "end with the connection".to_owned(),
            ReplyEnd::Quiet(time) => format!("end when nothing comes for {}", written(*time)),
        }
    }
}

impl Length {
    /// Encodes the length prefix of a reply.
    pub fn written(self, length: usize) -> Vec<u8> {
        match self {
            Length::U8 => vec![length as u8],
            Length::U16Be => (length as u16).to_be_bytes().to_vec(),
            Length::U16Le => (length as u16).to_le_bytes().to_vec(),
            Length::U32Be => (length as u32).to_be_bytes().to_vec(),
            Length::U32Le => (length as u32).to_le_bytes().to_vec(),
            Length::Line => format!("{length}\n").into_bytes(),
        }
    }

    /// Returns the lengths of the prefix and of the reply, once the prefix is complete.
    fn read(self, received: &[u8]) -> Result<Option<(usize, usize)>, NoLength> {
        let number = |bytes: &[u8]| bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let reversed = |bytes: &[u8]| number(&bytes.iter().rev().copied().collect::<Vec<_>>());
        let read = match self {
            Length::U8 => received.get(..1).map(|it| (1, number(it))),
            Length::U16Be => received.get(..2).map(|it| (2, number(it))),
            Length::U16Le => received.get(..2).map(|it| (2, reversed(it))),
            Length::U32Be => received.get(..4).map(|it| (4, number(it))),
            Length::U32Le => received.get(..4).map(|it| (4, reversed(it))),
            Length::Line => {
                let end = received.iter().take(20).position(|&byte| byte == b'\n');
                if end.is_none() && received.len() >= 20 {
                    return Err(NoLength);
                }
                let Some(end) = end else { return Ok(None) };
                let text = std::str::from_utf8(&received[..end]).map_err(|_| NoLength)?;
                Some((end + 1, text.trim().parse().map_err(|_| NoLength)?))
            }
        };
        Ok(read)
    }
}

/// Terminators that are written as a table.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Table {
    Size(usize),
    Length(Length),
    Quiet(String),
}

/// A terminator as written in a manifest.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Table(Table),
    Bytes(Bytes),
}

impl Serialize for ReplyEnd {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            ReplyEnd::Bytes(bytes) => Written::Bytes(bytes.clone()),
            ReplyEnd::Close => Written::Bytes(Bytes::from(CLOSE.as_bytes())),
            ReplyEnd::Size(size) => Written::Table(Table::Size(*size)),
            ReplyEnd::Length(length) => Written::Table(Table::Length(*length)),
            ReplyEnd::Quiet(time) => Written::Table(Table::Quiet(written(*time))),
        };
        written.serialize(to)
    }
}

impl<'d> Deserialize<'d> for ReplyEnd {
    fn deserialize<D: Deserializer<'d>>(from: D) -> Result<ReplyEnd, D::Error> {
        let allowed = "write the bytes that end a reply, \"close\", { size = 16 }, \
                       { length = \"u32-be\" } (u8, u16-be, u16-le, u32-be, u32-le, line), or \
                       { quiet = \"250ms\" }";
        let wrong = || D::Error::custom(allowed);
        match Written::deserialize(from).map_err(|_| wrong())? {
            Written::Bytes(bytes) if *bytes == *CLOSE.as_bytes() => Ok(ReplyEnd::Close),
            Written::Bytes(bytes) if bytes.is_empty() => Err(wrong()),
            Written::Bytes(bytes) => Ok(ReplyEnd::Bytes(bytes)),
            Written::Table(Table::Size(0)) => Err(D::Error::custom("a size is 1 byte at least")),
            Written::Table(Table::Size(size)) => Ok(ReplyEnd::Size(size)),
            Written::Table(Table::Length(length)) => Ok(ReplyEnd::Length(length)),
            Written::Table(Table::Quiet(time)) => {
                duration(&time).map(ReplyEnd::Quiet).map_err(D::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(end: &ReplyEnd, received: &[u8]) -> (Option<Vec<u8>>, Vec<u8>) {
        let mut received = received.to_vec();
        let reply = end.take(&mut received).expect("a length, if any");
        (reply, received)
    }

    #[test]
    fn a_reply_is_taken_when_it_is_whole_and_not_before() {
        for (end, part, whole, reply) in [
            (ReplyEnd::default(), &b"42"[..], &b"42\nrest"[..], &b"42"[..]),
            (ReplyEnd::Bytes(Bytes::from(&b"\r\n"[..])), b"42\r", b"42\r\nrest", b"42"),
            (ReplyEnd::Bytes(Bytes::from(&b"\0"[..])), b"42", b"42\0rest", b"42"),
            (ReplyEnd::Size(5), b"42  ", b"42 \0\0rest", b"42"),
            (ReplyEnd::Length(Length::U8), b"\x024", b"\x0242rest", b"42"),
            (ReplyEnd::Length(Length::U16Le), b"\x02", b"\x02\x0042rest", b"42"),
            (ReplyEnd::Length(Length::U32Be), b"\0\0\0\x024", b"\0\0\0\x0242rest", b"42"),
            (ReplyEnd::Length(Length::Line), b"2\n4", b"2\n42rest", b"42"),
        ] {
            assert_eq!(taken(&end, part), (None, part.to_vec()), "{end:?}");
            assert_eq!(taken(&end, whole), (Some(reply.to_vec()), b"rest".to_vec()), "{end:?}");
        }
        for end in [ReplyEnd::Close, ReplyEnd::Quiet(Duration::from_millis(50))] {
            assert_eq!(taken(&end, b"42\n").0, None);
        }
    }

    #[test]
    fn what_is_no_length_is_told() {
        let line = ReplyEnd::Length(Length::Line);
        assert_eq!(line.take(&mut b"error\n".to_vec()), Err(NoLength));
        assert_eq!(line.take(&mut vec![b'1'; 40]), Err(NoLength));
    }
}
