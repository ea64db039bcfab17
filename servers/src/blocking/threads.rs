//! A fixed set of threads that start and end together.

use std::convert::Infallible;
use std::io;
use std::panic;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::shutdown::Shutdown;

/// Starts a thread of a server. If the kernel refuses it, requests the shutdown: other threads may
/// wait for its work.
///
/// # Errors
/// The kernel refuses a thread.
pub fn start<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    shutdown: Shutdown,
    work: impl FnOnce() -> T + Send + 's,
) -> io::Result<ScopedJoinHandle<'s, T>> {
    thread::Builder::new().spawn_scoped(scope, work).inspect_err(|_| shutdown.request())
}

/// Runs each job in its own thread, and `lead` in this one once all threads are [`Ready`]. Returns
/// their results when all have ended. A job that fails, and a thread that the kernel refuses,
/// request the shutdown: a server neither starts nor continues with fewer threads than configured.
///
/// # Errors
/// The first error of a job, otherwise that of `lead`.
pub fn each<J: Send, T: Send, L>(
    jobs: impl IntoIterator<Item = J>,
    shutdown: Shutdown,
    work: impl Fn(J, Ready<'_>) -> io::Result<T> + Sync,
    lead: impl FnOnce() -> io::Result<L>,
) -> io::Result<(Vec<T>, L)> {
    let (reports, ready) = unbounded();
    let (started, start_signal) = bounded(0);
    let start_signal = &start_signal;
    let work = |job, ready| {
        let _others = ShutdownOnPanic(shutdown);
        work(job, ready).inspect_err(|_| shutdown.request())
    };
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let ready = Ready { reports: reports.clone(), start_signal };
                start(scope, shutdown, move || work(job, ready))
            })
            .collect();
        drop(reports);
        // Until each thread has reported or ended.
        let are_all_ready = ready.iter().count() == threads.len();
        let lead = are_all_ready.then(|| lead().inspect_err(|_| shutdown.request()));
        drop(started);
        let done: io::Result<Vec<T>> = threads
            .into_iter()
            .map(|thread| thread?.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect();
        let never_ready = || Err(io::Error::other("a thread ended before it was ready"));
        Ok((done?, lead.unwrap_or_else(never_ready)?))
    })
}

/// The handle with which a thread reports that it is ready to serve.
#[derive(Debug)]
pub struct Ready<'g> {
    reports: Sender<()>,
    start_signal: &'g Receiver<Infallible>,
}

impl Ready<'_> {
    /// Reports that the thread is ready. Returns a result to fit the callback of a loop that calls
    /// `listen` itself.
    ///
    /// # Errors
    /// None.
    pub fn report(self) -> io::Result<()> {
        let _ = self.reports.send(());
        Ok(())
    }

    /// Reports that the thread is ready, and waits until all threads are ready and the server
    /// listens, or shuts down.
    ///
    /// # Errors
    /// None.
    pub fn wait(self) -> io::Result<()> {
        let start_signal = self.start_signal;
        self.report()?;
        // No message is ever sent: the sender is dropped.
        let _ = start_signal.recv();
        Ok(())
    }
}

/// Requests the shutdown when its thread panics.
struct ShutdownOnPanic(Shutdown);

impl Drop for ShutdownOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
        }
    }
}
