//! # Thread pool with a bounded queue
//!
//! One thread accepts and puts clients into a queue; a fixed set of threads take them out, each
//! serving a client to its end. The queue is in the server and has a bound, so that the server
//! knows who waits, and says so to whoever finds it full.
//!
//! Used by: Apache's worker MPM.
//!
//! Good for: short conversations: a bounded number of threads, a queue that can be measured.
//!
//! Breaks: when clients stay. A thread belongs to its client to the end, so as many idle clients
//! as threads stop the rest, who wait although nothing is being done.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 8.

use std::io;
use std::net::TcpStream;
use std::thread;

use crossbeam_channel::{Sender, bounded};

use crate::blocking::converse;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::Lingerer;
use crate::pattern::{Capacity, Family, Pattern, Unit, WhenFull, Workers};
use crate::sockets::Listener;
use crate::sockets::{Place, Places};

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-pool",
    summary: "one thread accepts into a bounded queue, a pool of threads serves",
    family: Family::Threads,
    stevens: &[8],
    used_by: "Apache (worker MPM)",
    workers: Workers::Pool(Unit::Thread, 64),
    capacity: Capacity::PerWorkerAndQueue(64),
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let stop = listener.stop();
    let lingerer = Lingerer::new()?;
    let (queue, clients) = bounded::<(Place, TcpStream)>(config.max_connections);
    thread::scope(|scope| {
        lingerer.start(scope, stop)?;
        // They end when the queue is empty and the acceptor, which fills it, has ended.
        let work = |_, ready: Ready<'_>| {
            ready.say()?;
            for (place, client) in &clients {
                converse(&client, config, stop);
                // In this order the place is free by the time that the client sees the end.
                drop(place);
                drop(client);
            }
            Ok(())
        };
        threads::each(0..config.workers, stop, work, || {
            accept_all(&listener, config, queue, &lingerer)
        })?;
        Ok(())
    })
}

fn accept_all(
    listener: &Listener,
    config: &Config,
    queue: Sender<(Place, TcpStream)>,
    lingerer: &Lingerer,
) -> io::Result<()> {
    let places = Places::new(config.max_connections);
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        match places.take() {
            // It never blocks: the queue has room for everyone who has a place.
            Some(place) => drop(queue.send((place, client))),
            None => lingerer.refuse(client),
        }
    }
    Ok(())
}
