//! # Half-Sync/Half-Async
//!
//! An event loop, the asynchronous half, reads requests and queues them; a pool of threads, the
//! synchronous half, answers them with plain blocking code. The replies go back to the loop, which
//! writes them.
//!
//! A worker is busy for a request, not for a connection as in [`thread_pool`](super::thread_pool),
//! so idle connections need no thread. While a request of a connection is in the pool, the loop
//! does not read from the connection. So replies stay in order, and the loop and the pool never use
//! the same connection. The queue has at most one entry per connection, so the connection limit
//! bounds it.
//!
//! If the output of a connection is full, its further requests wait in a buffer. The loop answers
//! them when it has sent output.
//!
//! Used by: Kafka (`SocketServer`: processors read and write, a pool of handlers answers); Thrift's
//! `THsHaServer`, which is named after the pattern.
//!
//! Good for: requests that compute long or block, with many idle connections.
//!
//! Weakness: short requests, where two thread switches are most of the cost.
//!
//! Source: Schmidt, Cranor, *Half-Sync/Half-Async*, PLoP 1995.

use std::io;

use crossbeam_channel::unbounded;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::Mailbox;
use crate::event_loop::{Acceptor, Connections, Key, drain};
use crate::event_loop::{Connection, Progress, READ_SIZE};
use crate::event_loop::{EVENT_BATCH, SHUTDOWN_KEY, SOURCE_KEY, oneshot_event, wait};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "half-sync-half-async",
    summary: "an event loop reads and writes, a pool of threads answers",
    family: Family::Workers,
    stevens: &[],
    used_by: "Kafka, Thrift (THsHaServer)",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    // Bounded by the number of connections, as a connection is queued at most once.
    let (requests, next_requests) = unbounded::<Job>();
    let answers = Mailbox::unbounded()?;
    // The workers end when the loop has dropped its sender and the queue is empty.
    let work = |_, ready: Ready<'_>| {
        ready.report()?;
        for (key, mut connection) in &next_requests {
            connection.answer();
            let _ = answers.put((key, connection));
        }
        Ok(())
    };
    let listener = listener.with_nonblocking_clients();
    let (_, clients) = threads::each(0..config.workers, shutdown, work, || {
        let requests = requests;
        run(&listener, config, |job| drop(requests.send(job)), &answers)
    })?;
    drop(listener);
    let answered = std::iter::from_fn(|| answers.take()).map(|(_, connection)| connection);
    drain(clients.into_iter().chain(answered));
    Ok(())
}

/// A connection that has left the loop, with its key in the loop.
pub(super) type Job = (Key, Connection);

/// Key of the mailbox of returned connections.
const RETURNED_KEY: u64 = u64::MAX - 2;

/// Runs the loop: reads, calls `dispatch` for connections with requests, and writes the replies of
/// connections that arrive in the mailbox `returned`. At shutdown, returns the connections that
/// have not left the loop.
pub(super) fn run(
    listener: &Listener,
    config: &Config,
    dispatch: impl Fn(Job),
    returned: &Mailbox<Job>,
) -> io::Result<Connections> {
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, SOURCE_KEY))?;
    epoll.add(shutdown.fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
    epoll.add(returned, EpollEvent::new(EpollFlags::EPOLLIN, RETURNED_KEY))?;
    let mut clients = Connections::new(Acceptor::new(config));
    let mut events = [EpollEvent::empty(); EVENT_BATCH];
    let mut scratch = [0; READ_SIZE];
    listener.listen()?;
    while !shutdown.is_requested() {
        let mut is_source_ready = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                SHUTDOWN_KEY => {}
                SOURCE_KEY => is_source_ready = true,
                RETURNED_KEY => {
                    while let Some(job) = returned.take() {
                        write(&epoll, &mut clients, job)?;
                    }
                }
                // The event has disarmed the descriptor, so the loop gets no event of the
                // connection until `write` re-arms it.
                key => {
                    let Some(mut connection) = clients.take(key as Key) else { continue };
                    match connection.read_input(&mut scratch) {
                        Ok(()) if connection.has_buffered() => dispatch((key as Key, connection)),
                        Ok(()) => write(&epoll, &mut clients, (key as Key, connection))?,
                        Err(_) => clients.remove(key as Key),
                    }
                }
            }
        }
        clients.close_expired();
        if is_source_ready {
            clients
                .accept(listener, |key, client| epoll.add(client, oneshot_event(key, client)))?;
        }
    }
    Ok(clients)
}

/// Writes the replies and re-arms the connection.
fn write(epoll: &Epoll, clients: &mut Connections, (key, mut connection): Job) -> io::Result<()> {
    if connection.write() == Progress::Closed {
        // The connection must be closed before its key is reused.
        drop(connection);
        clients.remove(key);
        return Ok(());
    }
    let connection = clients.put(key, connection);
    epoll.modify(connection, &mut oneshot_event(key, connection))?;
    Ok(())
}
