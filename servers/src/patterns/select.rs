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
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

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

/// Clients taken in before the others have another turn.
const ACCEPTED_AT_ONCE: usize = 16;

/// A timeout that select(2) takes everywhere; it is woken in vain once an hour.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let stop = listener.stop();
    if !fits(&listener) || !fits(&stop.fd()) {
        return Err(io::Error::other("too many descriptors were open before the server began"));
    }
    let mut listener = Some(listener);
    let mut connections: Vec<Connection> = Vec::new();
    let mut ready = Vec::new();
    let mut scratch = [0; SCRATCH];
    loop {
        let clients_wait = wait(listener.as_ref(), stop, &connections, &mut ready)?;

        if stop.requested() && listener.take().is_some() {
            connections.retain(Connection::is_served);
            connections.iter_mut().for_each(Connection::drain);
            ready.clear();
        }

        let now = Instant::now();
        let mut ready = ready.iter();
        connections.retain_mut(|connection| {
            let is_due = stop.requested()
                || ready.next() == Some(&true)
                || connection.deadline().is_some_and(|deadline| deadline <= now);
            !is_due || connection.turn(&mut scratch) == Turn::Open
        });

        match &listener {
            None if connections.is_empty() => return Ok(()),
            Some(listener) if clients_wait => accept(listener, &mut connections, config)?,
            _ => {}
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
        let left = deadline.saturating_duration_since(Instant::now()).min(LONGEST_WAIT);
        TimeVal::microseconds(left.as_micros() as i64 + 1)
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

/// Takes in some of the clients that wait; the others are still there the next time.
fn accept(
    listener: &Listener,
    connections: &mut Vec<Connection>,
    config: &Config,
) -> io::Result<()> {
    for _ in 0..ACCEPTED_AT_ONCE {
        let Some(client) = listener.try_accept()? else { break };
        let served = connections.iter().filter(|connection| connection.is_served()).count();
        if !fits(&client) {
            // It can be told, and not be waited for.
            drop(Connection::refuse(client));
        } else if served < config.max_connections {
            connections.extend(Connection::serve(client, config));
        } else {
            if connections.len() - served >= MOST_LINGERING
                && let Some(oldest) = connections.iter().position(|one| !one.is_served())
            {
                connections.remove(oldest);
            }
            connections.extend(Connection::refuse(client));
        }
    }
    Ok(())
}

/// Whether a set can hold the descriptor.
fn fits(socket: &impl AsFd) -> bool {
    usize::try_from(socket.as_fd().as_raw_fd()).is_ok_and(|number| number < FD_SETSIZE)
}
