//! # Reactor over epoll(7), level-triggered
//!
//! The kernel keeps the list of descriptors, and is told only of changes; a wait gives those that
//! are ready, and costs what they cost, however many others there are. Level-triggered means that
//! a client is told of for as long as it is ready, so that a turn may stop anywhere: the rest is
//! there at the next one.
//!
//! Used by: Redis; memcached in each of its threads, by way of libevent.
//!
//! Good for: ten thousand clients and more, mostly idle, on one core.
//!
//! Breaks: where an answer takes long, for all others wait. A client that cannot be written to is
//! waited for by EPOLLOUT, which must be taken back afterwards, a system call each way.
//!
//! Source: epoll(7), since Linux 2.5.44; Schmidt, *Reactor*, Pattern Languages of Program Design,
//! 1995.

use std::io;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::config::Config;
use crate::event_loop::{ARRIVALS, EVENTS, STOP, interest, wait};
use crate::event_loop::{Admission, Arrivals, Clients, Key};
use crate::event_loop::{SCRATCH, Turn};
use crate::pattern::{Capacity, Family, Pattern, WhenFull, Workers};
use crate::shutdown::Stop;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "epoll-level",
    summary: "one loop over epoll, level-triggered",
    family: Family::Loop,
    stevens: &[],
    used_by: "Redis",
    workers: Workers::One,
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    listener.set_nonblocking()?;
    let admission = Admission::new(config);
    let clients =
        run(&listener, EpollFlags::EPOLLIN, admission, listener.stop(), || listener.listen())?;
    drop(listener);
    clients.drain();
    Ok(())
}

/// The loop. Calls `ready` when it has all it needs; ends when the server is to stop, and gives the
/// clients that are there then.
pub(super) fn run(
    arrivals: &impl Arrivals,
    arrivals_interest: EpollFlags,
    admission: Admission,
    stop: Stop,
    ready: impl FnOnce() -> io::Result<()>,
) -> io::Result<Clients> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(arrivals, EpollEvent::new(arrivals_interest, ARRIVALS))?;
    epoll.add(stop.fd(), EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
    let mut clients = Clients::new(admission);
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut scratch = [0; SCRATCH];
    ready()?;
    while !stop.requested() {
        let mut clients_wait = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                ARRIVALS => clients_wait = true,
                STOP => {}
                key => turn(&epoll, &mut clients, key as Key, &mut scratch)?,
            }
        }
        clients.give_up_overdue();
        if clients_wait {
            clients.accept(arrivals, |key, client| {
                epoll.add(client, EpollEvent::new(interest(client), key as u64))
            })?;
        }
    }
    Ok(clients)
}

/// A turn, after which the kernel is told if something else is to be waited for.
fn turn(epoll: &Epoll, clients: &mut Clients, key: Key, scratch: &mut [u8]) -> io::Result<()> {
    let before = clients.get(key).map(interest);
    // A socket that is closed leaves the list by itself.
    if clients.turn(key, scratch) != Turn::Over
        && let Some(client) = clients.get(key)
        && before != Some(interest(client))
    {
        epoll.modify(client, &mut EpollEvent::new(interest(client), key as u64))?;
    }
    Ok(())
}
