//! The listening socket. Bind errors say what to do, and errors of single clients do not end
//! accepting.

use std::fmt;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{self, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use nix::sys::socket::{SockFlag, accept4};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::address::{BindError, explain, resolve};
use crate::protocol::BUSY;
use crate::shutdown::Shutdown;

/// Pause after accept failed for lack of memory or descriptors, so that the server does not spin.
const BACK_OFF: Duration = Duration::from_millis(10);

/// A listening socket, with a spare descriptor to use when no other is free.
///
/// A new listener is bound but does not listen. The server calls [`listen`](Self::listen) once all
/// its workers and descriptors exist, so a server that accepts connections is ready.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    backlog: i32,
    shutdown: Shutdown,
    spare: Mutex<Option<File>>,
    /// Whether child processes accept from the socket: if so, this process must not shut it down.
    is_shared: bool,
    /// Whether accepted sockets are blocking.
    clients_block: bool,
    /// Callback of the first listen.
    announce: Mutex<Option<Announce>>,
}

type Announce = Box<dyn FnOnce(SocketAddr) + Send>;

impl Listener {
    /// Binds to the first usable address of `host`, and installs the signal handlers: from now on
    /// SIGTERM and SIGINT start a drain.
    ///
    /// # Errors
    /// The host cannot be resolved, or no address can be bound. The message says what to do.
    pub fn bind(host: &str, port: u16, backlog: u32) -> Result<Listener, BindError> {
        let mut first_error = None;
        for address in resolve(host, port)? {
            match Listener::bind_address(address, backlog) {
                Ok(listener) => return Ok(listener),
                Err(error) if error.kind() == ErrorKind::AddrInUse => {
                    // Clients that resolve the host would connect to the other server.
                    return Err(BindError::AddressInUse(address));
                }
                Err(error) => {
                    first_error.get_or_insert(explain(address, error));
                }
            }
        }
        Err(first_error.expect("resolve returns at least one address"))
    }

    fn bind_address(address: SocketAddr, backlog: u32) -> io::Result<Listener> {
        let shutdown = Shutdown::install()?;
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        let mut socket = bound(address)?;
        if address.port() == 0 {
            // A port that the kernel chose is released when the socket stops listening, even
            // briefly; a port that was bound by number is not. So bind a second socket to the
            // chosen number before the first is closed.
            let chosen = socket.local_addr()?.as_socket().expect("an internet address");
            socket = bound(chosen)?;
        }
        Listener::from_socket(socket, backlog, shutdown)
    }

    fn from_socket(socket: Socket, backlog: i32, shutdown: Shutdown) -> io::Result<Listener> {
        let socket = TcpListener::from(socket);
        Ok(Listener {
            address: socket.local_addr()?,
            socket,
            backlog,
            shutdown,
            spare: Mutex::new(Some(spare_descriptor()?)),
            is_shared: false,
            clients_block: true,
            announce: Mutex::new(None),
        })
    }

    /// Sets a callback that gets the bound address once the server listens.
    pub fn on_listening(mut self, announce: impl FnOnce(SocketAddr) + Send + 'static) -> Listener {
        self.announce = Mutex::new(Some(Box::new(announce)));
        self
    }

    /// Starts listening, for the first time or after [`stop_listening`](Self::stop_listening).
    ///
    /// # Errors
    /// Another server has started to listen on the port since the bind, or listen(2) fails.
    pub fn listen(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        // Accepted connections inherit SO_REUSEADDR. Without it, those in TIME_WAIT would block the
        // port at the next start.
        socket.set_reuse_address(true)?;
        socket.listen(self.backlog).map_err(|error| match error.kind() {
            ErrorKind::AddrInUse => {
                io::Error::new(error.kind(), BindError::AddressInUse(self.address))
            }
            _ => error,
        })?;
        let announce = self.announce.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(announce) = announce {
            announce(self.address);
        }
        Ok(())
    }

    /// Returns `number` listeners on the same address; the first is this listener. Once all of them
    /// listen ([`listen_all`](Self::listen_all)), the kernel distributes connections by a hash of
    /// the addresses and ports (SO_REUSEPORT).
    ///
    /// # Errors
    /// A socket cannot be opened or bound.
    pub fn into_reuseport_group(self, number: usize) -> io::Result<Vec<Listener>> {
        let sibling = |_| {
            let socket = unbound(self.address)?;
            socket.set_reuse_port(true)?;
            socket.bind(&self.address.into())?;
            let mut sibling = Listener::from_socket(socket, self.backlog, self.shutdown)?;
            sibling.clients_block = self.clients_block;
            Ok(sibling)
        };
        let siblings: io::Result<Vec<Listener>> = (1..number).map(sibling).collect();
        Ok(std::iter::once(self).chain(siblings?).collect())
    }

    /// Starts listening on all `listeners` of a group.
    ///
    /// # Errors
    /// As for [`listen`](Self::listen).
    pub fn listen_all(listeners: &[Listener]) -> io::Result<()> {
        let [first, siblings @ ..] = listeners else { return Ok(()) };
        let announce = first.announce.lock().unwrap_or_else(PoisonError::into_inner).take();
        // The first listen is without SO_REUSEPORT, so that it fails if another server listens.
        // With the option, the socket would silently join the other server's group.
        first.listen()?;
        SockRef::from(&first.socket).set_reuse_port(true)?;
        siblings.iter().try_for_each(Listener::listen)?;
        if let Some(announce) = announce {
            announce(first.address);
        }
        Ok(())
    }

    /// Marks the listener as shared with child processes.
    pub fn share(mut self) -> Listener {
        self.is_shared = true;
        self
    }

    /// Returns the descriptors that a child process needs to accept connections.
    pub(crate) fn descriptors(&self) -> Vec<RawFd> {
        // This lock is released before the fork: a lock held across fork(2) stays locked in the
        // child.
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        let spare = spare.as_ref().map(AsRawFd::as_raw_fd);
        std::iter::once(self.socket.as_raw_fd()).chain(spare).collect()
    }

    /// Returns the bound address. For port 0, it has the port that the kernel chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the shutdown request.
    pub fn shutdown(&self) -> Shutdown {
        self.shutdown
    }

    /// Waits for a connection. Returns `None` at shutdown.
    ///
    /// # Errors
    /// Those of the listening socket itself. Errors of one client are skipped. If descriptors run
    /// out, clients are rejected one at a time.
    pub fn accept(&self) -> io::Result<Option<TcpStream>> {
        if !self.is_shared {
            self.shutdown.register_without_guard(&self.socket);
        }
        while !self.shutdown.is_requested() {
            match self.accept_once() {
                Ok(client) => return Ok(Some(client)),
                Err(error) if is_transient(&error) => {}
                Err(error) if is_exhausted(&error) => {
                    if let Some(client) = self.accept_with_spare() {
                        return Ok(Some(client));
                    }
                }
                Err(_) if self.shutdown.is_requested() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Makes [`try_accept`](Self::try_accept) non-blocking.
    ///
    /// # Errors
    /// fcntl(2) fails.
    pub fn set_nonblocking(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)
    }

    /// Makes accepted sockets non-blocking, for event loops. SOCK_NONBLOCK of accept4(2) saves one
    /// system call per connection.
    pub fn with_nonblocking_clients(mut self) -> Listener {
        self.clients_block = false;
        self
    }

    /// Accepts a connection if one is queued.
    ///
    /// # Errors
    /// As for [`accept`](Self::accept).
    pub fn try_accept(&self) -> io::Result<Option<TcpStream>> {
        loop {
            match self.accept_once() {
                Ok(client) => return Ok(Some(client)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) if is_transient(&error) => {}
                Err(error) if is_exhausted(&error) => return Ok(self.accept_with_spare()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Stops listening but keeps the port: new connections are refused (ECONNREFUSED), queued
    /// connections are reset. Stopping and listening again takes about 15 µs. Closing the socket
    /// would give up the port.
    ///
    /// # Errors
    /// shutdown(2) fails.
    pub fn stop_listening(&self) -> io::Result<()> {
        let socket = SockRef::from(&self.socket);
        // While the socket does not listen, any socket with SO_REUSEADDR may bind its port.
        socket.set_reuse_address(false)?;
        match socket.shutdown(net::Shutdown::Read) {
            // The shutdown signal has already shut down the socket.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Accepts a connection. Fails with EINTR on a signal, where std retries.
    fn accept_once(&self) -> io::Result<TcpStream> {
        let mut flags = SockFlag::SOCK_CLOEXEC;
        flags.set(SockFlag::SOCK_NONBLOCK, !self.clients_block);
        let client = accept4(self.socket.as_raw_fd(), flags)?;
        Ok(TcpStream::from(into_owned(client)))
    }

    /// Accepts with the spare descriptor. At the descriptor limit, accept fails at once even if a
    /// client is queued: retrying would spin, and waiting would leave the client hanging. If
    /// another descriptor is free afterwards, the client is served. Otherwise it gets the busy
    /// line.
    fn accept_with_spare(&self) -> Option<TcpStream> {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.take().is_none() {
            thread::sleep(BACK_OFF);
            *spare = spare_descriptor().ok();
            return None;
        }
        let client = match self.accept_once() {
            Ok(client) => Some(client),
            Err(error) => {
                if is_exhausted(&error) {
                    thread::sleep(BACK_OFF);
                }
                None
            }
        };
        *spare = spare_descriptor().ok();
        if spare.is_some() {
            return client;
        }
        if let Some(client) = client {
            reject(client);
        }
        *spare = spare_descriptor().ok();
        None
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Listener").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.shutdown.deregister(&self.socket);
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[allow(unsafe_code, reason = "accept4(2) has no wrapper that returns an owned descriptor")]
fn into_owned(accepted: RawFd) -> OwnedFd {
    // SAFETY: accept4 has just opened the descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(accepted) }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = unbound(address)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

fn unbound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Connections of an earlier run in TIME_WAIT must not block the port.
    socket.set_reuse_address(true)?;
    Ok(socket)
}

fn spare_descriptor() -> io::Result<File> {
    File::open("/dev/null")
}

/// Returns whether accept can be retried: after a signal, or an error of one client. Linux passes
/// network errors of a new connection to accept(2).
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EINTR
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::ETIMEDOUT
                | libc::EPERM
        )
    )
}

fn is_exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Rejects a client without a lingering close, which would occupy the spare descriptor. Sends the
/// busy line and reads the input that has arrived, because closing with unread input sends a reset.
fn reject(mut client: TcpStream) {
    if client.set_nonblocking(true).is_err() {
        return;
    }
    let _ = client.write_all(BUSY);
    let _ = client.shutdown(net::Shutdown::Write);
    let mut arrived = [0; 4096];
    for _ in 0..64 {
        if !matches!(client.read(&mut arrived), Ok(1..)) {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use nix::fcntl::{FcntlArg, fcntl};

    use super::*;

    #[test]
    fn a_port_stays_reserved_while_the_server_does_not_listen() {
        let listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
        let address = listener.address();
        assert_ne!(address.port(), 0);
        listener.listen().expect("listening");
        listener.stop_listening().expect("not listening");
        let refused = TcpStream::connect(address).expect_err("not listening");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let thief = Listener::bind("127.0.0.1", address.port(), 8);
        assert!(matches!(thief, Err(BindError::AddressInUse(_))), "{thief:?}");
        listener.listen().expect("listening again");
        TcpStream::connect(address).expect("the same port listens again");
    }

    #[test]
    fn a_port_in_use_and_a_nonlocal_address_are_different_errors() {
        let listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
        listener.listen().expect("listening");
        let taken = Listener::bind("127.0.0.1", listener.address().port(), 8);
        assert!(matches!(taken, Err(BindError::AddressInUse(_))), "{taken:?}");
        // TEST-NET-1 (RFC 5737) is assigned to no machine.
        let nonlocal = Listener::bind("192.0.2.1", 0, 8);
        assert!(matches!(nonlocal, Err(BindError::AddressNotAvailable(_))), "{nonlocal:?}");
    }

    #[test]
    fn only_the_first_of_two_servers_bound_to_a_port_listens() {
        for number in [1, 3] {
            let first = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
            let port = first.address().port();
            let second = Listener::bind("127.0.0.1", port, 8).expect("a free port");
            let [first, second] =
                [first, second].map(|one| one.into_reuseport_group(number).expect("a group"));
            Listener::listen_all(&first).expect("listening");
            let error = Listener::listen_all(&second).expect_err("the port is taken");
            assert_eq!(error.kind(), ErrorKind::AddrInUse);
            assert!(error.to_string().contains("already in use"), "{error}");
        }
    }

    #[test]
    fn clients_connect_only_after_listen_and_listen_is_announced() {
        let (sender, announced) = mpsc::channel();
        let listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
        let address = listener.address();
        let listener =
            listener.on_listening(move |address| sender.send(address).expect("a receiver"));
        let refused = TcpStream::connect(address).expect_err("not listening");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        assert!(announced.try_recv().is_err());
        listener.listen().expect("listening");
        assert_eq!(announced.try_recv(), Ok(address));
        TcpStream::connect(address).expect("listening");
    }

    #[test]
    fn accepted_sockets_block_unless_nonblocking_mode_is_requested() {
        for clients_block in [true, false] {
            let mut listener = Listener::bind("127.0.0.1", 0, 8).expect("a free port");
            if !clients_block {
                listener = listener.with_nonblocking_clients();
            }
            listener.listen().expect("listening");
            let _client = TcpStream::connect(listener.address()).expect("a connection");
            let client = listener.accept().expect("no error").expect("a connection");
            let flags = fcntl(&client, FcntlArg::F_GETFL).expect("file status flags");
            assert_eq!(flags & libc::O_NONBLOCK == 0, clients_block);
        }
    }
}
