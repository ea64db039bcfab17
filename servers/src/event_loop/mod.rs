//! Event loops: one thread serves many connections with non-blocking calls.

mod acceptor;
mod connection;
mod connection_table;
mod connections;
mod drain;
mod epoll;
mod key;
mod linger;
mod lingering_close;
mod mailbox;
mod oneshot;
mod timer_queue;

pub(crate) use acceptor::ACCEPT_BATCH;
pub use acceptor::{Acceptor, ConnectionSource};
pub use connection::{Connection, Progress, READ_SIZE};
pub use connections::Connections;
pub use drain::drain;
pub use epoll::{EVENT_BATCH, SHUTDOWN_KEY, SOURCE_KEY, interest, oneshot_event, wait};
pub use key::Key;
pub use linger::{LINGER, MAX_LINGERING};
pub use lingering_close::{LingeringClose, LingeringConnections};
pub use mailbox::Mailbox;
pub(crate) use oneshot::SharedEpoll;
pub use timer_queue::TimerQueue;
