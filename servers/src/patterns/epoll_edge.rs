//! # Reactor over epoll(7), edge-triggered
//!
//! A client is told of once, when something new has come, and not again until more comes: so each
//! is registered once, for everything, and the kernel is told nothing afterwards. In return the
//! loop itself must remember who may have more to read. It keeps them in a list and gives each of
//! them a turn, round after round, so that a client that sends without end does not starve others.
//!
//! Used by: nginx for its clients (its listeners are level-triggered); Netty's native transport.
//!
//! Good for: clients that alternate between reading and writing: no EPOLLOUT to add and remove.
//!
//! Breaks: by a mistake: to stop reading early and forget it is to wait for ever.
//!
//! Source: epoll(7), "Level-triggered and edge-triggered" and "Possible pitfalls".

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::config::Config;
use crate::event_loop::{Acceptor, Connections, Key};
use crate::event_loop::{EVENT_BATCH, SHUTDOWN_KEY, SOURCE_KEY, wait};
use crate::event_loop::{Progress, READ_SIZE};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-edge",
    summary: "one loop over epoll, edge-triggered, drained in fair turns",
    family: Family::Loop,
    stevens: &[],
    used_by: "nginx, Netty (native transport)",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// What each client is registered for, once.
const EVERYTHING: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// A client that has ended its side, or reset, or sent urgent data. A read that is short tells that
/// all was read, but not whether the end has come, and not when it stopped at urgent data; neither
/// is told of again.
const MORE: EpollFlags = EpollFlags::EPOLLRDHUP
    .union(EpollFlags::EPOLLHUP)
    .union(EpollFlags::EPOLLERR)
    .union(EpollFlags::EPOLLPRI);

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, SOURCE_KEY))?;
    epoll.add(shutdown.fd(), EpollEvent::new(EpollFlags::EPOLLIN, SHUTDOWN_KEY))?;
    let mut clients = Connections::new(Acceptor::new(config));
    let mut events = [EpollEvent::empty(); EVENT_BATCH];
    let mut scratch = [0; READ_SIZE];
    let mut ready = Ready::default();
    listener.listen()?;
    while !shutdown.is_requested() {
        let timeout = if ready.queue.is_empty() { clients.timeout() } else { Some(Duration::ZERO) };
        let mut clients_wait = false;
        for event in wait(&epoll, &mut events, timeout)? {
            match event.data() {
                SOURCE_KEY => clients_wait = true,
                SHUTDOWN_KEY => {}
                key => ready.add(key as Key, event.events().intersects(MORE)),
            }
        }
        for _ in 0..ready.queue.len() {
            let Some((key, has_more)) = ready.next() else { break };
            match clients.advance(key, &mut scratch) {
                Progress::Again => ready.add(key, has_more),
                // All was read but what no read shows, for which there is one turn more.
                Progress::Open if has_more => ready.add(key, false),
                Progress::Open | Progress::Closed => {}
            }
        }
        clients.close_expired();
        if clients_wait {
            clients.accept(&listener, |key, client| {
                epoll.add(client, EpollEvent::new(EVERYTHING, key as u64))
            })?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// Who may have more to read: each of them once, however often the kernel tells of it, so that
/// nobody has two turns in a round.
#[derive(Default)]
struct Ready {
    queue: VecDeque<Key>,
    /// By key: whether it is in the queue, and whether a short read is not all of it.
    marks: Vec<(bool, bool)>,
}

impl Ready {
    fn add(&mut self, key: Key, has_more: bool) {
        if self.marks.len() <= key {
            self.marks.resize(key + 1, (false, false));
        }
        let (is_queued, more) = &mut self.marks[key];
        *more |= has_more;
        if !std::mem::replace(is_queued, true) {
            self.queue.push_back(key);
        }
    }

    fn next(&mut self) -> Option<(Key, bool)> {
        let key = self.queue.pop_front()?;
        let (_, has_more) = std::mem::take(&mut self.marks[key]);
        Some((key, has_more))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_has_two_turns_in_a_round_and_an_end_is_not_forgotten() {
        let mut ready = Ready::default();
        for (key, has_more) in [(5, false), (2, true), (5, true), (5, false)] {
            ready.add(key, has_more);
        }
        assert_eq!(
            [ready.next(), ready.next(), ready.next()],
            [Some((5, true)), Some((2, true)), None]
        );
        ready.add(5, false);
        assert_eq!(ready.next(), Some((5, false)), "the next client of that key is another");
    }
}
