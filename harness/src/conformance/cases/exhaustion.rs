//! Cases for a server that has run out of descriptors.

use std::time::Duration;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::TestClient;

/// Deadline for a new connection to be rejected.
const TOLD: Duration = Duration::from_secs(2);

/// Number of polls for whether a server with nothing to do sleeps.
///
/// A server that spins never sleeps; one that polls with a pause sleeps in some polls. CPU time
/// would prove nothing: on a busy machine a spinning server gets little of it.
const LOOKS: usize = 100;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "exhaustion/newcomers",
        requirement: "without a free descriptor, newcomers are turned away or wait, and are served once there is one",
        source: "accept(2) (EMFILE); getrlimit(2)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            ctx.without_descriptors(|| {
                // A blocked accept may already hold a descriptor, which serves the first
                // connection.
                for _ in 0..4 {
                    let met = ctx.try_connect().and_then(|mut party| {
                        party.tell(&request(7))?;
                        party.line_within(TOLD)
                    });
                    let Err(ClientError::Silent(..) | ClientError::ConnectTimedOut(_)) = met else {
                        continue;
                    };
                    ctx.loosely("newcomers are left without a word until there is a descriptor");
                    break;
                }
                Ok(())
            })?;
            let served = ctx.serves_soon("clients are served once there are descriptors again");
            served.map_err(|finding| {
                finding.hint("an accept that fails for want of a descriptor ends neither the loop nor the server")
            })
        },
    },
    Case {
        name: "exhaustion/no-spin",
        requirement: "without a free descriptor, and with newcomers at the door, the server does not spin",
        source: "accept(2) (EMFILE); CWE-400 (uncontrolled resource consumption)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            ctx.without_descriptors(|| {
                // A blocked accept may already hold a descriptor, which serves the first
                // connection.
                let _ = ctx.try_connect().map(|party| party.client.cut());
                let _at_the_door: Vec<Result<TestClient<'_>, ClientError>> =
                    (0..3).map(|_| ctx.try_connect()).collect();
                let asleep = ctx.seen_asleep(LOOKS);
                if asleep < LOOKS / 20 {
                    let expected = "the server sleeps while nothing can be done";
                    let seen = format!("it slept in {asleep} of {LOOKS} looks");
                    return Err(Failure::fail(expected, seen).hint(
                        "accept fails at once without a descriptor, and the listener stays ready: \
                         free a spare one to accept and close, or stop listening for a while",
                    ));
                }
                ctx.was_met();
                Ok(())
            })
        },
    },
    Case {
        name: "exhaustion/old-clients",
        requirement: "without a free descriptor, the clients that are there are served as before",
        source: "accept(2) (EMFILE); getrlimit(2)",
        needs: &[Precondition::Clients(2), Precondition::Launched],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            ctx.without_descriptors(|| {
                let _newcomers: Vec<Result<TestClient<'_>, ClientError>> =
                    (0..3).map(|_| ctx.try_connect()).collect();
                for _ in 0..20 {
                    client.request(&request(1))?;
                    client.expect(&reply)?;
                }
                Ok(())
            })
        },
    },
];
