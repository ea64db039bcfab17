//! # Iterative server that refuses
//!
//! While a client is served nobody listens, so the next one is refused by the kernel (ECONNREFUSED)
//! in microseconds instead of waiting without a word. No book has a name for it: it is acceptor
//! control by closing the door. The listening socket is shut and opened again
//! rather than closed and bound again: that keeps the port.
//!
//! Used by: sendmail, while its load is too high; inetd, for a service that is started too often.
//!
//! Good for: a device with one user, where "not now" is worth more than "perhaps later"; clients
//! that can go to the next address.
//!
//! Breaks: behind anything that retries at once, and in the eyes of a health check. A client that
//! connects between accept and shut is reset; one that connects between the end of a client and the
//! reopening is refused although the server is free.
//!
//! Source: inet_shutdown of the kernel's net/ipv4/af_inet.c, for what it is to shut a listener.

use std::io;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-refuse",
    summary: "serve one client; nobody listens meanwhile",
    family: Family::Iterative,
    stevens: &[],
    used_by: "the refusal: sendmail under load",
    workers: Workers::One,
    capacity: Capacity::One,
    when_full: OverloadPolicy::Refuse,
    backlog: 0,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        listener.stop_listening()?;
        serve_connection(&client, config, listener.shutdown());
        drop(client);
        if listener.shutdown().is_requested() {
            break;
        }
        listener.listen()?;
    }
    Ok(())
}
