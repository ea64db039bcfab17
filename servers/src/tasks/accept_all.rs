//! Accepts connections in an async runtime. Starts a task for each served client, sends a busy line
//! to all others, and waits for the tasks at shutdown.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::os::fd::AsFd;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::net::TcpStream;
use tokio::select;
use tokio::sync::mpsc::{Sender, channel};
use tokio::task::{AbortHandle, yield_now};
use tokio::time::timeout;

use super::readiness::watch;
use crate::event_loop::ACCEPT_BATCH;
use crate::event_loop::{Connection, Progress, READ_SIZE};
use crate::event_loop::{LINGER, MAX_LINGERING};
use crate::sockets::Listener;
use crate::sockets::{ConnectionLimit, Permit};

/// The permit of a task to serve a connection. Drop the permit before the socket is closed, so that
/// the slot is free when the client sees the close.
#[derive(Debug)]
pub struct TaskPermit {
    _permit: Permit,
    /// The drain waits until all clones are dropped.
    _served: Sender<Infallible>,
}

/// Accepts until shutdown and calls `start` for each served connection. Returns when all permits
/// are dropped: only then may the runtime, with its tasks, be dropped. The drain timer
/// ([`shutdown`](crate::shutdown)) bounds the wait for clients that do not read.
///
/// # Errors
/// Those of the listening socket itself. The connections are drained first.
pub async fn accept_all(
    listener: Listener,
    max_connections: usize,
    mut start: impl FnMut(TcpStream, TaskPermit),
) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let (served, mut all_served) = channel(1);
    let limit = ConnectionLimit::new(max_connections);
    let mut rejected = LingeringTasks::default();
    let accepted = accept_until_shutdown(&listener, |client| {
        match limit.try_acquire() {
            Some(permit) => {
                // An error of one client closes only its connection.
                if let Ok(client) = TcpStream::from_std(client) {
                    start(client, TaskPermit { _permit: permit, _served: served.clone() });
                }
            }
            None => rejected.add(client),
        }
    })
    .await
    // The server can accept no more, so it must drain its connections.
    .inspect_err(|_| listener.shutdown().request());
    drop(listener);
    drop(served);
    all_served.recv().await;
    accepted
}

async fn accept_until_shutdown(
    listener: &Listener,
    mut on_accept: impl FnMut(std::net::TcpStream),
) -> io::Result<()> {
    listener.set_nonblocking()?;
    // Not earlier, because a server that accepts connections must be ready: the runtime and its
    // threads exist now.
    listener.listen()?;
    let source = watch(listener.as_fd())?;
    // The descriptor is never read, so it stays readable.
    let shutdown = watch(listener.shutdown().fd())?;
    loop {
        let mut ready = select! {
            biased;
            _ = shutdown.readable() => return Ok(()),
            ready = source.readable() => ready?,
        };
        for _ in 0..ACCEPT_BATCH {
            if let Some(client) = listener.try_accept()? {
                on_accept(client);
                continue;
            }
            // The runtime is edge-triggered. After descriptors ran out, clients may still be
            // queued, and they cause no further event.
            if !is_readable(listener) {
                ready.clear_ready();
            }
            break;
        }
        yield_now().await;
    }
}

fn is_readable(listener: &Listener) -> bool {
    let mut listener = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
    poll(&mut listener, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// The tasks in lingering close, oldest first.
#[derive(Debug, Default)]
struct LingeringTasks(VecDeque<AbortHandle>);

impl LingeringTasks {
    /// Sends the busy line and spawns a task for the lingering close.
    fn add(&mut self, client: std::net::TcpStream) {
        // On an error, the client is already gone.
        let Ok(connection) = Connection::reject(client) else { return };
        self.0.retain(|task| !task.is_finished());
        if self.0.len() >= MAX_LINGERING
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
        let task = tokio::spawn(timeout(LINGER, linger(connection)));
        self.0.push_back(task.abort_handle());
    }
}

async fn linger(mut rejected: Connection) -> io::Result<()> {
    loop {
        // A new registration reports a readable socket at once, so no event is missed.
        drop(watch(rejected.as_fd())?.readable().await?);
        if rejected.advance(&mut [0; READ_SIZE]) == Progress::Closed {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::{TcpListener, TcpStream};

    use tokio::runtime::{Builder, Handle};

    use super::*;
    use crate::protocol::BUSY;

    #[test]
    fn every_rejected_client_gets_a_busy_line_and_lingering_is_bounded() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
            let address = listener.local_addr().expect("an address");
            let mut rejected = LingeringTasks::default();
            let mut clients = Vec::new();
            for _ in 0..2 * MAX_LINGERING {
                clients.push(TcpStream::connect(address).expect("a connection"));
                let (client, _) = listener.accept().expect("the client");
                client.set_nonblocking(true).expect("a non-blocking socket");
                rejected.add(client);
                yield_now().await;
                let tasks = Handle::current().metrics().num_alive_tasks();
                assert!(tasks <= MAX_LINGERING, "{tasks} tasks linger");
            }
            for mut client in clients {
                let mut received = Vec::new();
                client.read_to_end(&mut received).expect("a clean close");
                assert_eq!(received, BUSY);
            }
        });
    }
}
