//! Drains connections at shutdown.

use std::thread;

use super::connection::{Connection, Progress, READ_SIZE};
use crate::sockets::DRAIN_POLL_INTERVAL;

/// Answers the input that has arrived, and returns when every client has its replies. The drain
/// timer ([`shutdown`](crate::shutdown)) cuts off clients that do not read.
pub fn drain(connections: impl IntoIterator<Item = Connection>) {
    let mut connections: Vec<Connection> =
        connections.into_iter().filter(Connection::is_served).collect();
    connections.iter_mut().for_each(Connection::drain);
    let mut scratch = [0; READ_SIZE];
    while !connections.is_empty() {
        let mut busy = false;
        connections.retain_mut(|connection| {
            let turn = connection.advance(&mut scratch);
            busy |= turn == Progress::Again;
            turn != Progress::Closed
        });
        if !busy && !connections.is_empty() {
            thread::sleep(DRAIN_POLL_INTERVAL);
        }
    }
}
