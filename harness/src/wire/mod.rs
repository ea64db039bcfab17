//! Wire protocol: the framing of requests and replies, and the part of a reply that is the value.
//! The default is the line protocol.
//!
//! This module only encodes and decodes bytes. Sockets and timeouts belong to the client.

mod bytes;
mod reply;
mod spacing;

pub use bytes::{Bytes, ReplyRegex, Template};
pub use reply::{LengthPrefix, MAX_REPLY_SIZE, ReplyFraming};
pub use spacing::respaced;

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::figures::counted;

/// Maximum length of a greeting, in bytes.
pub const MAX_GREETING_LENGTH: usize = 64 * 1024;

/// Wire protocol of a server, in the syntax of a manifest.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Wire {
    /// Format of a request.
    #[serde(skip_serializing_if = "is_default")]
    pub request: Template,
    /// Whether the client adds spaces around operators (true), removes them (false), or sends
    /// expressions unchanged (undeclared).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spaced: Option<bool>,
    /// Whether several requests may be in flight on a connection. The default is true if requests
    /// have a terminator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipelining: Option<bool>,
    /// How the end of a reply is determined.
    #[serde(skip_serializing_if = "is_default")]
    pub reply_end: ReplyFraming,
    /// Regular expression for the value in a reply: the first group, or the whole match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<ReplyRegex>,
    /// Regular expression that matches error replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplyRegex>,
    /// Greeting that the server sends on connect.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greeting: Option<Greeting>,
    /// Messages exchanged before the first request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub handshake: Vec<Step>,
    /// Prompt that the server sends when it waits for a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<Bytes>,
    /// Bytes that make the server close the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quit: Option<Bytes>,
    /// Number of requests after which the server closes a connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_connection: Option<u32>,
    /// Number of connections after which the server exits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connections_before_exit: Option<u32>,
}

/// Returns whether a value is the default, so that serde omits the key.
pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How the end of a greeting is determined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", try_from = "GreetingTable")]
pub enum Greeting {
    /// A terminator.
    Until(Bytes),
    /// The greeting has this number of lines.
    Lines(usize),
    /// No data arrives for this duration. The greeting may be empty.
    #[serde(with = "humantime_text")]
    Quiet(Duration),
}

/// A greeting in TOML: a table with exactly one key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GreetingTable {
    until: Option<Bytes>,
    lines: Option<usize>,
    quiet: Option<Quiet>,
}

/// A duration in TOML.
#[derive(Deserialize)]
struct Quiet(#[serde(with = "humantime_text")] Duration);

impl TryFrom<GreetingTable> for Greeting {
    type Error = &'static str;

    fn try_from(table: GreetingTable) -> Result<Greeting, &'static str> {
        match (table.until, table.lines, table.quiet) {
            (Some(end), None, None) => Ok(Greeting::Until(end)),
            (None, Some(lines), None) => Ok(Greeting::Lines(lines)),
            (None, None, Some(Quiet(time))) => Ok(Greeting::Quiet(time)),
            _ => {
                Err("write one of: { until = \"\\n\\n\" }, { lines = 1 }, or { quiet = \"250ms\" }")
            }
        }
    }
}

/// A step of a handshake.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Bytes that the client sends.
    pub send: Bytes,
    /// End of the answer: the client reads until it has received these bytes.
    pub expect: Bytes,
}

impl Greeting {
    /// Returns the length of the greeting in the received bytes. `None` if it is incomplete, or if
    /// it ends with silence.
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
    /// Checks that the settings are valid and consistent.
    ///
    /// # Errors
    /// A setting is invalid, or contradicts another setting. The message has the valid settings.
    pub fn check(&self) -> Result<(), String> {
        let is_zero = |number: Option<u32>| number == Some(0);
        if is_zero(self.requests_per_connection) || is_zero(self.connections_before_exit) {
            return Err(
                "requests-per-connection and connections-before-exit must be at least 1".to_owned()
            );
        }
        if self.greeting == Some(Greeting::Lines(0)) {
            return Err("a greeting has at least 1 line; omit `greeting` if the server sends none"
                .to_owned());
        }
        if self.pipelining == Some(true) && !self.is_delimited() {
            return Err("`pipelining = true` needs a terminator after {} in `request`, such as \
                        \"{}\\n\""
                .to_owned());
        }
        if self.reply_end == ReplyFraming::Close
            && self.requests_per_connection.is_some_and(|it| it > 1)
        {
            return Err("with `reply-end = \"close\"`, a connection has only one reply; \
                        omit requests-per-connection"
                .to_owned());
        }
        Ok(())
    }

    /// Returns whether requests have a terminator. Without a terminator, the server treats the
    /// bytes of each read as one request.
    pub fn is_delimited(&self) -> bool {
        !self.request.after.is_empty()
    }

    /// Returns whether several requests may be in flight on a connection.
    pub fn is_pipelined(&self) -> bool {
        self.pipelining.unwrap_or(self.is_delimited())
    }

    /// Returns whether requests are plain lines that end with a line feed.
    pub fn has_lines(&self) -> bool {
        self.request.before.is_empty() && *self.request.after == *b"\n"
    }

    /// Returns the number of requests per connection, if it is limited.
    pub fn requests(&self) -> Option<u32> {
        match self.reply_end {
            ReplyFraming::Close => Some(1),
            _ => self.requests_per_connection,
        }
    }

    /// Returns the bytes to send for a request: the request in its template.
    pub fn sent(&self, request: &[u8]) -> Vec<u8> {
        [&self.request.before[..], request, &self.request.after[..]].concat()
    }

    /// Returns whether a request can contain this byte. False if the terminator begins with it.
    pub fn can_contain(&self, byte: u8) -> bool {
        self.request.after.first().is_none_or(|first| *first != byte)
    }

    /// Returns whether these bytes are one request in the template: they do not contain the
    /// terminator.
    pub fn is_one_request(&self, payload: &[u8]) -> bool {
        !self.is_delimited() || self.request.after.find_end(payload).is_none()
    }

    /// Extracts the value from a reply. Returns the whole reply if it is an error or has no value.
    pub fn value_of(&self, reply: Vec<u8>) -> Vec<u8> {
        if self.error.as_ref().is_some_and(|error| error.is_match(&reply)) {
            return reply;
        }
        match self.value.as_ref().and_then(|value| value.value_in(&reply)) {
            Some(value) => value.to_vec(),
            None => reply,
        }
    }

    /// Removes the prompt from the end of the received bytes.
    pub fn without_prompt(&self, mut received: Vec<u8>) -> Vec<u8> {
        if let Some(prompt) = &self.prompt
            && received.ends_with(prompt)
        {
            received.truncate(received.len() - prompt.len());
        }
        received
    }

    /// Describes the protocol for messages. `None` for the line protocol.
    pub fn description(&self) -> Option<String> {
        if *self == Wire::default() {
            return None;
        }
        let mut parts = vec![format!("requests {}", self.request.description())];
        parts.push(format!("replies {}", self.reply_end.description()));
        if self.greeting.is_some() {
            parts.push("a greeting".to_owned());
        }
        if !self.handshake.is_empty() {
            parts.push("a handshake".to_owned());
        }
        if let Some(prompt) = &self.prompt {
            parts.push(format!("a prompt {}", prompt.shown()));
        }
        if let Some(requests) = self.requests() {
            parts.push(format!("{} per connection", counted(requests, "request")));
        }
        if let Some(connections) = self.connections_before_exit {
            parts.push(format!("the server exits after {}", counted(connections, "connection")));
        }
        Some(parts.join(", "))
    }
}

/// Durations in the syntax of humantime.
pub(crate) mod humantime_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Serializes a duration, such as `250ms`.
    pub(crate) fn serialize<S: Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&crate::units::format_duration(*time))
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
        let lines = wire("").expect("an empty table is valid");
        assert_eq!(lines, Wire::default());
        assert_eq!(lines.sent(b"1+2"), b"1+2\n");
        assert!(lines.is_delimited() && lines.is_pipelined() && lines.has_lines());
        assert_eq!(lines.description(), None);
    }

    #[test]
    fn a_wire_description_round_trips_through_toml() {
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
            connections-before-exit = 1
        "#;
        let parsed = wire(text).expect("a valid wire table");
        let toml = toml::to_string(&parsed).expect("every wire table can be serialized");
        assert_eq!(wire(&toml), Ok(parsed.clone()), "{toml}");
        assert_eq!(parsed.sent(b"1"), b"CALC 1;");
        assert!(!parsed.can_contain(b';') && parsed.can_contain(b'\n'));
        assert_eq!(parsed.value_of(b"[7] = 42".to_vec()), b"42");
        assert_eq!(parsed.value_of(b"ERR".to_vec()), b"ERR");
    }

    #[test]
    fn the_error_for_an_invalid_wire_explains_what_is_valid() {
        for (text, expected) in [
            ("request = \"x\"", "{}"),
            ("request = \"{}{}\"", "{}"),
            ("reply-end = \"\"", "close"),
            ("reply-end = { size = 0 }", "1"),
            ("reply-end = { length = \"u7\" }", "u32-be"),
            ("reply-end = { quiet = \"soon\" }", "250ms"),
            ("value = \"(\"", "regular expression"),
            ("speed = 1", "unknown field"),
            ("connections-before-exit = 0", "at least 1"),
            ("request = \"{}\"\npipelining = true", "a terminator after {}"),
            ("greeting = { lines = 0 }", "1 line"),
            ("reply-end = \"close\"\nrequests-per-connection = 2", "only one reply"),
        ] {
            let error = wire(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_greeting_ends_after_its_lines_or_delimiter() {
        let greeting = Greeting::Lines(2);
        assert_eq!(greeting.length(b"one\ntwo"), None);
        assert_eq!(greeting.length(b"one\ntwo\nthree"), Some(8));
        let until = Greeting::Until(Bytes::from(&b"> "[..]));
        assert_eq!(until.length(b"welcome >"), None);
        assert_eq!(until.length(b"welcome > 1"), Some(10));
    }
}
