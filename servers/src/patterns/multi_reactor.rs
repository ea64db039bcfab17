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
//! clients of unequal weight, for nobody moves afterwards. A client that is dealt to a loop which has
//! stalled, with a full inbox, is closed without a word.
//!
//! Source: Lea, *Scalable IO in Java*.

use std::io;
use std::thread;

use nix::sys::epoll::EpollFlags;

use super::epoll_level;
use crate::clients::{Admission, drain};
use crate::connection::Connection;
use crate::inbox::Inbox;
use crate::threads;
use crate::{Capacity, Config, Family, Listener, Pattern, Unit, WhenFull, Workers};

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

/// Clients that wait to be taken up by a loop. One that comes when so many wait is closed: the loop
/// must have stalled.
const DEALT_AT_ONCE: usize = 1024;

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let stop = listener.stop();
    let admission = Admission::new(config);
    let inboxes: io::Result<Vec<Inbox<Connection>>> =
        (0..config.workers).map(|_| Inbox::new(DEALT_AT_ONCE)).collect();
    let inboxes = inboxes?;
    let clients = thread::scope(|scope| {
        let acceptor = thread::Builder::new().spawn_scoped(scope, || {
            deal(&listener, &admission, &inboxes).inspect_err(|_| stop.request())
        })?;
        let clients = threads::each(&inboxes, stop, |inbox| {
            epoll_level::run(inbox, EpollFlags::EPOLLIN, admission.clone(), stop)
        })?;
        acceptor.join().expect("accepting does not panic").map(|()| clients)
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
) -> io::Result<()> {
    let mut loops = inboxes.iter().cycle();
    while let Some(client) = listener.accept()? {
        if let (Ok(connection), Some(inbox)) = (admission.admit(client), loops.next()) {
            drop(inbox.put(connection));
        }
    }
    Ok(())
}
