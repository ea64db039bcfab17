//! Resolves the address to listen on, and explains bind errors.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Timeout for the name resolution.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a server cannot listen, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host name has no address.
    #[error(
        "cannot resolve host `{host}`: {reason}; use a name that resolves or an address such as 127.0.0.1"
    )]
    Unresolved {
        /// The host as given by the user.
        host: String,
        /// The resolver's error.
        reason: String,
    },
    /// Another socket listens on the port.
    #[error(
        "cannot listen on {0}: address already in use; stop the other process or choose another port (0 selects a free one)"
    )]
    AddressInUse(SocketAddr),
    /// The port needs privileges.
    #[error(
        "cannot listen on {0}: permission denied; choose a port from 1024 up (0 selects a free one)"
    )]
    PermissionDenied(SocketAddr),
    /// The address does not belong to this machine.
    #[error(
        "cannot listen on {0}: {ip} is not an address of this machine; use 127.0.0.1, ::1, 0.0.0.0 or an address that `ip address` lists",
        ip = .0.ip()
    )]
    AddressNotAvailable(SocketAddr),
    /// Any other error.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

/// Resolves a host name, an IPv4 or an IPv6 address.
///
/// # Errors
/// The name does not resolve, or not within five seconds.
pub fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, BindError> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Ok(address) = bare.unwrap_or(host).parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let unresolved = |reason: String| BindError::Unresolved { host: host.to_owned(), reason };
    // The resolver of libc has no timeout, so it runs in a thread. If it finishes in time, the
    // thread ends before the server starts: a server that forks must have one thread.
    let (sender, receiver) = mpsc::sync_channel(1);
    let name = host.to_owned();
    let resolver = thread::spawn(move || {
        let found = (name.as_str(), port).to_socket_addrs();
        let _ = sender.send(found.map(Vec::from_iter));
    });
    match receiver.recv_timeout(RESOLVE_TIMEOUT) {
        Ok(found) => {
            let _ = resolver.join();
            match found {
                Ok(addresses) if !addresses.is_empty() => Ok(addresses),
                Ok(_) => Err(unresolved("no address".to_owned())),
                Err(error) => Err(unresolved(error.to_string())),
            }
        }
        Err(_) => Err(unresolved("no answer from the name server within 5 s".to_owned())),
    }
}

pub(super) fn explain(address: SocketAddr, error: io::Error) -> BindError {
    match error.kind() {
        ErrorKind::AddrInUse => BindError::AddressInUse(address),
        ErrorKind::PermissionDenied => BindError::PermissionDenied(address),
        ErrorKind::AddrNotAvailable => BindError::AddressNotAvailable(address),
        _ => BindError::Other(address, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numeric_addresses_are_parsed_without_dns() {
        assert_eq!(
            resolve("127.0.0.1", 7).expect("IPv4"),
            ["127.0.0.1:7".parse().expect("an address")]
        );
        assert_eq!(resolve("::1", 7).expect("IPv6"), ["[::1]:7".parse().expect("an address")]);
        assert_eq!(resolve("[::1]", 7).expect("IPv6"), ["[::1]:7".parse().expect("an address")]);
    }

    #[test]
    fn the_error_for_an_unresolvable_name_contains_the_name() {
        let error = resolve("no such host", 7).expect_err("a host name has no spaces");
        assert!(error.to_string().contains("`no such host`"), "{error}");
    }
}
