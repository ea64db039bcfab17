//! Serves one connection with blocking calls, for patterns that give each connection a thread or
//! process.
//!
//! The idle timeout restarts with every read. It ends silent clients and vanished peers, whose FIN
//! never arrives, but not a slow loris, which sends a byte from time to time: that takes a deadline
//! for the whole request.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::DRAIN_POLL_INTERVAL;
use crate::sockets::{DrainLimit, is_ended_by_client, unacknowledged};

/// Bytes per read. Requests are short, so a larger buffer would not be faster.
const READ_SIZE: usize = 4 * 1024;

/// Stack of a serving thread: enough for the buffer and the deepest expression. It reserves address
/// space; the kernel commits pages as they are used.
pub const STACK_SIZE: usize = 256 * 1024;

/// Serves `client` until it closes, exceeds the idle timeout, or the server shuts down. On return
/// every reply was sent; the caller closes the connection.
pub fn serve_connection(client: &TcpStream, config: &Config, shutdown: Shutdown) {
    // An error of one client ends that client alone; no other part needs to know.
    let _ = try_serve(client, config, shutdown);
}

fn try_serve(mut client: &TcpStream, config: &Config, shutdown: Shutdown) -> io::Result<()> {
    let _registration = shutdown.register(client);
    client.set_nodelay(true)?;
    client.set_read_timeout(config.idle_timeout)?;
    client.set_write_timeout(config.idle_timeout)?;

    let is_over = |began: Instant| config.idle_timeout.is_some_and(|time| began.elapsed() >= time);
    let mut session = Session::new(config.service, config.max_line);
    let mut limit = DrainLimit::default();
    let mut buffer = [0; READ_SIZE];
    while !session.is_finished() {
        let size = limit.read_size(shutdown, client, READ_SIZE);
        // A read without available input would block.
        match if size == 0 { Ok(0) } else { client.read(&mut buffer[..size]) } {
            // All input that had arrived is answered; an unterminated request is not.
            Ok(0) if shutdown.is_requested() && !is_ended_by_client(client) => break,
            Ok(0) => session.end_of_input(),
            Ok(count) => {
                limit.consume(count);
                session.receive(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The idle timeout.
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        while !session.output().is_empty() {
            let began = Instant::now();
            match client.write(session.output()) {
                // The idle timeout, after a partial write. Another write would restart the timeout.
                Ok(count) if count < session.output().len() && is_over(began) => return Ok(()),
                Ok(count) => session.sent(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    // If a client keeps sending, closing now would reset the connection and lose replies. The drain
    // timer cuts off a client that does not read.
    while shutdown.is_requested() && unacknowledged(client) > 0 {
        thread::sleep(DRAIN_POLL_INTERVAL);
    }
    Ok(())
}
