//! Turning a client away when the server is full.
//!
//! An event loop keeps a refused client among its connections
//! ([`Connection::refuse`](crate::connection::Connection::refuse)). A pattern that blocks in
//! accept cannot, and hands it to a [`Lingerer`].

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread::{self, Scope};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::connection::{Connection, Turn};
use crate::stop::Stop;

/// What a client is told that finds the server full.
pub const BUSY: &[u8] = b"error: busy, try again later\n";

/// How long a refused client may take to close its side. Until then what it sends is read and
/// thrown away, for closing over unread input resets the connection and can overtake the line.
pub const LINGER: Duration = Duration::from_secs(1);

/// Refused clients that are waited for at once; beyond, the oldest is closed at once.
pub const MOST_LINGERING: usize = 16;

/// A thread that does the lingering close of refused clients, so that accepting goes on meanwhile.
#[derive(Debug)]
pub struct Lingerer {
    refused: Mutex<VecDeque<Connection>>,
    wakeup: EventFd,
}

impl Lingerer {
    /// One with nobody to see out.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new() -> io::Result<Lingerer> {
        let wakeup = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Lingerer { refused: Mutex::default(), wakeup })
    }

    /// Starts the thread. It ends when the server is to end.
    ///
    /// # Errors
    /// When the kernel refuses a thread.
    pub fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, stop: Stop) -> io::Result<()> {
        thread::Builder::new().name("lingerer".to_owned()).spawn_scoped(scope, move || {
            let mut lingering = VecDeque::new();
            while !stop.requested() {
                if self.see_out(&mut lingering, stop).is_err() {
                    // For want of memory: those who linger are let go.
                    lingering.clear();
                }
            }
        })?;
        Ok(())
    }

    /// Tells the client that the server is busy. Never blocks.
    pub fn refuse(&self, client: TcpStream) {
        // A client that is gone already needs no more.
        if let Ok(connection) = Connection::refuse(client) {
            let mut refused = self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
            make_room(&mut refused);
            refused.push_back(connection);
            drop(refused);
            let _ = self.wakeup.write(1);
        }
    }

    fn see_out(&self, lingering: &mut VecDeque<Connection>, stop: Stop) -> nix::Result<()> {
        let mut waited: Vec<PollFd<'_>> = lingering
            .iter()
            .map(|connection| PollFd::new(connection.as_fd(), PollFlags::POLLIN))
            .collect();
        waited.push(PollFd::new(self.wakeup.as_fd(), PollFlags::POLLIN));
        waited.push(PollFd::new(stop.fd(), PollFlags::POLLIN));
        match poll(&mut waited, until(lingering.iter().filter_map(Connection::deadline).min())) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let _ = self.wakeup.read();
        let mut scratch = [0; 4096];
        lingering.retain_mut(|connection| connection.turn(&mut scratch) == Turn::Open);
        let mut refused = self.refused.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        for connection in refused.drain(..) {
            make_room(lingering);
            lingering.push_back(connection);
        }
        Ok(())
    }
}

fn make_room(connections: &mut VecDeque<Connection>) {
    if connections.len() >= MOST_LINGERING {
        connections.pop_front();
    }
}

/// What to tell poll(2) to be woken at `deadline`: a millisecond late rather than
/// early, so as not to go round for nothing.
fn until(deadline: Option<Instant>) -> PollTimeout {
    let Some(deadline) = deadline else { return PollTimeout::NONE };
    let left = deadline.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
}
