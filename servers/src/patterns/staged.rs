//! # Staged event-driven architecture (SEDA)
//!
//! Request processing is split into stages with bounded queues in between: read (one thread),
//! answer (the worker threads) and write (one thread). A stage decides what to do when the next
//! queue is full. Here the reader sheds load: each request that cannot be queued gets a busy reply
//! at once. The answering stage waits for the writer.
//!
//! The stages of the paper also have controllers that size their thread pools and batches at run
//! time. Without those, this is a pipeline in the style of SEDA.
//!
//! Used by: Cassandra, inside the server (its stages share threads, and its client connections are
//! Netty's).
//!
//! Good for: overload: it shows in one growing queue and is shed there.
//!
//! Breaks: on latency, because each stage is a switch of thread and cache.
//!
//! Source: Welsh, Culler, Brewer, *SEDA: An Architecture for Well-Conditioned, Scalable Internet
//! Services*, SOSP 2001, doi:10.1145/502034.502057.

use std::io;
use std::thread;

use crossbeam_channel::{TrySendError, bounded};

use super::half_sync_half_async::{Job, run};
use crate::blocking::threads::{self, Ready};
use crate::config::Config;
use crate::event_loop::Mailbox;
use crate::event_loop::drain;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Unit, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "staged",
    summary: "bounded queues between the stages read, answer and write, with load shedding",
    family: Family::Workers,
    stevens: &[],
    used_by: "Cassandra (inside the server)",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Capacity of the queue before a stage, in connections; each has one batch of requests in flight.
const QUEUED: usize = 1024;

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shutdown = listener.shutdown();
    let (requests, next_requests) = bounded::<Job>(QUEUED);
    let (replies, next_replies) = bounded::<Job>(QUEUED);
    // Back to the loop. Bounded by the number of connections.
    let written = Mailbox::unbounded()?;
    let (_, clients) = thread::scope(|scope| {
        threads::start(scope, shutdown, || {
            for (key, mut connection) in next_replies {
                // The loop sees the error when it advances the connection again.
                let _ = connection.write();
                let _ = written.put((key, connection));
            }
        })?;
        // Each stage ends when its queue is empty and the previous stage has ended.
        let work = |_, ready: Ready<'_>| {
            ready.report()?;
            for (key, mut connection) in &next_requests {
                connection.answer();
                let _ = replies.send((key, connection));
            }
            Ok(())
        };
        let answered = threads::each(0..config.workers, shutdown, work, || {
            let requests = requests;
            let dispatch = |job| {
                if let Err(TrySendError::Full((key, mut connection))) = requests.try_send(job) {
                    connection.shed();
                    let _ = written.put((key, connection));
                }
            };
            run(&listener, config, dispatch, &written)
        });
        drop(replies);
        answered
    })?;
    drop(listener);
    let late = std::iter::from_fn(|| written.take()).map(|(_, connection)| connection);
    drain(clients.into_iter().chain(late));
    Ok(())
}
