//! # Preforked processes with descriptor passing
//!
//! The parent accepts and passes each connection over a Unix socket (SCM_RIGHTS, unix(7)) to an
//! idle child. The child serves the connection to its end, then writes one byte to report that it
//! is idle again. While no child is idle, the parent does not accept, and clients wait in the
//! accept queue.
//!
//! Used by: Postfix, from postscreen to smtpd; Node.js's cluster module, whose workers serve many
//! clients each.
//!
//! Good for: a parent that chooses the worker, by address or load, or that opens resources for
//! children without privileges.
//!
//! Weakness: the parent handles every connection. That takes about eight system calls in two
//! processes, where a shared accept takes one. If a child dies, a connection that was passed to it
//! but not received is lost.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 5.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::unistd::Pid;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::processes::WorkerProcesses;
use crate::processes::{Received, pass, receive};
use crate::shutdown::Shutdown;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "prefork-fdpass",
    summary: "one process accepts and passes connections to preforked ones",
    family: Family::Processes,
    stevens: &[5],
    used_by: "Postfix postscreen, Node.js cluster",
    workers: Workers::Pool(WorkerKind::Process, 64),
    capacity: Capacity::PerWorker,
    when_full: OverloadPolicy::Wait,
    backlog: 4096,
    serve,
};

/// A child, as the parent sees it.
struct Worker {
    pid: Pid,
    channel: UnixStream,
    is_idle: bool,
}

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.set_nonblocking()?;
    let mut children = WorkerProcesses::new(listener.shutdown())?;
    // The channels stay open until the children have exited, because a child writes to its channel
    // when it finishes.
    let mut workers = Vec::new();
    let served = dispatch(&listener, config, &mut children, &mut workers);
    children.shut_down(listener);
    served
}

fn dispatch(
    listener: &Listener,
    config: &Config,
    children: &mut WorkerProcesses,
    workers: &mut Vec<Worker>,
) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let mut pending: Option<TcpStream> = None;
    let mut is_listening = false;
    while !shutdown.is_requested() {
        for _ in 0..children.missing(config.workers)? {
            match spawn_worker(children, config, shutdown) {
                Ok(worker) => workers.push(worker),
                Err(_) => {
                    children.delay_restart();
                    break;
                }
            }
        }
        if !is_listening && workers.iter().filter(|worker| worker.is_idle).count() == config.workers
        {
            listener.listen()?;
            is_listening = true;
        }
        let any_idle = || workers.iter().any(|worker| worker.is_idle);
        let accepts = is_listening && pending.is_none() && any_idle();
        let channels = workers.iter().map(|worker| worker.channel.as_fd());
        let waited: Vec<BorrowedFd<'_>> =
            channels.chain(accepts.then_some(listener.as_fd())).collect();
        let ready = children.wait(&waited)?;

        let mut readable = ready.iter();
        workers.retain_mut(|worker| readable.next() != Some(&true) || worker.read_ready());
        let exited = children.reap();
        workers.retain(|worker| !exited.contains(&worker.pid));
        if accepts && readable.next() == Some(&true) {
            pending = listener.try_accept()?;
        }
        pending = pending.and_then(|client| pass_to_idle(client, workers));
    }
    if let Some(client) = pending {
        // The connection was accepted, but no child is idle.
        serve_connection(&client, config, shutdown);
    }
    Ok(())
}

/// Passes a connection to an idle child. Returns the connection if no child accepts it.
fn pass_to_idle(client: TcpStream, workers: &mut [Worker]) -> Option<TcpStream> {
    for worker in workers.iter_mut().filter(|worker| worker.is_idle) {
        // If passing fails, the child is about to exit.
        worker.is_idle = false;
        if pass(&worker.channel, &client).is_ok() {
            return None;
        }
    }
    Some(client)
}

fn spawn_worker(
    children: &mut WorkerProcesses,
    config: &Config,
    shutdown: Shutdown,
) -> io::Result<Worker> {
    let (channel, child_end) = UnixStream::pair()?;
    channel.set_nonblocking(true)?;
    let pid = children.fork(&[child_end.as_raw_fd()], || work(&child_end, config, shutdown))?;
    // The child reports when it is idle.
    Ok(Worker { pid, channel, is_idle: false })
}

impl Worker {
    /// Reads the child's report that it is idle. Returns whether the child is alive.
    fn read_ready(&mut self) -> bool {
        match self.channel.read(&mut [0]) {
            Ok(0) => false,
            Ok(_) => {
                self.is_idle = true;
                true
            }
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

/// Runs the child: receives and serves connections.
fn work(mut channel: &UnixStream, config: &Config, shutdown: Shutdown) -> io::Result<()> {
    // The signal may shut the channel down, because no other child uses it. Connections that were
    // passed before are still delivered.
    let _registration = shutdown.register(channel);
    loop {
        // Reports that this child is idle.
        channel.write_all(&[0])?;
        match receive(channel)? {
            Received::Client(client) => serve_connection(&client, config, shutdown),
            Received::Lost => {}
            Received::End => return Ok(()),
        }
    }
}
