//! Errors of test clients.

use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use crate::results::{EventKind, LocalError};
use crate::text::printable;
use crate::wire::MAX_REPLY_SIZE;

/// Maximum number of bytes that a client buffers for a reply.
pub const MAX_REPLY_LENGTH: usize = MAX_REPLY_SIZE;

/// Reason that an operation of a client failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The connection was refused: no socket listens there.
    Refused,
    /// The connection was not established within this time.
    ConnectTimedOut(Duration),
    /// This machine or the network could not open or keep the connection.
    Local(LocalError),
    /// Any other I/O error of the connection.
    Io(String),
    /// The server reset the connection.
    Reset,
    /// The server closed the connection after this part of a reply.
    Closed(Vec<u8>),
    /// No complete reply arrived within this time, only this part of it.
    Silent(Duration, Vec<u8>),
    /// The server did not read the client's data within this time.
    NotRead(Duration),
    /// The reply has more than [`MAX_REPLY_LENGTH`] bytes.
    TooLong,
    /// The time limit of the whole case has passed.
    OutOfTime,
}

/// Returns the transcript event for a client error.
pub(super) fn event_of(error: &ClientError) -> EventKind {
    match error {
        ClientError::Reset => EventKind::ReceivedReset,
        other => EventKind::ClientError { message: other.to_string() },
    }
}

/// Returns the client error for an I/O error. `received` is the part of the reply that arrived.
pub(super) fn client_error(error: &io::Error, received: &[u8], timeout: Duration) -> ClientError {
    if let Some(error) = LocalError::of(error) {
        return ClientError::Local(error);
    }
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => {
            ClientError::Silent(timeout, received.to_vec())
        }
        // EPIPE: an earlier call has already reported the reset.
        // ENOTCONN: the reset arrived before this call.
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => {
            ClientError::Reset
        }
        _ => ClientError::Io(error.to_string()),
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |bytes: &[u8]| match bytes {
            [] => String::new(),
            bytes => format!(" after {}", printable(bytes)),
        };
        match self {
            ClientError::Refused => write!(formatter, "connection refused"),
            ClientError::ConnectTimedOut(time) => {
                write!(formatter, "no connection within {}", milliseconds(*time))
            }
            ClientError::Local(error) => formatter.write_str(&error.text()),
            ClientError::Io(message) => formatter.write_str(message),
            ClientError::Reset => write!(formatter, "connection reset"),
            ClientError::Closed(bytes) => write!(formatter, "connection closed{}", after(bytes)),
            ClientError::Silent(time, bytes) => {
                write!(formatter, "no data for {}{}", milliseconds(*time), after(bytes))
            }
            ClientError::NotRead(time) => {
                write!(formatter, "the server read no data for {}", milliseconds(*time))
            }
            ClientError::TooLong => {
                write!(formatter, "the reply has more than {MAX_REPLY_LENGTH} bytes")
            }
            ClientError::OutOfTime => {
                write!(formatter, "the time limit of the case is exceeded: the server is too slow")
            }
        }
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
