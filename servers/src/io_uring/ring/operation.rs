//! Operations of a ring, and their completions.

use std::net::TcpStream;

use crate::event_loop::Key;

/// The kind of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Operation {
    Accept,
    /// Polls the listener for a connection.
    PollListener,
    /// Polls the descriptor of the shutdown request.
    PollShutdown,
    Receive,
    Send,
    /// A cancellation, which posts a completion only if it fails.
    Cancel,
}

impl Operation {
    const ALL: [Operation; 6] = [
        Operation::Accept,
        Operation::PollListener,
        Operation::PollShutdown,
        Operation::Receive,
        Operation::Send,
        Operation::Cancel,
    ];

    /// Returns the user data of this operation on a connection.
    pub(super) fn tag(self, key: Key) -> u64 {
        (key as u64) << 3 | self as u64
    }

    /// Returns the operation and the connection that user data stand for.
    pub(super) fn from_tag(tag: u64) -> (Operation, Key) {
        (Operation::ALL[(tag & 7) as usize], (tag >> 3) as Key)
    }
}

/// A completed operation.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted.
    Accepted(TcpStream),
    /// The multishot accept has ended, because no descriptor is free. Accept with the listener's
    /// spare descriptor, then [restart](super::Ring::accept) the multishot accept.
    AcceptEnded,
    /// A connection is in the accept queue. Reported once for each call of
    /// [`watch`](super::Ring::watch).
    Acceptable,
    /// Input has arrived. [`received`](super::Ring::received) returns it until the next completion.
    Received(Key),
    /// This many bytes of a connection's output were sent.
    Sent(Key, usize),
    /// The connection is lost.
    Lost(Key),
}
