//! Cases for startup, and for a startup that fails.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use crate::conformance::case::Case;
use crate::conformance::context::{LOOPBACK, POLL_INTERVAL, SHORT_TIMEOUT, TestContext};
use crate::conformance::experiments::{EXIT_FACTOR, stop};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::exit::Exit;
use crate::results::{Fault, Level};
use crate::server::{LaunchError, PortLease, Process, proc};

/// An address that belongs to no host (TEST-NET-1, RFC 5737).
const ADDRESS_OF_NO_HOST: &str = "192.0.2.1";

/// A privileged port that few services use.
const PRIVILEGED_PORT: &str = "81";

/// The file that contains the first unprivileged port.
const FIRST_UNPRIVILEGED_PORT: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

/// Hint of a server that listens on another port because its port is in use.
const UNCHECKED_BIND_HINT: &str = "check the result of bind: after a bind that failed, listen takes a random port on all addresses";

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "startup/listens-in-time",
        requirement: "the server listens on the requested address and serves clients there",
        source: "listen(2)",
        preconditions: &[Precondition::AnyReply, Precondition::Launched],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(1))?;
            ctx.evidence().record_verified();
            let after = ctx.process().startup_time();
            ctx.evidence().observe(format!("the server listened after {} ms", after.as_millis()));
            Ok(())
        },
    },
    Case {
        name: "startup/bind-address",
        requirement: "a server that is started on 127.0.0.1 listens on no other address",
        source: "bind(2); ip(7) (INADDR_ANY); CWE-1327 (binding to an unrestricted IP address)",
        preconditions: &[Precondition::AnyReply, Precondition::Host, Precondition::Port],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(1))?;
            let requested: IpAddr = LOOPBACK.parse().expect("LOOPBACK is an IP address");
            let hosts = ctx.process().listening_addresses();
            let others: Vec<String> =
                hosts.iter().filter(|&&host| host != requested).map(IpAddr::to_string).collect();
            if others.is_empty() {
                ctx.evidence().record_verified();
                return Ok(());
            }
            let port = ctx.process().address().port();
            let seen = format!("the server also listens on {}, port {port}", others.join(" and "));
            Err(Failure::fail(format!("the server listens only on {requested}"), seen).hint(
                "bind to the requested host: on 0.0.0.0 and ::, every machine that can reach this \
                 one can connect",
            ))
        },
    },
    Case {
        name: "startup/any-port",
        requirement: "a server that is started on port 0 listens on a free port and prints its number",
        source: "bind(2); ip(7) (port 0 is any free port)",
        preconditions: &[Precondition::AnyReply, Precondition::Launched, Precondition::Port],
        level: Level::Required,
        check: |ctx| {
            let reply = ctx.clients().connect()?.learn_reply(&request(1))?;
            let mut second = ctx.process().start_at(LOOPBACK, "0")?;
            let port = second.wait_until_ready()?.port();
            expect_service_at(ctx, (LOOPBACK, port), &reply)?;
            let printed = || second.log().contains(&port.to_string());
            match ctx.wait_for(SHORT_TIMEOUT, printed, || Failure::inconclusive("")) {
                Ok(()) => ctx.evidence().observe("the server prints its port"),
                Err(_) => ctx.evidence().warn("the server does not print its port"),
            }
            Ok(())
        },
    },
    Case {
        name: "startup/ipv6",
        requirement: "a server that is started on ::1 serves clients there",
        source: "the contract: IPv6; ipv6(7)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::Host,
            Precondition::Ipv6,
            Precondition::Port,
        ],
        level: Level::Required,
        check: |ctx| {
            let reply = ctx.clients().connect()?.learn_reply(&request(1))?;
            let Ok(port) = PortLease::take(Ipv6Addr::LOCALHOST.into()) else {
                ctx.evidence().inform("this machine has no address ::1");
                return Ok(());
            };
            let mut second = ctx.process().start_at("::1", &port.number().to_string())?;
            second.wait_until_ready()?;
            expect_service_at(ctx, ("::1", port.number()), &reply)
        },
    },
    Case {
        name: "startup/host-not-ours",
        requirement: "an address of another machine makes the server exit with an error message and a non-zero status",
        source: "bind(2) (EADDRNOTAVAIL); POSIX (exit status)",
        preconditions: &[Precondition::AnyReply, Precondition::Host, Precondition::Port],
        level: Level::Required,
        check: |ctx| {
            if TcpListener::bind((ADDRESS_OF_NO_HOST, 0)).is_ok() {
                ctx.evidence().inform("this machine accepts every address as its own");
                return Ok(());
            }
            expect_start_failure_on(ctx, ADDRESS_OF_NO_HOST)
        },
    },
    Case {
        name: "startup/host-unknown",
        requirement: "a host that does not exist makes the server exit with an error message and a non-zero status",
        source: "getaddrinfo(3) (EAI_NONAME); POSIX (exit status)",
        preconditions: &[Precondition::AnyReply, Precondition::Host, Precondition::Port],
        level: Level::Required,
        // A label of more than 63 letters is invalid (RFC 1035), so the resolver sends no query.
        check: |ctx| expect_start_failure_on(ctx, &"nobody".repeat(12)),
    },
    Case {
        name: "startup/bad-port",
        requirement: "a port that is not a number makes the server exit with an error message and a non-zero status",
        source: "POSIX (exit status); CWE-20 (improper input validation)",
        preconditions: &[Precondition::AnyReply, Precondition::Launched, Precondition::Port],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(1))?;
            expect_exit_with_error(ctx, ctx.process().start_at(LOOPBACK, "no-port")?, None)
        },
    },
    Case {
        name: "startup/privileged-port",
        requirement: "a privileged port makes an unprivileged server exit with an error message and a non-zero status",
        source: "bind(2) (EACCES); capabilities(7) (CAP_NET_BIND_SERVICE); POSIX (exit status)",
        preconditions: &[Precondition::AnyReply, Precondition::Launched, Precondition::Port],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(1))?;
            let first = fs::read_to_string(FIRST_UNPRIVILEGED_PORT).unwrap_or_default();
            if first.trim().parse::<u16>().is_ok_and(|first| first <= 81) {
                ctx.evidence().inform("this machine has no privileged ports");
                return Ok(());
            }
            expect_exit_with_error(
                ctx,
                ctx.process().start_unprivileged(LOOPBACK, PRIVILEGED_PORT)?,
                None,
            )
        },
    },
    Case {
        name: "startup/port-taken",
        requirement: "a port in use makes a second server exit with an error message and a non-zero status, and the first one still serves",
        source: "bind(2) (EADDRINUSE); POSIX (exit status)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::NoExitAfterConnections,
            Precondition::Launched,
        ],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            // Some servers close their listener while they serve a client.
            ctx.wait_until(
                || ctx.process().is_listening(),
                || {
                    Failure::inconclusive(
                        "the first server does not listen after its client has left",
                    )
                },
            )?;
            let port = ctx.process().address().port();
            let started = ctx.process().start_on_same_port()?;
            expect_exit_with_error(ctx, started, Some(port)).map_err(|failure| {
                failure.hint_if(
                    |fault| fault == Fault::Listens,
                    "SO_REUSEPORT shares the port, and the kernel distributes clients between both servers",
                )
            })?;
            ctx.clients().expect_service("the first server still serves")
        },
    },
    Case {
        name: "startup/restart",
        requirement: "a server can be restarted at once on the same port, despite connections of earlier clients",
        source: "RFC 1122 section 4.2.2.13 (TIME-WAIT); Stevens UNP 7.5 (SO_REUSEADDR)",
        preconditions: &[Precondition::AnyReply, Precondition::Shutdown],
        level: Level::Required,
        check: |ctx| {
            // The client stays connected: the server closes first, or a child process of it still
            // serves the client. Other cases test whether such a process exits.
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            stop(ctx)?;
            let is_port_held = ctx.process().is_listening();
            let mut second = ctx.process().start_on_same_port()?;
            let listening = second.wait_until_ready().map_err(|error| {
                let failure = Failure::from(error);
                let hint = match (is_port_held, failure.fault) {
                    (_, Fault::ListensElsewhere) => UNCHECKED_BIND_HINT,
                    (true, _) => {
                        "a child process of the first instance still holds the listening socket: \
                         close it in each child process"
                    }
                    (false, _) => {
                        "set SO_REUSEADDR before bind: otherwise connections of earlier clients \
                         block the port, in TIME_WAIT for a further minute"
                    }
                };
                let explains =
                    |fault| matches!(fault, Fault::ExitsBeforeListening | Fault::ListensElsewhere);
                Failure { expected: "the server listens again".to_owned(), ..failure }
                    .hint_if(explains, hint)
            })?;
            expect_service_at(ctx, (LOOPBACK, listening.port()), &reply)
        },
    },
];

/// Requires that a server that is started on this host exits with an error.
fn expect_start_failure_on(ctx: &TestContext<'_>, host: &str) -> Result<(), Failure> {
    ctx.clients().connect()?.learn_reply(&request(1))?;
    // The port is free, so only the host is wrong.
    let port = PortLease::take(Ipv4Addr::LOCALHOST.into()).map_err(LaunchError::NoPort)?;
    let started = ctx.process().start_at(host, &port.number().to_string())?;
    expect_exit_with_error(ctx, started, None).map_err(|failure| {
        failure.hint_if(
            |fault| fault == Fault::Listens,
            "check the results of the calls that read the address, and of bind: without an address, listen takes all addresses",
        )
    })
}

/// Requires that a server that cannot start prints a message and exits with a non-zero code.
/// `port` is the port that it must not take, if that is the reason.
fn expect_exit_with_error(
    ctx: &TestContext<'_>,
    started: Process,
    port: Option<u16>,
) -> Result<(), Failure> {
    let expected = "the server exits with an error message and a non-zero code";
    let has_exited = || started.exit().is_some();
    // Stop waiting when the server listens. A server that uses the CPU, such as an interpreter that
    // starts on a busy machine, gets more time.
    let (began, timeout) = (Instant::now(), ctx.timeout * EXIT_FACTOR);
    while !has_exited() && started.listening().is_empty() {
        let is_asleep = || proc::is_asleep(&started.tree());
        if ctx.process().decide_end_of_wait(began.elapsed(), timeout, is_asleep) {
            break;
        }
        thread::sleep(POLL_INTERVAL);
    }
    let exit = started.wait_for_exit(SHORT_TIMEOUT);
    let listening = started.listening();
    let log = started.end().log;
    let last_line = log.lines().next_back().unwrap_or("").trim();
    let printed = match last_line {
        "" => "it wrote no output".to_owned(),
        line => format!("last output: {line}"),
    };
    let seen = match exit {
        Some(exit @ Exit::Code(1..)) if !last_line.is_empty() => {
            ctx.evidence().record_verified();
            ctx.evidence().observe(format!("{exit}, with the message: {last_line}"));
            return Ok(());
        }
        Some(exit @ Exit::Code(1..)) => {
            let seen = format!("the server exits without an error message: {exit}");
            return Err(Failure::fail(expected, seen).fault(Fault::ExitsSilently).hint(
                "print the reason to standard error before the server exits, and flush the output",
            ));
        }
        Some(exit @ Exit::Code(_)) => {
            let seen = format!("{exit}; {printed}");
            return Err(Failure::fail(expected, seen).fault(Fault::ExitsWithSuccess).hint(
                "after the error message, exit with a non-zero status, for example with exit(1): \
                 scripts and service managers read the status",
            ));
        }
        Some(exit) => {
            let seen = format!("{exit}; {printed}");
            return Err(Failure::fail(expected, seen).fault(Fault::Killed).hint(
                "check the result of the call that fails, print the reason, and exit with status 1",
            ));
        }
        None if listening.is_empty() => {
            let seen = format!("the server does not exit; {printed}");
            return Err(Failure::fail(expected, seen).hang().fault(Fault::DoesNotExit).hint(
                "exit after the error message: does a loop retry, or does another thread still run?",
            ));
        }
        None => {
            let addresses: Vec<String> = listening.iter().map(SocketAddr::to_string).collect();
            let seen = format!("the server listens on {}; {printed}", addresses.join(" and "));
            if port.is_some_and(|port| listening.iter().all(|address| address.port() != port)) {
                let failure = Failure::fail(expected, seen).fault(Fault::ListensElsewhere);
                return Err(failure.hint(UNCHECKED_BIND_HINT));
            }
            seen
        }
    };
    Err(Failure::fail(expected, seen).fault(Fault::Listens))
}

/// Requires that the instance at this host and port sends this reply to `request(1)`.
fn expect_service_at(
    ctx: &TestContext<'_>,
    (host, port): (&str, u16),
    reply: &[u8],
) -> Result<(), Failure> {
    let address = SocketAddr::new(host.parse().expect("the host is an IP address"), port);
    let mut client = ctx.clients().try_connect_to(address).map_err(|error| {
        Failure::client_error(format!("a client is connected to {address}"), &error)
    })?;
    client.request(&request(1))?;
    client.expect(reply)
}
