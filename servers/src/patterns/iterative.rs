//! # Iterative server
//!
//! Accept a client, serve it to its end, accept the next. Nothing is shared and nothing runs at the
//! same time, so there is nothing to go wrong but the waiting: whoever comes second waits in the
//! kernel's accept queue, served by nobody, until the first is done. With `listen(0)` the queue
//! holds one; a third client's connect goes unanswered until the client gives up, for the kernel
//! drops the SYN and never refuses.
//!
//! Used by: inetd, for the `daytime` and `time` that it answers itself.
//!
//! Good for: answers that are over in an instant; the control measurement for every other pattern.
//!
//! Breaks: with the first client that stays.
//!
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 0.

use std::io;

use crate::blocking::serve_connection;
use crate::config::Config;
use crate::pattern::{Capacity, Family, OverloadPolicy, Pattern, Workers};
use crate::sockets::Listener;

pub(super) const PATTERN: Pattern = Pattern {
    id: "iterative",
    summary: "accept, serve to the end, accept the next",
    family: Family::Iterative,
    stevens: &[0],
    used_by: "inetd (its own daytime)",
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
