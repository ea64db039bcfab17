//! Events of a transcript.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::exit::Exit;
use crate::text::printable;

/// An event of a transcript, with its time and its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Time since the case began, in microseconds.
    pub at_us: u64,
    /// Number of the client, from 1; 0 is the server's process or the harness itself.
    pub client: usize,
    /// The event itself.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// Kind of an event, with its data.
///
/// `data` is text in quotes, with bytes outside of printable ASCII escaped. Long data is cut and
/// followed by its length in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum EventKind {
    /// The connection was established.
    Connected {
        /// Time since the client called connect, in microseconds.
        duration_us: u64,
    },
    /// The client sent data.
    Sent {
        /// The data.
        data: String,
    },
    /// The client shut down its sending side (FIN).
    SentFin,
    /// The client reset the connection (RST).
    SentReset,
    /// The client received data.
    Received {
        /// The data.
        data: String,
    },
    /// The server shut down its sending side (FIN).
    ReceivedFin,
    /// The server reset the connection (RST).
    ReceivedReset,
    /// An operation of the client failed.
    ClientError {
        /// Description of the error.
        message: String,
    },
    /// The server wrote to its standard output or standard error.
    Output {
        /// The data.
        data: String,
    },
    /// The server's first process exited.
    Exited {
        /// Its exit status.
        exit: Exit,
    },
    /// The harness acted on the server: for example, it sent a signal.
    Action {
        /// Description of the action.
        text: String,
    },
    /// Anything else, such as an observation or a clean-up.
    Note {
        /// Description of the observation or clean-up.
        text: String,
    },
}

impl Event {
    /// Creates an event.
    pub fn new(at_us: u64, client: usize, kind: EventKind) -> Event {
        Event { at_us, client, kind }
    }
}

impl EventKind {
    /// Returns the event of an established connection.
    pub fn connected(duration: Duration) -> EventKind {
        let duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        EventKind::Connected { duration_us }
    }

    /// Returns the event of data that the client sent.
    pub fn sent(data: &[u8]) -> EventKind {
        EventKind::Sent { data: printable(data) }
    }

    /// Returns the event of data that the client received.
    pub fn received(data: &[u8]) -> EventKind {
        EventKind::Received { data: printable(data) }
    }

    /// Returns the event of data that the server wrote to its standard output or standard error.
    pub fn output(data: &[u8]) -> EventKind {
        EventKind::Output { data: printable(data) }
    }

    /// Returns an action of the harness.
    pub fn action(text: impl Into<String>) -> EventKind {
        EventKind::Action { text: text.into() }
    }

    /// Returns a note.
    pub fn note(text: impl Into<String>) -> EventKind {
        EventKind::Note { text: text.into() }
    }

    /// Returns whether the client sent data, FIN or RST.
    pub fn is_sent(&self) -> bool {
        matches!(self, EventKind::Sent { .. } | EventKind::SentFin | EventKind::SentReset)
    }

    /// Returns whether the event is output of the server.
    pub fn is_output(&self) -> bool {
        matches!(self, EventKind::Output { .. })
    }
}

/// Formats the event for a transcript: `→` is sent, `←` is received.
impl fmt::Display for EventKind {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventKind::Connected { duration_us } => write!(to, "connected in {duration_us} µs"),
            EventKind::Sent { data } => write!(to, "→ {data}"),
            EventKind::SentFin => to.write_str("→ FIN"),
            EventKind::SentReset => to.write_str("→ RST"),
            EventKind::Received { data } => write!(to, "← {data}"),
            EventKind::ReceivedFin => to.write_str("← FIN"),
            EventKind::ReceivedReset => to.write_str("← RST"),
            EventKind::Output { data } => write!(to, "server wrote: {data}"),
            EventKind::Exited { exit } => write!(to, "the server exited: {exit}"),
            EventKind::ClientError { message } => to.write_str(message),
            EventKind::Action { text } | EventKind::Note { text } => to.write_str(text),
        }
    }
}
