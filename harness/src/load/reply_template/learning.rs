//! Learns the constant bytes of the replies from a running server.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::Service;

use super::ReplyTemplate;
use crate::client::{Client, ClientError, ConnectMode, MAX_REPLY_LENGTH, Transcript};
use crate::load::connections::MAX_OPENING_LENGTH;
use crate::load::request_reply::RequestReply;
use crate::text::printable;
use crate::wire::{Bytes, ReplyFraming, Wire};

/// Timeout for each message on a connection that is opened while others are open.
const CONCURRENT_TIMEOUT: Duration = Duration::from_secs(1);

/// Maximum number of attempts to open another connection while others are open.
const CONCURRENT_TRIES: usize = 2;

/// Time to wait for a prompt before the first request.
pub(super) const QUIET: Duration = Duration::from_millis(150);

/// Timeout of one read.
const READ_TIME: Duration = Duration::from_millis(5);

/// Pause before a rejected client connects again. The server may still be closing the previous
/// connection.
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// Requests to learn from. Their values differ in length.
const SAMPLES: &[SampleRequest] = &[("41+1", "42"), ("1000+24", "1024"), ("3+4", "7")];

/// A request, and its value.
type SampleRequest = (&'static str, &'static str);

/// Bytes before the value, bytes after the value, and padding byte of replies of fixed size.
pub(super) type SurroundingBytes = (Vec<u8>, Vec<u8>, u8);

/// Reason why nothing was learned from a connection.
pub(super) enum LearnError {
    /// The step that failed, and its error.
    ClientError(&'static str, ClientError),
    /// The server's messages cannot be used; the text gives the reason.
    Wrong(String),
    /// The server provides this service, which is not the declared one.
    OtherService(Service),
}

impl LearnError {
    pub(super) fn text(self) -> String {
        match self {
            LearnError::ClientError(what, error) => format!("{what}: {error}"),
            LearnError::Wrong(what) => what,
            LearnError::OtherService(Service::Calc) => {
                "the server answers as a calculator; use --service calc (in a manifest: service = \
                 \"calc\")"
                    .to_owned()
            }
            LearnError::OtherService(Service::Echo) => {
                "the server answers as an echo server; use --service echo (in a manifest: service = \
                 \"echo\")"
                    .to_owned()
            }
        }
    }
}

impl ReplyTemplate {
    /// Learns from several connections. They are open at the same time if the server serves clients
    /// concurrently; otherwise, they are opened in sequence.
    ///
    /// Bytes that differ between concurrent connections, such as a thread id, may be the same on
    /// connections that are opened in sequence.
    pub(super) fn learn(
        &mut self,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<Vec<SurroundingBytes>, LearnError> {
        let capacity = self.contract.capacity.unwrap_or(usize::MAX);
        let (mut open, mut learned) = (Vec::<Client>::new(), Vec::new());
        let mut is_sequential = capacity == 1;
        for &sample in SAMPLES {
            if !is_sequential && !open.is_empty() && open.len() < capacity {
                if let Some((client, bytes)) =
                    self.learn_concurrently(address, &mut open, sample, timeout)?
                {
                    open.push(client);
                    learned.push(bytes);
                    continue;
                }
                is_sequential = true;
            }
            close_all(std::mem::take(&mut open));
            let deadline = Instant::now() + timeout;
            let (client, bytes) = loop {
                match self.learn_connection(address, sample, timeout) {
                    // The server may still be closing the previous connection.
                    Err(_) if !learned.is_empty() && Instant::now() < deadline => {
                        sleep(RETRY_PAUSE)
                    }
                    result => break result?,
                }
            };
            open.push(client);
            learned.push(bytes);
        }
        // Detects bytes that differ between requests on one connection, such as a counter.
        if let Some(last) = open.last_mut().filter(|_| self.contract.wire.requests().is_none()) {
            learned.push(self.learn_reply(last, SAMPLES[0], timeout)?);
        }
        close_all(open);
        Ok(learned)
    }

    /// Describes the service of the server, if it is not that of the contract.
    pub(super) fn other_service_at(
        &mut self,
        address: SocketAddr,
        timeout: Duration,
    ) -> Option<String> {
        match self.learn_connection(address, SAMPLES[0], timeout) {
            Err(error @ LearnError::OtherService(_)) => Some(error.text()),
            Err(_) => None,
            Ok((client, _)) => {
                // Leaves no port in TIME_WAIT, like the load.
                client.reset();
                None
            }
        }
    }

    /// Learns from one more connection while others are open. Returns `None` if the server does not
    /// serve that connection.
    fn learn_concurrently(
        &mut self,
        address: SocketAddr,
        open: &mut [Client],
        sample: SampleRequest,
        timeout: Duration,
    ) -> Result<Option<(Client, SurroundingBytes)>, LearnError> {
        for _ in 0..CONCURRENT_TRIES {
            match self.learn_connection(address, sample, CONCURRENT_TIMEOUT.min(timeout)) {
                Ok(learned) => return Ok(Some(learned)),
                Err(LearnError::ClientError(_, ClientError::Silent(..))) => {}
                Err(_) => return Ok(None),
            }
            // If an earlier connection gets a reply, the silence is not due to lack of CPU time.
            if self.contract.wire.requests().is_none() {
                self.learn_reply(&mut open[0], sample, timeout)?;
            }
        }
        Ok(None)
    }

    /// Connects and sends one request.
    fn learn_connection(
        &mut self,
        address: SocketAddr,
        sample: SampleRequest,
        timeout: Duration,
    ) -> Result<(Client, SurroundingBytes), LearnError> {
        let mut client =
            Client::connect(1, address, ConnectMode::Default, timeout, &Transcript::begin())
                .map_err(|error| LearnError::ClientError("cannot connect", error))?;
        self.opening = self
            .exchange_opening(&mut client, timeout)
            .map_err(|error| LearnError::ClientError("no greeting", error))?;
        if self.opening.reply.len().max(self.opening.request.len()) > MAX_OPENING_LENGTH {
            let what = format!(
                "the greeting and the handshake are longer than {MAX_OPENING_LENGTH} bytes"
            );
            return Err(LearnError::Wrong(what));
        }
        let bytes = self.learn_reply(&mut client, sample, timeout)?;
        Ok((client, bytes))
    }

    /// Sends one request and returns the bytes around the value in the reply.
    fn learn_reply(
        &mut self,
        client: &mut Client,
        (request, value): SampleRequest,
        timeout: Duration,
    ) -> Result<SurroundingBytes, LearnError> {
        client
            .send(&self.contract.sent(request.as_bytes()))
            .map_err(|error| LearnError::ClientError("cannot send a request", error))?;
        let reply = self
            .receive_reply(client, timeout)
            .map_err(|error| LearnError::ClientError("no reply", error))?;
        let echoed = self.contract.echo(request.as_bytes());
        let echoed = String::from_utf8_lossy(&echoed);
        let (value, other, other_service) = match self.contract.service {
            Service::Echo => (echoed.as_ref(), value, Service::Calc),
            Service::Calc => (value, echoed.as_ref(), Service::Echo),
        };
        self.surrounding_bytes(reply.clone(), value).map_err(|reason| {
            match self.surrounding_bytes(reply, other) {
                Ok(_) => LearnError::OtherService(other_service),
                Err(_) => LearnError::Wrong(reason),
            }
        })
    }

    /// Receives the next reply, with its delimiter and the following prompt.
    fn receive_reply(
        &mut self,
        client: &mut Client,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let (mut bytes, mut last) = (Vec::new(), Instant::now());
        let deadline = last + timeout;
        loop {
            match client.read_for(READ_TIME) {
                Ok(more) if !more.is_empty() => {
                    bytes.extend(more);
                    last = Instant::now();
                }
                Ok(_) => {}
                Err(ClientError::Closed(more)) => {
                    bytes.extend(more);
                    return if bytes.is_empty() {
                        Err(ClientError::Closed(bytes))
                    } else {
                        Ok(bytes)
                    };
                }
                Err(error) => return Err(error),
            }
            if bytes.len() > MAX_REPLY_LENGTH {
                return Err(ClientError::TooLong);
            }
            self.move_late_prompt(&mut bytes);
            if self.is_complete(&bytes, last.elapsed()) {
                return Ok(bytes);
            }
            if Instant::now() > deadline {
                return match bytes.is_empty() {
                    true => Err(ClientError::Silent(timeout, bytes)),
                    false => Ok(bytes),
                };
            }
        }
    }

    /// Moves a prompt that arrived late, before the first reply, to the opening (greeting,
    /// handshake and first prompt).
    fn move_late_prompt(&mut self, bytes: &mut Vec<u8>) {
        if let Some(prompt) = &self.contract.wire.prompt
            && bytes.starts_with(prompt)
            && !self.opening.reply.ends_with(prompt)
        {
            bytes.drain(..prompt.len());
            self.opening.reply.extend_from_slice(prompt);
        }
    }

    /// Returns whether the reply is complete, including the following prompt.
    fn is_complete(&self, bytes: &[u8], silent_for: Duration) -> bool {
        let wire = &self.contract.wire;
        if let ReplyFraming::Quiet(quiet) = wire.reply_end {
            return !bytes.is_empty() && silent_for >= quiet;
        }
        let mut rest = bytes.to_vec();
        match (wire.reply_end.take(&mut rest), &wire.prompt) {
            (Ok(Some(_)), Some(prompt)) => rest.ends_with(prompt),
            (Ok(Some(_)), None) => true,
            (Ok(None), _) => false,
            // No further bytes will complete a reply of this form.
            (Err(_), _) => true,
        }
    }

    /// Exchanges the opening: greeting, handshake and first prompt.
    fn exchange_opening(
        &self,
        client: &mut Client,
        timeout: Duration,
    ) -> Result<RequestReply, ClientError> {
        let wire = &self.contract.wire;
        let mut opening = RequestReply { request: Vec::new(), reply: Vec::new() };
        if let Some(greeting) = &wire.greeting {
            opening.reply = client.greeting(greeting, timeout)?;
        }
        for step in &wire.handshake {
            client.send(&step.send)?;
            opening.request.extend_from_slice(&step.send);
            let until = Wire {
                reply_end: ReplyFraming::Bytes(Bytes::from(&step.expect[..])),
                ..Wire::default()
            };
            opening.reply.extend(client.reply_within(&until, timeout)?);
            opening.reply.extend_from_slice(&step.expect);
        }
        if let Some(prompt) = &wire.prompt
            && !opening.reply.ends_with(prompt)
        {
            // Most servers also send the prompt before the first request.
            let prompted = client.read_for(QUIET)?;
            if *prompted == **prompt {
                opening.reply.extend(prompted);
            } else {
                client.unread(prompted);
            }
        }
        Ok(opening)
    }

    /// Returns the bytes around the value in a reply.
    fn surrounding_bytes(&self, reply: Vec<u8>, value: &str) -> Result<SurroundingBytes, String> {
        let wire = &self.contract.wire;
        let padding = reply.last().copied().filter(|byte| *byte == 0).unwrap_or(b' ');
        let mut rest = wire.without_prompt(reply);
        let body = match wire.reply_end.take(&mut rest) {
            Ok(Some(body)) => body,
            _ => std::mem::take(&mut rest),
        };
        let range = match &wire.value {
            Some(pattern) => pattern.range_in(&body),
            None => Some(0..body.len()),
        };
        let found = range.clone().and_then(|range| body.get(range)).unwrap_or_default();
        let range = range.filter(|_| found.starts_with(value.as_bytes()));
        let Some(range) = range.filter(|_| rest.is_empty()) else {
            let found = printable(&body);
            return Err(format!("the reply {found} does not contain the expected value {value}"));
        };
        // A number may be formatted as 42.0.
        let end = range.start + value.len();
        let mut after = body[end..].to_vec();
        if let ReplyFraming::Bytes(end) = &wire.reply_end {
            after.extend_from_slice(end);
        }
        if let Some(prompt) = &wire.prompt {
            after.extend_from_slice(prompt);
        }
        Ok((body[..range.start].to_vec(), after, padding))
    }
}

/// Closes connections, and waits until the server has closed its ends and can serve others.
fn close_all(mut clients: Vec<Client>) {
    for client in &mut clients {
        // Fails if the server has closed the connection.
        let _ = client.half_close();
    }
    let deadline = Instant::now() + CONCURRENT_TIMEOUT;
    for client in &mut clients {
        let _ = client.rest_within(deadline.saturating_duration_since(Instant::now()));
    }
}
