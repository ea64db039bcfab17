//! # Reactor over epoll(7), edge-triggered
//!
//! The kernel reports a descriptor once when its state changes, and not again until new data
//! arrives. Each connection is registered once, for all events, without a later epoll_ctl(2). In
//! return, the loop must remember which connections may still have input. It advances these
//! connections in turn, from a queue, so a client that sends continuously does not starve the
//! others.
//!
//! Used by: nginx for its connections (its listeners are level-triggered); mio, and so tokio; Netty
//! up to 4.1 (later versions are level-triggered, for simplicity). All of these run several such
//! loops.
//!
//! Good for: connections that alternate between reading and writing, without the two calls for
//! EPOLLOUT.
//!
//! Weakness: lost events: a handler that stops before EAGAIN and forgets to continue waits for
//! ever.
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
    summary: "one event loop over epoll, edge-triggered",
    family: Family::Loop,
    stevens: &[],
    used_by: "nginx, mio (and so tokio), Netty up to 4.1",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// The events of each connection, registered once.
const ALL_EVENTS: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// Events after which a short read is not the last read: FIN, reset and urgent data, which the
/// kernel does not report again. After them, only a read that returns 0 or EAGAIN is the last one.
const READ_AGAIN: EpollFlags = EpollFlags::EPOLLRDHUP
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
    let mut ready = ReadyQueue::default();
    listener.listen()?;
    while !shutdown.is_requested() {
        let timeout = if ready.queue.is_empty() { clients.timeout() } else { Some(Duration::ZERO) };
        let mut is_source_ready = false;
        for event in wait(&epoll, &mut events, timeout)? {
            match event.data() {
                SOURCE_KEY => is_source_ready = true,
                SHUTDOWN_KEY => {}
                key => ready.add(key as Key, event.events().intersects(READ_AGAIN)),
            }
        }
        for _ in 0..ready.queue.len() {
            let Some((key, reads_again)) = ready.next() else { break };
            ready.add_if_unread(key, reads_again, clients.advance(key, &mut scratch));
        }
        clients.close_expired();
        if is_source_ready {
            clients.accept(&listener, |key, client| {
                epoll.add(client, EpollEvent::new(ALL_EVENTS, key as u64))
            })?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// Queue of the connections that may have more input. A connection is queued at most once, so it
/// advances at most once per iteration.
#[derive(Default)]
struct ReadyQueue {
    queue: VecDeque<Key>,
    /// By key: whether the connection is queued, and whether another read must follow a short one.
    flags: Vec<(bool, bool)>,
}

impl ReadyQueue {
    fn add(&mut self, key: Key, reads_again: bool) {
        if self.flags.len() <= key {
            self.flags.resize(key + 1, (false, false));
        }
        let (is_queued, again) = &mut self.flags[key];
        *again |= reads_again;
        if !std::mem::replace(is_queued, true) {
            self.queue.push_back(key);
        }
    }

    /// Queues a connection that has advanced, if it may have input left.
    fn add_if_unread(&mut self, key: Key, reads_again: bool, progress: Progress) {
        match progress {
            Progress::Again => self.add(key, reads_again),
            Progress::ShortRead if reads_again => self.add(key, true),
            Progress::ShortRead | Progress::Open | Progress::Closed => {}
        }
    }

    fn next(&mut self) -> Option<(Key, bool)> {
        let key = self.queue.pop_front()?;
        let (_, reads_again) = std::mem::take(&mut self.flags[key]);
        Some((key, reads_again))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_queued_once_and_a_fin_is_kept() {
        let mut ready = ReadyQueue::default();
        for (key, reads_again) in [(5, false), (2, true), (5, true), (5, false)] {
            ready.add(key, reads_again);
        }
        assert_eq!(
            [ready.next(), ready.next(), ready.next()],
            [Some((5, true)), Some((2, true)), None]
        );
        ready.add(5, false);
        assert_eq!(ready.next(), Some((5, false)), "the flag is reset");
    }

    #[test]
    fn after_urgent_data_a_connection_is_queued_until_no_input_is_left() {
        let mut ready = ReadyQueue::default();
        // The reads before and after the urgent data are short.
        for progress in [Progress::Again, Progress::ShortRead, Progress::ShortRead] {
            ready.add_if_unread(1, true, progress);
            assert_eq!(ready.next(), Some((1, true)), "after {progress:?}");
        }
        ready.add_if_unread(1, true, Progress::Open);
        ready.add_if_unread(1, false, Progress::ShortRead);
        assert_eq!(ready.next(), None);
    }
}
