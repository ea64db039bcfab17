//! The line protocol without I/O: bytes in, replies out.
//!
//! Each request gets exactly one reply line, in order, however the input was split. Memory is
//! bounded: a request by the maximum line, the replies by [`OUTPUT_BOUND`] plus one reply. Beyond
//! that bound the session stops answering and [`Session::wants_input`] returns false; the client's
//! TCP window then fills, and the client waits (backpressure).
//!
//! A session uses no socket and no clock, and never blocks.

use super::replies::BUSY;
use super::service::Service;

/// With this many bytes of unsent replies, the session answers no further request.
pub const OUTPUT_BOUND: usize = 64 * 1024;

/// Empty buffers with a larger capacity are freed, because most connections are idle.
const RETAINED: usize = 4 * 1024;

/// The state of the protocol for one connection.
#[derive(Debug)]
pub struct Session {
    service: Service,
    max_line: usize,
    /// The beginning of a request whose line end has not arrived.
    partial: Vec<u8>,
    /// Input that is not processed yet, because the output is full or answering is deferred.
    pending: Vec<u8>,
    output: Vec<u8>,
    /// Number of bytes of `output` that were sent.
    sent: usize,
    /// Whether the current line is too long: the error reply is already in `output`, and the rest
    /// of the line is discarded.
    discarding: bool,
    /// Whether requests get the busy line.
    shedding: bool,
    /// Whether the input has ended.
    ended: bool,
}

impl Session {
    /// Returns a session without any input.
    pub fn new(service: Service, max_line: usize) -> Session {
        Session {
            service,
            max_line,
            partial: Vec::new(),
            pending: Vec::new(),
            output: Vec::new(),
            sent: 0,
            discarding: false,
            shedding: false,
            ended: false,
        }
    }

    /// Processes input and answers the requests that it completes.
    pub fn receive(&mut self, bytes: &[u8]) {
        if self.pending.is_empty() {
            let used = self.answer(bytes);
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            self.pending.extend_from_slice(bytes);
        }
    }

    /// Buffers input without answering, for [`answer_buffered`](Self::answer_buffered), which a
    /// pattern may call in another thread. Until then the session wants no input.
    pub fn buffer(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Returns whether unprocessed input is buffered.
    pub fn has_buffered(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Answers buffered requests as far as there is output space.
    pub fn answer_buffered(&mut self) {
        if !self.pending.is_empty() && self.has_room() {
            let mut pending = std::mem::take(&mut self.pending);
            let used = self.answer(&pending);
            pending.drain(..used);
            if pending.capacity() > RETAINED && pending.is_empty() {
                pending = Vec::new();
            }
            self.pending = pending;
            self.answer_final_request();
        }
    }

    /// Answers buffered requests with the busy line.
    pub fn shed_buffered(&mut self) {
        self.shedding = true;
        self.answer_buffered();
        self.shedding = false;
    }

    /// Ends the input, and answers an unterminated last request.
    pub fn end_of_input(&mut self) {
        self.ended = true;
        self.answer_final_request();
    }

    /// Returns the unsent replies.
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// Removes the first `count` bytes from [`output`](Self::output): they were sent.
    pub fn sent(&mut self, count: usize) {
        self.sent += count;
        if self.sent == self.output.len() {
            self.sent = 0;
            self.output.clear();
            if self.output.capacity() > RETAINED {
                self.output = Vec::new();
            }
        } else if self.sent >= OUTPUT_BOUND / 2 {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
        self.answer_buffered();
    }

    /// Returns whether to read more input. If not, send output first.
    pub fn wants_input(&self) -> bool {
        !self.ended && self.pending.is_empty() && self.has_room()
    }

    /// Returns whether the input has ended and every reply was sent.
    pub fn is_finished(&self) -> bool {
        self.ended && self.pending.is_empty() && self.output().is_empty()
    }

    fn has_room(&self) -> bool {
        self.output().len() < OUTPUT_BOUND
    }

    /// Answers complete requests as long as there is output space. Returns the number of bytes
    /// used.
    fn answer(&mut self, bytes: &[u8]) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.has_room() {
            match rest.iter().position(|&byte| byte == b'\n') {
                Some(end) => {
                    self.complete_line(&rest[..end]);
                    rest = &rest[end + 1..];
                }
                None => {
                    self.buffer_partial(rest);
                    rest = &[];
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// Answers the buffered line, completed by `last_piece`.
    fn complete_line(&mut self, last_piece: &[u8]) {
        if std::mem::take(&mut self.discarding) {
            return;
        }
        if self.partial.is_empty() {
            self.reply_to(without_return(last_piece));
        } else {
            let mut line = std::mem::take(&mut self.partial);
            line.extend_from_slice(last_piece);
            self.reply_to(without_return(&line));
        }
    }

    /// Buffers the beginning of a request. If it is already too long, replies with an error
    /// instead.
    fn buffer_partial(&mut self, bytes: &[u8]) {
        if self.discarding {
            return;
        }
        let length = self.partial.len() + bytes.len();
        let ends_in_return = bytes.last() == Some(&b'\r');
        if length > self.max_line + usize::from(ends_in_return) {
            self.partial = Vec::new();
            self.reply_too_long();
            self.discarding = true;
        } else {
            self.partial.extend_from_slice(bytes);
        }
    }

    fn answer_final_request(&mut self) {
        if self.ended && self.pending.is_empty() && !self.partial.is_empty() {
            let line = std::mem::take(&mut self.partial);
            self.reply_to(without_return(&line));
        }
    }

    fn reply_to(&mut self, request: &[u8]) {
        if request.len() > self.max_line {
            self.reply_too_long();
        } else if self.shedding {
            self.output.extend_from_slice(BUSY);
        } else {
            self.service.answer(request, &mut self.output);
            self.output.push(b'\n');
        }
    }

    fn reply_too_long(&mut self) {
        let message = format!("error: line too long (limit {} bytes)\n", self.max_line);
        self.output.extend_from_slice(message.as_bytes());
    }
}

/// Strips the `\r` that some clients send before the line end.
fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 16;

    /// Returns all replies to the input `pieces`. Sends at most `max_send` bytes at a time.
    fn replies(pieces: &[&[u8]], max_send: usize) -> Vec<u8> {
        let mut session = Session::new(Service::Echo, MAX);
        let mut replies = Vec::new();
        let mut send = |session: &mut Session| {
            while !session.output().is_empty() {
                let count = session.output().len().min(max_send);
                replies.extend_from_slice(&session.output()[..count]);
                session.sent(count);
            }
        };
        for piece in pieces {
            session.receive(piece);
            send(&mut session);
        }
        session.end_of_input();
        send(&mut session);
        assert!(session.is_finished());
        replies
    }

    fn replies_to_whole(input: &[u8]) -> Vec<u8> {
        replies(&[input], usize::MAX)
    }

    #[test]
    fn each_request_gets_one_reply_in_order() {
        assert_eq!(replies_to_whole(b"a\nb\r\n\nc"), b"a\nb\n\nc\n");
    }

    #[test]
    fn the_line_limit_excludes_the_line_feed_and_carriage_return() {
        let longest = [b'x'; MAX];
        for end in [&b"\n"[..], b"\r\n", b"", b"\r"] {
            let line = [&longest[..], end].concat();
            assert_eq!(replies_to_whole(&line), [&longest[..], b"\n"].concat(), "{end:?}");
            let line = [&longest[..], b"x", end].concat();
            assert_eq!(
                replies_to_whole(&line),
                b"error: line too long (limit 16 bytes)\n",
                "{end:?}"
            );
        }
    }

    #[test]
    fn an_overlong_line_gets_one_reply_before_it_ends() {
        let mut session = Session::new(Service::Echo, MAX);
        session.receive(&[b'x'; MAX + 1]);
        let message = b"error: line too long (limit 16 bytes)\n";
        assert_eq!(session.output(), message);
        session.sent(message.len());
        for _ in 0..100 {
            session.receive(&[b'x'; 1000]);
        }
        assert_eq!(session.output(), b"");
        session.receive(b"x\nnext\n");
        assert_eq!(session.output(), b"next\n");
    }

    #[test]
    fn a_client_that_never_reads_costs_bounded_memory() {
        let mut session = Session::new(Service::Echo, MAX);
        let flood = [b'\n'; 1000];
        let mut taken = 0;
        while session.wants_input() {
            session.receive(&flood);
            taken += flood.len();
            assert!(taken <= OUTPUT_BOUND + flood.len(), "the session never stops reading");
        }
        assert!(session.output().len() <= OUTPUT_BOUND + MAX + 1);
        let mut replies = 0;
        while !session.output().is_empty() {
            replies += 1;
            session.sent(1);
        }
        assert_eq!(replies, taken, "a reply was lost");
        assert!(session.wants_input());
    }

    #[test]
    fn the_end_of_input_waits_for_buffered_input() {
        let mut session = Session::new(Service::Echo, MAX);
        let mut input = vec![b'\n'; OUTPUT_BOUND + 10];
        input.extend_from_slice(b"last");
        session.receive(&input);
        session.end_of_input();
        let mut replies = Vec::new();
        while !session.is_finished() {
            replies.extend_from_slice(session.output());
            session.sent(session.output().len());
        }
        assert_eq!(replies.len(), OUTPUT_BOUND + 10 + 5);
        assert!(replies.ends_with(b"\nlast\n"));
    }

    #[test]
    fn each_shed_request_gets_a_busy_reply_and_later_requests_are_served() {
        let mut session = Session::new(Service::Echo, MAX);
        session.buffer(b"a\nb\nc");
        session.shed_buffered();
        session.receive(b"d\ne\n");
        assert_eq!(session.output(), [BUSY, BUSY, b"cd\ne\n"].concat());
    }

    #[test]
    fn an_idle_session_holds_no_buffer() {
        for receive in [Session::receive, Session::buffer] {
            let mut session = Session::new(Service::Echo, 1 << 20);
            receive(&mut session, &[b'x'; 100_000]);
            receive(&mut session, b"\n");
            session.answer_buffered();
            session.sent(session.output().len());
            assert!(!session.has_buffered() && session.output().is_empty());
            let held = session.partial.capacity() + session.output.capacity();
            assert_eq!(held + session.pending.capacity(), 0);
        }
    }

    proptest! {
        #[test]
        fn replies_do_not_depend_on_how_the_input_is_split(
            input in proptest::collection::vec(prop_oneof![
                4 => any::<u8>(), 2 => Just(b'\n'), 1 => Just(b'\r'), 4 => Just(b'x')
            ], 0..200),
            cuts in proptest::collection::vec(0usize..200, 0..20),
            max_send in 1usize..50,
        ) {
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]).collect();
            prop_assert_eq!(replies(&pieces, max_send), replies_to_whole(&input));
        }
    }
}
