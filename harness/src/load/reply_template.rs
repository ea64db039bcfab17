//! Reply templates for servers that do not use the line protocol. The generator learns the constant
//! bytes of the replies, so that checking a reply under load is a comparison of bytes.

mod learning;

use std::net::SocketAddr;
use std::time::Duration;

use servers::Service;

use super::request_reply::RequestReply;
use crate::contract::Contract;
use crate::wire::{ReplyFraming, Wire};

/// Request format and reply template of a server.
#[derive(Clone, Debug)]
pub struct ReplyTemplate {
    contract: Contract,
    /// Constant bytes before the value in a reply.
    before: Vec<u8>,
    /// Constant bytes after the value, including the delimiter and the prompt.
    after: Vec<u8>,
    /// Padding byte of replies of fixed size.
    padding: u8,
    /// Bytes sent and received on each connection before the first request.
    pub opening: RequestReply,
}

impl ReplyTemplate {
    /// Returns the template of the line protocol, or learns it from the server at this address.
    /// `timeout` applies to each message of the server.
    ///
    /// # Errors
    /// A load run cannot check the replies of this server; the message gives the reason.
    pub fn of(
        contract: &Contract,
        address: SocketAddr,
        timeout: Duration,
    ) -> Result<ReplyTemplate, String> {
        let mut template = ReplyTemplate::of_lines(contract);
        if contract.wire == Wire::default() {
            return Ok(template);
        }
        let mut learned = template.learn(address, timeout).map_err(|error| error.text())?;
        if learned.iter().any(|bytes| *bytes != learned[0]) {
            let reason = "the bytes around the value differ between replies, so replies cannot be \
                       checked under load";
            return Err(reason.to_owned());
        }
        (template.before, template.after, template.padding) = learned.swap_remove(0);
        Ok(template)
    }

    /// Describes the service of the server at this address, if it is not that of the contract:
    /// then all replies under load are wrong.
    pub fn other_service(
        contract: &Contract,
        address: SocketAddr,
        timeout: Duration,
    ) -> Option<String> {
        ReplyTemplate::of_lines(contract).other_service_at(address, timeout)
    }

    /// Returns the template of the line protocol.
    fn of_lines(contract: &Contract) -> ReplyTemplate {
        ReplyTemplate {
            contract: contract.clone(),
            before: Vec::new(),
            after: b"\n".to_vec(),
            padding: b' ',
            opening: RequestReply { request: Vec::new(), reply: Vec::new() },
        }
    }

    /// Converts a request and reply of the line protocol to this server's protocol.
    pub fn exchange(&self, lines: &RequestReply) -> RequestReply {
        let text = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        let (request, reply) = (text(&lines.request), text(&lines.reply));
        let value = match self.contract.service {
            Service::Echo => self.contract.echo(&reply),
            Service::Calc => reply,
        };
        let mut reply = [&self.before[..], &value, &self.after].concat();
        match &self.contract.wire.reply_end {
            ReplyFraming::Size(size) => reply.resize(*size, self.padding),
            ReplyFraming::Length(length) => reply = [length.encode(reply.len()), reply].concat(),
            _ => {}
        }
        RequestReply { request: self.contract.sent(&request), reply }
    }

    /// Converts several requests and replies of the line protocol.
    pub(super) fn all(&self, lines: &[RequestReply]) -> Vec<RequestReply> {
        lines.iter().map(|one| self.exchange(one)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::thread;

    use servers::Service;

    use super::super::timeouts::REPLY_TIMEOUT;
    use super::learning::QUIET;
    use super::*;

    /// Concurrency of a test server.
    #[derive(Clone, Copy, PartialEq)]
    enum Concurrency {
        /// The server serves all clients at the same time.
        Concurrent,
        /// The server serves one client at a time; the others wait in the accept queue.
        Iterative,
    }

    /// Serves one client. `reply` gets the sum, the number of other clients at the start, and the
    /// number of earlier requests on the connection.
    fn serve(client: TcpStream, clients: &AtomicUsize, reply: fn(i64, usize, usize) -> Vec<u8>) {
        let others = clients.fetch_add(1, SeqCst);
        let mut to = client.try_clone().expect("a clone");
        to.write_all(b"hello\n").expect("room in the send buffer");
        for (number, line) in BufReader::new(client).lines().map_while(Result::ok).enumerate() {
            let sum = line.split('+').flat_map(str::parse::<i64>).sum();
            if to.write_all(&reply(sum, others, number)).is_err() {
                break;
            }
        }
        clients.fetch_sub(1, SeqCst);
    }

    /// Learns the template of a server that sends a greeting and answers each line with `reply`.
    /// The server runs until the test ends.
    fn learn_from(
        concurrency: Concurrency,
        wire: &str,
        reply: fn(i64, usize, usize) -> Vec<u8>,
    ) -> Result<ReplyTemplate, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            let clients = Arc::new(AtomicUsize::new(0));
            for client in listener.incoming().flatten() {
                let clients = Arc::clone(&clients);
                match concurrency {
                    Concurrency::Concurrent => {
                        drop(thread::spawn(move || serve(client, &clients, reply)));
                    }
                    Concurrency::Iterative => serve(client, &clients, reply),
                }
            }
        });
        let wire: Wire = toml::from_str(wire).expect("a valid wire protocol");
        let contract = Contract { wire, ..Contract::undeclared(Service::Calc) };
        ReplyTemplate::of(&contract, address, REPLY_TIMEOUT)
    }

    fn learn(wire: &str, reply: fn(i64, usize, usize) -> Vec<u8>) -> Result<ReplyTemplate, String> {
        learn_from(Concurrency::Concurrent, wire, reply)
    }

    /// The number of other clients stands for a thread id: it differs between concurrent
    /// connections, and repeats after they are closed.
    #[test]
    fn replies_that_differ_between_concurrent_connections_are_detected() {
        let reply = |sum: i64, others: usize, _| format!("[{others}] = {sum}\n").into_bytes();
        let wire = "greeting = { lines = 1 }\nvalue = '= (.*)$'";
        let error =
            learn_from(Concurrency::Concurrent, wire, reply).expect_err("replies that differ");
        assert!(error.contains("differ between replies"), "{error}");
        // On a server with one client at a time, the number is always 0.
        let lines = RequestReply { request: b"2+3\n".to_vec(), reply: b"5\n".to_vec() };
        let template =
            learn_from(Concurrency::Iterative, wire, reply).expect("replies that begin with [0]");
        assert_eq!(template.exchange(&lines).reply, b"[0] = 5\n");
    }

    #[test]
    fn replies_that_differ_between_requests_of_a_connection_are_detected() {
        let reply = |sum: i64, _, number: usize| format!("{number}: {sum}\n").into_bytes();
        let wire = "greeting = { lines = 1 }\nvalue = ': (.*)$'";
        let error = learn(wire, reply).expect_err("replies that differ");
        assert!(error.contains("differ between replies"), "{error}");
    }

    #[test]
    fn learning_waits_for_a_slow_reply() {
        let late = |sum: i64, _, _| {
            thread::sleep(QUIET * 2);
            format!("{sum}\n").into_bytes()
        };
        learn("greeting = { lines = 1 }", late).expect("a learned template");
    }

    #[test]
    fn replies_are_predicted_from_the_learned_template() {
        let lines = RequestReply { request: b"2+3\n".to_vec(), reply: b"5\n".to_vec() };
        let prompted =
            learn("greeting = { lines = 1 }\nvalue = '^= (.*)$'\nprompt = '> '", |sum, _, _| {
                format!("= {sum}.0\n> ").into_bytes()
            })
            .expect("a learned template");
        assert_eq!(prompted.opening.reply, b"hello\n");
        assert_eq!(prompted.exchange(&lines).reply, b"= 5.0\n> ");
        let sized = learn("greeting = { lines = 1 }\nreply-end = { size = 6 }", |sum, _, _| {
            format!("{sum:<6}").into_bytes()
        });
        assert_eq!(sized.expect("a learned template").exchange(&lines).reply, b"5     ");
        let prefixed =
            learn("greeting = { lines = 1 }\nreply-end = { length = 'u16-be' }", |sum, _, _| {
                let text = sum.to_string().into_bytes();
                [vec![0, text.len() as u8], text].concat()
            });
        assert_eq!(prefixed.expect("a learned template").exchange(&lines).reply, b"\0\x015");
    }

    #[test]
    fn varying_or_wrong_replies_cannot_be_learned() {
        let varied = learn("greeting = { lines = 1 }\nvalue = '= (.*)$'", |sum, _, _| {
            format!("[{}] = {sum}\n", sum * 7).into_bytes()
        });
        assert!(varied.expect_err("replies that differ").contains("differ between replies"));
        let wrong =
            learn("greeting = { lines = 1 }", |sum, _, _| format!("{}\n", sum + 1).into_bytes());
        assert!(wrong.expect_err("a wrong value").contains("expected"));
    }
}
