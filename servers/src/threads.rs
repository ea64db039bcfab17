//! A fixed set of threads that serve together and end together.

use std::io;
use std::panic;
use std::thread::{self, Scope, ScopedJoinHandle};

use crate::stop::Stop;

/// Starts a thread beside others of a server. Where the kernel refuses it, the server is asked to
/// stop: the others would wait for what it should have done.
///
/// # Errors
/// The kernel refuses a thread.
pub fn start<'s, T: Send + 's>(
    scope: &'s Scope<'s, '_>,
    stop: Stop,
    work: impl FnOnce() -> T + Send + 's,
) -> io::Result<ScopedJoinHandle<'s, T>> {
    thread::Builder::new().spawn_scoped(scope, work).inspect_err(|_| stop.request())
}

/// Does each job in a thread of its own and returns, when all have ended, what they gave. One that
/// fails asks the server to stop, and so does a thread that the kernel refuses: a server does not
/// go on with less than it was told to have.
///
/// # Errors
/// The first job's that failed.
pub fn each<J: Send, T: Send>(
    jobs: impl IntoIterator<Item = J>,
    stop: Stop,
    work: impl Fn(J) -> io::Result<T> + Sync,
) -> io::Result<Vec<T>> {
    let work = |job| {
        let _others = StopOnPanic(stop);
        work(job).inspect_err(|_| stop.request())
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            jobs.into_iter().map(|job| start(scope, stop, || work(job))).collect();
        threads
            .into_iter()
            .map(|thread| thread?.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    })
}

/// A thread that panics does no more of its part either.
struct StopOnPanic(Stop);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
        }
    }
}
