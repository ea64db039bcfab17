//! Thread per connection: the main thread accepts, and each client has a thread that blocks on
//! its behalf.
//!
//! The scheduler is the event loop. Code reads as if there were one client; a slow client costs
//! a stack and nothing else. The number of threads is capped, because the kernel's refusal of a
//! thread comes later and hurts more; a client beyond the cap is told that the server is busy.
//!
//! Who: MySQL's default, PostgreSQL with processes in place of threads, Java servers of old.
//! Good for: up to some thousand clients, blocking libraries. Breaks: on memory and on switches
//! between threads, long before the processor is busy with answers.
//! Source: Stevens, *UNIX Network Programming* volume 1, chapter 30, design 6.

use std::io;
use std::sync::Arc;
use std::thread;

use crate::conversation::converse;
use crate::refusal::Porter;
use crate::{Capacity, Config, Listener, Pattern, WhenFull};

pub(super) const PATTERN: Pattern = Pattern {
    id: "thread-per-connection",
    summary: "a thread for each client",
    capacity: Capacity::Limited {
        default: 1000,
        most: 30_000,
        because: "the kernel's default limit is 32,768 threads",
    },
    when_full: WhenFull::Busy,
    backlog: 4096,
    serve,
};

/// Enough for a session's buffer and the deepest expression; address space, not memory.
const STACK: usize = 256 * 1024;

fn serve(listener: Listener, config: &Config) -> io::Result<()> {
    let stop = listener.stop();
    let porter = Porter::new()?;
    // A clone for each client that is being served, and this one.
    let place = Arc::new(());
    thread::scope(|scope| {
        porter.start(scope, stop)?;
        while let Some(client) = listener.accept()? {
            if Arc::strong_count(&place) > config.max_connections {
                porter.refuse(client);
                continue;
            }
            // The kernel may refuse a thread, and the client is still to be told.
            let client = Arc::new(client);
            let (served, place) = (Arc::clone(&client), Arc::clone(&place));
            let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, move || {
                converse(&served, config, stop);
                // In this order the place is free by the time that the client sees the end.
                drop(place);
                drop(served);
            });
            if thread.is_err()
                && let Some(client) = Arc::into_inner(client)
            {
                porter.refuse(client);
            }
        }
        Ok(())
    })
}
