//! Addresses on the command line.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

use crate::server::proc;

/// Connect timeout for each address of a host name with several.
const REACHED: Duration = Duration::from_millis(500);

/// Parses HOST:PORT. Of a host name with several addresses, selects the first with a listener.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if text.contains("://") {
        return Err("this is a URL: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("it has no port: write [ADDRESS]:PORT, such as [{text}]:8080"));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err(format!("it has no port: write HOST:PORT, such as {text}:8080"));
    };
    if host.is_empty() {
        return Err("it has no host: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        format!("`{port}` is not a port: write a number from 1 to 65535, such as {host}:8080")
    })?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets: [{host}]:{port}"));
    }
    let all = servers::sockets::resolve(host, port)
        .map_err(|error| format!("{error}; correct the name, or write an address"))?;
    let listens = |address: &&SocketAddr| proc::accept_queue(**address).is_some();
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, REACHED).is_ok();
    Ok(match all.as_slice() {
        [one] => *one,
        // Connecting is the last resort, because a connection takes a slot of the server.
        several => *several
            .iter()
            .find(listens)
            .or_else(|| several.iter().find(answers))
            .unwrap_or(&several[0]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_told_what_is_wrong_with_it() {
        for (text, words) in [
            ("http://127.0.0.1:8080/", "URL"),
            ("127.0.0.1", "no port: write HOST:PORT, such as 127.0.0.1:8080"),
            ("localhost", "such as localhost:8080"),
            ("[::1]", "such as [::1]:8080"),
            ("::1", "such as [::1]:8080"),
            ("2001:db8::1:9000:x", "`x` is not a port"),
            ("fe80::1%lo:80", "in brackets"),
            (":8080", "no host"),
            ("127.0.0.1:http", "`http` is not a port"),
            ("127.0.0.1:0", "`0` is not a port"),
            ("127.0.0.1:65536", "65535"),
            ("no such host:80", "cannot resolve host `no such host`"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in ["127.0.0.1:80", "[::1]:80", "localhost:80"] {
            assert!(address(text).is_ok_and(|it| it.port() == 80 && it.ip().is_loopback()));
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_the_one_that_is_listened_on_is_taken() {
        for host in ["127.0.0.1", "::1"] {
            // Without IPv6, there is nothing to choose from.
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else { continue };
            let listens = listener.local_addr().expect("its address");
            let localhost = format!("localhost:{}", listens.port());
            let all = servers::sockets::resolve("localhost", listens.port()).expect("it is one");
            let count = all.iter().filter(|one| proc::accept_queue(**one).is_some()).count();
            if all.contains(&listens) && count == 1 {
                assert_eq!(address(&localhost), Ok(listens));
            }
        }
    }
}
