//! Sockets and signals.

use std::io::{self, Read};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use socket2::{Domain, Socket, Type};

use super::{LINGER, PAUSE};
use crate::broken::fault::Fault;

/// Waits for signals: the first starts the drain, the second exits.
pub(super) fn handle_signals(fault: Fault, signals: SigSet, shutdown: OwnedFd) {
    let mut shutdown = Some(shutdown);
    while let Ok(signal) = signals.wait() {
        match (fault, signal) {
            // A handler that does nothing, or no handler in process 1 of a container.
            (Fault::IgnoresSigterm, Signal::SIGTERM) | (Fault::IgnoresSigint, Signal::SIGINT) => {}
            // The handler only sets a flag, which is already set.
            (Fault::IgnoresASecondSignal, _) if shutdown.is_none() => {}
            // Readers of the pipe see the end of file.
            _ if shutdown.is_some() => shutdown = None,
            _ => std::process::exit(1),
        }
    }
}

/// Restores the default action of SIGPIPE, which the Rust runtime changes.
#[allow(unsafe_code, reason = "signal(2)")]
pub(super) fn restore_sigpipe() {
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("the default action is valid");
}

/// Binds a socket and listens.
pub(super) fn listen(fault: Fault, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Some frameworks set SO_REUSEPORT for their worker processes.
    socket.set_reuse_port(fault == Fault::SharesItsPort)?;
    // SO_REUSEADDR is off by default in C and in Python.
    socket.set_reuse_address(fault != Fault::CannotRestart)?;
    // A common change to make a development server reachable from a container or a phone.
    let is_any = fault == Fault::BindsAllAddresses && address.ip() == Ipv4Addr::LOCALHOST;
    let address = if is_any { (Ipv4Addr::UNSPECIFIED, address.port()).into() } else { address };
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Waits until a descriptor is readable or closed, or until the timeout. Returns for each
/// descriptor whether it is. Waits 1 ms longer than the timeout, because poll(2) counts whole
/// milliseconds.
pub(super) fn wait_for(descriptors: &[&dyn AsFd], timeout: Duration) -> io::Result<Vec<bool>> {
    let timeout = match timeout {
        Duration::ZERO => timeout,
        _ => timeout.saturating_add(Duration::from_millis(1)),
    };
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::NONE);
    let mut polled: Vec<PollFd<'_>> =
        descriptors.iter().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut polled, timeout)?;
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(true)).collect())
}

/// Sends a FIN and waits for the client's FIN, so that no reset discards the sent data.
pub(super) fn linger(mut client: &TcpStream) {
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.set_read_timeout(Some(LINGER));
    let deadline = Instant::now() + LINGER;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline && matches!(client.read(&mut buffer), Ok(1..)) {}
}

/// Returns whether the client has sent a FIN. With `waits`, waits for it up to 2 × `PAUSE`.
pub(super) fn has_sent_fin(client: &TcpStream, waits: bool) -> io::Result<bool> {
    let timeout = if waits { PAUSE * 2 } else { Duration::ZERO };
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::ZERO);
    // POLLRDHUP.
    let events = PollFlags::from_bits_retain(0x2000);
    Ok(poll(&mut [PollFd::new(client.as_fd(), events)], timeout)? > 0)
}
