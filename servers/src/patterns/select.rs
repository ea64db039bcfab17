//! Event loop over select(2): one thread asks the kernel which of all its sockets are ready, and
//! gives each of those a turn.
//!
//! The sets are bitmaps of FD_SETSIZE (1,024) bits, handed over and read through anew each time,
//! so the cost of a turn grows with the number of clients and a descriptor of 1,024 or more
//! cannot be waited for at all. The cap keeps the descriptors below that.
//!
//! Who: portable servers since 4.2BSD (1983). Good for: some hundred clients, any system.
//! Breaks: at the 1,024th descriptor. Source: Stevens, *UNIX Network Programming* volume 1,
//! section 6.8.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use nix::errno::Errno;
use nix::sys::select::{FD_SETSIZE, FdSet, select};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::connection::{Connection, SCRATCH, Turn};
use crate::refusal::MOST_LINGERING;
use crate::stop::Stop;
use crate::{Capacity, Config, Listener, Pattern, WhenFull};

pub(super) const PATTERN: Pattern = Pattern {
    id: "select",
    summary: "one loop over select",
    capacity: Capacity::Limited {
        default: 1000,
        most: 1000,
        because: "a set of select holds 1,024 descriptors",
    },
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let stop = listener.stop();
    let mut listener = Some(listener);
    let mut connections: Vec<Connection> = Vec::new();
    let mut ready = Vec::new();
    let mut scratch = [0; SCRATCH];
    loop {
        let clients_wait = wait(listener.as_ref(), stop, &connections, &mut ready)?;

        let now = Instant::now();
        let mut ready = ready.iter();
        connections.retain_mut(|connection| {
            if ready.next() == Some(&true) {
                connection.turn(&mut scratch) == Turn::Open
            } else {
                connection.deadline().is_none_or(|deadline| deadline > now)
            }
        });

        if stop.requested() {
            if listener.take().is_some() {
                connections.iter_mut().for_each(Connection::drain);
            }
            connections.retain_mut(|connection| connection.turn(&mut scratch) == Turn::Open);
            if connections.is_empty() {
                return Ok(());
            }
        } else if clients_wait && let Some(listener) = &listener {
            while let Some(client) = listener.try_accept()? {
                admit(client, &mut connections, config);
            }
        }
    }
}

/// Waits until something can be done or a deadline has passed. Says which connections are ready,
/// and returns whether clients wait to be accepted.
fn wait(
    listener: Option<&Listener>,
    stop: Stop,
    connections: &[Connection],
    ready: &mut Vec<bool>,
) -> io::Result<bool> {
    let mut readable = FdSet::new();
    let mut writable = FdSet::new();
    if let Some(listener) = listener {
        readable.insert(listener.as_fd());
        readable.insert(stop.fd());
    }
    let mut deadline: Option<Instant> = None;
    for connection in connections {
        if connection.wants_read() {
            readable.insert(connection.as_fd());
        }
        if connection.wants_write() {
            writable.insert(connection.as_fd());
        }
        deadline = [deadline, connection.deadline()].into_iter().flatten().min();
    }
    let mut timeout = deadline.map(|deadline| {
        let left = deadline.saturating_duration_since(Instant::now());
        TimeVal::microseconds(i64::try_from(left.as_micros()).unwrap_or(i64::MAX) + 1)
    });
    match select(None, &mut readable, &mut writable, None, &mut timeout) {
        // A signal; whom it concerns looks at `stop`.
        Err(Errno::EINTR) => {
            readable.clear();
            writable.clear();
        }
        other => drop(other?),
    }
    ready.clear();
    ready.extend(connections.iter().map(|connection| {
        readable.contains(connection.as_fd()) || writable.contains(connection.as_fd())
    }));
    Ok(listener.is_some_and(|listener| readable.contains(listener.as_fd())))
}

fn admit(client: TcpStream, connections: &mut Vec<Connection>, config: &Config) {
    let (served, refused): (Vec<usize>, Vec<usize>) =
        (0..connections.len()).partition(|&index| connections[index].is_served());
    let admitted = if served.len() < config.max_connections {
        Connection::serve(client, config)
    } else {
        if refused.len() >= MOST_LINGERING {
            connections.remove(refused[0]);
        }
        Connection::refuse(client)
    };
    // A descriptor that no set can hold is closed: more of them are open than the cap allows for.
    connections
        .extend(admitted.ok().filter(|client| (client.as_fd().as_raw_fd() as usize) < FD_SETSIZE));
}
