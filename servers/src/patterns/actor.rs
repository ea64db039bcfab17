//! # Actors
//!
//! Each client has an actor: a task that owns all there is to know of the client, and a mailbox
//! from which it takes one message at a time. A reader, linked to it, posts what arrives; nobody
//! else can touch the state, so nothing is shared and nothing is locked.
//!
//! The mailbox is bounded, in messages and so in bytes: while it is full the reader does not read,
//! the client's window fills, and the client waits. What the server has to say comes by the same
//! way: the signal shuts the socket for reading, and [`Message::Drain`] is posted behind all that
//! had arrived.
//!
//! Erlang's model adds what is only hinted at by the link here: actors that watch each other's
//! deaths, supervisors that start anew what has failed, addresses that reach another machine.
//!
//! Used by: Ranch, and so Cowboy, on Erlang's runtime; Akka I/O.
//!
//! Good for: clients that are talked to from several sides: chat, games, brokers.
//!
//! Breaks: by the hop: a request is copied into a message, and wakes two tasks rather than one.
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
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::Listener;
use crate::sockets::{DrainLimit, is_ended_by_client};
use crate::tasks::{BUFFER, read, send, wait_until_acknowledged, with_timeout, yield_now};
use crate::tasks::{TaskPermit, accept_all};

pub(super) const PATTERN: Pattern = Pattern {
    id: "actor",
    summary: "a mailbox for each client",
    family: Family::Tasks,
    stevens: &[],
    used_by: "Ranch (so Cowboy), Akka I/O",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Messages that may wait in a mailbox, each of which holds at most what is read at once: 16 KiB.
const MAILBOX: usize = 4;

/// What an actor can be told.
enum Message {
    /// The client sent this.
    Received(Vec<u8>),
    /// The client will send no more.
    Ended,
    /// The server is to end, and nothing more of what the client sends counts.
    Drain,
}

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let runtime =
        Builder::new_multi_thread().worker_threads(config.workers).enable_all().build()?;
    let shutdown = listener.shutdown();
    runtime.block_on(accept_all(listener, config.max_connections, |client, permit| {
        let session = Session::new(config.service, config.max_line);
        tokio::spawn(Actor::new(client, session, config.idle_timeout, shutdown).live(permit));
    }))
}

/// What is known of a client. It has no handle: who holds the sending end of its mailbox can talk
/// to it, and nobody can ask it anything.
struct Actor {
    mailbox: Receiver<Message>,
    session: Session,
    client: OwnedWriteHalf,
    idle_timeout: Option<Duration>,
    shutdown: Shutdown,
    /// The reader, which ends when the actor does, however that comes about.
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

    async fn live(mut self, permit: TaskPermit) {
        // What goes wrong with one client ends with that client; there is nobody to tell.
        let _ = self.handle_messages().await;
        // The reader's half of the socket goes first, then the place, then the socket.
        self.linked.shutdown().await;
        drop(permit);
        drop(self);
    }

    async fn handle_messages(&mut self) -> io::Result<()> {
        let client: &TcpStream = self.client.as_ref();
        let _enrolled = self.shutdown.register(client);
        client.set_nodelay(true)?;
        while !self.session.is_finished() {
            let mut count = 0;
            match with_timeout(self.idle_timeout, self.mailbox.recv()).await? {
                Some(Message::Received(bytes)) => {
                    self.session.receive(&bytes);
                    count = bytes.len();
                }
                Some(Message::Ended) => self.session.end_of_input(),
                // All that had arrived is answered; a request that has not ended is nobody's.
                Some(Message::Drain) => break,
                // The reader has met with an error.
                None => return Ok(()),
            }
            send(client, &mut self.session, self.idle_timeout).await?;
            yield_now(count).await;
        }
        wait_until_acknowledged(client, self.shutdown).await;
        Ok(())
    }
}

/// The reader: it knows the socket and an address, and nothing of what is said.
async fn post_input(mut client: OwnedReadHalf, actor: Sender<Message>, shutdown: Shutdown) {
    let mut limit = DrainLimit::default();
    loop {
        let mut received = Vec::new();
        let size = limit.read_size(shutdown, client.as_ref(), BUFFER);
        let message = match read(&mut client, size, |bytes| received = bytes.to_vec()).await {
            Ok(0) if shutdown.is_requested() && !is_ended_by_client(client.as_ref()) => {
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
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("its address");
            let mut client = Client::connect(address).expect("a connection");
            let (socket, _) = listener.accept().expect("the client");
            socket.set_nonblocking(true).expect("it can be");
            let socket = TcpStream::from_std(socket).expect("a runtime");
            let actor = Actor::new(socket, Session::new(Service::Echo, 4096), None, shutdown);
            yield_now().await;
            let tasks = || runtime.metrics().num_alive_tasks();
            assert_eq!(tasks(), 1, "the reader waits");
            drop(actor);
            yield_now().await;
            assert_eq!(tasks(), 0, "nobody is left to read for");
            assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
        });
    }
}
