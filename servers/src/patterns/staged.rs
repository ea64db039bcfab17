//! # Staged event-driven architecture (SEDA)
//!
//! Request processing is split into stages with bounded queues in between: read (one thread),
//! answer (the worker threads) and write (one thread). A stage decides what to do when the next
//! queue is full. Here the read stage sheds load: each request that cannot be queued gets a busy
//! line at once. The answer stage waits for the write stage.
//!
//! In the paper, stages also have controllers that adjust thread pools and batch sizes at run time.
//! This server is a pipeline in the style of SEDA, without controllers.
//!
//! Used by: Cassandra, to process requests (its stages share threads, and Netty handles its client
//! connections).
//!
//! Good for: overload, which is visible as a growing queue and is shed there.
//!
//! Weakness: latency, because each stage passes the request to another thread, often on a CPU whose
//! cache does not have its data.
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
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, WorkerKind, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "staged",
    summary: "bounded queues between the stages read, answer and write, with load shedding",
    family: Family::Workers,
    stevens: &[],
    used_by: "Cassandra (to process requests)",
    workers: Workers::PerCore(WorkerKind::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Capacity of the queue before a stage, in connections. A queued connection has one batch of
/// requests.
const QUEUED: usize = 1024;

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shutdown = listener.shutdown();
    let (requests, next_requests) = bounded::<Job>(QUEUED);
    let (replies, next_replies) = bounded::<Job>(QUEUED);
    // Returns connections to the loop. Bounded by the number of connections.
    let returned = Mailbox::unbounded()?;
    let (_, clients) = thread::scope(|scope| {
        threads::start(scope, shutdown, || {
            for (key, mut connection) in next_replies {
                // The loop sees the error when it writes again.
                let _ = connection.write();
                let _ = returned.put((key, connection));
            }
        })?;
        // A stage ends when the previous stage has ended and its queue is empty.
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
                    let _ = returned.put((key, connection));
                }
            };
            run(&listener, config, dispatch, &returned)
        });
        drop(replies);
        answered
    })?;
    drop(listener);
    let not_received = std::iter::from_fn(|| returned.take()).map(|(_, connection)| connection);
    drain(clients.into_iter().chain(not_received));
    Ok(())
}
