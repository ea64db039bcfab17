//! # Reactor over poll(2)
//!
//! As [`select`](super::select), with a list of descriptors in place of a bitmap: there is no
//! highest number, and what to wait for and what is ready are kept apart. The kernel still looks
//! at every descriptor in the list each time that it is called.
//!
//! Used by: thttpd; nginx, where a system has nothing better.
//!
//! Good for: some hundred clients of which many are busy; any Unix of today.
//!
//! Breaks: with many clients of which few are busy: the work is for all of them.
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
    summary: "one loop over poll",
    family: Family::Loop,
    stevens: &[],
    used_by: "thttpd",
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
            // A signal; nothing was said about any of them.
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error.into()),
        }
        let (own, theirs) = waited.split_at(2);
        let clients_wait = own[0].any() == Some(true);
        let answers = clients.iter().zip(theirs);
        ready.extend(answers.filter(|(_, fd)| fd.any() == Some(true)).map(|((key, _), _)| key));

        for key in ready.drain(..) {
            clients.advance(key, &mut scratch);
        }
        clients.close_expired();
        if clients_wait {
            clients.accept(&listener, |_, _| Ok::<(), Infallible>(()))?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// Errors and hang-ups are told unasked.
fn interest(connection: &Connection) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, connection.wants_read());
    flags.set(PollFlags::POLLOUT, connection.wants_write());
    flags
}

/// A millisecond late rather than early, so as not to go round for nothing.
fn timeout(left: Option<Duration>) -> PollTimeout {
    let Some(left) = left else { return PollTimeout::NONE };
    PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
}
