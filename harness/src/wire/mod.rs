//! How requests and replies lie on the wire: where each begins and ends, and which part of a reply
//! is the value. The line protocol is one such wire, and the default.
//!
//! Nothing here has a socket: bytes are taken apart and put together. Who waits for them, and for
//! how long, is the client's matter.

mod bytes;
mod reply;
mod spacing;

pub use bytes::{Bytes, Pattern, Template};
pub use reply::{Length, ReplyEnd};
pub use spacing::respaced;

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The longest greeting that is waited for to its end, in bytes.
pub const LONGEST_GREETING: usize = 64 * 1024;

/// What a server and its clients have agreed on. Written as it stands in a manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Wire {
    /// What is sent for a request.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Template,
    /// Whether the parts of an expression have spaces between them; as it comes, if it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spaced: Option<bool>,
    /// Whether several requests may be sent at once; if it is not said, where they have an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelining: Option<bool>,
    /// Where a reply ends.
    #[serde(skip_serializing_if = "is_default")]
    pub reply_end: ReplyEnd,
    /// Where the value is in a reply: the first group, or all that matches.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Pattern>,
    /// What an error reply looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Pattern>,
    /// What a client is sent before it has asked anything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Greeting>,
    /// What is said before the first request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handshake: Vec<Step>,
    /// What is sent when the next request is awaited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Bytes>,
    /// What makes the server end the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quit: Option<Bytes>,
    /// How many requests a connection is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u32>,
    /// How many clients the server serves before it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clients_per_life: Option<u32>,
}

/// Whether a value need not be written.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Where a greeting ends.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Greeting {
    /// Behind these bytes.
    Until(Bytes),
    /// After so many lines.
    Lines(usize),
    /// When nothing has come for so long, a moment without any greeting included.
    #[serde(with = "humantime_text")]
    Quiet(Duration),
}

/// A step of a handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What the client says.
    pub send: Bytes,
    /// Up to where it then reads.
    pub expect: Bytes,
}

impl Greeting {
    /// How much of what was received is the greeting, if all of it is there. One that ends in
    /// silence never is.
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
    /// What cannot be, in words that say what may.
    ///
    /// # Errors
    /// The words.
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

    /// Whether it is seen on the wire where a request ends. Otherwise one read is one request.
    pub fn is_delimited(&self) -> bool {
        !self.request.after.is_empty()
    }

    /// Whether several requests may be sent at once.
    pub fn is_pipelined(&self) -> bool {
        self.pipelining.unwrap_or(self.is_delimited())
    }

    /// Whether requests are lines that a line feed ends, with nothing around them.
    pub fn has_lines(&self) -> bool {
        self.request.before.is_empty() && *self.request.after == *b"\n"
    }

    /// For how many requests a connection is, if that is bounded.
    pub fn requests(&self) -> Option<u32> {
        match self.reply_end {
            ReplyEnd::Close => Some(1),
            _ => self.requests_per_connection,
        }
    }

    /// What is sent for a request.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        [&self.request.before[..], request, &self.request.after[..]].concat()
    }

    /// Whether a request with this byte in it is one request.
    pub fn passes(&self, byte: u8) -> bool {
        self.request.after.first().is_none_or(|first| *first != byte)
    }

    /// The value in a reply; all of it where no value is found, or it is an error.
    pub fn value_of(&self, reply: Vec<u8>) -> Vec<u8> {
        if self.error.as_ref().is_some_and(|error| error.is_in(&reply)) {
            return reply;
        }
        match self.value.as_ref().and_then(|value| value.found_in(&reply)) {
            Some(found) => found.to_vec(),
            None => reply,
        }
    }

    /// What was received, without a prompt behind it.
    pub fn without_prompt(&self, mut received: Vec<u8>) -> Vec<u8> {
        if let Some(prompt) = &self.prompt
            && received.ends_with(prompt)
        {
            received.truncate(received.len() - prompt.len());
        }
        received
    }

    /// In words, where it is not the line protocol.
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

/// Durations as people write them.
pub(crate) mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// As `250ms`.
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
