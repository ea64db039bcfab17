//! # Reactor over epoll(7), level-triggered
//!
//! The kernel keeps the interest list, and a program registers only changes. The cost of a wait is
//! proportional to the number of ready descriptors, not to that of all connections. Level-triggered
//! means that a descriptor is reported as long as it is ready, so a handler may stop anywhere and
//! continue at the next event.
//!
//! Used by: Redis; memcached in each of its threads, through libevent.
//!
//! Good for: ten thousand connections and more, mostly idle, on one core.
//!
//! Weakness: requests that take long to compute, because all other clients wait. A connection with
//! unsent output needs EPOLLOUT, which must be removed afterwards: two calls of epoll_ctl(2). Slow
//! and vanished clients cost little here (memory and a descriptor), but without an idle timeout
//! they accumulate up to the connection limit.
//!
//! Source: epoll(7), since Linux 2.5.44; Schmidt, *Reactor*, Pattern Languages of Program Design,
//! 1995; Kegel, *The C10K problem*; Pai, Druschel, Zwaenepoel, *Flash: An Efficient and Portable
//! Web Server*, USENIX 1999.

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
    summary: "one event loop over epoll, level-triggered",
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

/// Runs the loop until shutdown and returns the open connections. Calls `ready` before the first
/// wait.
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
        let mut is_source_ready = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                SOURCE_KEY => is_source_ready = true,
                SHUTDOWN_KEY => {}
                key => advance(&epoll, &mut clients, key as Key, &mut scratch)?,
            }
        }
        clients.close_expired();
        if is_source_ready {
            clients.accept(source, |key, client| {
                epoll.add(client, EpollEvent::new(interest(client), key as u64))
            })?;
        }
    }
    Ok(clients)
}

/// Advances a connection, and updates the interest list if its events have changed.
fn advance(
    epoll: &Epoll,
    clients: &mut Connections,
    key: Key,
    scratch: &mut [u8],
) -> io::Result<()> {
    let before = clients.get(key).map(interest);
    // Closing a socket removes it from the interest list.
    if clients.advance(key, scratch) != Progress::Closed
        && let Some(client) = clients.get(key)
        && before != Some(interest(client))
    {
        epoll.modify(client, &mut EpollEvent::new(interest(client), key as u64))?;
    }
    Ok(())
}
