//! Serving one client with calls that block: what every pattern does that gives a client a
//! thread or a process of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::DRAIN_POLL_INTERVAL;
use crate::sockets::{DrainLimit, is_ended_by_client, unacknowledged};

/// Read at once. More would not be faster: a client's requests are short.
const READ_SIZE: usize = 4 * 1024;

/// A stack for a thread that converses: enough for the buffer and the deepest expression. It is
/// address space; memory is taken only as far as it was used.
pub const STACK_SIZE: usize = 256 * 1024;

/// Serves `client` until it ends, is silent for too long, or the server is to end. On return every
/// reply owed has been sent; the caller closes the connection.
pub fn serve_connection(client: &TcpStream, config: &Config, shutdown: Shutdown) {
    // What goes wrong with one client ends with that client; there is nobody to tell.
    let _ = try_serve(client, config, shutdown);
}

fn try_serve(mut client: &TcpStream, config: &Config, shutdown: Shutdown) -> io::Result<()> {
    let _enrolled = shutdown.register(client);
    client.set_nodelay(true)?;
    client.set_read_timeout(config.idle_timeout)?;
    client.set_write_timeout(config.idle_timeout)?;

    let is_over = |began: Instant| config.idle_timeout.is_some_and(|time| began.elapsed() >= time);
    let mut session = Session::new(config.service, config.max_line);
    let mut limit = DrainLimit::default();
    let mut buffer = [0; READ_SIZE];
    while !session.is_finished() {
        let size = limit.read_size(shutdown, client, READ_SIZE);
        // To read nothing where nothing is would block.
        match if size == 0 { Ok(0) } else { client.read(&mut buffer[..size]) } {
            // All that had arrived is answered; a request that has not ended is nobody's.
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
                // The idle timeout, after a part: the next write would begin it anew.
                Ok(count) if count < session.output().len() && is_over(began) => return Ok(()),
                Ok(count) => session.sent(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
    // A client that goes on sending must not lose its replies to the reset that answers it. One
    // that does not read them is cut by the timer.
    while shutdown.is_requested() && unacknowledged(client) > 0 {
        thread::sleep(DRAIN_POLL_INTERVAL);
    }
    Ok(())
}
