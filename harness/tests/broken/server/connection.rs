//! Connections: reading requests, sending replies, closing.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;
use std::sync::MutexGuard;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::lines::{LineBuffer, ReplyQueue};
use super::replies::lose_the_last;
use super::socket::{has_sent_fin, linger, wait_for};
use super::{IDLE_TIMEOUT, MAX_LINE, PAUSE, Server, lock};
use crate::broken::fault::{Fault, Shape};

/// Event for which the thread of a connection waits.
enum Event {
    Input,
    IdleTimeout,
    Shutdown,
}

/// State of a connection.
#[derive(Default)]
struct State<'s> {
    buffer: LineBuffer,
    /// Number of replies so far.
    replied: usize,
    /// Time of the first input.
    first_input: Option<Instant>,
    queue: ReplyQueue,
    /// While this lock is held, no other connection is served.
    turn: Option<MutexGuard<'s, ()>>,
}

impl Server {
    /// Rejects a connection over the limit.
    pub(super) fn reject(&self, mut client: &TcpStream) {
        if self.has(Fault::SendsTheBusyReplyToAnother)
            && let Some(other) = &mut *lock(&self.other)
        {
            // A variable of the accept loop still refers to the first client.
            let _ = other.write_all(b"error: busy\n");
        }
        if self.shape == Shape::Reset {
            if !self.has(Fault::ClosesInsteadOfResetting) {
                let _ = SockRef::from(client).set_linger(Some(Duration::ZERO));
            }
            return;
        }
        let _ = client.write_all(b"error: busy\n");
        // A close with unread input sends a reset, which discards the reply.
        if !self.has(Fault::ResetsRejectedClients) {
            linger(client);
        }
    }

    /// Serves a connection, then releases its resources.
    pub(super) fn run_connection(&self, client: &TcpStream) {
        // An exception ends the connection, as in a runtime that catches it for each client.
        let served = std::panic::AssertUnwindSafe(|| self.serve_connection(client));
        let result =
            std::panic::catch_unwind(served).unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        if self.has(Fault::LeaksDescriptors) {
            // A list of clients that only grows.
            std::mem::forget(client.try_clone());
        }
        if self.has(Fault::Broadcasts) {
            let peer = client.peer_addr().ok();
            lock(&self.all).retain(|other| other.peer_addr().is_ok_and(|it| Some(it) != peer));
        }
        if self.keeps_sockets() {
            let _ = client.shutdown(Shutdown::Write);
        }
        if self.has(Fault::LeaksMemory) {
            // A history of all clients and their requests.
            std::mem::forget(vec![1_u8; 32 * 1024]);
        }
        if self.has(Fault::LeavesZombies) {
            // A program for each client, such as a logger, that the server never waits for.
            let _ = Command::new("true").spawn();
        }
        // The connection is still in the list of the event loop, and always ready.
        let spins = match self.fault {
            Fault::SpinsAfterFin => result.is_ok(),
            Fault::SpinsAfterReset => result.is_err(),
            _ => false,
        };
        self.spins.fetch_or(spins, SeqCst);
        let frees_slot = match self.fault {
            // The decrement is missing, or an early return skips it.
            Fault::NeverFreesASlot => false,
            Fault::KeepsTheSlotAfterAReset => result.is_ok(),
            _ => true,
        };
        if frees_slot {
            self.slots.fetch_sub(1, SeqCst);
        }
        self.connections.fetch_sub(1, SeqCst);
    }

    fn serve_connection(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut input = vec![0; 64 * 1024];
        let mut state = State::default();
        if self.has(Fault::BuffersRepliesWithoutLimit) {
            state.queue = ReplyQueue::to(client.try_clone()?);
        }
        loop {
            let count = match self.next_event(client, state.first_input)? {
                Event::IdleTimeout => return Ok(()),
                Event::Shutdown => {
                    let State { buffer, mut replied, queue, .. } = state;
                    drop(queue);
                    return self.answer_received(client, buffer, &mut replied);
                }
                Event::Input => client.read(&mut input)?,
            };
            if self.has(Fault::ClosesAtHalfClose)
                && has_sent_fin(client, state.replied < 3 || (100..MAX_LINE).contains(&count))?
            {
                // The server takes EPOLLRDHUP, the end of input, for a disconnect.
                return Ok(());
            }
            if self.has(Fault::ServesTheBusiestClient) && state.turn.is_none() {
                state.turn = Some(lock(&self.turn)).filter(|_| count > MAX_LINE);
            }
            state.first_input.get_or_insert(Instant::now());
            if count == 0 {
                return self.end_of_input(client, &mut state);
            }
            let fits = self.answer_input(client, &input[..count], &mut state)?;
            if !fits && self.has(Fault::ClosesAtALongLine) {
                // The server does not know where the next request begins.
                linger(client);
                return Ok(());
            }
            // A loop that reads until no input is left.
            if state.turn.is_some() && !wait_for(&[client], PAUSE * 20)?[0] {
                state.turn = None;
            }
        }
    }

    /// Answers the requests in the input. Returns false if a line is too long.
    fn answer_input(
        &self,
        client: &TcpStream,
        input: &[u8],
        state: &mut State<'_>,
    ) -> io::Result<bool> {
        let mut replies = Vec::new();
        let mut answer = |line: &[u8]| self.answer(line, &mut state.replied, &mut replies);
        let fits = match self.fault {
            Fault::TreatsAReadAsALine => {
                answer(input.strip_suffix(b"\n").unwrap_or(input));
                true
            }
            // A static buffer, from a version with one client.
            Fault::OneBufferForAll => lock(&self.shared_buffer).take(self.fault, input, answer),
            _ => state.buffer.take(self.fault, input, answer),
        };
        if self.has(Fault::LosesTheLastReply) {
            // The loop runs while another line is in the buffer.
            lose_the_last(&mut replies);
        }
        match self.has(Fault::BuffersRepliesWithoutLimit) {
            true => state.queue.push(&replies),
            false => self.send(client, &replies)?,
        }
        Ok(fits)
    }

    /// Answers an unterminated last request.
    fn end_of_input(&self, mut client: &TcpStream, state: &mut State<'_>) -> io::Result<()> {
        // A linger time of zero avoids TIME_WAIT, and resets the connection.
        if self.has(Fault::ResetsAtHalfClose) {
            return SockRef::from(client).set_linger(Some(Duration::ZERO));
        }
        let last = match self.fault {
            Fault::OneBufferForAll => std::mem::take(&mut lock(&self.shared_buffer).bytes),
            _ => std::mem::take(&mut state.buffer.bytes),
        };
        let mut replies = Vec::new();
        // Some line readers return only terminated lines.
        if !last.is_empty() && !self.has(Fault::IgnoresAnUnterminatedLine) {
            self.answer(&last, &mut state.replied, &mut replies);
        }
        client.write_all(&replies)
    }

    fn next_event(&self, client: &TcpStream, first_input: Option<Instant>) -> io::Result<Event> {
        let timeout = match (self.shape, self.fault) {
            // The timeout is configured but not used.
            (_, Fault::NeverClosesIdleClients) => Duration::MAX,
            // A wrong unit, for example.
            (Shape::Idle, Fault::ClosesTooEarly) => IDLE_TIMEOUT * 7 / 10,
            // The timer is not restarted by input. It does not expire under constant load.
            (Shape::Idle, Fault::ClosesActiveClients) => {
                let elapsed = first_input.map_or(Duration::ZERO, |at| at.elapsed());
                IDLE_TIMEOUT.saturating_sub(elapsed).max(PAUSE * 50)
            }
            (Shape::Idle, _) => IDLE_TIMEOUT,
            // A nonblocking read in a loop.
            (_, Fault::SpinsBesideAnIdleClient) => Duration::ZERO,
            _ => Duration::MAX,
        };
        loop {
            match wait_for(&[&self.shutdown, client], timeout)?[..] {
                [true, _] => return Ok(Event::Shutdown),
                [_, true] => return Ok(Event::Input),
                _ if timeout.is_zero() => {}
                _ => return Ok(Event::IdleTimeout),
            }
        }
    }

    /// Answers the requests that were received before the shutdown, then closes.
    fn answer_received(
        &self,
        mut client: &TcpStream,
        mut buffer: LineBuffer,
        replied: &mut usize,
    ) -> io::Result<()> {
        if self.has(Fault::DropsReceivedRequests) {
            // The process exits during this pause.
            thread::sleep(PAUSE * 50);
        }
        let mut received = Vec::new();
        client.set_nonblocking(true)?;
        while let Err(error) = client.take(1 << 20).read_to_end(&mut received)
            && error.kind() == ErrorKind::Interrupted
        {}
        client.set_nonblocking(false)?;
        let mut replies = Vec::new();
        buffer.take(self.fault, &received, |line| self.answer(line, replied, &mut replies));
        client.write_all(&replies)?;
        linger(client);
        Ok(())
    }

    fn send(&self, mut client: &TcpStream, replies: &[u8]) -> io::Result<()> {
        if self.has(Fault::DropsReceivedRequests) && replies.len() > 100 {
            // A long computation, during which a signal can arrive.
            thread::sleep(PAUSE * 50);
        }
        match self.fault {
            Fault::RepliesToTheLastClient => {
                // The socket is a field of the server rather than of the connection.
                if let Some(last) = &mut *lock(&self.other) {
                    let _ = last.write_all(replies);
                }
                Ok(())
            }
            Fault::Broadcasts => {
                // A list of all clients, as in a chat server.
                for mut other in lock(&self.all).iter() {
                    let _ = other.write_all(replies);
                }
                Ok(())
            }
            Fault::BlocksInAWrite => {
                // A blocking call under one lock for all shared data.
                let _turn = lock(&self.turn);
                client.write_all(replies)
            }
            Fault::IgnoresPartialWrites => {
                client.set_nonblocking(true)?;
                // The number of written bytes is ignored.
                let mut written = client.write(replies);
                while written.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    thread::sleep(PAUSE / 10);
                    written = client.write(replies);
                }
                client.set_nonblocking(false)?;
                written.map(drop)
            }
            // In a C program, the default action of SIGPIPE kills the process.
            Fault::DiesOfSigpipe => {
                for reply in replies.split_inclusive(|&byte| byte == b'\n') {
                    let _ = nix::unistd::write(client, reply);
                }
                Ok(())
            }
            _ => client.write_all(replies),
        }
    }
}
