//! # Preforked processes that are passed their clients
//!
//! The parent accepts, and passes the client's socket over a Unix socket (SCM_RIGHTS) to a child
//! that is free. The child serves it to its end and writes back a byte: it is free again. When no
//! child is free the parent does not accept, and clients wait in the backlog.
//!
//! Used by: Node.js's cluster module, whose workers serve many clients each.
//!
//! Good for: a parent that decides who serves whom, by address or by load, or that alone may open
//! what children without privileges work on.
//!
//! Breaks: the parent is in every client's way, with some eight system calls in two processes where
//! a shared accept takes one; and a child that dies may take a client with it that it never saw.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 5.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::unistd::Pid;

use crate::blocking::converse;
use crate::config::Config;
use crate::pattern::{Capacity, Family, Pattern, Unit, WhenFull, Workers};
use crate::processes::Children;
use crate::processes::{Passed, pass, receive};
use crate::shutdown::Stop;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-fdpass",
    summary: "a process accepts and passes clients to others",
    family: Family::Processes,
    stevens: &[5],
    used_by: "Node.js cluster",
    workers: Workers::Pool(Unit::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: WhenFull::Wait,
    backlog: 4096,
    serve,
};

/// A child, as the parent sees it.
struct Worker {
    pid: Pid,
    channel: UnixStream,
    is_free: bool,
}

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let mut children = Children::new(listener.stop())?;
    // Open until the children have ended: they tell it when they are done.
    let mut workers = Vec::new();
    let dealt = deal(&listener, config, &mut children, &mut workers);
    children.end(listener);
    dealt
}

fn deal(
    listener: &Listener,
    config: &Config,
    children: &mut Children,
    workers: &mut Vec<Worker>,
) -> io::Result<()> {
    let stop = listener.stop();
    let mut in_hand: Option<TcpStream> = None;
    let mut listens = false;
    while !stop.requested() {
        for _ in 0..children.missing(config.workers)? {
            match hire(children, config, stop) {
                Ok(worker) => workers.push(worker),
                Err(_) => {
                    children.put_off();
                    break;
                }
            }
        }
        if !listens && workers.iter().filter(|worker| worker.is_free).count() == config.workers {
            listener.listen()?;
            listens = true;
        }
        let any_free = || workers.iter().any(|worker| worker.is_free);
        let accepts = listens && in_hand.is_none() && any_free();
        let channels = workers.iter().map(|worker| worker.channel.as_fd());
        let waited: Vec<BorrowedFd<'_>> =
            channels.chain(accepts.then_some(listener.as_fd())).collect();
        let ready = children.wait(&waited)?;

        let mut heard = ready.iter();
        workers.retain_mut(|worker| heard.next() != Some(&true) || worker.hear());
        let ended = children.reap();
        workers.retain(|worker| !ended.contains(&worker.pid));
        if accepts && heard.next() == Some(&true) {
            in_hand = listener.try_accept()?;
        }
        in_hand = in_hand.and_then(|client| hand_over(client, workers));
    }
    if let Some(client) = in_hand {
        // It was accepted, and there was nobody left to serve it.
        converse(&client, config, stop);
    }
    Ok(())
}

/// Passes a client to the first that takes it; gives it back if none does.
fn hand_over(client: TcpStream, workers: &mut [Worker]) -> Option<TcpStream> {
    for worker in workers.iter_mut().filter(|worker| worker.is_free) {
        // If it does not take this one, it is about to end.
        worker.is_free = false;
        if pass(&worker.channel, &client).is_ok() {
            return None;
        }
    }
    Some(client)
}

fn hire(children: &mut Children, config: &Config, stop: Stop) -> io::Result<Worker> {
    let (channel, childs) = UnixStream::pair()?;
    channel.set_nonblocking(true)?;
    let pid = children.fork(&[childs.as_raw_fd()], || work(&childs, config, stop))?;
    // It says so when it is.
    Ok(Worker { pid, channel, is_free: false })
}

impl Worker {
    /// Whether it goes on, having said that it is free.
    fn hear(&mut self) -> bool {
        match self.channel.read(&mut [0]) {
            Ok(0) => false,
            Ok(_) => {
                self.is_free = true;
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// What a child does.
fn work(mut channel: &UnixStream, config: &Config, stop: Stop) -> io::Result<()> {
    // It is this child's alone, and may be shut; clients passed before that still come.
    let _enrolled = stop.enroll(channel);
    loop {
        // It is free.
        channel.write_all(&[0])?;
        match receive(channel)? {
            Passed::Client(client) => converse(&client, config, stop),
            Passed::Lost => {}
            Passed::End => return Ok(()),
        }
    }
}
