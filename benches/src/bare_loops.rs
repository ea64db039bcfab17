//! Minimal echo loops with the same I/O mechanism as a pattern. They have no framing, no limits, no
//! draining, and no protection against a client that does not read. The difference in throughput to
//! a pattern is the cost of these features.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// A minimal echo loop.
#[derive(Debug)]
pub struct BareLoop {
    /// Name of the loop. As an argument of a benchmark, it starts the loop.
    pub name: &'static str,
    serve: fn(TcpListener) -> io::Result<()>,
}

/// All minimal loops.
pub const BARE_LOOPS: &[BareLoop] = &[
    BareLoop { name: "bare-epoll", serve: echo_by_epoll },
    BareLoop { name: "bare-tokio", serve: echo_by_tokio },
];

/// Size of the receive buffer, in bytes.
const BUFFER: usize = 4096;

/// Runs a minimal loop if the command line requests one, as in `bare-epoll HOST PORT`. The loop
/// serves until the process is killed. Otherwise returns at once.
///
/// # Errors
/// A system call fails.
pub fn serve_if_requested() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, host, port] = &arguments[..] else { return Ok(()) };
    let Some(bare) = BARE_LOOPS.iter().find(|bare| bare.name == role) else { return Ok(()) };
    (bare.serve)(TcpListener::bind(format!("{host}:{port}"))?)
}

/// Echoes with one thread and level-triggered epoll. Drops a client on any error.
fn echo_by_epoll(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let listener_key = listener.as_raw_fd() as u64;
    epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listener_key))?;
    // Clients by descriptor.
    let mut clients: Vec<Option<TcpStream>> = Vec::new();
    let mut events = [EpollEvent::empty(); 256];
    let mut buffer = [0; BUFFER];
    loop {
        let count = match epoll.wait(&mut events, EpollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        for event in &events[..count] {
            if event.data() == listener_key {
                let client = match listener.accept() {
                    Ok((client, _)) => client,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    Err(error) => return Err(error),
                };
                client.set_nonblocking(true)?;
                client.set_nodelay(true)?;
                let number = client.as_raw_fd() as usize;
                epoll.add(&client, EpollEvent::new(EpollFlags::EPOLLIN, number as u64))?;
                if clients.len() <= number {
                    clients.resize_with(number + 1, || None);
                }
                clients[number] = Some(client);
            } else if let Some(slot) = clients.get_mut(event.data() as usize)
                && let Some(client) = slot
            {
                let echoed = match client.read(&mut buffer) {
                    Ok(0) | Err(_) => false,
                    Ok(count) => client.write_all(&buffer[..count]).is_ok(),
                };
                if !echoed {
                    *slot = None;
                }
            }
        }
    }
}

/// Echoes with one tokio task per client, all on one thread.
fn echo_by_tokio(listener: TcpListener) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (mut client, _) = listener.accept().await?;
            client.set_nodelay(true)?;
            tokio::spawn(async move {
                let mut buffer = [0; BUFFER];
                while let Ok(count @ 1..) = client.read(&mut buffer).await {
                    if client.write_all(&buffer[..count]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_bare_loop_echoes_to_several_clients_in_turn() {
        for bare in BARE_LOOPS {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            // The thread serves until the process ends.
            thread::spawn(|| (bare.serve)(listener));
            let connect = |_| TcpStream::connect(address).expect("a connection");
            let mut clients: Vec<TcpStream> = (0..3).map(connect).collect();
            for request in [b"one\n", b"two\n"] {
                for client in &mut clients {
                    let timeout = Some(Duration::from_secs(20));
                    client.set_read_timeout(timeout).expect("a timeout");
                    client.write_all(request).expect("room in the send buffer");
                    let mut reply = [0; 4];
                    client.read_exact(&mut reply).expect(bare.name);
                    assert_eq!(&reply, request, "{}", bare.name);
                }
            }
        }
    }
}
