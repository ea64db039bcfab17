//! Drains connections at shutdown.

use std::thread;

use super::connection::{Connection, Progress, READ_SIZE};
use crate::sockets::DRAIN_POLL_INTERVAL;

/// Answers the input that has arrived, and returns when every client has acknowledged its replies.
/// The drain timer ([`shutdown`](crate::shutdown)) cuts off clients that do not read.
pub fn drain(connections: impl IntoIterator<Item = Connection>) {
    let mut connections: Vec<Connection> =
        connections.into_iter().filter(Connection::is_served).collect();
    connections.iter_mut().for_each(Connection::drain);
    let mut scratch = [0; READ_SIZE];
    while !connections.is_empty() {
        let mut has_more = false;
        connections.retain_mut(|connection| {
            let progress = connection.advance(&mut scratch);
            has_more |= progress == Progress::Again;
            progress != Progress::Closed
        });
        if !has_more && !connections.is_empty() {
            thread::sleep(DRAIN_POLL_INTERVAL);
        }
    }
}
