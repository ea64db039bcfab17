//! Port leases for servers under test. A port is free, outside the ephemeral range, and leased only
//! once among all harnesses on this machine.

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

/// First port to lease: above those of well-known services.
const FIRST: u32 = 10_000;

/// Timeout for closed connections that hold a port: TIME_WAIT lasts a minute.
const LINGERING: Duration = Duration::from_secs(75);

/// Timeout for a server that still listens on the port.
const LISTENING: Duration = Duration::from_secs(5);

/// Pause between two checks of a port.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Held while a port is tried, and while a process is started. Between fork and exec a child has a
/// copy of every descriptor, so that the tried port would still be in use.
pub(super) static STARTING: Mutex<()> = Mutex::new(());

/// A port leased to this process for the lifetime of the value.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Socket in the kernel's abstract namespace. It vanishes with its process, so that the lock
    /// cannot become stale.
    _lock: UnixListener,
}

impl Port {
    /// Leases a port that is free on `host`.
    ///
    /// # Errors
    /// No port is left, or `host` is not an address of this machine.
    pub fn take(host: IpAddr) -> io::Result<Port> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Below the ephemeral range: a client that connects to an unused port in that range can
        // connect to itself.
        let count = first_ephemeral().saturating_sub(FIRST).max(1);
        // Harnesses that start at the same time begin at different ports.
        let offset = std::process::id().wrapping_mul(97);
        for _ in 0..count {
            let step = NEXT.fetch_add(1, Relaxed);
            let number = (FIRST + offset.wrapping_add(step) % count) as u16;
            let Ok(port) = Port::lock(number) else { continue };
            if is_free(host, number)? {
                return Ok(port);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "every port below the ephemeral range is taken",
        ))
    }

    /// Leases a given port, free or not.
    fn lock(number: u16) -> io::Result<Port> {
        let name = UnixAddress::from_abstract_name(format!("socket-harness-port-{number}"))?;
        Ok(Port { number, _lock: UnixListener::bind_addr(&name)? })
    }

    /// Leases a given port, once no other harness on this machine holds it.
    ///
    /// # Errors
    /// Other harnesses hold it for longer than `patience`.
    pub(super) fn take_turn(number: u16, patience: Duration) -> io::Result<Port> {
        let deadline = Instant::now() + patience;
        loop {
            match Port::lock(number) {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => return Err(error),
                Err(_) if Instant::now() > deadline => {
                    let waited = patience.as_secs();
                    let words = format!("others have used port {number} for {waited} s");
                    return Err(io::Error::new(io::ErrorKind::TimedOut, words));
                }
                Err(_) => thread::sleep(LOOK_EVERY),
                locked => return locked,
            }
        }
    }

    /// Returns the port number.
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Waits until a server that does not set SO_REUSEADDR could listen on this port, at any address.
///
/// # Errors
/// Another process listens on it, or connections stay in TIME_WAIT for longer than expected.
pub(super) fn wait_until_free(number: u16) -> io::Result<()> {
    let began = Instant::now();
    loop {
        // A socket that listens on :: takes the IPv4 addresses too.
        let either = [IpAddr::from(Ipv6Addr::UNSPECIFIED), Ipv4Addr::UNSPECIFIED.into()];
        let taken = either.into_iter().any(|any| is_free(any, number).is_ok_and(|free| !free));
        if !taken {
            return Ok(());
        }
        let listened = proc::is_listened_on(number);
        if began.elapsed() > if listened { LISTENING } else { LINGERING } {
            let words = if listened {
                format!("another process listens on port {number}: end it first")
            } else {
                format!("connections of an earlier server still hold port {number} (TIME_WAIT)")
            };
            return Err(io::Error::new(io::ErrorKind::AddrInUse, words));
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Returns whether a server that does not set SO_REUSEADDR could listen there.
fn is_free(host: IpAddr, port: u16) -> io::Result<bool> {
    let _nobody_starts = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
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
    fn a_port_is_handed_out_once_and_outside_the_ephemeral_range() {
        let host = IpAddr::from([127, 0, 0, 1]);
        let ports: Vec<Port> = (0..50).map(|_| Port::take(host).expect("a port")).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), 50);
        assert!(numbers.iter().all(|&number| u32::from(number) < first_ephemeral()));
    }

    #[test]
    fn a_port_is_one_harness_s_at_a_time() {
        let port = Port::take(Ipv4Addr::LOCALHOST.into()).expect("a port");
        let number = port.number();
        let error = Port::take_turn(number, LOOK_EVERY).expect_err("it is taken");
        assert!(error.to_string().contains(&number.to_string()), "{error}");
        drop(port);
        Port::take_turn(number, LINGERING).expect("it is free");
    }
}
