//! A fixed set of threads that serve together and end together.

use std::convert::Infallible;
use std::io;
use std::panic;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::shutdown::Shutdown;

/// Starts a thread beside others of a server. Where the kernel refuses it, the server is asked to
/// stop: the others would wait for what it should have done.
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

/// Does each job in a thread of its own, and `lead` in this one, which begins when all threads have
/// said that they are [`Ready`]. Returns, when all have ended, what they gave. One that fails asks
/// the server to stop, and so does a thread that the kernel refuses: a server does not go on with
/// less than it was told to have, and does not begin to listen with less.
///
/// # Errors
/// The first job's that failed, or else that of `lead`.
pub fn each<J: Send, T: Send, L>(
    jobs: impl IntoIterator<Item = J>,
    shutdown: Shutdown,
    work: impl Fn(J, Ready<'_>) -> io::Result<T> + Sync,
    lead: impl FnOnce() -> io::Result<L>,
) -> io::Result<(Vec<T>, L)> {
    let (said, ready) = unbounded();
    let (led, go) = bounded(0);
    let go = &go;
    let work = |job, ready| {
        let _others = ShutdownOnPanic(shutdown);
        work(job, ready).inspect_err(|_| shutdown.request())
    };
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = jobs
            .into_iter()
            .map(|job| {
                let ready = Ready { said: said.clone(), go };
                start(scope, shutdown, move || work(job, ready))
            })
            .collect();
        drop(said);
        // Until each has said so, or can no more.
        let are_all_ready = ready.iter().count() == threads.len();
        let lead = are_all_ready.then(|| lead().inspect_err(|_| shutdown.request()));
        drop(led);
        let done: io::Result<Vec<T>> = threads
            .into_iter()
            .map(|thread| thread?.join().unwrap_or_else(|panic| panic::resume_unwind(panic)))
            .collect();
        let never_ready = || Err(io::Error::other("a thread ended before it was ready"));
        Ok((done?, lead.unwrap_or_else(never_ready)?))
    })
}

/// By which a thread says that it has all it needs in order to serve.
#[derive(Debug)]
pub struct Ready<'g> {
    said: Sender<()>,
    go: &'g Receiver<Infallible>,
}

impl Ready<'_> {
    /// Says so. A result, as that of a loop which listens by itself.
    ///
    /// # Errors
    /// None: it is waited for.
    pub fn say(self) -> io::Result<()> {
        let _ = self.said.send(());
        Ok(())
    }

    /// Says so, and waits until all others have and the server listens, or is to end.
    ///
    /// # Errors
    /// None, as for [`say`](Self::say).
    pub fn wait(self) -> io::Result<()> {
        let go = self.go;
        self.say()?;
        // Nothing ever comes: the other side is dropped.
        let _ = go.recv();
        Ok(())
    }
}

/// A thread that panics does no more of its part either.
struct ShutdownOnPanic(Shutdown);

impl Drop for ShutdownOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.request();
        }
    }
}
