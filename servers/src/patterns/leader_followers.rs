//! # Leader/Followers
//!
//! One thread, the leader, waits for an event. Before it serves the event's connection, it gives up
//! the lead, and one of the followers waits in its place; afterwards it becomes a follower. No
//! request passes from thread to thread.
//!
//! Unlike [`epoll_oneshot`](super::epoll_oneshot), one thread waits at a time. Here too the event
//! itself disarms the descriptor (EPOLLONESHOT); with select the leader would remove it from the
//! set.
//!
//! Used by: ACE's `TP_Reactor`, and so TAO; ZeroC Ice's thread pools.
//!
//! Good for: short requests: the thread that got the event serves it, with a warm cache.
//!
//! Breaks: at high rates: events are taken one by one, each with a change of leader.
//!
//! Source: Schmidt, O'Ryan, Kircher, Pyarali, Buschmann, *Leader/Followers*, PLoP 2000.

use std::io;
use std::sync::{Mutex, PoisonError};

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
    id: "leader-followers",
    summary: "one thread waits, promotes a follower, serves",
    family: Family::Workers,
    stevens: &[],
    used_by: "ACE and TAO, ZeroC Ice",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shared = SharedEpoll::new(&listener, config)?;
    let lead = Mutex::new(());
    let work = |_, ready: Ready<'_>| {
        let mut event = [EpollEvent::empty()];
        let mut scratch = [0; READ_SIZE];
        ready.wait()?;
        while !listener.shutdown().is_requested() {
            let leader = lead.lock().unwrap_or_else(PoisonError::into_inner);
            let event = wait(&shared.epoll, &mut event, None)?;
            // Promotes a follower before this thread serves.
            drop(leader);
            for event in event {
                shared.handle(event, &mut scratch)?;
            }
        }
        Ok(())
    };
    threads::each(0..config.workers, listener.shutdown(), work, || listener.listen())?;
    let clients = shared.into_connections();
    drop(listener);
    drain(clients);
    Ok(())
}
