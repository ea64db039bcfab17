//! # Iterative server with a busy line
//!
//! Like [`iterative_reset`](super::iterative_reset), but a connection over the limit gets a busy
//! line and a lingering close. The server shuts its sending side, and reads until the client
//! closes, for a bounded time. Closing a socket with unread input would send a reset, and the reset
//! can overtake the busy line.
//!
//! Used by: Redis beyond `maxclients` (without the lingering close); Postfix postscreen ("421 4.3.2
//! All server ports are busy"). The general term is load shedding.
//!
//! Good for: clients that read the reply: they learn the cause and can retry later.
//!
//! Weakness: connection storms, because rejecting connections becomes the load. Lingering closes
//! must be bounded in time and number.
//!
//! Source: RFC 9112, section 9.6, for the staged close; RFC 5321 for reply code 421.

use std::io;
use std::thread;

use super::iterative_reset::serve_one;
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-busy",
    summary: "serves one client; sends all others a busy line",
    family: Family::Iterative,
    stevens: &[],
    used_by: "Redis beyond maxclients, Postfix postscreen (the busy line)",
    workers: Workers::One,
    capacity: Capacity::One,
    when_full: OverloadPolicy::Busy,
    backlog: 4096,
    serve,
};

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let lingering_close = LingeringClose::new()?;
    thread::scope(|scope| {
        lingering_close.start(scope, listener.shutdown())?;
        serve_one(&listener, config, |client| lingering_close.reject(client))
    })
}
