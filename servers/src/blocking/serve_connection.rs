//! Serves one connection with blocking calls, for patterns with a thread or process per connection.
//!
//! The idle timeout restarts with every read. It closes silent clients and vanished peers, whose
//! FIN never arrives. It does not close a slow loris, which sends a byte from time to time: only a
//! deadline for the whole request would.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::DRAIN_POLL_INTERVAL;
use crate::sockets::{DrainLimit, is_at_end_of_input, unacknowledged};

/// Bytes per read. Requests are short, so a larger buffer would not be faster.
const READ_SIZE: usize = 4 * 1024;

/// Stack size of a serving thread: enough for the buffer and the deepest expression. The stack
/// reserves address space; the kernel allocates pages as they are used.
pub const STACK_SIZE: usize = 256 * 1024;

/// Serves `client` until the client closes the connection, the idle timeout expires, or the server
/// shuts down. Without an error, every reply was sent on return. The caller closes the connection.
pub fn serve_connection(client: &TcpStream, config: &Config, shutdown: Shutdown) {
    // An error of one client closes only its connection; the caller need not know.
    let _ = try_serve(client, config, shutdown);
}

fn try_serve(mut client: &TcpStream, config: &Config, shutdown: Shutdown) -> io::Result<()> {
    let _registration = shutdown.register(client);
    client.set_nodelay(true)?;
    client.set_read_timeout(config.idle_timeout)?;
    client.set_write_timeout(config.idle_timeout)?;

    let has_timed_out =
        |began: Instant| config.idle_timeout.is_some_and(|timeout| began.elapsed() >= timeout);
    let mut session = Session::new(config.service, config.max_line);
    let mut limit = DrainLimit::default();
    let mut buffer = [0; READ_SIZE];
    while !session.is_finished() {
        let size = limit.read_size(shutdown, client, READ_SIZE);
        // A read without available input would block.
        match if size == 0 { Ok(0) } else { client.read(&mut buffer[..size]) } {
            // All complete requests that have arrived are answered.
            Ok(0) if shutdown.is_requested() && !is_at_end_of_input(client) => break,
            Ok(0) => session.end_of_input(),
            Ok(count) => {
                limit.consume(count);
                session.receive(&buffer[..count]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // The idle timeout has expired.
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
        while !session.output().is_empty() {
            let began = Instant::now();
            match client.write(session.output()) {
                // The idle timeout has expired after a partial write, which another write would
                // restart.
                Ok(count) if count < session.output().len() && has_timed_out(began) => {
                    return Ok(());
                }
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
