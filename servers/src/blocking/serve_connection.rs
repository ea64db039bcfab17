//! Serving one client with calls that block: what every pattern does that gives a client a
//! thread or a process of its own.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Instant;

use crate::config::Config;
use crate::protocol::Session;
use crate::shutdown::Stop;
use crate::sockets::LOOK_EVERY;
use crate::sockets::{LastInput, is_ended_by_client, unacknowledged};

/// Read at once. More would not be faster: a client's requests are short.
const BUFFER: usize = 4 * 1024;

/// A stack for a thread that converses: enough for the buffer and the deepest expression. It is
/// address space; memory is taken only as far as it was used.
pub const STACK: usize = 256 * 1024;

/// Serves `client` until it ends, is silent for too long, or the server is to end. On return every
/// reply owed has been sent; the caller closes the connection.
pub fn converse(client: &TcpStream, config: &Config, stop: Stop) {
    // What goes wrong with one client ends with that client; there is nobody to tell.
    let _ = try_to_converse(client, config, stop);
}

fn try_to_converse(mut client: &TcpStream, config: &Config, stop: Stop) -> io::Result<()> {
    let _enrolled = stop.enroll(client);
    client.set_nodelay(true)?;
    client.set_read_timeout(config.idle_timeout)?;
    client.set_write_timeout(config.idle_timeout)?;

    let is_over = |began: Instant| config.idle_timeout.is_some_and(|time| began.elapsed() >= time);
    let mut session = Session::new(config.service, config.max_line);
    let mut last = LastInput::default();
    let mut buffer = [0; BUFFER];
    while !session.is_finished() {
        let most = last.most(stop, client, BUFFER);
        // To read nothing where nothing is would block.
        match if most == 0 { Ok(0) } else { client.read(&mut buffer[..most]) } {
            // All that had arrived is answered; a request that has not ended is nobody's.
            Ok(0) if stop.requested() && !is_ended_by_client(client) => break,
            Ok(0) => session.end_of_input(),
            Ok(count) => {
                last.was_read(count);
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
    while stop.requested() && unacknowledged(client) > 0 {
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}
