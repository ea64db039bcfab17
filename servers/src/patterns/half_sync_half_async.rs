//! # Half-Sync/Half-Async
//!
//! An event loop, the asynchronous half, reads requests and queues them; a pool of threads, the
//! synchronous half, answers them with plain blocking code. The replies go back to the loop, which
//! writes them.
//!
//! A worker holds a request, not a connection as in [`thread_pool`](super::thread_pool), so idle
//! connections cost no thread. While a request of a connection is in the pool, the loop reads
//! nothing from it: replies stay in order, the loop and the pool never hold the same connection,
//! and the queue is never longer than the number of connections. So the connection limit bounds the
//! queue.
//!
//! Requests that were buffered for lack of output space are answered in the loop, where the space
//! becomes free.
//!
//! Used by: Kafka (`SocketServer`: processors read and write, a pool of handlers answers); Thrift's
//! `THsHaServer`, which is named after the pattern.
//!
//! Good for: requests that compute long or block, with many idle connections.
//!
//! Breaks: with short requests, where two thread switches are most of the cost.
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
use crate::event_loop::{EVENT_BATCH, SHUTDOWN_KEY, SOURCE_KEY, armed, wait};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "half-sync-half-async",
    summary: "an event loop reads and writes, a pool of threads answers",
    family: Family::Workers,
    stevens: &[],
    used_by: "Kafka, Thrift (THsHaServer)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    // Bounded by the number of connections: each is in one place at a time.
    let (requests, next_requests) = unbounded::<Job>();
    let answers = Mailbox::unbounded()?;
    // The workers end when the queue is empty and the loop has dropped its end.
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

/// A connection in transit, with its key in the loop.
pub(super) type Job = (Key, Connection);

/// Key of the mailbox of returned connections.
const RETURNED_KEY: u64 = u64::MAX - 2;

/// Runs the loop: reads, calls `dispatch` for connections with requests, and writes when they come
/// `back`. Returns at shutdown the connections that are not in transit.
pub(super) fn run(
    listener: &Listener,
    config: &Config,
    dispatch: impl Fn(Job),
    back: &Mailbox<Job>,
) -> io::Result<Connections> {
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, SOURCE_KEY))?;
    epoll.add(shutdown.fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
    epoll.add(back, EpollEvent::new(EpollFlags::EPOLLIN, RETURNED_KEY))?;
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
                    while let Some(job) = back.take() {
                        write(&epoll, &mut clients, job)?;
                    }
                }
                // The event has disarmed the descriptor, so no event arrives while the connection
                // is in transit.
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
            clients.accept(listener, |key, client| epoll.add(client, armed(key, client)))?;
        }
    }
    Ok(clients)
}

/// Writes the replies and re-arms the connection.
fn write(epoll: &Epoll, clients: &mut Connections, (key, mut connection): Job) -> io::Result<()> {
    if connection.write() == Progress::Closed {
        // Closed before its key is reused.
        drop(connection);
        clients.remove(key);
        return Ok(());
    }
    let connection = clients.put(key, connection);
    epoll.modify(connection, &mut armed(key, connection))?;
    Ok(())
}
