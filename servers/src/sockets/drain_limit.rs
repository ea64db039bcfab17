//! Bounds the input that a drain still answers.

use std::os::fd::AsFd;

use super::tcp_state::unread;
use crate::shutdown::Shutdown;

/// Number of bytes that may still be read, or `None` while there is no limit. The first check after
/// the shutdown request sets it to the input that has arrived. Without the limit, a client that
/// keeps sending could delay the shutdown for ever.
#[derive(Debug, Default)]
pub(crate) struct DrainLimit(Option<usize>);

impl DrainLimit {
    /// Returns how many bytes to read now, at most `wanted`. 0 means the end of the input.
    pub(crate) fn read_size(
        &mut self,
        shutdown: Shutdown,
        client: &impl AsFd,
        wanted: usize,
    ) -> usize {
        if shutdown.is_requested() { self.remaining(client, wanted) } else { wanted }
    }

    /// Like [`read_size`](Self::read_size), for a server that is known to shut down.
    pub(crate) fn remaining(&mut self, client: &impl AsFd, wanted: usize) -> usize {
        wanted.min(*self.0.get_or_insert_with(|| unread(client)))
    }

    /// Subtracts bytes that were read.
    pub(crate) fn consume(&mut self, count: usize) {
        self.0 = self.0.map(|left| left.saturating_sub(count));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net;

    use super::*;
    use crate::sockets::tcp_state::is_at_end_of_input;
    use crate::sockets::tcp_state::testing::pair;

    #[test]
    fn input_after_the_shutdown_request_is_not_read() {
        let (mut client, mut server) = pair();
        client.write_all(b"before").expect("a complete write");
        let mut limit = DrainLimit::default();
        assert_eq!(limit.remaining(&server, 4), 4);
        client.write_all(b"after").expect("a complete write");
        assert_eq!(server.read(&mut [0; 4]).expect("arrived input"), 4);
        limit.consume(4);
        assert_eq!(limit.remaining(&server, 4), 2);
        client.shutdown(net::Shutdown::Write).expect("a FIN");
        assert!(!is_at_end_of_input(&server), "input is unread");
    }
}
