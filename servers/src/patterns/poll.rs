//! # Reactor over poll(2)
//!
//! Like [`select`](super::select), with a list of descriptors instead of bitmaps. Descriptors have
//! no upper limit, and requested and returned events are separate fields. The kernel still scans
//! the whole list on every call.
//!
//! Used by: thttpd; HAProxy, which prefers poll to select where epoll is not available.
//!
//! Good for: some hundred clients, many of them busy; every current Unix.
//!
//! Weakness: many idle clients and few busy ones, because each wait costs time for all clients.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, sections 6.10 and 6.11.

use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::config::Config;
use crate::event_loop::{Acceptor, Connections, Key};
use crate::event_loop::{Connection, READ_SIZE};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "poll",
    summary: "one event loop over poll",
    family: Family::Loop,
    stevens: &[],
    used_by: "thttpd, HAProxy (without epoll)",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    let mut clients = Connections::new(Acceptor::new(config));
    let mut scratch = [0; READ_SIZE];
    let mut ready: Vec<Key> = Vec::new();
    listener.listen()?;
    while !shutdown.is_requested() {
        let mut waited = vec![
            PollFd::new(listener.as_fd(), PollFlags::POLLIN),
            PollFd::new(shutdown.fd(), PollFlags::POLLIN),
        ];
        let connections = clients.iter().map(|(_, connection)| connection);
        waited.extend(connections.map(|c| PollFd::new(c.as_fd(), interest(c))));
        match poll(&mut waited, timeout(clients.timeout())) {
            Ok(_) => {}
            // Interrupted by a signal: no results.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let is_source_ready = waited[0].any() == Some(true);
        let results = clients.iter().zip(&waited[2..]);
        ready.extend(results.filter(|(_, fd)| fd.any() == Some(true)).map(|((key, _), _)| key));

        for key in ready.drain(..) {
            clients.advance(key, &mut scratch);
        }
        clients.close_expired();
        if is_source_ready {
            clients.accept(&listener, |_, _| Ok::<(), Infallible>(()))?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// Returns the requested events. poll(2) reports errors and hang-ups in any case.
fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_read());
    flags.set(PollFlags::POLLOUT, connection.wants_write());
    flags
}

/// Returns the timeout for poll(2). Rounds up by a millisecond, so that the loop does not wake
/// before the deadline.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
