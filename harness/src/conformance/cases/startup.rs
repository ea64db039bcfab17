//! Cases for startup, and for a startup that fails.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::conformance::case::Case;
use crate::conformance::case_result::State;
use crate::conformance::context::{LOOPBACK, PROMPT, TRY_EVERY, TestContext, WORKING, request};
use crate::conformance::experiments::GONE;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::exit::Exit;
use crate::server::{LaunchError, Port, Process, READY_DEADLINE, proc};

/// An address of no host (TEST-NET-1, RFC 5737).
const NOBODYS: &str = "192.0.2.1";

/// A privileged port that hardly any service uses.
const PRIVILEGED: &str = "81";

/// The file with the first unprivileged port.
const FIRST_UNPRIVILEGED: &str = "/proc/sys/net/ipv4/ip_unprivileged_port_start";

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "startup/listens-in-time",
        requirement: "it listens where it was told to, and serves there",
        source: "listen(2)",
        needs: &[Precondition::Launched],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            ctx.was_met();
            let after = ctx.listened_after();
            ctx.observe(format!("it listened after {} ms", after.as_millis()));
            Ok(())
        },
    },
    Case {
        name: "startup/bind-address",
        requirement: "told to listen on 127.0.0.1 it listens on no other address",
        source: "bind(2); ip(7) (INADDR_ANY); CWE-1327 (binding to an unrestricted IP address)",
        needs: &[Precondition::Host, Precondition::Port],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            let told: IpAddr = LOOPBACK.parse().expect("an address");
            let hosts = ctx.listens_on();
            let others: Vec<String> =
                hosts.iter().filter(|&&host| host != told).map(IpAddr::to_string).collect();
            if others.is_empty() {
                ctx.was_met();
                return Ok(());
            }
            let port = ctx.address().port();
            let seen = format!("it listens on {}, port {port}", others.join(" and "));
            Err(Failure::fail(format!("it listens on {told} alone"), seen).hint(
                "bind to the host that the server is told: at 0.0.0.0 and :: every machine that \
                 reaches this one can connect",
            ))
        },
    },
    Case {
        name: "startup/any-port",
        requirement: "told port 0 it listens on a free port, and says which",
        source: "bind(2); ip(7) (port 0 is any free port)",
        needs: &[Precondition::Launched, Precondition::Port],
        check: |ctx| {
            let reply = ctx.connect()?.learn(&request(1))?;
            let second = ctx.start_at(LOOPBACK, "0")?;
            let port = second.wait_until_listening(READY_DEADLINE)?.port();
            serves_at(ctx, (LOOPBACK, port), &reply)?;
            let told = || second.log().contains(&port.to_string());
            match ctx.wait_for(PROMPT, told, || Failure::vacuous("")) {
                Ok(()) => ctx.observe("it says which port it took"),
                Err(_) => ctx.loosely("it does not say which port it took"),
            }
            Ok(())
        },
    },
    Case {
        name: "startup/ipv6",
        requirement: "told to listen on ::1 it serves there",
        source: "the contract: IPv6; ipv6(7)",
        needs: &[Precondition::Host, Precondition::Ipv6, Precondition::Port],
        check: |ctx| {
            let reply = ctx.connect()?.learn(&request(1))?;
            let Ok(port) = Port::take(Ipv6Addr::LOCALHOST.into()) else {
                ctx.inform("there is no ::1 on this machine");
                return Ok(());
            };
            let second = ctx.start_at("::1", &port.number().to_string())?;
            second.wait_until_listening(READY_DEADLINE)?;
            serves_at(ctx, ("::1", port.number()), &reply)
        },
    },
    Case {
        name: "startup/host-not-ours",
        requirement: "told to listen on an address of another machine it says so and ends with an error code",
        source: "bind(2) (EADDRNOTAVAIL); POSIX (exit status)",
        needs: &[Precondition::Host, Precondition::Port],
        check: |ctx| {
            if TcpListener::bind((NOBODYS, 0)).is_ok() {
                ctx.inform("this machine takes every address for its own");
                return Ok(());
            }
            cannot_start_on(ctx, NOBODYS)
        },
    },
    Case {
        name: "startup/host-unknown",
        requirement: "told to listen on a host that does not exist it says so and ends with an error code",
        source: "getaddrinfo(3) (EAI_NONAME); POSIX (exit status)",
        needs: &[Precondition::Host, Precondition::Port],
        // The name exceeds 63 letters in a label (RFC 1035), so no resolver sends a query.
        check: |ctx| cannot_start_on(ctx, &"nobody".repeat(12)),
    },
    Case {
        name: "startup/bad-port",
        requirement: "told a port that is no number it says so and ends with an error code",
        source: "POSIX (exit status); CWE-20 (improper input validation)",
        needs: &[Precondition::Launched, Precondition::Port],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            gives_up(ctx, ctx.start_at(LOOPBACK, "no-port")?)
        },
    },
    Case {
        name: "startup/privileged-port",
        requirement: "told a port that it may not listen on it says so and ends with an error code",
        source: "bind(2) (EACCES); capabilities(7) (CAP_NET_BIND_SERVICE); POSIX (exit status)",
        needs: &[Precondition::Launched, Precondition::Port],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            let first = fs::read_to_string(FIRST_UNPRIVILEGED).unwrap_or_default();
            if first.trim().parse::<u16>().is_ok_and(|first| first <= 81) {
                ctx.inform("no port is privileged on this machine");
                return Ok(());
            }
            gives_up(ctx, ctx.start_unprivileged(LOOPBACK, PRIVILEGED)?)
        },
    },
    Case {
        name: "startup/port-taken",
        requirement: "a second server on a taken port says so, ends with an error code, and leaves the first alone",
        source: "bind(2) (EADDRINUSE); POSIX (exit status)",
        needs: &[Precondition::Lives, Precondition::Launched],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            // Some servers close their listener while they serve a client.
            ctx.wait_until(
                || ctx.is_listening(),
                || Failure::vacuous("the first server does not listen once its client has left"),
            )?;
            gives_up(ctx, ctx.start_again()?).map_err(|finding| {
                finding.hint(
                    "SO_REUSEPORT shares a port silently: the kernel deals clients to both; and a \
                     server that could not start must not look as if it had done its work",
                )
            })?;
            ctx.still_serves("the first server serves as before")
        },
    },
    Case {
        name: "startup/restart",
        requirement: "a server can be started again at once where it was, over connections in TIME_WAIT",
        source: "RFC 1122 section 4.2.2.13 (TIME-WAIT); Stevens UNP 7.5 (SO_REUSEADDR)",
        needs: &[Precondition::Ends],
        check: |ctx| {
            let mut client = ctx.connect()?;
            client.learn(&request(1))?;
            // The server closes first, so its side enters TIME_WAIT.
            ctx.signal(Signal::SIGTERM);
            if ctx.exits_within(ctx.patience * GONE).is_none() {
                return Err(Failure::blocked(&["shutdown/sigterm"], "it goes on"));
            }
            client.expect_end()?;
            let again = ctx.start_again()?;
            let listening = again.wait_until_listening(READY_DEADLINE);
            listening.map(|_| ctx.was_met()).map_err(|error| {
                Failure::fail("it listens again", error.to_string())
                    .hint("set SO_REUSEADDR before bind: otherwise old connections hold the port for a minute")
            })
        },
    },
];

/// Requires that a server with this host exits with an error.
fn cannot_start_on(ctx: &TestContext<'_>, host: &str) -> Result<(), Failure> {
    ctx.connect()?.learn(&request(1))?;
    // The port is free, so only the host is wrong.
    let port = Port::take(Ipv4Addr::LOCALHOST.into()).map_err(LaunchError::NoPort)?;
    gives_up(ctx, ctx.start_at(host, &port.number().to_string())?)
}

/// Requires that a server that cannot start prints a message and exits with an error code.
fn gives_up(ctx: &TestContext<'_>, started: Process) -> Result<(), Failure> {
    let expected = "it ends by itself, with an exit code other than 0 and a word about it";
    let ended = || started.exit().is_some();
    // Stops waiting once the server listens. A server that uses the CPU gets more time, such as an
    // interpreter that starts on a busy machine.
    let (began, patience) = (Instant::now(), ctx.patience * GONE);
    while !ended() && started.listening().is_empty() {
        let waited = began.elapsed();
        if waited > patience * WORKING || waited > patience && proc::is_asleep(&started.tree()) {
            break;
        }
        thread::sleep(TRY_EVERY);
    }
    let exit = started.wait_for_exit(PROMPT);
    let listens = started.listening();
    let log = started.end().log;
    let said = log.lines().next_back().unwrap_or("").trim();
    let seen = match exit {
        Some(exit @ Exit::Code(1..)) if !said.is_empty() => {
            ctx.was_met();
            ctx.observe(format!("it ended with {exit}, saying: {said}"));
            return Ok(());
        }
        Some(Exit::Code(1..)) => "it ended, saying nothing".to_owned(),
        Some(exit) => format!("it ended with {exit}; it said: {said}"),
        None if listens.is_empty() => {
            let seen = format!("it goes on; it said: {said}");
            return Err(Failure { state: State::Hang, ..Failure::fail(expected, seen) });
        }
        None => {
            let places: Vec<String> = listens.iter().map(SocketAddr::to_string).collect();
            format!("it listens on {}; it said: {said}", places.join(" and "))
        }
    };
    Err(Failure::fail(expected, seen))
}

/// Requires that a client of another instance is served.
fn serves_at(ctx: &TestContext<'_>, place: (&str, u16), reply: &[u8]) -> Result<(), Failure> {
    let (host, port) = place;
    let address = SocketAddr::new(host.parse().expect("an address"), port);
    let mut client = ctx.try_connect_to(address).map_err(|trouble| {
        Failure::trouble(format!("a client is connected to {address}"), &trouble)
    })?;
    client.request(&request(1))?;
    client.expect(reply)
}
