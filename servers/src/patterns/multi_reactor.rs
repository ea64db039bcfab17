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
use crate::event_loop::Inbox;
use crate::event_loop::Lingerer;
use crate::event_loop::{Admission, drain};
use crate::pattern::{Capacity, Family, Pattern, Unit, WhenFull, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "multi-reactor",
    summary: "an acceptor deals clients to loops in turn",
    family: Family::Loops,
    stevens: &[],
    used_by: "memcached, Netty, actix-web",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let stop = listener.stop();
    let admission = Admission::new(config);
    // Bounded by the places: only who has one is dealt to a loop.
    let inboxes: io::Result<Vec<Inbox<Connection>>> =
        (0..config.workers).map(|_| Inbox::unbounded()).collect();
    let inboxes = inboxes?;
    let lingerer = Lingerer::new()?;
    let clients = thread::scope(|scope| {
        lingerer.start(scope, stop)?;
        let work = |inbox, ready: Ready<'_>| {
            let interest = EpollFlags::EPOLLIN;
            epoll_level::run(inbox, interest, admission.clone(), stop, || ready.say())
        };
        let (clients, ()) = threads::each(&inboxes, stop, work, || {
            deal(&listener, &admission, &inboxes, &lingerer)
        })?;
        Ok::<_, io::Error>(clients)
    })?;
    drop(listener);
    let dealt_late = inboxes.iter().flat_map(|inbox| std::iter::from_fn(|| inbox.take()));
    drain(clients.into_iter().flatten().chain(dealt_late));
    Ok(())
}

fn deal(
    listener: &Listener,
    admission: &Admission,
    inboxes: &[Inbox<Connection>],
    lingerer: &Lingerer,
) -> io::Result<()> {
    let mut loops = inboxes.iter().cycle();
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        // What goes wrong with one client ends with that client.
        let Ok(connection) = admission.admit(client) else { continue };
        if !connection.is_served() {
            lingerer.see_out(connection);
        } else if let Some(inbox) = loops.next() {
            let _ = inbox.put(connection);
        }
    }
    Ok(())
}
