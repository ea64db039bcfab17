//! The shutdown request, as the server sees it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::dup3_raw;

use super::signal_safe::{exit_with_error, shutdown_read};
use super::{handler, registry};

/// Whether the server has requested the shutdown itself.
static SELF_REQUESTED: AtomicBool = AtomicBool::new(false);

/// The shutdown request of this process.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown(&'static OwnedFd);

impl Shutdown {
    /// Installs the handlers of SIGTERM and SIGINT. Further calls return the same request.
    ///
    /// # Errors
    /// No descriptor is left, or sigaction(2) fails.
    pub fn install() -> io::Result<Shutdown> {
        static INSTALLED: OnceLock<OwnedFd> = OnceLock::new();
        if let Some(event) = INSTALLED.get() {
            return Ok(Shutdown(event));
        }
        let event: OwnedFd =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into();
        // If two threads race, one eventfd is dropped: the handler must get the one that stays.
        let event = INSTALLED.get_or_init(|| event);
        handler::install(event.as_raw_fd())?;
        Ok(Shutdown(event))
    }

    /// Discards the parent's request and registered sockets, and installs the child's handlers.
    /// Call it first in the child. Block [`signals`](Self::signals) before the fork, so that no
    /// signal is handled with the parent's state.
    ///
    /// # Errors
    /// No descriptor is left, or sigaction(2) fails.
    pub(crate) fn reset_in_child(self) -> io::Result<()> {
        handler::reset_in_child();
        SELF_REQUESTED.store(false, SeqCst);
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        replace_descriptor(&event, self.0.as_raw_fd())?;
        handler::install_in_child()
    }

    /// Returns SIGTERM and SIGINT, which start a drain, and SIGALRM, the drain timer.
    pub(crate) fn signals() -> SigSet {
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM])
    }

    /// Prints `message` and exits with code 1, as after a drain timeout, because replies may be
    /// lost.
    pub(crate) fn abort(self, message: &'static str) -> ! {
        exit_with_error(message.as_bytes())
    }

    /// Requests the shutdown from inside the server, with the effect of the first signal.
    pub fn request(self) {
        // At most once: a second signal would terminate the process.
        if !self.is_requested() && !SELF_REQUESTED.swap(true, SeqCst) {
            // raise(3) fails only for invalid signal numbers.
            let _ = raise(Signal::SIGTERM);
        }
    }

    /// Returns whether the shutdown is requested.
    pub fn is_requested(self) -> bool {
        handler::is_requested()
    }

    /// Runs a blocking wait during which there is nothing to drain. Returns `None`, without
    /// waiting, if the shutdown is already requested.
    ///
    /// In a child process, a signal during the wait exits the process with code 0. In other
    /// processes, the signal does not end the wait.
    pub(crate) fn wait_with_nothing_to_drain<T>(self, wait: impl FnOnce() -> T) -> Option<T> {
        handler::set_nothing_to_drain(true);
        // If the handler ran before the flag was set, the process has not exited.
        let waited = (!self.is_requested()).then(wait);
        handler::set_nothing_to_drain(false);
        waited
    }

    /// Returns a descriptor that becomes readable at the shutdown request and stays readable.
    pub fn fd(self) -> BorrowedFd<'static> {
        self.0.as_fd()
    }

    /// Registers a socket until [`deregister`](Self::deregister): the shutdown signal unblocks
    /// calls on it in all threads. Registering a socket again has no effect.
    pub(crate) fn register_without_guard(self, socket: &impl AsFd) {
        let fd = socket.as_fd().as_raw_fd();
        registry::insert(fd);
        // The handler may have run just before the socket was registered.
        if self.is_requested() {
            shutdown_read(fd);
        }
    }

    /// Removes a socket from the registry. Call it before the socket is closed.
    pub(crate) fn deregister(self, socket: &impl AsFd) {
        registry::remove(socket.as_fd().as_raw_fd());
    }

    /// Registers a socket as long as the guard lives: the shutdown signal unblocks calls on it.
    pub fn register<'s>(self, socket: &'s impl AsFd) -> Registration<'s> {
        self.register_without_guard(socket);
        Registration(socket.as_fd())
    }
}

/// Guard of a socket that the shutdown signal shuts down for reading. The guard borrows the socket,
/// so the socket is deregistered before its descriptor can be closed.
#[derive(Debug)]
pub struct Registration<'s>(BorrowedFd<'s>);

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        registry::remove(self.0.as_raw_fd());
    }
}

/// Makes the descriptor `number` refer to `event`.
#[allow(unsafe_code, reason = "a descriptor is replaced under its number")]
fn replace_descriptor(event: &EventFd, number: RawFd) -> io::Result<()> {
    // SAFETY: `number` is the eventfd of `Shutdown`, which stays open and owned. In a child it now
    // refers to the child's eventfd.
    let replaced = unsafe { dup3_raw(event, number, nix::fcntl::OFlag::O_CLOEXEC) }?;
    // `Shutdown` already owns the number.
    let _ = replaced.into_raw_fd();
    Ok(())
}
