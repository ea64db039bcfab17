//! # Leader/Followers
//!
//! One thread, the leader, waits for an event. When an event arrives, the leader promotes a
//! follower to wait, and serves the event's connection itself. Afterwards it becomes a follower. No
//! request passes from thread to thread.
//!
//! Unlike in [`epoll_oneshot`](super::epoll_oneshot), one thread waits at a time. Each event
//! disarms its descriptor in both patterns (EPOLLONESHOT). With select, the leader would remove the
//! descriptor from the set.
//!
//! Used by: ACE's `TP_Reactor`, and so TAO; ZeroC Ice's thread pools.
//!
//! Good for: short requests: the thread that got the event serves it, with a warm cache.
//!
//! Weakness: high rates: each wait returns one event, and each event changes the leader.
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
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "leader-followers",
    summary: "one thread waits, promotes a follower, serves",
    family: Family::Workers,
    stevens: &[],
    used_by: "ACE and TAO, ZeroC Ice",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shared = SharedEpoll::new(&listener, config)?;
    let leadership = Mutex::new(());
    let work = |_, ready: Ready<'_>| {
        let mut event = [EpollEvent::empty()];
        let mut scratch = [0; READ_SIZE];
        ready.wait()?;
        while !listener.shutdown().is_requested() {
            let leader = leadership.lock().unwrap_or_else(PoisonError::into_inner);
            let event = wait(&shared.epoll, &mut event, None)?;
            // Promotes a follower.
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
