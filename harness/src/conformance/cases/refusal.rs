//! Cases for connections over the limit.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit};
use servers::OverloadPolicy;
use socket2::{Domain, Socket, Type};

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::{PROMPT, beside, request};
use crate::conformance::experiments::{meet, words_for};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::{QUIET, TestClient};
use crate::text::printable;

/// The case that tests the overload policy.
const AS_DECLARED: &[&str] = &["refusal/as-declared"];

/// Connections over the limit in a row.
const TURNED_AWAY: usize = 50;

/// Connections that must all be rejected too late before the server fails.
const PROMPT_TRIES: usize = 10;

/// Number of connections that race with a client that leaves.
const RACES: usize = 30;

/// Most clients left waiting.
const BACKLOG: usize = 64;

/// Connections opened at once: more than the descriptors that select(2) can handle.
const STORM: usize = 1_100;

/// Connections above a declared limit.
const TOO_MANY: usize = 300;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "refusal/as-declared",
        requirement: "a client that finds the server full meets what the server declares, at once",
        source: "the contract: capacity, when full",
        needs: &[Precondition::Full],
        check: |ctx| {
            let _incumbents = ctx.fill()?;
            let declared = ctx.contract.when_full.unwrap_or(OverloadPolicy::Wait);
            let (mut met, mut after) = meet(ctx);
            // A busy machine may delay one rejection; a server that delays rejections delays all.
            for _ in 1..PROMPT_TRIES {
                if met.kind() != Some(declared)
                    || declared == OverloadPolicy::Wait
                    || after <= PROMPT
                {
                    break;
                }
                (met, after) = meet(ctx);
            }
            ctx.was_met();
            ctx.observe(format!("{} after {} µs", met.words(), after.as_micros()));
            let expected = format!("when full: {}", words_for(declared));
            if met.kind() != Some(declared) {
                return Err(Failure {
                    hint: met.hint(declared),
                    ..Failure::fail(expected, met.words())
                });
            }
            if declared != OverloadPolicy::Wait && after > PROMPT {
                let expected = format!("{expected}, within {} ms", PROMPT.as_millis());
                let seen = format!("{} after {} ms", met.words(), after.as_millis());
                return Err(Failure::fail(expected, seen));
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/busy-line-is-whole",
        requirement: "a client that has written already still gets the whole busy line and a clean end",
        source: "the contract: when full; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        needs: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Busy)],
        check: |ctx| {
            let _incumbents = ctx.fill()?;
            for _ in 0..20 {
                let expected = "the busy line, then a clean end (FIN)";
                let finding = |trouble: ClientError| {
                    Failure::trouble(expected, &trouble).hint(
                        "closing over unread input sends RST, which overtakes the line: shut the \
                         sending side, read until the client ends, then close",
                    )
                };
                // A server that closes a socket with unread input resets the connection. The input
                // is there when the server accepts. It is missing only if this thread gets no CPU
                // for 200 ms between the two calls, 20 times in a row.
                let mut client = ctx.try_connect_with_data().map_err(finding)?;
                let _ = client.client.send(&ctx.sent(b"1+2").repeat(2));
                let line = client.line().map_err(finding)?;
                if !ctx.contract.is_busy(&line) {
                    // The case refusal/as-declared tests the overload policy.
                    let seen =
                        format!("a client that should be turned away got {}", printable(&line));
                    return Err(Failure::blocked(AS_DECLARED, seen));
                }
                let rest = client.rest().map_err(finding)?;
                if !rest.is_empty() {
                    return Err(Failure::fail(expected, printable(&rest)));
                }
                ctx.was_met();
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/incumbent-unharmed",
        requirement: "clients that are turned away do not disturb those that are served",
        source: "the contract: capacity, when full",
        needs: &[Precondition::Full, Precondition::TurnsAway],
        check: |ctx| {
            let mut incumbents = ctx.fill()?;
            for _ in 0..TURNED_AWAY {
                // Another case tests the rejection; only a timeout matters here. Waiting for it
                // ensures that the server has rejected the connection before the served client
                // sends: an accepting thread may not have run earlier.
                let met = ctx.try_connect().and_then(|mut client| {
                    client.client.send(&ctx.sent(b"1+2"))?;
                    let _ = client.hear_out(QUIET);
                    Ok(())
                });
                if let Err(trouble @ (ClientError::ConnectTimedOut(_) | ClientError::OutOfTime)) =
                    met
                {
                    let seen = format!("nobody is turned away: {trouble}");
                    return Err(Failure::blocked(AS_DECLARED, seen));
                }
                let incumbent = incumbents.served.first_mut().expect("a capacity of at least one");
                let reply = incumbent.ask(&request(0)).map_err(|trouble| {
                    Failure::trouble("the client that is served gets its reply", &trouble)
                })?;
                incumbent.is_as_learned(&request(0), &reply)?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/queued-is-served-later",
        requirement: "a client that waits is served when its turn comes, with what it sent early",
        source: "the contract: when full; listen(2)",
        needs: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        check: |ctx| {
            let mut incumbents = ctx.fill()?;
            let reply = incumbents.served[0].learn(&request(0))?;
            let mut queued = ctx.connect()?;
            queued.request(&request(0))?;
            queued.expect_silence("while another client is served")?;
            incumbents.make_room().close();
            queued.expect(&reply)
        },
    },
    Case {
        name: "refusal/taken-in-is-served-later",
        requirement: "clients that the server takes in to wait are served in the order in which they came, with what they sent early",
        source: "the contract: capacity, queue",
        needs: &[Precondition::Full, Precondition::Queue],
        check: |ctx| {
            let mut incumbents = ctx.fill()?;
            let reply = incumbents.served[0].learn(&request(0))?;
            let mut waiting = std::mem::take(&mut incumbents.waiting);
            for client in &mut waiting {
                client.request(&request(0))?;
            }
            // All slots but one stay taken, so the waiting clients get it one by one.
            let mut served = incumbents.make_room();
            for mut next in waiting {
                next.expect_silence("while those before it are served")?;
                served.close();
                next.expect(&reply)?;
                served = next;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/place-freed-by-fin",
        requirement: "when a client closes, its place is taken by the next",
        source: "the contract: capacity; RFC 9293 section 3.6 (closing a connection)",
        needs: &[Precondition::Full],
        check: |ctx| {
            for _ in 0..2 {
                let mut incumbents = ctx.fill()?;
                incumbents.make_room().close();
                ctx.serves_soon("a client is served once another has closed")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/place-freed-by-rst",
        requirement: "when a client resets, its place is taken by the next",
        source: "the contract: capacity; RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Precondition::Full],
        check: |ctx| {
            for _ in 0..2 {
                let mut incumbents = ctx.fill()?;
                incumbents.make_room().reset();
                ctx.serves_soon("a client is served once another has reset")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/place-freed-in-request",
        requirement: "when a client goes in the middle of a request, its place is taken by the next",
        source: "the contract: capacity; RFC 9293 section 3.6 (closing a connection)",
        needs: &[Precondition::Full, Precondition::Delimited],
        check: |ctx| {
            for leave in [TestClient::close, TestClient::reset] {
                let mut incumbents = ctx.fill()?;
                let mut leaving = incumbents.make_room();
                leaving.send(&ctx.halves(&request(0)).0)?;
                leave(leaving);
                ctx.serves_soon("a client is served once another has gone in a request")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/race-at-release",
        requirement: "a client that comes while another leaves is served or turned away, and no place is lost",
        source: "the contract: capacity, when full; CWE-362 (race condition)",
        needs: &[Precondition::Full],
        check: |ctx| {
            let mut incumbents = ctx.fill()?;
            let (met, _) = meet(ctx);
            if met.kind() != ctx.contract.when_full {
                return Err(Failure::blocked(AS_DECLARED, met.words()));
            }
            // The first time without a race.
            incumbents.make_room().close();
            let again = ctx.connect_soon(&request(0)).map_err(|finding| {
                Failure::blocked(&["refusal/place-freed-by-fin"], finding.observed)
            })?;
            incumbents.served.push(again);
            for _ in 0..RACES {
                let TestClient { client: leaving, .. } = incumbents.make_room();
                let met = thread::scope(|scope| {
                    beside(scope, move || drop(leaving))?;
                    Ok::<_, Failure>(ctx.try_connect().and_then(|mut newcomer| {
                        let line = newcomer.ask(&request(0))?;
                        Ok((newcomer, line))
                    }))
                })?;
                let newcomer = match met {
                    Ok((newcomer, line)) if !ctx.contract.is_busy(&line) => {
                        newcomer.is_as_learned(&request(0), &line)?;
                        newcomer
                    }
                    Err(trouble) if !is_turned_away(&trouble) => {
                        return Err(Failure::trouble("it is served or turned away", &trouble));
                    }
                    _ => {
                        ctx.was_met();
                        ctx.connect_soon(&request(0)).map_err(|finding| {
                            finding.hint("is a place counted and given back in one step?")
                        })?
                    }
                };
                incumbents.served.push(newcomer);
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/backlog-depth",
        requirement: "clients that find the server full wait in the kernel: this tells how many",
        source: "listen(2) (backlog); Stevens UNP 4.5",
        needs: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        check: |ctx| {
            let _incumbents = ctx.fill()?;
            let mut waiting = Vec::new();
            while waiting.len() < BACKLOG
                && let Ok(client) = ctx.try_connect_within(QUIET)
            {
                waiting.push(client);
            }
            let least = if waiting.len() == BACKLOG { "at least " } else { "" };
            ctx.inform(format!("{least}{} clients wait to be accepted", waiting.len()));
            Ok(())
        },
    },
    Case {
        name: "refusal/storm",
        requirement: "hundreds of clients that come at once neither end the server nor harm the one that is served",
        source: "CWE-400 (uncontrolled resource consumption); select(2) (FD_SETSIZE)",
        needs: &[Precondition::Lasting, Precondition::Lives],
        check: |ctx| {
            let mut incumbent = ctx.connect()?;
            incumbent.learn(&request(7))?;
            let idle = ctx.contract.idle_timeout.unwrap_or(Duration::MAX);
            let came = Instant::now();
            let mut incumbent = Some(incumbent);
            let mut is_served = || {
                let Some(served) = &mut incumbent else { return Ok(()) };
                let answered = served.ask(&request(7));
                if answered.is_err() && came.elapsed() >= idle {
                    // On a busy machine the client may have exceeded the idle timeout. The case
                    // timeouts/activity-keeps-alive tests whether it is closed earlier.
                    incumbent = None;
                    return Ok(());
                }
                let reply = answered.map_err(|trouble| {
                    Failure::trouble("the client that is served gets its reply", &trouble).hint(
                        "select(2) takes no descriptor from FD_SETSIZE (1024) on: count clients \
                         before they are taken on, or use poll",
                    )
                })?;
                served.is_as_learned(&request(7), &reply)
            };
            let mut storm = Storm::default();
            let most = Storm::most(ctx.contract.capacity);
            while storm.0.len() < most && storm.grow(ctx.address()) {
                if storm.0.len() % 100 == 0 {
                    is_served()?;
                }
            }
            // Waits until the server has accepted all it will.
            let mut served = Ok(());
            let _ = ctx.wait_until(
                || {
                    served = is_served();
                    served.is_err() || ctx.seen_asleep(2) == 2
                },
                || Failure::vacuous("it never rests"),
            );
            served?;
            if most < STORM && ctx.contract.capacity.is_none() {
                // The harness has too few descriptors for as many connections as might crash the
                // server.
                ctx.inform(storm.words());
            } else {
                ctx.observe(storm.words());
            }
            ctx.note(storm.words());
            drop(storm);
            is_served()?;
            drop(incumbent);
            ctx.serves_soon("a client is served once the storm is over")
        },
    },
];

/// Connections opened at once with non-blocking connects.
#[derive(Default)]
struct Storm(Vec<Socket>);

impl Storm {
    /// Returns the number of connections.
    ///
    /// A server with a declared limit is not brought beyond select(2)'s. Cases that run in parallel
    /// need descriptors, too.
    fn most(capacity: Option<usize>) -> usize {
        let (soft, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
        let most = STORM.min(usize::try_from(soft).unwrap_or(STORM) / 16);
        capacity.map_or(most, |capacity| most.min(capacity + TOO_MANY))
    }

    /// Opens one more connection, if a descriptor is free.
    fn grow(&mut self, address: SocketAddr) -> bool {
        let client = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None);
        let Ok(client) = client else { return false };
        // The connect is in progress or has failed; reads report that later.
        let _ = client.connect(&address.into());
        self.0.push(client);
        true
    }

    /// Describes the outcomes of the connections so far.
    fn words(&self) -> String {
        let mut met =
            [("refused", 0), ("reset", 0), ("closed", 0), ("told something", 0), ("waiting", 0)];
        for mut client in &self.0 {
            let index = match client.read(&mut [0; 256]).map_err(|error| error.kind()) {
                Err(ErrorKind::ConnectionRefused) => 0,
                Err(ErrorKind::ConnectionReset) => 1,
                Ok(0) => 2,
                Ok(_) => 3,
                Err(_) => 4,
            };
            met[index].1 += 1;
        }
        let met: Vec<String> = met
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} {what}"))
            .collect();
        format!("of {} clients: {}", self.0.len(), met.join(", "))
    }
}

/// Returns whether the server rejected the connection without sending part of a line.
fn is_turned_away(trouble: &ClientError) -> bool {
    match trouble {
        ClientError::Refused | ClientError::Reset => true,
        ClientError::Closed(bytes) => bytes.is_empty(),
        _ => false,
    }
}
