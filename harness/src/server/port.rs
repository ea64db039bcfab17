//! Port leases for servers under test. A leased port is free, outside of the ephemeral range, and
//! leased by only one harness of this machine.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::proc;

/// First port to lease, above the ports of well-known services.
const FIRST: u32 = 10_000;

/// Timeout for connections in TIME_WAIT to release a port. TIME_WAIT lasts a minute.
const TIME_WAIT_TIMEOUT: Duration = Duration::from_secs(75);

/// Timeout for another process that still listens on the port to close it.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause between two checks of a port.
const PAUSE: Duration = Duration::from_millis(20);

/// Excludes process starts during a port check. Between fork and exec, a child would hold a copy of
/// the check's socket, which would keep the port in use.
pub(super) static PORT_CHECKS: Mutex<()> = Mutex::new(());

/// A port leased to this process for the lifetime of the value.
#[derive(Debug)]
pub struct PortLease {
    number: u16,
    /// Socket in the abstract namespace (unix(7)). The kernel removes it when the process exits, so
    /// the lock cannot become stale.
    _lock: UnixListener,
}

impl PortLease {
    /// Leases a port that is free on `host`.
    ///
    /// # Errors
    /// No port is free, or `host` is not an address of this machine.
    pub fn take(host: IpAddr) -> io::Result<PortLease> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Stay below the ephemeral range: a client that connects to an unused port in that range
        // can connect to itself.
        let count = first_ephemeral().saturating_sub(FIRST).max(1);
        // Harnesses that start at the same time try different ports first.
        let offset = std::process::id().wrapping_mul(97);
        for _ in 0..count {
            let step = NEXT.fetch_add(1, Relaxed);
            let number = (FIRST + offset.wrapping_add(step) % count) as u16;
            let Ok(port) = PortLease::lock(number) else { continue };
            if is_free(host, number)? {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "every port below the ephemeral range is in use",
        ))
    }

    /// Leases this port, whether or not the port is free.
    fn lock(number: u16) -> io::Result<PortLease> {
        let name = UnixAddress::from_abstract_name(format!("socket-harness-port-{number}"))?;
        Ok(PortLease { number, _lock: UnixListener::bind_addr(&name)? })
    }

    /// Waits until no other harness of this machine holds this port, and leases it.
    ///
    /// # Errors
    /// Other harnesses hold the port for longer than `timeout`.
    pub(super) fn wait_for(number: u16, timeout: Duration) -> io::Result<PortLease> {
        let deadline = Instant::now() + timeout;
        loop {
            match PortLease::lock(number) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) if Instant::now() > deadline => {
                    let waited = timeout.as_secs();
                    let message = format!(
                        "another harness has used port {number} for {waited} s; wait until it \
                         exits, or choose another port"
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, message));
                }
                Err(_) => thread::sleep(PAUSE),
                locked => return locked,
            }
        }
    }

    /// Returns the port number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Waits until a server could listen on this port, on all addresses and without SO_REUSEADDR.
///
/// # Errors
/// Another process listens on the port, or connections stay in TIME_WAIT for longer than expected.
pub(super) fn wait_until_free(number: u16) -> io::Result<()> {
    let began = Instant::now();
    loop {
        // A socket on :: takes the IPv4 addresses too, but IPv6 may be disabled.
        let wildcards = [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()];
        let taken = wildcards.into_iter().any(|host| is_free(host, number).is_ok_and(|free| !free));
        if !taken {
            return Ok(());
        }
        let has_listener = proc::is_listened_on(number);
        if began.elapsed() > if has_listener { LISTENER_TIMEOUT } else { TIME_WAIT_TIMEOUT } {
            let message = if has_listener {
                format!("another process listens on port {number}; stop that process first")
            } else {
                format!(
                    "connections of an earlier server are still in TIME_WAIT on port {number}; \
                     wait a minute"
                )
            };
            return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
        }
        thread::sleep(PAUSE);
    }
}

/// Returns whether a server could listen on this port without SO_REUSEADDR.
fn is_free(host: IpAddr, port: u16) -> io::Result<bool> {
    let _no_process_start = PORT_CHECKS.lock().unwrap_or_else(PoisonError::into_inner);
    let address = std::net::SocketAddr::new(host, port);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    match socket.bind(&address.into()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(false),
        Err(error) => Err(error),
    }
}

fn first_ephemeral() -> u32 {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse().ok())
        .unwrap_or(32_768)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_unique_and_outside_the_ephemeral_range() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let ports: Vec<PortLease> =
            (0..50).map(|_| PortLease::take(host).expect("a port")).collect();
        let mut numbers: Vec<u16> = ports.iter().map(PortLease::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
        assert!(numbers.iter().all(|&number| u32::from(number) < first_ephemeral()));
    }

    #[test]
    fn a_port_belongs_to_one_harness_at_a_time() {
        let port = PortLease::take(Ipv4Addr::LOCALHOST.into()).expect("a port");
        let number = port.number();
        let error = PortLease::wait_for(number, PAUSE).expect_err("the port is leased");
        assert!(error.to_string().contains(&number.to_string()), "{error}");
        drop(port);
        PortLease::wait_for(number, TIME_WAIT_TIMEOUT).expect("the port was released");
    }
}
