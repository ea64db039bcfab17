//! Wire protocol: the framing of requests and replies, and the part of a reply that is the value.
//! The default is the line protocol.
//!
//! This module only encodes and decodes bytes. Sockets and timeouts belong to the client.

mod bytes;
mod reply;
mod spacing;

pub use bytes::{Bytes, Pattern, Template};
pub use reply::{Length, ReplyEnd};
pub use spacing::respaced;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Maximum length of a greeting, in bytes.
pub const LONGEST_GREETING: usize = 64 * 1024;

/// Wire protocol of a server, in the syntax of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Wire {
    /// Format of a request.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Template,
    /// The parts of an expression are separated by spaces; unchanged if undeclared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spaced: Option<bool>,
    /// Several requests may be sent at once. The default is true if requests are delimited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelining: Option<bool>,
    /// Terminator of a reply.
    #[serde(skip_serializing_if = "is_default")]
    pub reply_end: ReplyEnd,
    /// Pattern of the value in a reply: the first group, or the whole match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Pattern>,
    /// Pattern of an error reply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Pattern>,
    /// Greeting that the server sends on connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Greeting>,
    /// Exchange before the first request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handshake: Vec<Step>,
    /// Prompt that the server sends when it waits for a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Bytes>,
    /// Bytes that make the server close the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quit: Option<Bytes>,
    /// Number of requests per connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u32>,
    /// Number of connections after which the server exits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_per_life: Option<u32>,
}

/// Returns whether a value is the default, which is left out of a file.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Terminator of a greeting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Greeting {
    /// These bytes.
    Until(Bytes),
    /// A number of lines.
    Lines(usize),
    /// Silence of this duration, which may also follow no greeting at all.
    #[serde(with = "humantime_text")]
    Quiet(Duration),
}

/// A step of a handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Bytes that the client sends.
    pub send: Bytes,
    /// Bytes up to which the client then reads.
    pub expect: Bytes,
}

impl Greeting {
    /// Returns the length of the greeting in the received bytes, if it is complete. `None` for a
    /// greeting that ends with silence.
    pub fn length(&self, received: &[u8]) -> Option<usize> {
        match self {
            Greeting::Until(end) => end.find_end(received),
            Greeting::Lines(lines) => {
                let ends = received.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
                ends.map(|(at, _)| at + 1).nth(lines.checked_sub(1)?)
            }
            Greeting::Quiet(_) => None,
        }
    }
}

impl Wire {
    /// Checks the settings for contradictions.
    ///
    /// # Errors
    /// A message with the valid settings.
    pub fn check(&self) -> Result<(), String> {
        let is_zero = |number: Option<u32>| number == Some(0);
        if is_zero(self.requests_per_connection) || is_zero(self.clients_per_life) {
            return Err("requests-per-connection and clients-per-life are 1 at least".to_owned());
        }
        if self.greeting == Some(Greeting::Lines(0)) {
            return Err("a greeting has 1 line at least; leave it out if there is none".to_owned());
        }
        if self.pipelining == Some(true) && !self.is_delimited() {
            return Err("pipelining needs requests that have an end: something after {}".to_owned());
        }
        if self.reply_end == ReplyEnd::Close
            && self.requests_per_connection.is_some_and(|it| it > 1)
        {
            return Err("a reply that ends with the connection is its only one".to_owned());
        }
        Ok(())
    }

    /// Returns whether requests have a terminator. Without one, the server takes each read as a
    /// request.
    pub fn is_delimited(&self) -> bool {
        !self.request.after.is_empty()
    }

    /// Returns whether several requests may be sent at once.
    pub fn is_pipelined(&self) -> bool {
        self.pipelining.unwrap_or(self.is_delimited())
    }

    /// Returns whether requests are plain lines that end with a line feed.
    pub fn has_lines(&self) -> bool {
        self.request.before.is_empty() && *self.request.after == *b"\n"
    }

    /// Returns the number of requests per connection, if limited.
    pub fn requests(&self) -> Option<u32> {
        match self.reply_end {
            ReplyEnd::Close => Some(1),
            _ => self.requests_per_connection,
        }
    }

    /// Returns the bytes that are sent for a request.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        [&self.request.before[..], request, &self.request.after[..]].concat()
    }

    /// Returns whether this byte can occur in a request without ending it.
    pub fn passes(&self, byte: u8) -> bool {
        self.request.after.first().is_none_or(|first| *first != byte)
    }

    /// Returns the value in a reply. Returns the whole reply if it has no value or is an error.
    pub fn value_of(&self, reply: Vec<u8>) -> Vec<u8> {
        if self.error.as_ref().is_some_and(|error| error.is_in(&reply)) {
            return reply;
        }
        match self.value.as_ref().and_then(|value| value.found_in(&reply)) {
            Some(found) => found.to_vec(),
            None => reply,
        }
    }

    /// Returns the received bytes without a prompt at their end.
    pub fn without_prompt(&self, mut received: Vec<u8>) -> Vec<u8> {
        if let Some(prompt) = &self.prompt
            && received.ends_with(prompt)
        {
            received.truncate(received.len() - prompt.len());
        }
        received
    }

    /// Describes the protocol for messages, unless it is the line protocol.
    pub fn words(&self) -> Option<String> {
        if *self == Wire::default() {
            return None;
        }
        let mut words = vec![format!("requests {}", self.request.words())];
        words.push(format!("replies {}", self.reply_end.words()));
        if self.greeting.is_some() {
            words.push("a greeting".to_owned());
        }
        if !self.handshake.is_empty() {
            words.push("a handshake".to_owned());
        }
        if let Some(prompt) = &self.prompt {
            words.push(format!("a prompt {}", prompt.shown()));
        }
        if let Some(requests) = self.requests() {
            words.push(format!("{requests} on a connection"));
        }
        if let Some(clients) = self.clients_per_life {
            words.push(format!("{clients} client(s) in a life"));
        }
        Some(words.join(", "))
    }
}

/// Durations in the syntax of humantime.
pub(crate) mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes the duration as `250ms`.
    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::units::written(*time))
    }

    pub(crate) fn deserialize<'d, D: Deserializer<'d>>(from: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(from)?;
        crate::units::duration(&text).map_err(Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(text: &str) -> Result<Wire, String> {
        let wire: Wire = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        wire.check().map(|()| wire)
    }

    #[test]
    fn the_default_is_the_line_protocol() {
        let lines = wire("").expect("nothing is said");
        assert_eq!(lines, Wire::default());
        assert_eq!(lines.sent(b"1+2"), b"1+2\n");
        assert!(lines.is_delimited() && lines.is_pipelined() && lines.has_lines());
        assert_eq!(lines.words(), None);
    }

    #[test]
    fn a_wire_is_written_as_it_is_read() {
        let text = r#"
            request = "CALC {};"
            spaced = true
            reply-end = { length = "u32-be" }
            value = "= (.*)$"
            error = "^ERR"
            greeting = { until = "> " }
            handshake = [{ send = "HELLO\n", expect = "OK\n" }]
            prompt = "> "
            quit = [0, 255]
            requests-per-connection = 2
            clients-per-life = 1
        "#;
        let read = wire(text).expect("it is right");
        let written = toml::to_string(&read).expect("it can be written");
        assert_eq!(wire(&written), Ok(read.clone()), "{written}");
        assert_eq!(read.sent(b"1"), b"CALC 1;");
        assert!(!read.passes(b';') && read.passes(b'\n'));
        assert_eq!(read.value_of(b"[7] = 42".to_vec()), b"42");
        assert_eq!(read.value_of(b"ERR".to_vec()), b"ERR");
    }

    #[test]
    fn what_cannot_be_is_told_with_what_may() {
        for (text, word) in [
            ("request = \"x\"", "{}"),
            ("request = \"{}{}\"", "{}"),
            ("reply-end = \"\"", "close"),
            ("reply-end = { size = 0 }", "1"),
            ("reply-end = { length = \"u7\" }", "u32-be"),
            ("reply-end = { quiet = \"soon\" }", "250ms"),
            ("value = \"(\"", "regular expression"),
            ("speed = 1", "unknown field"),
            ("clients-per-life = 0", "1 at least"),
            ("request = \"{}\"\npipelining = true", "an end"),
            ("greeting = { lines = 0 }", "1 line"),
            ("reply-end = \"close\"\nrequests-per-connection = 2", "only one"),
        ] {
            let error = wire(text).expect_err(text);
            assert!(error.contains(word), "{text}: {error}");
        }
    }

    #[test]
    fn a_greeting_ends_where_it_says() {
        let greeting = Greeting::Lines(2);
        assert_eq!(greeting.length(b"one\ntwo"), None);
        assert_eq!(greeting.length(b"one\ntwo\nthree"), Some(8));
        let until = Greeting::Until(Bytes::from(&b"> "[..]));
        assert_eq!(until.length(b"welcome >"), None);
        assert_eq!(until.length(b"welcome > 1"), Some(10));
    }
}
