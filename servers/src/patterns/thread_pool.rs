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

use crate::blocking::serve_connection;
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;
use crate::sockets::{ConnectionLimit, Permit};

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-pool",
    summary: "one thread accepts into a bounded queue, a pool of threads serves",
    family: Family::Threads,
    stevens: &[8],
    used_by: "Apache (worker MPM)",
    workers: Workers::Pool(Unit::Thread, 64),
    capacity: Capacity::PerWorkerAndQueue(64),
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let lingering_close = LingeringClose::new()?;
    let (queue, clients) = bounded::<(Permit, TcpStream)>(config.max_connections);
    thread::scope(|scope| {
        lingering_close.start(scope, shutdown)?;
        // They end when the queue is empty and the acceptor, which fills it, has ended.
        let work = |_, ready: Ready<'_>| {
            ready.say()?;
            for (permit, client) in &clients {
                serve_connection(&client, config, shutdown);
                // In this order the place is free by the time that the client sees the end.
                drop(permit);
                drop(client);
            }
            Ok(())
        };
        threads::each(0..config.workers, shutdown, work, || {
            accept_all(&listener, config, queue, &lingering_close)
        })?;
        Ok(())
    })
}

fn accept_all(
    listener: &Listener,
    config: &Config,
    queue: Sender<(Permit, TcpStream)>,
    lingering_close: &LingeringClose,
) -> io::Result<()> {
    let limit = ConnectionLimit::new(config.max_connections);
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        match limit.try_acquire() {
            // It never blocks: the queue has room for everyone who has a place.
            Some(permit) => drop(queue.send((permit, client))),
            None => lingering_close.refuse(client),
        }
    }
    Ok(())
}
