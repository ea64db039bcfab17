//! Accepting clients in an async runtime: who is served in a task, who is turned away, and the
//! wait at the end until all of them are done.

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

/// A client's leave to be served. To be dropped before its socket is closed: the place is then
/// free by the time that the client sees the end.
#[derive(Debug)]
pub struct TaskPermit {
    _permit: Permit,
    /// The drain waits until the last of these is gone.
    _served: Sender<Infallible>,
}

/// Accepts until the server is to end, has `start` start a task for each client that is served,
/// and returns when no client has leave any more: only then may the runtime be dropped, and with
/// it the tasks. The timer of [`shutdown`](crate::shutdown) ends the wait for those that do not read.
///
/// # Errors
/// What the kernel says of the listening socket itself. The clients are served to their end first.
pub async fn accept_all(
    listener: Listener,
    max_connections: usize,
    mut start: impl FnMut(TcpStream, TaskPermit),
) -> io::Result<()> {
    let listener = listener.with_nonblocking_clients();
    let (served, mut all_served) = channel(1);
    let limit = ConnectionLimit::new(max_connections);
    let mut refused = LingeringTasks::default();
    let accepted = accept_until_stop(&listener, |client| {
        match limit.try_acquire() {
            Some(permit) => {
                // What goes wrong with one client ends with that client.
                if let Ok(client) = TcpStream::from_std(client) {
                    start(client, TaskPermit { _permit: permit, _served: served.clone() });
                }
            }
            None => refused.add(client),
        }
    })
    .await
    // Where nothing more can be accepted, the clients that are served are to end too.
    .inspect_err(|_| listener.shutdown().request());
    drop(listener);
    drop(served);
    all_served.recv().await;
    accepted
}

async fn accept_until_stop(
    listener: &Listener,
    mut read_input: impl FnMut(std::net::TcpStream),
) -> io::Result<()> {
    listener.set_nonblocking()?;
    // The runtime, with its threads, is there.
    listener.listen()?;
    let source = watch(listener.as_fd())?;
    // Nobody reads from it, so that it stays ready once it is.
    let stopped = watch(listener.shutdown().fd())?;
    loop {
        let mut ready = select! {
            biased;
            _ = stopped.readable() => return Ok(()),
            ready = source.readable() => ready?,
        };
        for _ in 0..ACCEPT_BATCH {
            if let Some(client) = listener.try_accept()? {
                read_input(client);
                continue;
            }
            // The runtime hears of changes only. Where descriptors ran out, clients that nobody
            // has accepted may wait still, and no other may come to make a change.
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

/// The tasks that see out refused clients, the oldest first.
#[derive(Debug, Default)]
struct LingeringTasks(VecDeque<AbortHandle>);

impl LingeringTasks {
    /// Tells the client at once that the server is busy, and has a task wait for its end.
    fn add(&mut self, client: std::net::TcpStream) {
        // A client that is gone already needs no more.
        let Ok(connection) = Connection::refuse(client) else { return };
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

async fn linger(mut refused: Connection) -> io::Result<()> {
    loop {
        // Watched anew each time, it is ready for as long as there is something to read.
        drop(watch(refused.as_fd())?.readable().await?);
        if refused.advance(&mut [0; READ_SIZE]) == Progress::Closed {
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
    fn refused_clients_are_all_told_and_only_so_many_are_waited_for() {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("its address");
            let mut refused = LingeringTasks::default();
            let mut clients = Vec::new();
            for _ in 0..2 * MAX_LINGERING {
                clients.push(TcpStream::connect(address).expect("a connection"));
                let (client, _) = listener.accept().expect("the client");
                client.set_nonblocking(true).expect("it can be");
                refused.add(client);
                yield_now().await;
                let tasks = Handle::current().metrics().num_alive_tasks();
                assert!(tasks <= MAX_LINGERING, "{tasks} clients are waited for");
            }
            for mut client in clients {
                let mut told = Vec::new();
                client.read_to_end(&mut told).expect("a clean end");
                assert_eq!(told, BUSY);
            }
        });
    }
}
