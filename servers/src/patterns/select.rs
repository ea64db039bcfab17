//! # Reactor over select(2)
//!
//! A reactor waits for many sockets at once and calls the code of each that is ready: one thread
//! asks the kernel which are, and gives each of those a turn.
//! The sets are bitmaps of FD_SETSIZE (1,024) bits, handed over and read through anew each time: the
//! cost of a turn grows with the number of clients, and a descriptor of 1,024 or more cannot be
//! waited for at all. The cap keeps the descriptors below that; where the server began with so many
//! open that it does not, the client is told that the server is busy.
//!
//! Used by: GNU libmicrohttpd, unless told otherwise; the game servers of the CircleMUD family.
//!
//! Good for: some hundred clients, any system since 4.2BSD (1983).
//!
//! Breaks: at the 1,024th descriptor.
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
    summary: "one loop over select",
    family: Family::Loop,
    stevens: &[],
    used_by: "GNU libmicrohttpd, CircleMUD",
    workers: Workers::One,
    capacity: Capacity::Limited {
        default: 1000,
        most: 1000,
        because: "a set of select holds 1,024 descriptors, and the server needs some itself",
    },
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// A timeout that select(2) takes everywhere; it is woken in vain once an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let shutdown = listener.shutdown();
    if !fits(&listener) || !fits(&shutdown.fd()) {
        return Err(io::Error::other("too many descriptors were open before the server began"));
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
            .map(|left| TimeVal::microseconds(left.min(LONGEST_WAIT).as_micros() as i64 + 1));
        match select(None, &mut readable, &mut writable, None, &mut timeout) {
            // A signal; the sets are as they were handed over.
            Err(Errno::EINTR) => continue,
            other => drop(other?),
        }

        let is_ready = |connection: &Connection| {
            readable.contains(connection.as_fd()) || writable.contains(connection.as_fd())
        };
        let ready: Vec<Key> =
            clients.iter().filter(|(_, one)| is_ready(one)).map(|(key, _)| key).collect();
        let clients_wait = readable.contains(listener.as_fd());
        for key in ready {
            clients.advance(key, &mut scratch);
        }
        clients.close_expired();
        if clients_wait {
            clients.accept(&SelectableSource(&listener), |_, _| Ok::<(), Infallible>(()))?;
        }
    }
    drop(listener);
    clients.drain();
    Ok(())
}

/// The clients that can be waited for.
struct SelectableSource<'l>(&'l Listener);

impl ConnectionSource for SelectableSource<'_> {
    fn next(&self, acceptor: &Acceptor) -> io::Result<Option<Connection>> {
        Ok(match self.0.next(acceptor)? {
            Some(connection) if !fits(&connection) => {
                // It can be told, and no more. Those that come after it wait for the next round.
                connection.reject();
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

/// Whether a set can hold the descriptor.
fn fits(socket: &impl AsFd) -> bool {
    usize::try_from(socket.as_fd().as_raw_fd()).is_ok_and(|number| number < FD_SETSIZE)
}
