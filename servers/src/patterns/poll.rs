//! # Reactor over poll(2)
//!
//! As [`select`](super::select), with a list of descriptors instead of bitmaps: no highest
//! descriptor, and requested and returned events are separate fields. The kernel still scans the
//! whole list on every call.
//!
//! Used by: thttpd; HAProxy, which prefers it to select where epoll is not available.
//!
//! Good for: some hundred clients of which many are busy; every current Unix.
//!
//! Breaks: with many clients of which few are busy, because each wait costs time for all of them.
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
        waited.extend(clients.iter().map(|(_, one)| PollFd::new(one.as_fd(), interest(one))));
        match poll(&mut waited, timeout(clients.timeout())) {
            Ok(_) => {}
            // Interrupted by a signal: no results.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let (own, theirs) = waited.split_at(2);
        let is_source_ready = own[0].any() == Some(true);
        let answers = clients.iter().zip(theirs);
        ready.extend(answers.filter(|(_, fd)| fd.any() == Some(true)).map(|((key, _), _)| key));

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

/// poll(2) reports errors and hang-ups without being asked.
fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_read());
    flags.set(PollFlags::POLLOUT, connection.wants_write());
    flags
}

/// Rounds up by a millisecond, so that the loop does not wake before the deadline.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
