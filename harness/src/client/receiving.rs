//! Receiving of replies, greetings, and the remaining bytes of a connection.

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use socket2::SockRef;

use super::connection::Client;
use super::error::{ClientError, MAX_REPLY_LENGTH, client_error, event_of};
use crate::results::EventKind;
use crate::wire::{Greeting, MAX_GREETING_LENGTH, ReplyFraming, Wire};

impl Client {
    /// Returns whether the received bytes are a reply with the value that
    /// [`anticipate`](Client::anticipate) has set.
    fn has_anticipated(&self, wire: &Wire) -> bool {
        self.anticipated.as_ref().is_some_and(|value| {
            let reply = wire.without_prompt(self.received.clone());
            wire.value_of(reply) == *value
        })
    }

    /// Returns the next reply, without its terminator and without a prompt. Waits for at most
    /// `timeout`.
    ///
    /// # Errors
    /// No complete reply arrived.
    pub fn reply_within(&mut self, wire: &Wire, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            self.skip_prompt(wire);
            match wire.reply_end.take(&mut self.received) {
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) if self.received.len() <= MAX_REPLY_LENGTH => {}
                _ => return Err(ClientError::TooLong),
            }
            let received = match wire.reply_end {
                ReplyFraming::Quiet(_) if self.has_anticipated(wire) => Ok(false),
                ReplyFraming::Quiet(quiet) if !self.received.is_empty() => self.receive_for(quiet),
                _ => self.receive(deadline, timeout),
            };
            if matches!(received, Ok(true)) {
                continue;
            }
            let reply = std::mem::take(&mut self.received);
            match (&wire.reply_end, received) {
                (ReplyFraming::Quiet(_), Ok(false) | Err(ClientError::Silent(..)))
                    if !reply.is_empty() =>
                {
                    return Ok(wire.without_prompt(reply));
                }
                (ReplyFraming::Close, Ok(false)) if !reply.is_empty() => return Ok(reply),
                (_, Ok(_)) => return Err(ClientError::Closed(reply)),
                (_, Err(error)) => {
                    self.received = reply;
                    return Err(error);
                }
            }
        }
    }

    /// Reads once, for at most `quiet`.
    fn receive_for(&mut self, quiet: Duration) -> Result<bool, ClientError> {
        self.receive(Instant::now() + quiet, quiet)
    }

    fn skip_prompt(&mut self, wire: &Wire) {
        if let Some(prompt) = &wire.prompt
            && self.received.starts_with(prompt)
        {
            self.received.drain(..prompt.len());
        }
    }

    /// Returns the greeting that the server sends when a client connects. If the server sends
    /// something else and closes the connection, returns no bytes. What the server sent, such as a
    /// busy line, stays in the buffer for [`reply_within`](Self::reply_within).
    ///
    /// # Errors
    /// The greeting does not arrive within `timeout`, or the server closes without sending
    /// anything.
    pub fn greeting(
        &mut self,
        greeting: &Greeting,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + timeout;
        loop {
            if let Some(length) = greeting.length(&self.received) {
                return Ok(self.received.drain(..length).collect());
            }
            if self.received.len() > MAX_GREETING_LENGTH {
                return Err(ClientError::TooLong);
            }
            let received = match greeting {
                Greeting::Quiet(quiet) => self.receive_for(*quiet),
                _ => self.receive(deadline, timeout),
            };
            match (greeting, received) {
                (_, Ok(true)) => {}
                (Greeting::Quiet(_), Err(ClientError::Silent(..))) => {
                    return Ok(std::mem::take(&mut self.received));
                }
                (_, Ok(false)) if self.received.is_empty() => {
                    return Err(ClientError::Closed(Vec::new()));
                }
                (_, Ok(false)) => return Ok(Vec::new()),
                (_, Err(error)) => return Err(error),
            }
        }
    }

    /// Returns all bytes that arrive until the server closes the connection.
    ///
    /// # Errors
    /// The server does not send a FIN within `timeout`.
    pub fn rest_within(&mut self, timeout: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + timeout;
        while self.receive(deadline, timeout)? {
            if self.received.len() > MAX_REPLY_LENGTH {
                return Err(ClientError::TooLong);
            }
        }
        Ok(std::mem::take(&mut self.received))
    }

    /// Discards all received bytes as soon as they end with `end`.
    ///
    /// # Errors
    /// The bytes do not end with `end` within `timeout`.
    pub fn discard_until(&mut self, end: &[u8], timeout: Duration) -> Result<(), ClientError> {
        let deadline = Instant::now() + timeout;
        while !self.received.ends_with(end) {
            if self.received.len() > MAX_REPLY_LENGTH {
                return Err(ClientError::TooLong);
            }
            // The kernel delays the acknowledgement of data by 40 ms, and Nagle's algorithm holds
            // back the last data of the server until then.
            let _ = SockRef::from(&self.stream).set_tcp_quickack(true);
            if !self.receive(deadline, timeout)? {
                return Err(ClientError::Closed(std::mem::take(&mut self.received)));
            }
        }
        self.received.clear();
        Ok(())
    }

    /// Reads for `duration` and returns the bytes that arrived.
    ///
    /// # Errors
    /// The server closed or reset the connection.
    pub fn read_for(&mut self, duration: Duration) -> Result<Vec<u8>, ClientError> {
        let deadline = Instant::now() + duration;
        loop {
            match self.receive(deadline, duration) {
                Ok(true) if self.received.len() > MAX_REPLY_LENGTH => {
                    return Err(ClientError::TooLong);
                }
                Ok(true) => {}
                Ok(false) => return Err(ClientError::Closed(std::mem::take(&mut self.received))),
                Err(ClientError::Silent(..)) => return Ok(std::mem::take(&mut self.received)),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads once. Returns `false` if the server has closed the connection.
    fn receive(&mut self, deadline: Instant, timeout: Duration) -> Result<bool, ClientError> {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut buffer = [0; 16 * 1024];
        let outcome = if left.is_zero() {
            Err(ErrorKind::TimedOut.into())
        } else {
            self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut buffer))
        };
        match outcome {
            Ok(0) => {
                self.note(EventKind::ReceivedFin);
                Ok(false)
            }
            Ok(count) => {
                self.note(EventKind::received(&buffer[..count]));
                self.received.extend_from_slice(&buffer[..count]);
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(true),
            Err(error) => {
                let error = client_error(&error, &self.received, timeout);
                self.note(event_of(&error));
                Err(error)
            }
        }
    }
}
