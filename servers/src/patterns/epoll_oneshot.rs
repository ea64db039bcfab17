//! # One epoll, many threads, by EPOLLONESHOT
//!
//! All threads wait for the same list of clients, and whichever is free serves whoever is ready. An
//! event disarms its client, so that no other thread can be told of it; who has served it arms it
//! again, and what has come meanwhile is told at once (`event_loop::oneshot`).
//!
//! Used by: ntirpc, and so NFS-Ganesha, and Qpid Proton re-arm their clients in this way; of their
//! threads one waits at a time, as in [`leader_followers`](super::leader_followers).
//!
//! Good for: turns of very different length: no client is tied to a thread that is busy.
//!
//! Breaks: on a system call more for each event, and on clients that wander between the cores'
//! caches. A client that is not armed again is silent for ever.
//!
//! Source: epoll_ctl(2), EPOLLONESHOT, since Linux 2.6.2.

use std::io;

use nix::sys::epoll::EpollEvent;

use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::READ_SIZE;
use crate::event_loop::SharedEpoll;
use crate::event_loop::drain;
use crate::event_loop::wait;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-oneshot",
    summary: "many threads wait for one epoll; an event disarms its client until it was served",
    family: Family::Workers,
    stevens: &[],
    used_by: "NFS-Ganesha, Qpid Proton (the re-arming)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shared = SharedEpoll::new(&listener, config)?;
    let work = |_, ready: Ready<'_>| {
        // One at a time: what was taken with it would wait for this thread while others are free.
        let mut events = [EpollEvent::empty()];
        let mut scratch = [0; READ_SIZE];
        ready.wait()?;
        while !listener.shutdown().is_requested() {
            for event in wait(&shared.epoll, &mut events, None)? {
                shared.handle(event, &mut scratch)?;
            }
        }
        Ok(())
    };
    threads::each(0..config.workers, listener.shutdown(), work, || listener.listen())?;
    let clients = shared.into_clients();
    drop(listener);
    drain(clients);
    Ok(())
}
