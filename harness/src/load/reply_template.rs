//! Reply templates for servers that do not use the line protocol. The form of the replies is
//! learned from the server, so that checking a reply under load remains a comparison of bytes.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use servers::Service;

use super::connections::LONGEST_OPENING;
use super::request_reply::RequestReply;
use crate::client::{Client, ClientError, LONGEST_REPLY, Transcript, Window};
use crate::contract::Contract;
use crate::text::printable;
use crate::wire::{Bytes, ReplyEnd, Wire};

/// Timeout for each message of the server while its replies are learned.
const PATIENCE: Duration = Duration::from_secs(5);

/// Timeout of a connection while others are open, and number of attempts. After each timeout the
/// other connections are checked for replies.
const BESIDE: Duration = Duration::from_secs(1);
const TRIES_BESIDE: usize = 2;

/// Time to wait for a prompt that may precede the first request.
const QUIET: Duration = Duration::from_millis(150);

/// Time to receive before each check.
const LOOK: Duration = Duration::from_millis(5);

/// Pause before a rejected client tries again: the server may still be closing the previous one.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// Requests to learn from: their values differ in length.
const ASKED: &[Asked] = &[("41+1", "42"), ("1000+24", "1024"), ("3+4", "7")];

/// A request, and its value.
type Asked = (&'static str, &'static str);

/// Bytes before a value, bytes after it, and the padding byte of replies of fixed size.
type Around = (Vec<u8>, Vec<u8>, u8);

/// Reason why nothing was learned from a connection.
enum Unlearned {
    /// The step that failed, and its error.
    ClientError(&'static str, ClientError),
    /// The reply has another form than expected; the text describes it.
    Wrong(String),
}

impl Unlearned {
    fn words(self) -> String {
        match self {
            Unlearned::ClientError(what, trouble) => format!("{what}: {trouble}"),
            Unlearned::Wrong(words) => words,
        }
    }
}

/// Request format and reply template of a server.
#[derive(Clone, Debug)]
pub struct ReplyTemplate {
    contract: Contract,
    /// Constant bytes around the value in a reply, including the delimiter and the prompt.
    before: Vec<u8>,
    after: Vec<u8>,
    /// Padding byte of replies of fixed size.
    filling: u8,
    /// Bytes sent and received on each connection before the first request.
    pub opening: RequestReply,
}

impl ReplyTemplate {
    /// Returns the template of the line protocol, or learns it from the server at this address.
    ///
    /// # Errors
    /// The server cannot be used for a load run; the message gives the reason.
    pub fn of(contract: &Contract, address: SocketAddr) -> Result<ReplyTemplate, String> {
        let mut dialog = ReplyTemplate {
            contract: contract.clone(),
            before: Vec::new(),
            after: b"\n".to_vec(),
            filling: b' ',
            opening: RequestReply { request: Vec::new(), reply: Vec::new() },
        };
        if contract.wire == Wire::default() {
            return Ok(dialog);
        }
        let mut known = dialog.learn(address).map_err(|error| error.words())?;
        if known.iter().any(|one| *one != known[0]) {
            return Err("what stands around the value in its replies is not always the same".into());
        }
        (dialog.before, dialog.after, dialog.filling) = known.swap_remove(0);
        Ok(dialog)
    }

    /// Learns from several connections that are open at the same time, if the server serves them
    /// concurrently.
    ///
    /// Bytes that differ between concurrent connections, such as a thread id, may be the same on
    /// connections opened in sequence. If the server does not serve them concurrently, the
    /// connections are opened in sequence.
    fn learn(&mut self, address: SocketAddr) -> Result<Vec<Around>, Unlearned> {
        let most = self.contract.capacity.unwrap_or(usize::MAX);
        let (mut held, mut known) = (Vec::<Client>::new(), Vec::new());
        let mut one_at_a_time = most == 1;
        for &asked in ASKED {
            if !one_at_a_time && !held.is_empty() && held.len() < most {
                if let Some((client, around)) = self.beside(address, &mut held, asked)? {
                    held.push(client);
                    known.push(around);
                    continue;
                }
                one_at_a_time = true;
            }
            leave(std::mem::take(&mut held));
            let deadline = Instant::now() + PATIENCE;
            let (client, around) = loop {
                match self.connection(address, asked, PATIENCE) {
                    // The server may still be closing the previous connection.
                    Err(_) if !known.is_empty() && Instant::now() < deadline => sleep(TRY_EVERY),
                    learned => break learned?,
                }
            };
            held.push(client);
            known.push(around);
        }
        // Detects bytes that differ between requests on one connection, such as a counter.
        if let Some(last) = held.last_mut().filter(|_| self.contract.wire.requests().is_none()) {
            known.push(self.asked(last, ASKED[0], PATIENCE)?);
        }
        leave(held);
        Ok(known)
    }

    /// Learns from one more connection while others are open. `None` if the server does not serve
    /// it.
    fn beside(
        &mut self,
        address: SocketAddr,
        held: &mut [Client],
        asked: Asked,
    ) -> Result<Option<(Client, Around)>, Unlearned> {
        for _ in 0..TRIES_BESIDE {
            match self.connection(address, asked, BESIDE) {
                Ok(learned) => return Ok(Some(learned)),
                Err(Unlearned::ClientError(_, ClientError::Silent(..))) => {}
                Err(_) => return Ok(None),
            }
            // If an earlier connection gets its reply, the server is not just short of CPU time.
            if self.contract.wire.requests().is_none() {
                self.asked(&mut held[0], asked, PATIENCE)?;
            }
        }
        Ok(None)
    }

    /// Connects and sends one request.
    fn connection(
        &mut self,
        address: SocketAddr,
        asked: Asked,
        patience: Duration,
    ) -> Result<(Client, Around), Unlearned> {
        let mut client = Client::connect(1, address, Window::Usual, patience, &Transcript::begin())
            .map_err(|trouble| Unlearned::ClientError("it is not connected to", trouble))?;
        self.opening = self
            .opened(&mut client, patience)
            .map_err(|trouble| Unlearned::ClientError("it does not greet", trouble))?;
        if self.opening.reply.len().max(self.opening.request.len()) > LONGEST_OPENING {
            let words = "what it says before the first request is too long".to_owned();
            return Err(Unlearned::Wrong(words));
        }
        let around = self.asked(&mut client, asked, patience)?;
        Ok((client, around))
    }

    /// Sends one request and returns the bytes around the value in the reply.
    fn asked(
        &mut self,
        client: &mut Client,
        (asked, value): Asked,
        patience: Duration,
    ) -> Result<Around, Unlearned> {
        client
            .send(&self.contract.sent(asked.as_bytes()))
            .map_err(|trouble| Unlearned::ClientError("it takes no request", trouble))?;
        let reply = self
            .heard(client, patience)
            .map_err(|trouble| Unlearned::ClientError("it does not answer", trouble))?;
        let value = if self.contract.service == Service::Echo { asked } else { value };
        self.around(reply, value).map_err(Unlearned::Wrong)
    }

    /// Receives the next reply with its delimiter and the prompt after it.
    fn heard(&mut self, client: &mut Client, patience: Duration) -> Result<Vec<u8>, ClientError> {
        let (mut bytes, mut last) = (Vec::new(), Instant::now());
        let deadline = last + patience;
        loop {
            match client.listen(LOOK) {
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
                Err(trouble) => return Err(trouble),
            }
            if bytes.len() > LONGEST_REPLY {
                return Err(ClientError::Endless);
            }
            self.notice_late_prompt(&mut bytes);
            if self.is_whole(&bytes, last.elapsed()) {
                return Ok(bytes);
            }
            if Instant::now() > deadline {
                return match bytes.is_empty() {
                    true => Err(ClientError::Silent(patience, bytes)),
                    false => Ok(bytes),
                };
            }
        }
    }

    /// Moves a prompt that arrived late, before the first reply, to the opening.
    fn notice_late_prompt(&mut self, bytes: &mut Vec<u8>) {
        if let Some(prompt) = &self.contract.wire.prompt
            && bytes.starts_with(prompt)
            && !self.opening.reply.ends_with(prompt)
        {
            bytes.drain(..prompt.len());
            self.opening.reply.extend_from_slice(prompt);
        }
    }

    /// Returns whether the reply is complete, including the prompt after it.
    fn is_whole(&self, bytes: &[u8], silent_for: Duration) -> bool {
        let wire = &self.contract.wire;
        if let ReplyEnd::Quiet(quiet) = wire.reply_end {
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
    fn opened(&self, client: &mut Client, patience: Duration) -> Result<RequestReply, ClientError> {
        let wire = &self.contract.wire;
        let mut opening = RequestReply { request: Vec::new(), reply: Vec::new() };
        if let Some(greeting) = &wire.greeting {
            opening.reply = client.greeting(greeting, patience)?;
        }
        for step in &wire.handshake {
            client.send(&step.send)?;
            opening.request.extend_from_slice(&step.send);
            let until = Wire {
                reply_end: ReplyEnd::Bytes(Bytes::from(&step.expect[..])),
                ..Wire::default()
            };
            opening.reply.extend(client.reply_within(&until, patience)?);
            opening.reply.extend_from_slice(&step.expect);
        }
        if let Some(prompt) = &wire.prompt
            && !opening.reply.ends_with(prompt)
        {
            // The prompt precedes each request, usually the first one, too.
            let prompted = client.listen(QUIET)?;
            if *prompted == **prompt {
                opening.reply.extend(prompted);
            } else {
                client.unread(prompted);
            }
        }
        Ok(opening)
    }

    /// Returns the bytes around the value in a reply.
    fn around(&self, reply: Vec<u8>, value: &str) -> Result<Around, String> {
        let wire = &self.contract.wire;
        let filling = reply.last().copied().filter(|byte| *byte == 0).unwrap_or(b' ');
        let mut rest = wire.without_prompt(reply);
        let body = match wire.reply_end.take(&mut rest) {
            Ok(Some(body)) => body,
            _ => std::mem::take(&mut rest),
        };
        let place = match &wire.value {
            Some(pattern) => pattern.place_in(&body),
            None => Some(0..body.len()),
        };
        let said = place.clone().and_then(|place| body.get(place)).unwrap_or_default();
        let place = place.filter(|_| said.starts_with(value.as_bytes()));
        let Some(place) = place.filter(|_| rest.is_empty()) else {
            let said = printable(&body);
            return Err(format!("its reply {said} is not the one that was expected"));
        };
        // A number may be formatted as 42.0.
        let end = place.start + value.len();
        let mut after = body[end..].to_vec();
        if let ReplyEnd::Bytes(end) = &wire.reply_end {
            after.extend_from_slice(end);
        }
        if let Some(prompt) = &wire.prompt {
            after.extend_from_slice(prompt);
        }
        Ok((body[..place.start].to_vec(), after, filling))
    }

    /// Converts a request and reply of the line protocol to this server's protocol.
    pub fn exchange(&self, lines: &RequestReply) -> RequestReply {
        let text = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        let (asked, value) = (text(&lines.request), text(&lines.reply));
        let mut reply = [&self.before[..], &value, &self.after].concat();
        match &self.contract.wire.reply_end {
            ReplyEnd::Size(size) => reply.resize(*size, self.filling),
            ReplyEnd::Length(length) => reply = [length.written(reply.len()), reply].concat(),
            _ => {}
        }
        RequestReply { request: self.contract.sent(&asked), reply }
    }

    /// Converts several requests and replies of the line protocol.
    pub(super) fn all(&self, lines: &[RequestReply]) -> Vec<RequestReply> {
        lines.iter().map(|one| self.exchange(one)).collect()
    }
}

/// Closes connections and waits until the server has closed them, too: then it is free again.
fn leave(mut clients: Vec<Client>) {
    for client in &mut clients {
        // Fails if the server has closed the connection.
        let _ = client.half_close();
    }
    let deadline = Instant::now() + BESIDE;
    for client in &mut clients {
        let _ = client.rest_within(deadline.saturating_duration_since(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use super::*;

    /// Concurrency of a test server.
    #[derive(Clone, Copy, PartialEq)]
    enum Serves {
        /// All clients at once.
        All,
        /// One client at a time; the next one waits in the accept queue.
        One,
    }

    /// Serves one client. `reply` gets the sum, the number of other clients at the start, and the
    /// number of earlier requests on the connection.
    fn converse(client: TcpStream, beside: &AtomicUsize, reply: fn(i64, usize, usize) -> Vec<u8>) {
        let place = beside.fetch_add(1, SeqCst);
        let mut to = client.try_clone().expect("a clone");
        to.write_all(b"hello\n").expect("it is taken");
        for (number, line) in BufReader::new(client).lines().map_while(Result::ok).enumerate() {
            let sum = line.split('+').flat_map(str::parse::<i64>).sum();
            if to.write_all(&reply(sum, place, number)).is_err() {
                break;
            }
        }
        beside.fetch_sub(1, SeqCst);
    }

    /// Learns the template of a server that sends a greeting and answers each line with `reply`.
    /// The server runs until the test ends.
    fn learned_of(
        serves: Serves,
        wire: &str,
        reply: fn(i64, usize, usize) -> Vec<u8>,
    ) -> Result<ReplyTemplate, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let beside = Arc::new(AtomicUsize::new(0));
            for client in listener.incoming().flatten() {
                let beside = Arc::clone(&beside);
                match serves {
                    Serves::All => drop(thread::spawn(move || converse(client, &beside, reply))),
                    Serves::One => converse(client, &beside, reply),
                }
            }
        });
        let wire: Wire = toml::from_str(wire).expect("it is right");
        let contract = Contract { wire, ..Contract::undeclared(Service::Calc) };
        ReplyTemplate::of(&contract, address)
    }

    fn learned(
        wire: &str,
        reply: fn(i64, usize, usize) -> Vec<u8>,
    ) -> Result<ReplyTemplate, String> {
        learned_of(Serves::All, wire, reply)
    }

    /// The client number stands for a thread id: it differs between concurrent connections, and
    /// repeats after they are closed.
    #[test]
    fn what_differs_between_connections_that_are_open_at_once_is_seen() {
        let by_place = |sum: i64, place: usize, _| format!("[{place}] = {sum}\n").into_bytes();
        let wire = "greeting = { lines = 1 }\nvalue = '= (.*)$'";
        let error = learned_of(Serves::All, wire, by_place).expect_err("it differs");
        assert!(error.contains("always the same"), "{error}");
        // A server with one client at a time has no concurrent connections to differ from.
        let lines = RequestReply { request: b"2+3\n".to_vec(), reply: b"5\n".to_vec() };
        let one = learned_of(Serves::One, wire, by_place).expect("it is always [0]");
        assert_eq!(one.exchange(&lines).reply, b"[0] = 5\n");
    }

    #[test]
    fn what_differs_between_requests_on_one_connection_is_seen() {
        let by_number = |sum: i64, _, number: usize| format!("{number}: {sum}\n").into_bytes();
        let wire = "greeting = { lines = 1 }\nvalue = ': (.*)$'";
        let error = learned(wire, by_number).expect_err("it differs");
        assert!(error.contains("always the same"), "{error}");
    }

    #[test]
    fn a_reply_that_takes_its_time_is_waited_for() {
        let late = |sum: i64, _, _| {
            thread::sleep(QUIET * 2);
            format!("{sum}\n").into_bytes()
        };
        learned("greeting = { lines = 1 }", late).expect("it is learned");
    }

    #[test]
    fn replies_are_known_beforehand_once_their_form_is_learned() {
        let lines = RequestReply { request: b"2+3\n".to_vec(), reply: b"5\n".to_vec() };
        let prompted =
            learned("greeting = { lines = 1 }\nvalue = '^= (.*)$'\nprompt = '> '", |sum, _, _| {
                format!("= {sum}.0\n> ").into_bytes()
            })
            .expect("it is learned");
        assert_eq!(prompted.opening.reply, b"hello\n");
        assert_eq!(prompted.exchange(&lines).reply, b"= 5.0\n> ");
        let sized = learned("greeting = { lines = 1 }\nreply-end = { size = 6 }", |sum, _, _| {
            format!("{sum:<6}").into_bytes()
        });
        assert_eq!(sized.expect("it is learned").exchange(&lines).reply, b"5     ");
        let long =
            learned("greeting = { lines = 1 }\nreply-end = { length = 'u16-be' }", |sum, _, _| {
                let text = sum.to_string().into_bytes();
                [vec![0, text.len() as u8], text].concat()
            });
        assert_eq!(long.expect("it is learned").exchange(&lines).reply, b"\0\x015");
    }

    #[test]
    fn replies_that_are_never_alike_or_wrong_cannot_be_known() {
        let varied = learned("greeting = { lines = 1 }\nvalue = '= (.*)$'", |sum, _, _| {
            format!("[{}] = {sum}\n", sum * 7).into_bytes()
        });
        assert!(varied.expect_err("it varies").contains("always the same"));
        let wrong =
            learned("greeting = { lines = 1 }", |sum, _, _| format!("{}\n", sum + 1).into_bytes());
        assert!(wrong.expect_err("it is wrong").contains("expected"));
    }
}
