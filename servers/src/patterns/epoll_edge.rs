//! # Reactor over epoll(7), edge-triggered
//!
//! The kernel reports a descriptor once when its state changes, and not again until new data
//! arrives. Each connection is registered once, for all events, without any later epoll_ctl(2). In
//! return the loop must remember which connections may still have input. It keeps them in a queue
//! and advances each in turn, so that a client that sends continuously does not starve the others.
//!
//! Used by: nginx for its connections (its listeners are level-triggered); mio, and so tokio; Netty
//! up to 4.1, which gave it up for simplicity. Those run several such loops.
//!
//! Good for: connections that alternate between reading and writing, without the two calls for
//! EPOLLOUT.
//!
//! Breaks: by a lost event: a handler that stops before EAGAIN and forgets to continue waits for
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
const EVERYTHING: EpollFlags = EpollFlags::EPOLLIN
    .union(EpollFlags::EPOLLOUT)
    .union(EpollFlags::EPOLLPRI)
    .union(EpollFlags::EPOLLRDHUP)
    .union(EpollFlags::EPOLLET);

/// FIN, reset or urgent data. A short read means that all input was read, but does not show the end
/// of the stream, and it also stops at urgent data. The kernel does not report either again.
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
        let mut is_source_ready = false;
        for event in wait(&epoll, &mut events, timeout)? {
            match event.data() {
                SOURCE_KEY => is_source_ready = true,
                SHUTDOWN_KEY => {}
                key => ready.add(key as Key, event.events().intersects(MORE)),
            }
        }
        for _ in 0..ready.queue.len() {
            let Some((key, has_more)) = ready.next() else { break };
            match clients.advance(key, &mut scratch) {
                Progress::Again => ready.add(key, has_more),
                // One more read: a short read does not show the end of the stream.
                Progress::Open if has_more => ready.add(key, false),
                Progress::Open | Progress::Closed => {}
            }
        }
        clients.close_expired();
        if is_source_ready {
            clients.accept(&listener, |key, client| {
                epoll.add(client, EpollEvent::new(EVERYTHING, key as u64))
            })?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// The connections that may have more input, each once however often the kernel reports it, so that
/// no connection advances twice in an iteration.
#[derive(Default)]
struct Ready {
    queue: VecDeque<Key>,
    /// By key: whether the connection is queued, and whether a short read must be followed by
    /// another.
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
    fn a_connection_advances_once_per_iteration_and_a_fin_is_kept() {
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
