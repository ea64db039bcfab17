//! The shutdown request, as the server sees it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::dup3_raw;

use super::signal_safe::{exit_with_error, shut_for_reading};
use super::{handler, registry};

/// Set once the server has requested its own shutdown.
static SELF_REQUESTED: AtomicBool = AtomicBool::new(false);

/// The shutdown request of this process.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown(&'static OwnedFd);

impl Shutdown {
    /// Installs the handlers of SIGTERM and SIGINT. Further calls change nothing.
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

    /// Gives a child process a shutdown request of its own. A child calls it first, with
    /// [`signals`](Self::signals) blocked since before the fork: the parent's request and registered
    /// sockets are not the child's.
    ///
    /// # Errors
    /// No descriptor is left, or sigaction(2) fails.
    pub(crate) fn reset_in_child(self) -> io::Result<()> {
        handler::reset_in_child();
        SELF_REQUESTED.store(false, SeqCst);
        let own = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        replace_descriptor(&own, self.0.as_raw_fd())?;
        handler::install_in_child()
    }

    /// Returns the signals that start a drain, and that of the drain timer.
    pub(crate) fn signals() -> SigSet {
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM])
    }

    /// Exits with code 1, as after a drain that timed out: replies were lost.
    pub(crate) fn abort(self, message: &'static str) -> ! {
        exit_with_error(message.as_bytes())
    }

    /// Requests the shutdown from inside the server, as the first signal does.
    pub fn request(self) {
        // Once: a second signal would terminate the process.
        if !self.is_requested() && !SELF_REQUESTED.swap(true, SeqCst) {
            // raise(3) fails only for invalid signal numbers.
            let _ = raise(Signal::SIGTERM);
        }
    }

    /// Returns whether the first signal has arrived.
    pub fn is_requested(self) -> bool {
        handler::is_requested()
    }

    /// Runs a wait that no signal interrupts. Returns `None` if the shutdown is already requested.
    ///
    /// A signal that arrives during the wait exits a child process at once with code 0; it has one
    /// thread, which has nothing to drain. In other processes the signal does not end the wait.
    pub(crate) fn exit_at_once_during<T>(self, wait: impl FnOnce() -> T) -> Option<T> {
        handler::set_nothing_to_drain(true);
        // The handler may have run just before the flag was set.
        let waited = (!self.is_requested()).then(wait);
        handler::set_nothing_to_drain(false);
        waited
    }

    /// Returns the descriptor that is readable once the shutdown is requested, and stays readable.
    pub fn fd(self) -> BorrowedFd<'static> {
        self.0.as_fd()
    }

    /// Lets the signal end calls that block on this socket, in any thread, until
    /// [`deregister`](Self::deregister). Registering twice changes nothing.
    pub(crate) fn register_permanently(self, socket: &impl AsFd) {
        let fd = socket.as_fd().as_raw_fd();
        registry::insert(fd);
        // The handler may have run just before the bit was set.
        if self.is_requested() {
            shut_for_reading(fd);
        }
    }

    /// Removes a socket from the registry. Call it before the socket is closed.
    pub(crate) fn deregister(self, socket: &impl AsFd) {
        registry::remove(socket.as_fd().as_raw_fd());
    }

    /// Lets the signal end calls that block on this socket, as long as the guard lives.
    pub fn register<'s>(self, socket: &'s impl AsFd) -> Registration<'s> {
        self.register_permanently(socket);
        Registration(socket.as_fd())
    }
}

/// A socket that the signal shuts for reading. It borrows the socket, so it is deregistered before the
/// descriptor can be closed.
#[derive(Debug)]
pub struct Registration<'s>(BorrowedFd<'s>);

impl Drop for Registration<'_> {
    fn drop(&mut self) {
        registry::remove(self.0.as_raw_fd());
    }
}

/// Makes `number` refer to the same file as `own`.
#[allow(unsafe_code, reason = "a descriptor is replaced under its number")]
fn replace_descriptor(own: &EventFd, number: RawFd) -> io::Result<()> {
    // SAFETY: the number is that of the eventfd in `Shutdown`, which stays open and owned: in a child
    // it now refers to the child's eventfd.
    let replaced = unsafe { dup3_raw(own, number, nix::fcntl::OFlag::O_CLOEXEC) }?;
    // `Shutdown` already owns the number.
    let _ = replaced.into_raw_fd();
    Ok(())
}
