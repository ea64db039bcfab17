//! Serves one connection in a task of an async runtime: the counterpart of
//! [`blocking::serve_connection`](crate::blocking::serve_connection), in which a task is suspended
//! where a thread would block.

use std::future::poll_fn;
use std::io::{self, ErrorKind};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::config::Config;
use crate::protocol::Session;
use crate::shutdown::Shutdown;
use crate::sockets::DRAIN_POLL_INTERVAL;
use crate::sockets::{DrainLimit, is_at_end_of_input, unacknowledged};

/// Bytes per read. A task yields after each full read.
pub const BUFFER: usize = 4 * 1024;

/// Serves `client` until the client closes the connection, the idle timeout expires, or the server
/// shuts down. Without an error, every reply was sent on return. The caller closes the connection.
pub async fn serve_connection(client: &mut TcpStream, config: &Config, shutdown: Shutdown) {
    // An error of one client closes only its connection; the caller need not know.
    let _ = try_serve(client, config, shutdown).await;
}

async fn try_serve(client: &mut TcpStream, config: &Config, shutdown: Shutdown) -> io::Result<()> {
    let (mut reader, writer) = client.split();
    let client = writer.as_ref();
    let _registration = shutdown.register(client);
    client.set_nodelay(true)?;

    let mut session = Session::new(config.service, config.max_line);
    let mut limit = DrainLimit::default();
    while !session.is_finished() {
        let size = limit.read_size(shutdown, client, BUFFER);
        let reading = read(&mut reader, size, |bytes| session.receive(bytes));
        let count = with_timeout(config.idle_timeout, reading).await??;
        limit.consume(count);
        if count == 0 {
            // All complete requests that have arrived are answered.
            if shutdown.is_requested() && !is_at_end_of_input(client) {
                break;
            }
            session.end_of_input();
        }
        send(client, &mut session, config.idle_timeout).await?;
        yield_now(count).await;
    }
    wait_until_acknowledged(client, shutdown).await;
    Ok(())
}

/// Reads once, at most `size` bytes, passes the input to `consume`, and returns its length. The
/// buffer is on the stack of the polling thread and not part of the task, so an idle connection has
/// no buffer.
///
/// # Errors
/// Those of the connection.
pub async fn read(
    client: &mut (impl AsyncRead + Unpin),
    size: usize,
    mut consume: impl FnMut(&[u8]),
) -> io::Result<usize> {
    if size == 0 {
        return Ok(0);
    }
    poll_fn(|context| {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut buffer = ReadBuf::uninit(&mut buffer[..size]);
        ready!(Pin::new(&mut *client).poll_read(context, &mut buffer))?;
        consume(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
    .await
}

/// Writes until every reply was sent.
///
/// # Errors
/// Those of the connection, or the client read nothing within the idle timeout.
pub async fn send(
    client: &TcpStream,
    session: &mut Session,
    idle_timeout: Option<Duration>,
) -> io::Result<()> {
    while !session.output().is_empty() {
        match client.try_write(session.output()) {
            Ok(count) => session.sent(count),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                with_timeout(idle_timeout, client.writable()).await??;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Awaits `future` for at most `limit`. Without a limit, sets no timer.
///
/// # Errors
/// The timeout expired.
pub async fn with_timeout<F: Future>(limit: Option<Duration>, future: F) -> io::Result<F::Output> {
    match limit {
        Some(limit) => Ok(timeout(limit, future).await?),
        None => Ok(future.await),
    }
}

/// Yields to other tasks if `count`, the number of bytes just read, is a full buffer. Otherwise a
/// task that always has more input would starve the others.
pub async fn yield_now(count: usize) {
    if count == BUFFER {
        tokio::task::yield_now().await;
    }
}

/// During a drain, waits until the client's kernel has acknowledged all replies. If the client
/// keeps sending, closing earlier would reset the connection and lose replies. The drain timer
/// bounds the wait for a client that does not read.
pub async fn wait_until_acknowledged(client: &TcpStream, shutdown: Shutdown) {
    while shutdown.is_requested() && unacknowledged(client) > 0 {
        sleep(DRAIN_POLL_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{self, TcpListener, TcpStream as Client};
    use std::pin::pin;

    use socket2::SockRef;
    use tokio::join;
    use tokio::runtime::Builder;

    use super::*;

    const DEADLINE: Option<Duration> = Some(Duration::from_secs(20));

    fn block_on<F: Future>(future: F) -> F::Output {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(future)
    }

    /// Returns both ends of a connection. The server's end is registered with the runtime.
    fn pair() -> (TcpStream, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let client = Client::connect(listener.local_addr().expect("an address"));
        let (server, _) = listener.accept().expect("the client");
        server.set_nonblocking(true).expect("a non-blocking socket");
        (TcpStream::from_std(server).expect("a runtime"), client.expect("a connection"))
    }

    /// Reads once and returns the input.
    async fn read_once(server: &mut TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        let reading =
            with_timeout(DEADLINE, read(server, BUFFER, |bytes| all.extend_from_slice(bytes)));
        reading.await.expect("a read within the deadline").expect("no error");
        all
    }

    #[test]
    fn a_read_shutdown_is_detected_after_pending_input() {
        block_on(async {
            let (mut server, mut client) = pair();
            client.write_all(b"one").expect("a complete write");
            // A short read: the runtime assumes that no more input is available.
            assert_eq!(read_once(&mut server).await, b"one");
            client.write_all(b"two").expect("a complete write");
            SockRef::from(&server).shutdown(net::Shutdown::Read).expect("a read shutdown");
            assert_eq!(read_once(&mut server).await, b"two");
            assert_eq!(read_once(&mut server).await, b"");
        });
    }

    #[test]
    fn a_read_shutdown_wakes_a_waiting_task() {
        block_on(async {
            let (mut server, _client) = pair();
            let descriptor = SockRef::from(&server).try_clone().expect("a descriptor");
            let (received, ()) = join!(read_once(&mut server), async {
                tokio::task::yield_now().await;
                descriptor.shutdown(net::Shutdown::Read).expect("a read shutdown");
            });
            assert_eq!(received, b"");
        });
    }

    #[test]
    fn a_task_yields_after_each_full_read() {
        let shutdown = Shutdown::install().expect("a handler");
        block_on(async {
            let (mut server, mut client) = pair();
            let flood = [&[b'x'; 63][..], b"\n"].concat().repeat(4 * BUFFER / 64);
            client.write_all(&flood).expect("a complete write");
            client.shutdown(net::Shutdown::Write).expect("a FIN");
            client.set_nonblocking(true).expect("a non-blocking socket");
            let config = Config::for_test();
            let mut serving = pin!(serve_connection(&mut server, &config, shutdown));
            let (mut replies, mut is_over) = (0, false);
            for _ in 0..100_000 {
                if !is_over {
                    let polled = poll_fn(|context| Poll::Ready(serving.as_mut().poll(context)));
                    is_over = polled.await.is_ready();
                }
                let count = client.read(&mut vec![0; flood.len()]).unwrap_or(0);
                assert!(count <= BUFFER, "{count} bytes were answered at once");
                replies += count;
                if replies == flood.len() {
                    return;
                }
                tokio::task::yield_now().await;
            }
            panic!("{replies} bytes of {} were answered", flood.len());
        });
    }

    #[test]
    fn a_waiting_task_has_no_buffer() {
        let shutdown = Shutdown::install().expect("a handler");
        block_on(async {
            let (mut server, _client) = pair();
            let size = size_of_val(&serve_connection(&mut server, &Config::for_test(), shutdown));
            assert!(size < 1024, "a task takes {size} bytes");
        });
    }
}
