//! # Staged event-driven architecture (SEDA)
//!
//! The way of a request is cut into stages, and between them are queues of bounded length: here
//! read, with one thread, answer, with as many as there are workers, and write, with one. A stage that finds the next queue full
//! decides what that means: here the reader sheds, so that each request that cannot be queued is
//! answered at once that the server is busy, and the answerers wait for the writer.
//!
//! The paper's stages have controllers too, which size the pools and the batches as they run;
//! without those this is a pipeline in the style of SEDA.
//!
//! Used by: Cassandra.
//!
//! Good for: overload: it shows in one queue that grows, and is shed there rather than everywhere.
//!
//! Breaks: on latency: each stage is a change of thread and of cache.
//!
//! Source: Welsh, Culler, Brewer, *SEDA: An Architecture for Well-Conditioned, Scalable Internet
//! Services*, SOSP 2001, doi:10.1145/502059.502057.

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
    summary: "bounded queues between reading, answering and writing; what does not fit is shed",
    family: Family::Workers,
    stevens: &[],
    used_by: "Cassandra",
    workers: Workers::PerCore(Unit::Thread),
    capacity: Capacity::BY_DESCRIPTORS,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

/// Connections in the queue before a stage; a client has one batch of requests under way at a time.
const QUEUED: usize = 1024;

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let shutdown = listener.shutdown();
    let (requests, next_requests) = bounded::<Job>(QUEUED);
    let (replies, next_replies) = bounded::<Job>(QUEUED);
    // Back to where they are waited for. Bounded by the number of clients.
    let written = Mailbox::unbounded()?;
    let (_, clients) = thread::scope(|scope| {
        threads::start(scope, shutdown, || {
            for (key, mut connection) in next_replies {
                // What became of it is seen when it is back.
                let _ = connection.write();
                let _ = written.put((key, connection));
            }
        })?;
        // Each stage ends when nothing is left for it and the stage before it has ended.
        let work = |_, ready: Ready<'_>| {
            ready.say()?;
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
