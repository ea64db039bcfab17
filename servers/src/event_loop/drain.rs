//! Drains connections at shutdown.

use std::thread;

use super::connection::{Connection, SCRATCH, Turn};
use crate::sockets::LOOK_EVERY;

/// The server is to end: answers what has arrived, and returns when every client has its replies.
/// The timer of [`shutdown`](crate::shutdown) ends the wait for those that do not read.
pub fn drain(connections: impl IntoIterator<Item = Connection>) {
    let mut connections: Vec<Connection> =
        connections.into_iter().filter(Connection::is_served).collect();
    connections.iter_mut().for_each(Connection::drain);
    let mut scratch = [0; SCRATCH];
    while !connections.is_empty() {
        let mut busy = false;
        connections.retain_mut(|connection| {
            let turn = connection.turn(&mut scratch);
            busy |= turn == Turn::Again;
            turn != Turn::Over
        });
        if !busy && !connections.is_empty() {
            thread::sleep(LOOK_EVERY);
        }
    }
}
