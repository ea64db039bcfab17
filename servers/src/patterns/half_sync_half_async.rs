//! # Half-Sync/Half-Async
//!
//! An event loop, the asynchronous half, reads from all clients; what is to be answered goes into a
//! queue, from which a pool of threads, the synchronous half, takes and answers it with plain
//! blocking code. Answers go back to the loop, which writes them.
//!
//! The pool holds a request and not a client, as a [`thread_pool`](super::thread_pool) does: idle
//! clients cost no thread. While a client's request is in the pool nothing more is read from that
//! client, so replies stay in order, the loop and the pool never hold the same client, and the
//! queue cannot be longer than there are clients: it is full when there is no place for another
//! client, and that one is told so at the door.
//!
//! Requests for whose replies there was no room are answered where the room is made, in the loop.
//!
//! Used by: Apache's event MPM; Tomcat's NIO connector.
//!
//! Good for: answers that take long or block, behind many idle clients.
//!
//! Breaks: with short answers, for which two changes of thread are most of the cost.
//!
//! Source: Schmidt, Cranor, *Half-Sync/Half-Async*, PLoP 1995.

use std::io;

use crossbeam_channel::unbounded;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};

use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::Inbox;
use crate::event_loop::{ARRIVALS, EVENTS, STOP, armed, wait};
use crate::event_loop::{Admission, Clients, Key, drain};
use crate::event_loop::{Connection, SCRATCH, Turn};
use crate::pattern::{Capacity, Family, Pattern, Unit, WhenFull, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "half-sync-half-async",
    summary: "a loop reads and writes, a pool of threads answers",
    family: Family::Workers,
    stevens: &[],
    used_by: "Apache (event MPM), Tomcat (NIO)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let stop = listener.stop();
    // Bounded by the number of clients: each is in one place at a time.
    let (ask, questions) = unbounded::<Job>();
    let answers = Inbox::unbounded()?;
    // They end when nothing is left to answer and the loop, which asks, has ended.
    let work = |_, ready: Ready<'_>| {
        ready.say()?;
        for (key, mut connection) in &questions {
            connection.answer();
            let _ = answers.put((key, connection));
        }
        Ok(())
    };
    let listener = listener.with_nonblocking_clients();
    let (_, clients) = threads::each(0..config.workers, stop, work, || {
        let ask = ask;
        run(&listener, config, |job| drop(ask.send(job)), &answers)
    })?;
    drop(listener);
    let answered = std::iter::from_fn(|| answers.take()).map(|(_, connection)| connection);
    drain(clients.into_iter().chain(answered));
    Ok(())
}

/// A client on its way, and what the loop knows it by.
pub(super) type Job = (Key, Connection);

/// The key of the event that clients have come back.
const BACK: u64 = u64::MAX - 2;

/// The loop: reads, passes on whoever asks something, and writes when they are `back`. Ends when
/// the server is to stop, and gives the clients that are not on their way.
pub(super) fn run(
    listener: &Listener,
    config: &Config,
    pass_on: impl Fn(Job),
    back: &Inbox<Job>,
) -> io::Result<Clients> {
    listener.set_nonblocking()?;
    let stop = listener.stop();
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener, EpollEvent::new(EpollFlags::EPOLLIN, ARRIVALS))?;
    epoll.add(stop.fd(), EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
    epoll.add(back, EpollEvent::new(EpollFlags::EPOLLIN, BACK))?;
    let mut clients = Clients::new(Admission::new(config));
    let mut events = [EpollEvent::empty(); EVENTS];
    let mut scratch = [0; SCRATCH];
    listener.listen()?;
    while !stop.requested() {
        let mut clients_wait = false;
        for event in wait(&epoll, &mut events, clients.timeout())? {
            match event.data() {
                STOP => {}
                ARRIVALS => clients_wait = true,
                BACK => {
                    while let Some(job) = back.take() {
                        write(&epoll, &mut clients, job)?;
                    }
                }
                // The event has disarmed it, so nothing more is told of it while it is away.
                key => {
                    let Some(mut connection) = clients.take(key as Key) else { continue };
                    match connection.take_in(&mut scratch) {
                        Ok(()) if connection.has_questions() => pass_on((key as Key, connection)),
                        Ok(()) => write(&epoll, &mut clients, (key as Key, connection))?,
                        Err(_) => clients.remove(key as Key),
                    }
                }
            }
        }
        clients.give_up_overdue();
        if clients_wait {
            clients.accept(listener, |key, client| epoll.add(client, armed(key, client)))?;
        }
    }
    Ok(clients)
}

/// Ends a turn, and waits for the client again.
fn write(epoll: &Epoll, clients: &mut Clients, (key, mut connection): Job) -> io::Result<()> {
    if connection.write() == Turn::Over {
        // Dropped before its key is another's.
        drop(connection);
        clients.remove(key);
        return Ok(());
    }
    let connection = clients.put(key, connection);
    epoll.modify(connection, &mut armed(key, connection))?;
    Ok(())
}
