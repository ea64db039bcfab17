//! # Leader/Followers
//!
//! One thread, the leader, waits for an event. Before it serves the client that the event is of,
//! it disarms that client and gives up the lead, so that one of the followers waits in its place;
//! when it has served, it follows. Nothing is handed from thread to thread.
//!
//! It differs from [`epoll_oneshot`](super::epoll_oneshot) in that one thread waits at a time. Here
//! the kernel disarms the client with the event, as there; with select the leader would take it out
//! of the set itself.
//!
//! Used by: ACE's `TP_Reactor`, and so TAO; ZeroC Ice's thread pools.
//!
//! Good for: short turns: who has been told of the event serves it, while its cache is warm.
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
    summary: "one thread waits, promotes the next, serves",
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
            // A follower leads before this one serves.
            drop(leader);
            for event in event {
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
