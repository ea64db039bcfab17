//! Bounds the input that a drain still answers.

use std::os::fd::AsFd;

use super::tcp_state::unread;
use crate::shutdown::Shutdown;

/// Counts the input that may still be read: unlimited while serving; after the shutdown request,
/// the bytes that had arrived at the first check. Otherwise a client that keeps sending could delay
/// the shutdown for ever.
#[derive(Debug, Default)]
pub(crate) struct DrainLimit(Option<usize>);

impl DrainLimit {
    /// Returns how much to read now, at most `wanted`. 0 means the end of the input.
    pub(crate) fn read_size(
        &mut self,
        shutdown: Shutdown,
        client: &impl AsFd,
        wanted: usize,
    ) -> usize {
        if shutdown.is_requested() { self.remaining(client, wanted) } else { wanted }
    }

    /// As [`read_size`](Self::read_size), after the shutdown request.
    pub(crate) fn remaining(&mut self, client: &impl AsFd, wanted: usize) -> usize {
        wanted.min(*self.0.get_or_insert_with(|| unread(client)))
    }

    /// Counts bytes that were read.
    pub(crate) fn consume(&mut self, count: usize) {
        self.0 = self.0.map(|left| left.saturating_sub(count));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{self, TcpListener, TcpStream};

    use super::*;
    use crate::sockets::tcp_state::is_ended_by_client;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("an address"));
        (client.expect("a connection"), listener.accept().expect("the client").0)
    }

    #[test]
    fn input_after_the_shutdown_request_does_not_count() {
        let (mut client, mut server) = pair();
        client.write_all(b"before").expect("a complete write");
        let mut last = DrainLimit::default();
        assert_eq!(last.remaining(&server, 4), 4);
        client.write_all(b"after").expect("a complete write");
        assert_eq!(server.read(&mut [0; 4]).expect("present"), 4);
        last.consume(4);
        assert_eq!(last.remaining(&server, 4), 2);
        client.shutdown(net::Shutdown::Write).expect("a shutdown");
        assert!(!is_ended_by_client(&server), "there is more to read before the end");
    }
}
