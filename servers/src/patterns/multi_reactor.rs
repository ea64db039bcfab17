//! # Acceptor and several reactors
//!
//! One thread accepts and distributes the connections to event loops in turn (round robin). A
//! connection stays with its loop. Unlike with a shared listener or a hash, the program chooses the
//! loop. Other names: main reactor and sub-reactors; Netty's boss and worker groups.
//!
//! Used by: memcached; Netty; Kafka; actix-web.
//!
//! Good for: long-lived connections: all loops have equal numbers, and state is local to a loop.
//!
//! Weakness: short connections, for which the single acceptor is the bottleneck; connections of
//! unequal load, because a connection never moves to another loop.
//!
//! Source: Lea, *Scalable IO in Java*.

use std::io;
use std::thread;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::Connection;
use crate::event_loop::LingeringClose;
use crate::event_loop::Mailbox;
use crate::event_loop::{Acceptor, drain};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "multi-reactor",
    summary: "one thread accepts and distributes connections to event loops",
    family: Family::Loops,
    stevens: &[],
    used_by: "memcached, Netty, Kafka, actix-web",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shutdown = listener.shutdown();
    let acceptor = Acceptor::new(config);
    // Bounded by the connection limit: only connections with a permit are queued.
    let mailboxes: io::Result<Vec<Mailbox<Connection>>> =
        (0..config.workers).map(|_| Mailbox::unbounded()).collect();
    let mailboxes = mailboxes?;
    let lingering_close = LingeringClose::new()?;
    let clients = thread::scope(|scope| {
        lingering_close.start(scope, shutdown)?;
        let work = |mailbox, ready: Ready<'_>| {
            let interest = EpollFlags::EPOLLIN;
            epoll_level::run(mailbox, interest, acceptor.clone(), shutdown, || ready.report())
        };
        let (clients, ()) = threads::each(&mailboxes, shutdown, work, || {
            dispatch(&listener, &acceptor, &mailboxes, &lingering_close)
        })?;
        Ok::<_, io::Error>(clients)
    })?;
    drop(listener);
    let not_received = mailboxes.iter().flat_map(|mailbox| std::iter::from_fn(|| mailbox.take()));
    drain(clients.into_iter().flatten().chain(not_received));
    Ok(())
}

fn dispatch(
    listener: &Listener,
    acceptor: &Acceptor,
    mailboxes: &[Mailbox<Connection>],
    lingering_close: &LingeringClose,
) -> io::Result<()> {
    let mut loops = mailboxes.iter().cycle();
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        // An error of one client closes only its connection.
        let Ok(connection) = acceptor.admit(client) else { continue };
        if !connection.is_served() {
            lingering_close.add(connection);
        } else if let Some(mailbox) = loops.next() {
            let _ = mailbox.put(connection);
        }
    }
    Ok(())
}
