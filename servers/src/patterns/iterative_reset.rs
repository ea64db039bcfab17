//! # Iterative server that resets
//!
//! An iterative server with a doorman: one thread serves a client at a time, another accepts all
//! the while and resets whoever comes in between. The reset is an abortive close (SO_LINGER with
//! a time of 0): one RST, no FIN, and no state is kept for a client that was turned away.
//!
//! Used by: HAProxy resets so where a `tcp-request connection` rule rejects a client.
//!
//! Good for: the cheapest refusal that there is once the handshake is over.
//!
//! Breaks: the client, which was connected and cannot tell a busy server from one that crashed.
//!
//! Source: RFC 9293, section 3.10.5 (ABORT); Stevens, *UNIX Network Programming* volume 1,
//! section 7.5.

use std::io;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crossbeam_channel::bounded;
use socket2::SockRef;

use crate::blocking::converse;
use crate::blocking::threads;
use crate::config::Config;
use crate::pattern::{Capacity, Family, Pattern, WhenFull, Workers};
use crate::sockets::Listener;
use crate::sockets::Places;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-reset",
    summary: "serve one client; accept and reset meanwhile",
    family: Family::Iterative,
    stevens: &[],
    used_by: "the reset: HAProxy, where a rule rejects",
    workers: Workers::One,
    capacity: Capacity::One,
    when_full: WhenFull::Reset,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    serve_one(&listener, config, |client| {
        // It takes effect when the socket is closed.
        let _ = SockRef::from(&client).set_linger(Some(Duration::ZERO));
    })
}

/// Serves one client at a time, and meanwhile has the others turned away.
pub(super) fn serve_one(
    listener: &Listener,
    config: &Config,
    turn_away: impl Fn(TcpStream),
) -> io::Result<()> {
    let stop = listener.stop();
    let place = Places::new(1);
    let (sender, served) = bounded(1);
    thread::scope(|scope| {
        threads::start(scope, stop, move || {
            for (place, client) in served {
                converse(&client, config, stop);
                // In this order the place is free by the time that the client sees the end.
                drop(place);
                drop(client);
            }
        })?;
        listener.listen().inspect_err(|_| stop.request())?;
        while let Some(client) = listener.accept().inspect_err(|_| stop.request())? {
            match place.take() {
                // It never blocks: who has the place is served, or is the one in the channel.
                Some(place) => drop(sender.send((place, client))),
                None => turn_away(client),
            }
        }
        drop(sender);
        Ok(())
    })
}
