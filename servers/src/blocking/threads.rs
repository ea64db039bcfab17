//! A fixed set of threads that start and end together.

use std::convert::Infallible;
use std::io;
use std::panic;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::shutdown::Shutdown;

/// Starts a thread of a server. If the thread cannot be created, requests the shutdown, because
/// other threads may wait for its work.
///
/// # Errors
/// The thread cannot be created.
pub fn start<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    shutdown: Shutdown,
    work: impl FnOnce() -> T + Send + 's,
) -> io::Result<ScopedJoinHandle<'s, T>> {
    thread::Builder::new().spawn_scoped(scope, work).inspect_err(|_| shutdown.request())
}

/// Runs each job in a thread, and `on_ready` in the calling thread once all threads are [`Ready`].
/// Returns the results when all threads have ended.
///
/// If a job fails or a thread cannot be created, requests the shutdown: a server neither starts nor
/// continues with fewer threads than configured.
///
/// # Errors
/// The first error of a job, otherwise the error of `on_ready`.
pub fn each<J: Send, T: Send, L>(
    jobs: impl IntoIterator<Item = J>,
    shutdown: Shutdown,
    work: impl Fn(J, Ready<'_>) -> io::Result<T> + Sync,
    on_ready: impl FnOnce() -> io::Result<L>,
) -> io::Result<(Vec<T>, L)> {
    let (reports, ready) = unbounded();
    let (started, start_signal) = bounded(0);
    let start_signal = &start_signal;
    let work = |job, ready| {
        let _guard = ShutdownOnPanic(shutdown);
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
        // `count` blocks until each thread has reported or dropped its sender.
        let are_all_ready = ready.iter().count() == threads.len();
        let result = are_all_ready.then(|| on_ready().inspect_err(|_| shutdown.request()));
        drop(started);
        let done: io::Result<Vec<T>> = threads
            .into_iter()
            .map(|thread| thread?.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect();
        let never_ready = || Err(io::Error::other("a thread ended before it was ready"));
        Ok((done?, result.unwrap_or_else(never_ready)?))
    })
}

/// Handle with which a thread reports that it is ready to serve.
#[derive(Debug)]
pub struct Ready<'g> {
    reports: Sender<()>,
    start_signal: &'g Receiver<Infallible>,
}

impl Ready<'_> {
    /// Reports that the thread is ready. The type fits the `ready` callback of an event loop.
    ///
    /// # Errors
    /// Never fails.
    pub fn report(self) -> io::Result<()> {
        let _ = self.reports.send(());
        Ok(())
    }

    /// Reports that the thread is ready, and waits until `on_ready` of [`each`] has returned. That
    /// is when the server listens, or could not start.
    ///
    /// # Errors
    /// Never fails.
    pub fn wait(self) -> io::Result<()> {
        let start_signal = self.start_signal;
        self.report()?;
        // No message is sent: `recv` returns when the sender is dropped.
        let _ = start_signal.recv();
        Ok(())
    }
}

/// Requests the shutdown when it is dropped by a panic.
struct ShutdownOnPanic(Shutdown);

impl Drop for ShutdownOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
        }
    }
}
