//! Detects the concurrency model of a running server from outside: the system calls that its
//! threads block in while idle connections are open.
//!
//! [`detect`] opens connections one after the other. It takes a [`Snapshot`] at 0, 1, 2 and 5
//! connections, and a last snapshot after the clients have shut down their sending sides. Before
//! each snapshot, it waits until the server is idle. A snapshot has the system call of every thread
//! and the sockets that the call waits for. The [`ConcurrencyModel`] follows from the threads that
//! wait for connections, and from their calls before the connections were opened. The clients send
//! no requests, so [`detect`] does not observe how requests are handled: a sleeping thread may be a
//! worker or a garbage collector.
//!
//! [`ConcurrencyModel`]: crate::results::ConcurrencyModel

mod call;
mod clients;
mod decide;
mod description;
mod descriptors;
mod detected;
mod quiescence;
mod snapshot;
#[cfg(test)]
mod tests;

pub use call::Call;
pub use clients::ConnectionState;
pub use descriptors::Watched;
pub use detected::{Detected, detect};
pub use quiescence::is_quiescent;
pub use snapshot::{ProcessSnapshot, Snapshot, ThreadSnapshot};
