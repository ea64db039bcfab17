//! # Half-Sync/Half-Async
//!
//! An event loop, the asynchronous half, reads from all clients; what is to be answered goes into a
//! queue, from which a pool of threads, the synchronous half, takes and answers it with plain
//! blocking code. Answers go back to the loop, which writes them.
//!
//! The pool holds a request and not a client, as a [`thread_pool`](super::thread_pool) does: idle
//! clients cost no thread. While a client's request is in the pool nothing more is read from that
//! client, so replies stay in order, the loop and the pool never hold the same client, and the
//! queue cannot be longer than there are clients: it is full when there is no place for another
//! client, and that one is told so at the door.
//!
//! Requests for whose replies there was no room are answered where the room is made, in the loop.
//!
//! Used by: Apache's event MPM; Tomcat's NIO connector.
//!
//! Good for: answers that take long or block, behind many idle clients.
//!
//! Breaks: with short answers, for which two changes of thread are most of the cost.
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
    summary: "a loop reads and writes, a pool of threads answers",
    family: Family::Workers,
    stevens: &[],
    used_by: "Apache (event MPM), Tomcat (NIO)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    // Bounded by the number of clients: each is in one place at a time.
    let (requests, next_requests) = unbounded::<Job>();
    let answers = Mailbox::unbounded()?;
    // They end when nothing is left to answer and the loop, which asks, has ended.
    let work = |_, ready: Ready<'_>| {
        ready.say()?;
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

/// A client on its way, and what the loop knows it by.
pub(super) type Job = (Key, Connection);

/// The key of the event that clients have come back.
const RETURNED_KEY: u64 = u64::MAX - 2;

/// The loop: reads, passes on whoever asks something, and writes when they are `back`. Ends when
/// the server is to stop, and gives the clients that are not on their way.
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
        let mut clients_wait = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                SHUTDOWN_KEY => {}
                SOURCE_KEY => clients_wait = true,
                RETURNED_KEY => {
                    while let Some(job) = back.take() {
                        write(&epoll, &mut clients, job)?;
                    }
                }
                // The event has disarmed it, so nothing more is told of it while it is away.
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
        if clients_wait {
            clients.accept(listener, |key, client| epoll.add(client, armed(key, client)))?;
        }
    }
    Ok(clients)
}

/// Ends a turn, and waits for the client again.
fn write(epoll: &Epoll, clients: &mut Connections, (key, mut connection): Job) -> io::Result<()> {
    if connection.write() == Progress::Closed {
        // Dropped before its key is another's.
        drop(connection);
        clients.remove(key);
        return Ok(());
    }
    let connection = clients.put(key, connection);
    epoll.modify(connection, &mut armed(key, connection))?;
    Ok(())
}
