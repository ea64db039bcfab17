//! Shutdown by signal: SIGTERM or SIGINT starts a drain that ends with exit code 0; a second signal
//! terminates the process at once.
//!
//! The two ways of waiting need two notifications. An event loop adds [`Shutdown::fd`] to its interest
//! list. A blocking call (accept, read) cannot wait for two descriptors, so its socket is registered
//! and the signal handler shuts it for reading: accept then fails with EINVAL, and read returns 0
//! after everything received before the signal. No thread polls, and no request costs an extra
//! system call. Input that has arrived from accepted clients is answered; connections in the accept
//! queue are reset.
//!
//! A timer bounds the drain: a client that never reads its replies is cut off, and the exit code is 1
//! because replies were lost.
//!
//! A child process has a request of its own (`Shutdown::reset_in_child`). It must not shut the
//! listener or the lock that it shares with its siblings; calls that block on those fail with EINTR. A
//! signal that arrives just before such a call would be missed, so the timer interrupts the call
//! again, as often as it ticks. No signal interrupts the wait for a mutex: the child marks that wait
//! (`Shutdown::exit_at_once_during`), and the handler exits, since there is nothing to drain. A second
//! signal to a child has no effect, because a terminal sends it to the whole process group. It
//! terminates the parent, and the kernel then kills the children.

mod handler;
mod registry;
mod request;
mod signal_safe;

pub use handler::DRAIN_DEADLINE_MS;
pub use request::{Registration, Shutdown};
