//! # Reactor over select(2)
//!
//! A reactor waits for many sockets at once and runs the handlers of the ready sockets, in one
//! thread. The descriptor sets are bitmaps that are copied and scanned on every call, so the cost
//! of a wait grows with the number of connections.
//!
//! A set holds FD_SETSIZE (1,024) descriptors. That is the size of glibc's `fd_set`, not a limit of
//! the kernel (select(2), BUGS): a program can allocate larger sets. The connection limit of this
//! server keeps descriptors below FD_SETSIZE. If many descriptors were open before the start and a
//! connection gets a higher descriptor, the connection gets a busy line.
//!
//! Used by: GNU libmicrohttpd by default; the MUD servers derived from CircleMUD.
//!
//! Good for: some hundred clients, on any system since 4.2BSD (1983).
//!
//! Weakness: no descriptor above 1,023.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, sections 6.3 and 6.8; select(2), BUGS.

use std::convert::Infallible;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::config::Config;
use crate::event_loop::{Acceptor, ConnectionSource, Connections, Key};
use crate::event_loop::{Connection, READ_SIZE};
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "select",
    summary: "one event loop over select",
    family: Family::Loop,
    stevens: &[],
    used_by: "GNU libmicrohttpd, CircleMUD",
    workers: Workers::One,
    capacity: Capacity::Limited {
        default: 1000,
        max: 1000,
        reason: "glibc's fd_set holds 1,024 descriptors, of which the server needs some",
    },
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Maximum timeout: an hour, which select(2) accepts on every system.
const MAX_WAIT: Duration = Duration::from_secs(3600);

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    if !fits(&listener) || !fits(&shutdown.fd()) {
        return Err(io::Error::other(
            "select supports descriptors below 1,024 only, and too many are open; start the server with fewer",
        ));
    }
    let mut clients = Connections::new(Acceptor::new(config));
    let mut scratch = [0; READ_SIZE];
    listener.listen()?;
    while !shutdown.is_requested() {
        let mut readable = FdSet::new();
        let mut writable = FdSet::new();
        readable.insert(listener.as_fd());
        readable.insert(shutdown.fd());
        for (_, connection) in clients.iter() {
            if connection.wants_read() {
                readable.insert(connection.as_fd());
            }
            if connection.wants_write() {
                writable.insert(connection.as_fd());
            }
        }
        let mut timeout = clients
            .timeout()
            .map(|left| TimeVal::microseconds(left.min(MAX_WAIT).as_micros() as i64 + 1));
        match select(None, &mut readable, &mut writable, None, &mut timeout) {
            // Interrupted by a signal: the sets are unchanged.
            Err(Errno::EINTR) => continue,
            other => drop(other?),
        }

        let is_ready = |connection: &Connection| {
            readable.contains(connection.as_fd()) || writable.contains(connection.as_fd())
        };
        let ready: Vec<Key> =
            clients.iter().filter(|(_, client)| is_ready(client)).map(|(key, _)| key).collect();
        let is_source_ready = readable.contains(listener.as_fd());
        for key in ready {
            clients.advance(key, &mut scratch);
        }
        clients.close_expired();
        if is_source_ready {
            clients.accept(&SelectableSource(&listener), |_, _| Ok::<(), Infallible>(()))?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// A listener that rejects connections whose descriptor does not fit into a set.
struct SelectableSource<'l>(&'l Listener);

impl ConnectionSource for SelectableSource<'_> {
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>> {
        Ok(match self.0.next(acceptor)? {
            Some(connection) if !fits(&connection) => {
                // Later connections wait for the next iteration.
                connection.reject_without_linger();
                None
            }
            other => other,
        })
    }
}

impl AsFd for SelectableSource<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether the descriptor fits into a set.
fn fits(socket: &impl AsFd) -> bool {
    usize::try_from(socket.as_fd().as_raw_fd()).is_ok_and(|number| number < FD_SETSIZE)
}
