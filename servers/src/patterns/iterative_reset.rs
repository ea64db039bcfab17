//! # Iterative server that resets
//!
//! One thread serves a client at a time. Another thread accepts continuously and resets every
//! connection over the limit. The reset is an abortive close (SO_LINGER with a time of 0): one RST,
//! no FIN, and no state kept in the kernel.
//!
//! Used by: HAProxy, when a `tcp-request connection` rule rejects a client.
//!
//! Good for: the cheapest rejection after a completed handshake.
//!
//! Weakness: the client was connected and cannot tell a busy server from a crashed one.
//!
//! Source: RFC 9293, section 3.10.5 (ABORT); Stevens, *UNIX Network Programming* volume 1, section
//! 7.5.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socket2::SockRef;

use crate::blocking::serve_connection;
use crate::blocking::threads;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::ConnectionLimit;
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-reset",
    summary: "serves one client; accepts and resets all others",
    family: Family::Iterative,
    stevens: &[],
    used_by: "HAProxy, for rejected connections (the reset)",
    workers: Workers::One,
    capacity: Capacity::One,
    when_full: OverloadPolicy::Reset,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    serve_one(&listener, config, |client| {
        // Takes effect when the socket is closed.
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    })
}

/// Serves one client at a time and passes all others to `reject`.
pub(super) fn serve_one(
    listener: &Listener,
    config: &Config,
    reject: impl Fn(TcpStream),
) -> io::Result<()> {
    let shutdown = listener.shutdown();
    let limit = ConnectionLimit::new(1);
    let (sender, served) = bounded(1);
    thread::scope(|scope| {
        threads::start(scope, shutdown, move || {
            for (permit, client) in served {
                serve_connection(&client, config, shutdown);
                // The slot must be free when the client sees the close.
                drop(permit);
                drop(client);
            }
        })?;
        listener.listen().inspect_err(|_| shutdown.request())?;
        while let Some(client) = listener.accept().inspect_err(|_| shutdown.request())? {
            match limit.try_acquire() {
                // Never blocks: only one permit exists, so the channel has room.
                Some(permit) => drop(sender.send((permit, client))),
                None => reject(client),
            }
        }
        drop(sender);
        Ok(())
    })
}
