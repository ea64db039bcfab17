//! Detects the concurrency model of a running server from outside: the system calls that its
//! threads block in while idle connections are open.
//!
//! [`see`] opens connections one after the other. It takes a [`Snapshot`] with 0, 1, 2 and 5 of
//! them, and another one after they have shut down their sending sides. Before each, it waits until
//! the server is idle. A snapshot has the system call of every thread and the sockets that the call
//! waits for. The [`Mechanism`] follows from the threads that wait for connections, and from their
//! calls before the connections were opened. No request is sent, so the handling of requests is not
//! observed: a sleeping thread may be a worker, or a garbage collector.

mod call;
mod clients;
mod decide;
mod descriptors;
mod model;
mod see;
mod snapshot;
mod stillness;
#[cfg(test)]
mod tests;
mod words;

pub use call::Call;
pub use clients::Fate;
pub use descriptors::Watched;
pub use model::Mechanism;
pub use see::{Seen, see};
pub use snapshot::{ProcessSeen, Snapshot, ThreadSeen};
pub use stillness::is_still;
