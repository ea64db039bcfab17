//! Addresses on the command line.

use std::net::{Ipv6Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use crate::server::{accepts, proc};

/// Connect timeout for each address of a host name.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);

/// Pause between two attempts of `--wait`.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// The addresses of HOST:PORT. A host name may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address(Vec<SocketAddr>);

impl Address {
    /// Returns `None` for no address.
    pub fn of(all: Vec<SocketAddr>) -> Option<Address> {
        (!all.is_empty()).then_some(Address(all))
    }

    /// Returns the first address with a listener, or else the first address. Waits up to `wait` for
    /// a listener.
    pub fn find(&self, wait: Option<Duration>) -> SocketAddr {
        let deadline = Instant::now() + wait.unwrap_or_default();
        loop {
            if let Some(address) = self.listening(wait.is_some()) {
                return address;
            }
            if Instant::now() >= deadline {
                return self.0[0];
            }
            thread::sleep(RETRY_INTERVAL);
        }
    }

    /// Returns the first address with a listener. Connects only if no listener is visible, because
    /// a connection takes a slot of the server: a remote host, or another network namespace.
    fn listening(&self, is_awaited: bool) -> Option<SocketAddr> {
        let has_listener = |address: &&SocketAddr| proc::accept_queue(**address).is_some();
        let accepts = |address: &&SocketAddr| accepts(**address, CONNECT_TIMEOUT);
        match self.0.as_slice() {
            [_] if !is_awaited => None,
            all => all.iter().find(has_listener).or_else(|| all.iter().find(accepts)).copied(),
        }
    }
}

/// Parses HOST:PORT, and resolves the host name.
pub(super) fn address(text: &str) -> Result<Address, String> {
    if text.contains("://") {
        return Err("this is a URL: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("the port is missing: write [ADDRESS]:PORT, such as [{text}]:8080"));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err(format!("the port is missing: write HOST:PORT, such as {text}:8080"));
    };
    if host.is_empty() {
        return Err("the host is missing: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        format!("`{port}` is not a port: write a number from 1 to 65535, such as {host}:8080")
    })?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("write an IPv6 address in brackets: [{host}]:{port}"));
    }
    let all = servers::sockets::resolve(host, port)
        .map_err(|error| format!("{error}; correct the name, or write an IP address"))?;
    Address::of(all).ok_or_else(|| format!("{text} has no address: write an IP address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_for_an_invalid_address_explains_the_mistake() {
        for (text, expected) in [
            ("http://127.0.0.1:8080/", "URL"),
            ("127.0.0.1", "port is missing: write HOST:PORT, such as 127.0.0.1:8080"),
            ("localhost", "such as localhost:8080"),
            ("[::1]", "such as [::1]:8080"),
            ("::1", "such as [::1]:8080"),
            ("2001:db8::1:9000:x", "`x` is not a port"),
            ("fe80::1%lo:80", "in brackets"),
            (":8080", "host is missing"),
            ("127.0.0.1:http", "`http` is not a port"),
            ("127.0.0.1:0", "`0` is not a port"),
            ("127.0.0.1:65536", "65535"),
            ("no such host:80", "cannot resolve host `no such host`"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(expected), "{text}: {error}");
        }
        for text in ["127.0.0.1:80", "[::1]:80", "localhost:80"] {
            assert!(address(text).is_ok_and(|it| {
                it.0.iter().all(|it| it.port() == 80 && it.ip().is_loopback())
            }));
        }
    }

    #[test]
    fn an_awaited_listener_is_found_when_it_listens_and_the_wait_ends_in_time() {
        let reserved =
            [(); 2].map(|()| std::net::TcpListener::bind("127.0.0.1:0").expect("a port"));
        let [first, awaited] =
            reserved.map(|socket| socket.local_addr().expect("the address of a bound socket"));
        let found = Address::of(vec![first, awaited]).expect("two addresses");
        let began = Instant::now();
        assert_eq!(found.find(Some(RETRY_INTERVAL)), first, "no server listens");
        assert!(began.elapsed() >= RETRY_INTERVAL);
        let listening = thread::spawn(move || {
            thread::sleep(RETRY_INTERVAL);
            std::net::TcpListener::bind(awaited)
        });
        assert_eq!(found.find(Some(Duration::from_secs(3600))), awaited);
        listening.join().expect("no panic").expect("the port is still free");
    }

    #[test]
    fn the_resolved_address_with_a_listener_is_chosen() {
        for host in ["127.0.0.1", "::1"] {
            // Binding to ::1 fails on a machine without IPv6.
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else { continue };
            let listening = listener.local_addr().expect("the address of a bound socket");
            let port = listening.port();
            let resolved =
                servers::sockets::resolve("localhost", port).expect("loopback addresses");
            let has_listener = |address: &&SocketAddr| proc::accept_queue(**address).is_some();
            let listeners = resolved.iter().filter(has_listener).count();
            if resolved.contains(&listening) && listeners == 1 {
                let found = address(&format!("localhost:{port}")).map(|it| it.find(None));
                assert_eq!(found, Ok(listening));
            }
        }
    }
}
