//! # Iterative server that refuses
//!
//! Stops listening while it serves a client, so the kernel refuses new connections (ECONNREFUSED)
//! within microseconds instead of queueing them. The listening socket is shut with shutdown(2) and
//! reopened with listen(2) rather than closed, which keeps the port.
//!
//! Used by: sendmail while its load is too high; inetd for a service that is started too often.
//!
//! Good for: a device with one user; clients that can try the next address.
//!
//! Weakness: clients that retry at once, and health checks. Each transition has a race. A client
//! that connects between accept and shutdown is reset. A client that connects before the next
//! listen is refused, although the previous client has been served.
//!
//! Source: `inet_shutdown` in the kernel's net/ipv4/af_inet.c.

use std::io;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-refuse",
    summary: "stops listening while it serves a client",
    family: Family::Iterative,
    stevens: &[],
    used_by: "sendmail under load (the refusal)",
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
