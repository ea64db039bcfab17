//! How a running server is built, told from outside: what its threads sleep in while silent clients
//! are connected.
//!
//! [`see`] connects clients one after the other. With 0, 1, 2 and 5 of them, and after they have
//! said that nothing will come, it waits until the server rests and takes a [`Snapshot`]: of every
//! thread the system call, and which sockets that waits for. From what waits for the clients, and
//! what that did before they came, the [`Mechanism`] follows. No request is sent, so what a server
//! would do with one is not seen: a thread that sleeps may be a worker, or a garbage collector.

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
