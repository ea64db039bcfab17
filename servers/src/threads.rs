//! A fixed set of threads that serve together and end together.

use std::io;
use std::panic;
use std::thread;

use crate::stop::Stop;

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
    let work = |job| work(job).inspect_err(|_| stop.request());
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let thread = thread::Builder::new().spawn_scoped(scope, || work(job));
                thread.inspect_err(|_| stop.request())
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread?.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect()
    })
}
