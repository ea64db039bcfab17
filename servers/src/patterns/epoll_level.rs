//! # Reactor over epoll(7), level-triggered
//!
//! The kernel keeps the list of descriptors, and is told only of changes; a wait gives those that
//! are ready, and costs what they cost, however many others there are. Level-triggered means that
//! a client is told of for as long as it is ready, so that a turn may stop anywhere: the rest is
//! there at the next one.
//!
//! Used by: Redis; memcached in each of its threads, by way of libevent.
//!
//! Good for: ten thousand clients and more, mostly idle, on one core.
//!
//! Breaks: where an answer takes long, for all others wait. A client that cannot be written to is
//! waited for by EPOLLOUT, which must be taken back afterwards, a system call each way.
//!
//! Source: epoll(7), since Linux 2.5.44; Schmidt, *Reactor*, Pattern Languages of Program Design,
//! 1995.

use std::io;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::config::Config;
use crate::event_loop::{Acceptor, ConnectionSource, Connections, Key};
use crate::event_loop::{EVENT_BATCH, SHUTDOWN_KEY, SOURCE_KEY, interest, wait};
use crate::event_loop::{Progress, READ_SIZE};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::shutdown::Shutdown;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-level",
    summary: "one loop over epoll, level-triggered",
    family: Family::Loop,
    stevens: &[],
    used_by: "Redis",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let acceptor = Acceptor::new(config);
    let clients =
        run(&listener, EpollFlags::EPOLLIN, acceptor, listener.shutdown(), || listener.listen())?;
    drop(listener);
    clients.drain();
    Ok(())
}

/// The loop. Calls `ready` when it has all it needs; ends when the server is to stop, and gives the
/// clients that are there then.
pub(super) fn run(
    source: &impl ConnectionSource,
    source_interest: EpollFlags,
    acceptor: Acceptor,
    shutdown: Shutdown,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Connections> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(source, EpollEvent::new(source_interest, SOURCE_KEY))?;
    epoll.add(shutdown.fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
    let mut clients = Connections::new(acceptor);
    let mut events = [EpollEvent::empty(); EVENT_BATCH];
    let mut scratch = [0; READ_SIZE];
    ready()?;
    while !shutdown.is_requested() {
        let mut clients_wait = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                SOURCE_KEY => clients_wait = true,
                SHUTDOWN_KEY => {}
                key => advance(&epoll, &mut clients, key as Key, &mut scratch)?,
            }
        }
        clients.close_expired();
        if clients_wait {
            clients.accept(source, |key, client| {
                epoll.add(client, EpollEvent::new(interest(client), key as u64))
            })?;
        }
    }
    Ok(clients)
}

/// A turn, after which the kernel is told if something else is to be waited for.
fn advance(
    epoll: &Epoll,
    clients: &mut Connections,
    key: Key,
    scratch: &mut [u8],
) -> io::Result<()> {
    let before = clients.get(key).map(interest);
    // A socket that is closed leaves the list by itself.
    if clients.advance(key, scratch) != Progress::Closed
        && let Some(client) = clients.get(key)
        && before != Some(interest(client))
    {
        epoll.modify(client, &mut EpollEvent::new(interest(client), key as u64))?;
    }
    Ok(())
}
