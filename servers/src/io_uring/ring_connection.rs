//! A connection whose input the kernel receives without being asked for each read.

use std::os::fd::{AsFd, BorrowedFd};

use crate::event_loop::{Connection, Progress, READ_SIZE};

/// A connection, with the input beyond its share of an iteration. The kernel keeps receiving until
/// receiving is stopped. The share limits how many requests of one client are answered at a time,
/// as in other patterns.
#[derive(Debug)]
pub struct RingConnection {
    connection: Connection,
    /// Input for later iterations.
    unprocessed: Vec<u8>,
    /// Number of bytes of `unprocessed` that are already processed.
    processed: usize,
    /// Whether the stream ends after the unprocessed input.
    has_ended: bool,
    /// Whether the connection has already had its share of the next iteration.
    had_share: bool,
    /// Whether the connection is queued for the next iteration.
    is_queued: bool,
    is_closed: bool,
}

impl RingConnection {
    /// Returns a connection without input, queued for its first iteration.
    pub fn new(connection: Connection) -> RingConnection {
        RingConnection {
            connection,
            unprocessed: Vec::new(),
            processed: 0,
            has_ended: false,
            had_share: false,
            is_queued: true,
            is_closed: false,
        }
    }

    /// Processes received input. Empty input is the end of the stream. Returns whether the caller
    /// must queue the connection.
    pub fn received(&mut self, bytes: &[u8]) -> bool {
        if !self.had_share && self.unprocessed.is_empty() && self.connection.wants_read() {
            self.answer(bytes);
        } else if bytes.is_empty() {
            self.has_ended = true;
        } else {
            self.unprocessed.extend_from_slice(bytes);
        }
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// Removes output that was sent. Returns whether the caller must queue the connection.
    pub fn sent(&mut self, count: usize) -> bool {
        self.is_closed |= self.connection.sent(count) == Progress::Closed;
        !std::mem::replace(&mut self.is_queued, true)
    }

    /// Answers one share of the input. Returns [`Progress::Again`] if more input is left and the
    /// caller must queue the connection again.
    pub fn advance(&mut self) -> Progress {
        if !self.had_share && self.has_more() {
            let unprocessed = std::mem::take(&mut self.unprocessed);
            let end = unprocessed.len().min(self.processed + READ_SIZE);
            let share = &unprocessed[self.processed..end];
            // An empty share means the end of the stream.
            self.has_ended &= !share.is_empty();
            self.answer(share);
            if end < unprocessed.len() {
                (self.unprocessed, self.processed) = (unprocessed, end);
            } else {
                self.processed = 0;
            }
        }
        self.had_share = false;
        self.is_queued = self.has_more();
        match (self.is_closed, self.is_queued) {
            (true, _) => Progress::Closed,
            (false, true) => Progress::Again,
            (false, false) => Progress::Open,
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.had_share = true;
        self.is_closed |= self.connection.received(bytes) == Progress::Closed;
    }

    fn has_more(&self) -> bool {
        (!self.unprocessed.is_empty() || self.has_ended) && self.connection.wants_read()
    }

    /// Returns whether to receive input.
    pub fn wants_input(&self) -> bool {
        self.unprocessed.is_empty() && !self.has_ended && self.connection.wants_read()
    }

    /// Returns whether the completion of a send needs no action: the connection stays open and has
    /// no deadline to move.
    pub fn can_skip_success(&self) -> bool {
        self.wants_input() && self.connection.deadline().is_none()
    }

    /// Returns the unsent output.
    pub fn output(&self) -> &[u8] {
        self.connection.output()
    }

    /// Returns the connection.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the connection, to be drained without the ring.
    pub fn into_connection(mut self) -> Connection {
        // A later read will return the end of the stream again.
        if !self.unprocessed.is_empty() {
            self.connection.received(&self.unprocessed[self.processed..]);
        }
        self.connection
    }
}

impl AsFd for RingConnection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Config;
    use crate::sockets::ConnectionLimit;

    #[test]
    fn a_flood_is_answered_in_chunks_and_end_of_input_comes_last() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let _client = TcpStream::connect(address).expect("listening");
        let config = Config::for_test();
        let permit = ConnectionLimit::new(1).try_acquire().expect("a free slot");
        let (stream, _) = listener.accept().expect("the client");
        stream.set_nonblocking(true).expect("a non-blocking socket");
        let mut client = RingConnection::new(
            Connection::serve(stream, &config, permit).expect("an open connection"),
        );

        let share = b"hello!!\n".repeat(READ_SIZE / 8);
        client.advance();
        assert!(client.wants_input() && client.received(&share), "the caller must queue it");
        for _ in 0..9 {
            assert!(!client.received(&share), "already queued");
        }
        client.received(b"last");
        client.received(b"");
        let mut replies = Vec::new();
        for iteration in 0..12 {
            let expected = if iteration < 11 { Progress::Again } else { Progress::Open };
            assert_eq!(client.advance(), expected, "iteration {iteration}");
            assert!(client.output().len() <= READ_SIZE && !client.wants_input());
            replies.extend_from_slice(client.output());
            client.sent(client.output().len());
        }
        assert_eq!(replies, [&share.repeat(10)[..], b"last\n"].concat());
        assert_eq!(client.advance(), Progress::Closed);
    }
}
