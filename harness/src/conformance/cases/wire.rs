//! Cases for the greeting, the handshake, the quit command and declared limits of the wire format.

use crate::conformance::case::Case;
use crate::conformance::experiments::EXIT_FACTOR;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::QUIET;
use crate::exit::Exit;
use crate::results::{Fault, Level, State};

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "wire/greeting",
        requirement: "each client gets the declared greeting, and the declared answers to its handshake",
        source: "the contract: greeting, handshake",
        preconditions: &[Precondition::Greeting],
        level: Level::Required,
        check: |ctx| {
            for number in 0..3 {
                let mut client = ctx.clients().connect()?;
                client.complete_handshake().map_err(|error| {
                    Failure::client_error("the declared greeting and handshake", &error)
                })?;
                ctx.evidence().record_verified();
                client.learn_reply(&request(number))?;
            }
            Ok(())
        },
    },
    Case {
        name: "wire/quit",
        requirement: "the server closes the connection cleanly after the quit command, and serves other clients",
        source: "the contract: quit",
        preconditions: &[Precondition::Quit],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            client.learn_reply(&request(1))?;
            client.quit().map_err(|error| {
                Failure::client_error("the server reads the quit command", &error)
            })?;
            // A goodbye message is permitted.
            let rest = client.rest();
            let with_hint = |failure: Failure| {
                failure.hint(
                    "the quit command must end only the connection of its client: leave the loop of \
                     this connection, not the loop that accepts connections, and do not exit",
                )
            };
            if ctx.contract.wire.connections_before_exit.is_none()
                && let Some(exit) = ctx.process().exits_soon(QUIET)
            {
                let seen = format!("the server exited ({exit})");
                let failure = Failure::fail("the server keeps running", seen).fault(Fault::Exits);
                return Err(Failure { state: State::Crash, ..with_hint(failure).replacing_exit() });
            }
            rest.map_err(|error| {
                Failure::not_closed("the server closes the connection (FIN)", &error)
            })?;
            let expected = "a client is served after another has sent the quit command";
            ctx.clients().expect_service_with_retry(expected).map_err(with_hint)
        },
    },
    Case {
        name: "wire/requests-per-connection",
        requirement: "the server closes the connection cleanly after the declared number of requests",
        source: "the contract: requests per connection",
        preconditions: &[Precondition::LimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            for number in 0..ctx.contract.wire.requests().unwrap_or(1) {
                client.learn_reply(&request(number as usize))?;
            }
            client.expect_end()
        },
    },
    Case {
        name: "wire/connections-before-exit",
        requirement: "the server exits with status 0 after the declared number of clients",
        source: "the contract: clients before the server exits; POSIX (exit status)",
        preconditions: &[Precondition::Launched, Precondition::ExitsAfterConnections],
        level: Level::Required,
        check: |ctx| {
            for number in 0..ctx.contract.wire.connections_before_exit.unwrap_or(1) {
                let mut client = ctx.clients().connect()?;
                client.learn_reply(&request(number as usize))?;
                client.close();
            }
            let expected = "the server exits with code 0";
            match ctx.process().exits_within(ctx.timeout * EXIT_FACTOR) {
                Some(Exit::Code(0)) => {
                    ctx.evidence().record_verified();
                    Ok(())
                }
                Some(exit) => {
                    Err(Failure::fail(expected, exit.to_string()).fault(Fault::ExitStatus))
                }
                None => Err(Failure::fail(expected, "the server does not exit")
                    .hang()
                    .fault(Fault::DoesNotExit)),
            }
        },
    },
];
