//! A client for whom the kernel receives by itself.

use std::os::fd::{AsFd, BorrowedFd};

use crate::event_loop::{Connection, SCRATCH, Turn};

/// A connection, and what has arrived for it beyond its share of a turn. Until the kernel hears
/// that it should receive no more it goes on, and a client that sends much is to get no more of
/// its requests answered at a time than in other patterns.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    /// To be looked at in later turns.
    arrived: Vec<u8>,
    /// How much of that has been answered.
    looked_at: usize,
    /// It has ended its side, after that.
    has_ended: bool,
    /// It has had its share of the turn to come.
    has_had_share: bool,
    /// It has been called to a turn.
    is_called: bool,
    is_over: bool,
}

impl Client {
    /// A client who has sent nothing, and is called to its first turn.
    pub fn new(connection: Connection) -> Client {
        Client {
            connection,
            arrived: Vec::new(),
            looked_at: 0,
            has_ended: false,
            has_had_share: false,
            is_called: true,
            is_over: false,
        }
    }

    /// The kernel has received this. Nothing is the client's end. Says whether to call it.
    pub fn received(&mut self, bytes: &[u8]) -> bool {
        if !self.has_had_share && self.arrived.is_empty() && self.connection.wants_read() {
            self.answer(bytes);
        } else if bytes.is_empty() {
            self.has_ended = true;
        } else {
            self.arrived.extend_from_slice(bytes);
        }
        !std::mem::replace(&mut self.is_called, true)
    }

    /// The kernel has sent so much of the output. Says whether to call it.
    pub fn sent(&mut self, count: usize) -> bool {
        self.is_over |= self.connection.sent(count) == Turn::Over;
        !std::mem::replace(&mut self.is_called, true)
    }

    /// A turn: its share of what has arrived is answered. If there is more, it is called again.
    pub fn turn(&mut self) -> Turn {
        if !self.has_had_share && self.has_more() {
            let arrived = std::mem::take(&mut self.arrived);
            let end = arrived.len().min(self.looked_at + SCRATCH);
            let share = &arrived[self.looked_at..end];
            // Nothing is the end.
            self.has_ended &= !share.is_empty();
            self.answer(share);
            if end < arrived.len() {
                (self.arrived, self.looked_at) = (arrived, end);
            } else {
                self.looked_at = 0;
            }
        }
        self.has_had_share = false;
        self.is_called = self.has_more();
        match (self.is_over, self.is_called) {
            (true, _) => Turn::Over,
            (false, true) => Turn::Again,
            (false, false) => Turn::Open,
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        self.has_had_share = true;
        self.is_over |= self.connection.received(bytes) == Turn::Over;
    }

    fn has_more(&self) -> bool {
        (!self.arrived.is_empty() || self.has_ended) && self.connection.wants_read()
    }

    /// Whether to receive what it sends.
    pub fn wants_input(&self) -> bool {
        self.arrived.is_empty() && !self.has_ended && self.connection.wants_read()
    }

    /// Whether nothing is to be done when its output was sent: neither is it closed then, nor
    /// its deadline put off.
    pub fn has_time(&self) -> bool {
        self.wants_input() && self.connection.deadline().is_none()
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        self.connection.output()
    }

    /// The connection by itself.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The connection, to be served without a ring.
    pub fn into_connection(mut self) -> Connection {
        // That it has ended is found out again.
        if !self.arrived.is_empty() {
            self.connection.received(&self.arrived[self.looked_at..]);
        }
        self.connection
    }
}

impl AsFd for Client {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::config::Config;
    use crate::protocol::Service;
    use crate::sockets::Places;

    #[test]
    fn a_flood_is_answered_a_share_a_turn_and_the_end_comes_after_it() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let _client = TcpStream::connect(address).expect("it listens");
        let config = Config {
            service: Service::Echo,
            max_line: 4096,
            max_connections: 1,
            workers: 1,
            idle_timeout: None,
        };
        let place = Places::new(1).take().expect("a place");
        let (stream, _) = listener.accept().expect("the client");
        stream.set_nonblocking(true).expect("it can be");
        let mut client = Client::new(Connection::serve(stream, &config, place).expect("it lives"));

        let share = b"hello!!\n".repeat(SCRATCH / 8);
        client.turn();
        assert!(client.wants_input() && client.received(&share), "it is to be called");
        for _ in 0..9 {
            assert!(!client.received(&share), "it is called already");
        }
        client.received(b"last");
        client.received(b"");
        let mut replies = Vec::new();
        for turn in 0..12 {
            let expected = if turn < 11 { Turn::Again } else { Turn::Open };
            assert_eq!(client.turn(), expected, "turn {turn}");
            assert!(client.output().len() <= SCRATCH && !client.wants_input());
            replies.extend_from_slice(client.output());
            client.sent(client.output().len());
        }
        assert_eq!(replies, [&share.repeat(10)[..], b"last\n"].concat());
        assert_eq!(client.turn(), Turn::Over);
    }
}
