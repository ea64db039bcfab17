//! # Iterative server that says that it is busy
//!
//! As [`iterative_reset`](super::iterative_reset), with a word to those who are turned away: they
//! are accepted, told in a line that the server is busy, and closed gently. Gently means that the
//! sending side is shut and what the client has sent is read until it ends its side, for a while:
//! to close over unread input is to reset, and the reset can overtake the line.
//!
//! Used by: Redis answers so beyond `maxclients` (without the gentle end), and SMTP has `421` for it
//! (RFC 5321). The books call it load shedding.
//!
//! Good for: clients that read: they learn why, and when to come again.
//!
//! Breaks: under a storm of clients, where the refusals become the load: those that are seen out
//! must be bounded in time and in number.
//!
//! Source: RFC 9112, section 9.6, for an end in stages.

use std::io;
use std::thread;

use super::iterative_reset::serve_one;
use crate::config::Config;
use crate::event_loop::LingeringClose;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative-busy",
    summary: "serve one client; tell the others that it is busy",
    family: Family::Iterative,
    stevens: &[],
    used_by: "the busy line: Redis beyond maxclients",
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
        serve_one(&listener, config, |client| lingering_close.refuse(client))
    })
}
