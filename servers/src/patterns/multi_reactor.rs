//! # Acceptor and several reactors
//!
//! One thread accepts and deals the clients to event loops in turn; a client stays with its loop to
//! the end. The program decides where a client goes, which neither a shared listener nor a hash
//! lets it do. (Main and sub reactor; Netty's boss and worker groups.)
//!
//! Used by: memcached; Netty; actix-web.
//!
//! Good for: clients that stay: equal numbers for all loops, state that is a loop's own.
//!
//! Breaks: with short connections, when the one acceptor is all that there is time for; with
//! clients of unequal weight, for nobody moves afterwards.
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
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "multi-reactor",
    summary: "an acceptor deals clients to loops in turn",
    family: Family::Loops,
    stevens: &[],
    used_by: "memcached, Netty, actix-web",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shutdown = listener.shutdown();
    let acceptor = Acceptor::new(config);
    // Bounded by the places: only who has one is dealt to a loop.
    let mailboxes: io::Result<Vec<Mailbox<Connection>>> =
        (0..config.workers).map(|_| Mailbox::unbounded()).collect();
    let mailboxes = mailboxes?;
    let lingering_close = LingeringClose::new()?;
    let clients = thread::scope(|scope| {
        lingering_close.start(scope, shutdown)?;
        let work = |mailbox, ready: Ready<'_>| {
            let interest = EpollFlags::EPOLLIN;
            epoll_level::run(mailbox, interest, acceptor.clone(), shutdown, || ready.say())
        };
        let (clients, ()) = threads::each(&mailboxes, shutdown, work, || {
            dispatch(&listener, &acceptor, &mailboxes, &lingering_close)
        })?;
        Ok::<_, io::Error>(clients)
    })?;
    drop(listener);
    let dispatched_late =
        mailboxes.iter().flat_map(|mailbox| std::iter::from_fn(|| mailbox.take()));
    drain(clients.into_iter().flatten().chain(dispatched_late));
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
        // What goes wrong with one client ends with that client.
        let Ok(connection) = acceptor.admit(client) else { continue };
        if !connection.is_served() {
            lingering_close.add(connection);
        } else if let Some(mailbox) = loops.next() {
            let _ = mailbox.put(connection);
        }
    }
    Ok(())
}
