//! Event loops: one thread serves many connections with calls that do not block.

mod acceptor;
mod clients;
mod connection;
mod drain;
mod epoll;
mod key;
mod limits;
mod lingering_close;
mod mailbox;
mod oneshot;
mod slots;
mod timer_queue;

pub(crate) use acceptor::ACCEPTED_AT_ONCE;
pub use acceptor::{Admission, Arrivals};
pub use clients::Clients;
pub use connection::{Connection, SCRATCH, Turn};
pub use drain::drain;
pub use epoll::{ARRIVALS, EVENTS, STOP, armed, interest, wait};
pub use key::Key;
pub use limits::{LINGER, MOST_LINGERING};
pub use lingering_close::{Lingerer, Lingering};
pub use mailbox::Inbox;
pub(crate) use oneshot::Shared;
pub use timer_queue::Deadlines;
