//! # One epoll, many threads, by EPOLLONESHOT
//!
//! All threads wait for the same list of clients, and whichever is free serves whoever is ready. An
//! event disarms its client, so that no other thread can be told of it; who has served it arms it
//! again, and what has come meanwhile is told at once.
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
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::clients::{Admission, Clients, Key};
use crate::connection::{SCRATCH, Turn};
use crate::epoll::{ARRIVALS, STOP, armed, wait};
use crate::threads;
use crate::{Capacity, Config, Family, Listener, Pattern, Unit, WhenFull, Workers};

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-oneshot",
    summary: "many threads wait for one epoll; an event disarms its client until it was served",
    family: Family::Workers,
    stevens: &[],
    used_by: "NFS-Ganesha, Qpid Proton (the re-arming)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shared = Shared::new(&listener, config)?;
    threads::each(0..config.workers, listener.stop(), |_| {
        // One at a time: what was taken with it would wait for this thread while others are free.
        let mut events = [EpollEvent::empty()];
        let mut scratch = [0; SCRATCH];
        while !listener.stop().requested() {
            for event in wait(&shared.epoll, &mut events, shared.timeout())? {
                shared.handle(event, &mut scratch)?;
            }
            shared.give_up_overdue();
        }
        Ok(())
    })?;
    let clients = shared.into_clients();
    drop(listener);
    clients.drain();
    Ok(())
}

/// What the threads share: a list of which each event is given to one of them.
pub(super) struct Shared<'l> {
    pub(super) epoll: Epoll,
    listener: &'l Listener,
    clients: Mutex<Clients>,
    /// Wakes a thread that waits longer than it should.
    earlier: EventFd,
}

/// The listener, too, is one thread's at a time.
fn accepting() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, ARRIVALS)
}

/// The key of the event by which a thread is woken.
const EARLIER: u64 = u64::MAX - 2;

impl<'l> Shared<'l> {
    pub(super) fn new(listener: &'l Listener, config: &Config) -> io::Result<Shared<'l>> {
        listener.set_nonblocking()?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let earlier = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        epoll.add(listener, accepting())?;
        epoll.add(listener.stop().fd(), EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        epoll.add(&earlier, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, EARLIER))?;
        let clients = Mutex::new(Clients::new(Admission::new(config)));
        Ok(Shared { epoll, listener, clients, earlier })
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.clients().timeout()
    }

    /// Serves whom the event concerns, who is this thread's alone meanwhile.
    pub(super) fn handle(&self, event: &EpollEvent, scratch: &mut [u8]) -> io::Result<()> {
        match event.data() {
            STOP | EARLIER => {}
            ARRIVALS => self.accept()?,
            key => self.turn(key as Key, scratch)?,
        }
        Ok(())
    }

    pub(super) fn give_up_overdue(&self) {
        self.clients().give_up_overdue();
    }

    fn turn(&self, key: Key, scratch: &mut [u8]) -> io::Result<()> {
        let Some(mut connection) = self.clients().take(key) else { return Ok(()) };
        if connection.turn(scratch) == Turn::Over {
            drop(connection);
            self.clients().remove(key);
            return Ok(());
        }
        self.change(|clients| {
            let connection = clients.put(key, connection);
            self.epoll.modify(connection, &mut armed(key, connection))
        })?;
        Ok(())
    }

    fn accept(&self) -> io::Result<()> {
        self.change(|clients| {
            clients.accept(self.listener, |key, client| self.epoll.add(client, armed(key, client)))
        })?;
        self.epoll.modify(self.listener, &mut accepting())?;
        Ok(())
    }

    /// Changes who is waited for. If somebody's patience now ends before all others' did, whoever
    /// waits for events does so for too long, and is woken.
    fn change<T>(&self, change: impl FnOnce(&mut Clients) -> T) -> T {
        let mut clients = self.clients();
        let before = clients.deadline();
        let changed = change(&mut clients);
        let first = clients.deadline();
        drop(clients);
        if first.is_some() && before.is_none_or(|before| first < Some(before)) {
            let _ = self.earlier.write(1);
        }
        changed
    }

    pub(super) fn into_clients(self) -> Clients {
        self.clients.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn clients(&self) -> MutexGuard<'_, Clients> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
