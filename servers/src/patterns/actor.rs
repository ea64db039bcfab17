//! # Actors
//!
//! Each connection has an actor: a task that owns the connection's state, and takes one message at
//! a time from a mailbox. A reader task, linked to the actor, posts the input. No other task can
//! access the state, so nothing is shared and nothing is locked.
//!
//! The mailbox is bounded: while it is full the reader does not read, the TCP window closes, and
//! the client waits (backpressure). A shutdown takes the same path: the signal shuts the socket
//! down for reading, and the reader posts [`Message::Drain`] after all input that had arrived.
//!
//! Erlang's model also has supervisors that restart failed actors, monitors, and addresses on other
//! machines. Here the link between reader and actor is all that exists of those.
//!
//! Used by: Ranch (and so Cowboy), RabbitMQ and ejabberd on Erlang's runtime; Apache Pekko (the
//! maintained fork of Akka) with its I/O actors.
//!
//! Good for: connections that several parties write to: chat, games, message brokers.
//!
//! Weakness: the extra hop. Each request is copied into a message and wakes two tasks instead of
//! one. With an unbounded mailbox, a slow consumer would exhaust the memory.
//!
//! Source: Hewitt, Bishop and Steiger, *A Universal Modular ACTOR Formalism for Artificial
//! Intelligence*, IJCAI 1973; Armstrong, *Making reliable distributed systems in the presence of
//! software errors*, 2003.

use std::io;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Builder;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::Listener;
use crate::sockets::{DrainLimit, is_at_end_of_input};
use crate::tasks::{BUFFER, read, send, wait_until_acknowledged, with_timeout, yield_now};
use crate::tasks::{TaskPermit, accept_all};

pub(super) const PATTERN: Pattern = Pattern {
    id: "actor",
    summary: "one actor with a mailbox for each connection",
    family: Family::Tasks,
    stevens: &[],
    used_by: "Ranch (and so Cowboy), RabbitMQ, ejabberd, Apache Pekko",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Capacity of a mailbox in messages. A message has the input of one read, so a mailbox holds at
/// most 16 KiB.
const MAILBOX: usize = 4;

/// The messages of an actor.
enum Message {
    /// Input from the client.
    Received(Vec<u8>),
    /// The end of the client's stream.
    Ended,
    /// The server shuts down, and later input is ignored.
    Drain,
}

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let runtime =
        Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    let shutdown = listener.shutdown();
    runtime.block_on(accept_all(listener, config.max_connections, |client, permit| {
        let session = Session::new(config.service, config.max_line);
        tokio::spawn(Actor::new(client, session, config.idle_timeout, shutdown).run(permit));
    }))
}

/// The state of a connection. Other tasks can only send to its mailbox.
struct Actor {
    mailbox: Receiver<Message>,
    session: Session,
    client: OwnedWriteHalf,
    idle_timeout: Option<Duration>,
    shutdown: Shutdown,
    /// The reader task, which is aborted when the set is dropped.
    linked: JoinSet<()>,
}

impl Actor {
    fn new(
        client: TcpStream,
        session: Session,
        idle_timeout: Option<Duration>,
        shutdown: Shutdown,
    ) -> Actor {
        let (reader, client) = client.into_split();
        let (address, mailbox) = channel(MAILBOX);
        let mut linked = JoinSet::new();
        linked.spawn(post_input(reader, address, shutdown));
        Actor { mailbox, session, client, idle_timeout, shutdown, linked }
    }

    async fn run(mut self, permit: TaskPermit) {
        // An error of one client closes only its connection.
        let _ = self.handle_messages().await;
        // In this order: first the reader's half of the socket, then the slot, then the socket.
        self.linked.shutdown().await;
        drop(permit);
        drop(self);
    }

    async fn handle_messages(&mut self) -> io::Result<()> {
        let client: &TcpStream = self.client.as_ref();
        let _registration = self.shutdown.register(client);
        client.set_nodelay(true)?;
        while !self.session.is_finished() {
            let mut count = 0;
            match with_timeout(self.idle_timeout, self.mailbox.recv()).await? {
                Some(Message::Received(bytes)) => {
                    self.session.receive(&bytes);
                    count = bytes.len();
                }
                Some(Message::Ended) => self.session.end_of_input(),
                // All complete requests that have arrived are answered.
                Some(Message::Drain) => break,
                // The reader task has ended with an error.
                None => return Ok(()),
            }
            send(client, &mut self.session, self.idle_timeout).await?;
            yield_now(count).await;
        }
        wait_until_acknowledged(client, self.shutdown).await;
        Ok(())
    }
}

/// Posts the input of a socket to an actor (the reader task).
async fn post_input(mut client: OwnedReadHalf, actor: Sender<Message>, shutdown: Shutdown) {
    let mut limit = DrainLimit::default();
    loop {
        let mut received = Vec::new();
        let size = limit.read_size(shutdown, client.as_ref(), BUFFER);
        let message = match read(&mut client, size, |bytes| received = bytes.to_vec()).await {
            Ok(0) if shutdown.is_requested() && !is_at_end_of_input(client.as_ref()) => {
                Message::Drain
            }
            Ok(0) => Message::Ended,
            Ok(count) => {
                limit.consume(count);
                Message::Received(received)
            }
            Err(_) => return,
        };
        let is_last = !matches!(message, Message::Received(_));
        if actor.send(message).await.is_err() || is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream as Client};

    use tokio::task::yield_now;

    use super::*;
    use crate::protocol::Service;

    #[test]
    fn a_reader_does_not_outlive_its_actor() {
        let shutdown = Shutdown::install().expect("a handler");
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("an address");
            let mut client = Client::connect(address).expect("a connection");
            let (socket, _) = listener.accept().expect("the client");
            socket.set_nonblocking(true).expect("a non-blocking socket");
            let socket = TcpStream::from_std(socket).expect("a runtime");
            let actor = Actor::new(socket, Session::new(Service::Echo, 4096), None, shutdown);
            yield_now().await;
            let tasks = || runtime.metrics().num_alive_tasks();
            assert_eq!(tasks(), 1, "the reader waits");
            drop(actor);
            yield_now().await;
            assert_eq!(tasks(), 0, "the reader was aborted");
            assert_eq!(client.read(&mut [0]).expect("a clean close"), 0);
        });
    }
}
