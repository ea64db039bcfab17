//! `harness client`: an interactive client. Each input line is a request; the client prints the
//! reply. Every wait for the server has a timeout. A message and the exit code report the outcome.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time;

use super::error::MAX_REPLY_LENGTH;
use crate::results::LocalError;
use crate::server::{is_self_connection, proc};
use crate::stdio;
use crate::text::visible;

const PROMPT: &str = "> ";

/// Outcome of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientOutcome {
    /// The input ended, and every request got a reply.
    Done,
    /// The connection was refused, and no client is connected to the address: no server listens
    /// there.
    NotStarted,
    /// A server runs and rejected this client: by a refused or reset connection, or by a busy line.
    Rejected(String),
    /// The server did not reply in time, or did not accept the connection in time.
    Stalled(String),
    /// The server closed the connection before a reply, sent a line without a request, or sent a
    /// line that is too long.
    ProtocolError(String),
    /// The terminal, a pipe or the network of this machine failed.
    Failed(String),
}

impl ClientOutcome {
    /// Returns the exit code of the program.
    pub fn code(&self) -> u8 {
        match self {
            ClientOutcome::Done => 0,
            ClientOutcome::Failed(_) => 3,
            ClientOutcome::NotStarted => 4,
            ClientOutcome::Rejected(_) => 5,
            ClientOutcome::Stalled(_) => 6,
            ClientOutcome::ProtocolError(_) => 7,
        }
    }
}

/// Sends the lines of standard input to the first of `addresses` that accepts a connection, until
/// the input ends. `timeout` applies to connecting and to each reply.
pub fn run_interactive(addresses: &[SocketAddr], timeout: Duration) -> ClientOutcome {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ClientOutcome::Failed(error.to_string()),
    };
    let outcome = runtime.block_on(async {
        match connect(addresses, timeout).await {
            Ok(stream) => match Session::new(stream, timeout).run().await {
                Ok(()) => ClientOutcome::Done,
                Err(outcome) => outcome,
            },
            Err(outcome) => outcome,
        }
    });
    // A read from the terminal may be in progress and cannot be cancelled.
    runtime.shutdown_background();
    outcome
}

async fn connect(addresses: &[SocketAddr], timeout: Duration) -> Result<TcpStream, ClientOutcome> {
    let mut outcome = ClientOutcome::Failed("the host has no address".to_owned());
    for &address in addresses {
        let connected = time::timeout(timeout, TcpStream::connect(address)).await;
        outcome = match connected {
            Ok(Ok(stream)) if is_self_connection(&stream) => ClientOutcome::NotStarted,
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                if proc::has_connections(address) {
                    ClientOutcome::Rejected(
                        "the server refused the connection: it is at its connection limit; try \
                         again later"
                            .to_owned(),
                    )
                } else {
                    ClientOutcome::NotStarted
                }
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => reset(),
            Ok(Err(error)) => {
                let reason = match LocalError::of(&error) {
                    Some(error) => error.text(),
                    None => error.to_string(),
                };
                ClientOutcome::Failed(format!("cannot connect to {address}: {reason}"))
            }
            Err(_) => ClientOutcome::Stalled(format!(
                "no connection within {}: the server's accept queue is full, or its host does not \
                 respond",
                humantime::format_duration(timeout)
            )),
        };
    }
    Err(outcome)
}

struct Session {
    input: Lines<BufReader<Stdin>>,
    requests: OwnedWriteHalf,
    replies: OwnedReadHalf,
    /// Bytes that were received and not yet returned.
    received: Vec<u8>,
    timeout: Duration,
    interactive: bool,
}

impl Session {
    fn new(stream: TcpStream, timeout: Duration) -> Session {
        let _ = stream.set_nodelay(true);
        let (replies, requests) = stream.into_split();
        Session {
            input: BufReader::new(tokio::io::stdin()).lines(),
            requests,
            replies,
            received: Vec::new(),
            timeout,
            interactive: io::stdin().is_terminal(),
        }
    }

    async fn run(&mut self) -> Result<(), ClientOutcome> {
        loop {
            self.prompt()?;
            let Some(request) = self.next_request().await? else { break };
            let request = [request.as_bytes(), b"\n"].concat();
            self.requests.write_all(&request).await.map_err(|_| reset())?;
            let reply = self.reply().await?;
            show(&reply)?;
            if is_busy(&reply) {
                return Err(busy());
            }
        }
        let _ = self.requests.shutdown().await;
        Ok(())
    }

    /// Returns the next input line, or `None` at the end of input. Fails if the server sends a busy
    /// line or another message first, or closes the connection.
    async fn next_request(&mut self) -> Result<Option<String>, ClientOutcome> {
        let mut buffer = [0; 4096];
        tokio::select! {
            // Data from the server takes precedence over input.
            biased;
            read = self.replies.read(&mut buffer) => {
                self.add_received(read, &buffer)?;
                let reply = self.reply().await?;
                self.end_prompt_line()?;
                show(&reply)?;
                if is_busy(&reply) {
                    return Err(busy());
                }
                let message = "the server sent a line without a request".to_owned();
                Err(ClientOutcome::ProtocolError(message))
            }
            line = self.input.next_line() => {
                line.map_err(|error| {
                    ClientOutcome::Failed(format!("cannot read the input: {error}"))
                })
            }
        }
    }

    async fn reply(&mut self) -> Result<Vec<u8>, ClientOutcome> {
        let timeout = self.timeout;
        time::timeout(timeout, self.line()).await.unwrap_or_else(|_| {
            Err(ClientOutcome::Stalled(format!(
                "no reply within {}: the server is busy with another client, or hangs; --timeout \
                 sets a longer timeout",
                humantime::format_duration(timeout)
            )))
        })
    }

    async fn line(&mut self) -> Result<Vec<u8>, ClientOutcome> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            if self.received.len() > MAX_REPLY_LENGTH {
                let message =
                    format!("the reply has more than {MAX_REPLY_LENGTH} bytes without a line end");
                return Err(ClientOutcome::ProtocolError(message));
            }
            let read = self.replies.read(&mut buffer).await;
            self.add_received(read, &buffer)?;
        }
    }

    fn add_received(
        &mut self,
        read: io::Result<usize>,
        buffer: &[u8],
    ) -> Result<(), ClientOutcome> {
        match read {
            Ok(0) => {
                Err(ClientOutcome::ProtocolError("the server closed the connection".to_owned()))
            }
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(_) => Err(reset()),
        }
    }

    fn prompt(&self) -> Result<(), ClientOutcome> {
        if self.interactive { print(PROMPT.as_bytes()) } else { Ok(()) }
    }

    fn end_prompt_line(&self) -> Result<(), ClientOutcome> {
        if self.interactive { print(b"\n") } else { Ok(()) }
    }
}

fn is_busy(reply: &[u8]) -> bool {
    reply.starts_with(b"error: busy")
}

fn busy() -> ClientOutcome {
    ClientOutcome::Rejected(
        "the server is busy and rejected the connection; try again later".to_owned(),
    )
}

fn reset() -> ClientOutcome {
    ClientOutcome::Rejected(
        "the server reset the connection: it is at its connection limit, or it crashed".to_owned(),
    )
}

/// Prints a reply. If standard output is a terminal, replaces control characters.
fn show(reply: &[u8]) -> Result<(), ClientOutcome> {
    if !io::stdout().is_terminal() {
        return print(reply);
    }
    let reply = String::from_utf8_lossy(reply).replace("\r\n", "\n");
    print(visible(&reply).as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), ClientOutcome> {
    match stdio::write(bytes) {
        Ok(true) => Ok(()),
        // EPIPE: the reader of the output has closed the pipe.
        Ok(false) => Err(ClientOutcome::Done),
        Err(error) => Err(ClientOutcome::Failed(format!("cannot write the output: {error}"))),
    }
}
