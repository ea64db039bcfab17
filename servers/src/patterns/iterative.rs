//! # Iterative server
//!
//! Accepts a client, serves it until it closes, then accepts the next. Nothing runs concurrently,
//! so no lock and no scheduling is needed. The second client waits in the kernel's accept queue.
//!
//! With `listen(0)` the queue holds one connection. The kernel never refuses a third client: it
//! drops the SYN, and connect(2) hangs until the client gives up (ETIMEDOUT after about two minutes
//! on Linux).
//!
//! A vanished peer (power loss, pulled cable) sends no FIN, so read(2) blocks for ever, and all
//! clients in the queue wait. Only an idle timeout or TCP keepalive ends the wait. By default,
//! keepalive starts after two hours (tcp(7)).
//!
//! Used by: inetd, for its internal `daytime` and `time` services.
//!
//! Good for: replies that take microseconds; a baseline for comparison with other patterns.
//!
//! Weakness: a client that keeps its connection open blocks all others. So does a client that sends
//! one byte at a time (slow loris), and each byte restarts the idle timeout.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 0.

use std::io;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative",
    summary: "accepts, serves to the end, accepts the next",
    family: Family::Iterative,
    stevens: &[0],
    used_by: "inetd (internal daytime)",
    workers: Workers::One,
    capacity: Capacity::One,
    when_full: OverloadPolicy::Wait,
    backlog: 0,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    listener.listen()?;
    while let Some(client) = listener.accept()? {
        serve_connection(&client, config, listener.shutdown());
    }
    Ok(())
}
