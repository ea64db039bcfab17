//! Shutdown by signal. SIGTERM or SIGINT starts a drain that ends with exit code 0. A second signal
//! terminates the process at once.
//!
//! Event loops and blocking calls need different notifications. An event loop adds [`Shutdown::fd`]
//! to its interest list. A blocking call (accept, read) cannot wait for two descriptors, so its
//! socket is registered, and the signal handler shuts the socket down for reading. Then accept
//! fails with EINVAL, and read returns 0 after the input that arrived before the signal. No thread
//! polls, and no request costs an extra system call. Input that has arrived from accepted clients
//! is answered; connections in the accept queue are reset.
//!
//! A timer bounds the drain: it cuts off clients that never read their replies. The exit code is
//! then 1, because replies were lost.
//!
//! A child process has a separate shutdown request (`Shutdown::reset_in_child`). It must not shut
//! down the listener that it shares with its siblings. Instead, calls that block on the listener or
//! on the shared file lock fail with EINTR. A signal that arrives just before such a call would be
//! missed, so each tick of the timer interrupts the call again.
//!
//! No signal interrupts the wait for a shared mutex. A child that waits there has nothing to drain
//! (`Shutdown::wait_with_nothing_to_drain`), so the handler exits the process.
//!
//! A terminal sends signals to the whole process group, so a child ignores a second signal. The
//! second signal terminates the parent, and the kernel then kills the children.

mod handler;
mod registry;
mod request;
mod signal_safe;

pub use handler::DRAIN_DEADLINE_MS;
pub use request::{Registration, Shutdown};
