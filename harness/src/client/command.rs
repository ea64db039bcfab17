//! `harness client`: an interactive client. Each input line is a request; the client prints the
//! reply. It never waits longer than its timeout for the server, and reports the outcome in its
//! message and in its exit code.

use std::io::{self, ErrorKind, IsTerminal};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines, Stdin};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::LONGEST_REPLY;
use crate::server::proc;
use crate::stdio;
use crate::text::visible;

const PROMPT: &str = "> ";

/// Outcome of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The input ended and every request was answered.
    Done,
    /// The connection was refused: no server listens there.
    NotStarted,
    /// A server is running and rejects this client.
    Refused(String),
    /// The server did not answer in time.
    Stalled(String),
    /// The server closed the connection before a reply.
    Closed(String),
    /// The terminal, a pipe or the network of this machine failed.
    Failed(String),
}

impl Ended {
    /// Returns the exit code of the program.
    pub fn code(&self) -> u8 {
        match self {
            Ended::Done => 0,
            Ended::Failed(_) => 3,
            Ended::NotStarted => 4,
            Ended::Refused(_) => 5,
            Ended::Stalled(_) => 6,
            Ended::Closed(_) => 7,
        }
    }
}

/// Sends the lines of standard input to the first of `addresses` that accepts a connection, until
/// the input ends. `patience` is the timeout of connecting and of each reply.
pub fn converse(addresses: &[SocketAddr], patience: Duration) -> Ended {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Ended::Failed(error.to_string()),
    };
    let ended = runtime.block_on(async {
        match connect(addresses, patience).await {
            Ok(stream) => match Conversation::over(stream, patience).run().await {
                Ok(()) => Ended::Done,
                Err(ended) => ended,
            },
            Err(ended) => ended,
        }
    });
    // A read from a terminal may still be in flight and cannot be cancelled.
    runtime.shutdown_background();
    ended
}

async fn connect(addresses: &[SocketAddr], patience: Duration) -> Result<TcpStream, Ended> {
    let mut ended = Ended::Failed("the host has no address".to_owned());
    for &address in addresses {
        let reason = match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => {
                if proc::has_connections(address) {
                    Ended::Refused("the server refused the connection: it is serving others and takes no more; try again later".to_owned())
                } else {
                    Ended::NotStarted
                }
            }
            Ok(Err(error)) if error.kind() == ErrorKind::ConnectionReset => reset(),
            Ok(Err(error)) => Ended::Failed(format!("cannot connect to {address}: {error}")),
            Err(_) => Ended::Stalled(format!(
                "no connection within {}: the server's queue is full, or its host does not answer",
                humantime::format_duration(patience)
            )),
        };
        ended = reason;
    }
    Err(ended)
}

struct Conversation {
    user: Lines<BufReader<Stdin>>,
    requests: OwnedWriteHalf,
    replies: OwnedReadHalf,
    /// Received bytes that no returned line has used.
    received: Vec<u8>,
    patience: Duration,
    interactive: bool,
}

impl Conversation {
    fn over(stream: TcpStream, patience: Duration) -> Conversation {
        let _ = stream.set_nodelay(true);
        let (replies, requests) = stream.into_split();
        Conversation {
            user: BufReader::new(tokio::io::stdin()).lines(),
            requests,
            replies,
            received: Vec::new(),
            patience,
            interactive: io::stdin().is_terminal(),
        }
    }

    async fn run(&mut self) -> Result<(), Ended> {
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

    /// Returns the next input line, or `None` at the end of input. Also watches the server, which
    /// may send a busy reply or a farewell first.
    async fn next_request(&mut self) -> Result<Option<String>, Ended> {
        let mut buffer = [0; 4096];
        tokio::select! {
            // Data from the server takes precedence over input.
            biased;
            read = self.replies.read(&mut buffer) => {
                self.take_in(read, &buffer)?;
                let reply = self.reply().await?;
                self.leave_the_prompt()?;
                show(&reply)?;
                if is_busy(&reply) {
                    return Err(busy());
                }
                Err(Ended::Closed("the server spoke without being asked".to_owned()))
            }
            line = self.user.next_line() => {
                line.map_err(|error| Ended::Failed(format!("cannot read the input: {error}")))
            }
        }
    }

    async fn reply(&mut self) -> Result<Vec<u8>, Ended> {
        let patience = self.patience;
        timeout(patience, self.line()).await.unwrap_or_else(|_| {
            Err(Ended::Stalled(format!(
                "no reply within {}: the server is busy with another client, or hangs (--timeout waits longer)",
                humantime::format_duration(patience)
            )))
        })
    }

    async fn line(&mut self) -> Result<Vec<u8>, Ended> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(end) = self.received.iter().position(|&byte| byte == b'\n') {
                let rest = self.received.split_off(end + 1);
                return Ok(std::mem::replace(&mut self.received, rest));
            }
            if self.received.len() > LONGEST_REPLY {
                let words =
                    format!("a reply of more than {LONGEST_REPLY} bytes without a line end");
                return Err(Ended::Closed(words));
            }
            let read = self.replies.read(&mut buffer).await;
            self.take_in(read, &buffer)?;
        }
    }

    fn take_in(&mut self, read: io::Result<usize>, buffer: &[u8]) -> Result<(), Ended> {
        match read {
            Ok(0) => Err(Ended::Closed("the server closed the connection".to_owned())),
            Ok(count) => {
                self.received.extend_from_slice(&buffer[..count]);
                Ok(())
            }
            Err(_) => Err(reset()),
        }
    }

    fn prompt(&self) -> Result<(), Ended> {
        if self.interactive { print(PROMPT.as_bytes()) } else { Ok(()) }
    }

    fn leave_the_prompt(&self) -> Result<(), Ended> {
        if self.interactive { print(b"\n") } else { Ok(()) }
    }
}

fn is_busy(reply: &[u8]) -> bool {
    reply.starts_with(b"error: busy")
}

fn busy() -> Ended {
    Ended::Refused("the server is busy and took no request; try again later".to_owned())
}

fn reset() -> Ended {
    Ended::Refused("the server reset the connection: it takes no more clients, or died".to_owned())
}

/// Prints a reply: unchanged to a file or a pipe, without control characters to a terminal.
fn show(reply: &[u8]) -> Result<(), Ended> {
    if !io::stdout().is_terminal() {
        return print(reply);
    }
    let reply = String::from_utf8_lossy(reply).replace("\r\n", "\n");
    print(visible(&reply).as_bytes())
}

fn print(bytes: &[u8]) -> Result<(), Ended> {
    match stdio::write(bytes) {
        Ok(true) => Ok(()),
        // EPIPE: the reader of the output has closed it.
        Ok(false) => Err(Ended::Done),
        Err(error) => Err(Ended::Failed(format!("cannot write the output: {error}"))),
    }
}
