//! Cases for isolation between clients.

use crate::conformance::assumptions::{CONNECTION_SLOTS, OWN_ANSWERS, PLAIN_REQUESTS};
use crate::conformance::case::Case;
use crate::conformance::experiments::recipients;
use crate::conformance::failure::{Failure, STARVES_HINT};
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{MAX_OPERATORS, request};
use crate::conformance::schedules;
use crate::conformance::test_client::{QUIET, TestClient};
use crate::contract::Broadcast;
use crate::results::{Fault, Level};

/// Length of a line that is too long for most servers and fits in the socket buffers, in bytes.
const LONG_LINE: usize = 8 * 1024;

/// Number of expensive requests sent at once.
const EXPENSIVE_REQUESTS: usize = 20;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "isolation/no-broadcast",
        requirement: "no client receives what another client sends",
        source: "the line protocol; CWE-488 (exposure of data to the wrong session)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let recipients = recipients(ctx)?;
            if recipients.has_all_others() {
                let expected = "no client receives what another client sends";
                return Err(Failure::fail(expected, recipients.text()).hint(
                    "the server sends each message to all clients: send a reply only to the client \
                     that sent the request; if the task is a chat server, declare --broadcast",
                ));
            }
            if !recipients.received.is_empty() {
                return Err(Failure::assumption_failed(OWN_ANSWERS, recipients.text()));
            }
            if !recipients.is_sender_served {
                let seen = "a plain request is not answered";
                return Err(Failure::assumption_failed(PLAIN_REQUESTS, seen));
            }
            if recipients.listeners == 0 {
                let seen = "the server keeps no second connection open";
                return Err(match ctx.contract.capacity {
                    Some(2..) => Failure::assumption_failed(CONNECTION_SLOTS, seen),
                    _ => Failure::not_applicable(seen),
                });
            }
            ctx.evidence().record_verified();
            Ok(())
        },
    },
    Case {
        name: "isolation/broadcast",
        requirement: "the declared clients receive each message of a client",
        source: "the contract: broadcast",
        preconditions: &[
            Precondition::Broadcast,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let recipients = recipients(ctx)?;
            let (is_received, expected) = match ctx.contract.broadcast {
                Some(Broadcast::All) => {
                    (recipients.has_sender, "all clients, and the sender, receive each message")
                }
                _ => (!recipients.has_sender, "all clients but the sender receive each message"),
            };
            if !recipients.has_all_others() || !is_received {
                return Err(Failure::fail(expected, recipients.text()));
            }
            ctx.evidence().record_verified();
            Ok(())
        },
    },
    Case {
        name: "isolation/idle-beside-active",
        requirement: "an idle client does not block other clients",
        source: "the contract: connection limit; Stevens UNP 6.8 (denial of service)",
        preconditions: &[Precondition::Clients(2)],
        level: Level::Required,
        check: |ctx| {
            let mut idle = ctx.clients().connect()?;
            let reply = idle.learn_reply(&request(1))?;
            ctx.clients()
                .expect_service("a client is served while another one is idle")
                .map_err(|failure| failure.hint_if(Fault::is_hang, STARVES_HINT))?;
            idle.request(&request(1))?;
            idle.expect(&reply)
        },
    },
    Case {
        name: "isolation/own-answers",
        requirement: "each of many concurrent clients gets the replies to its own requests",
        source: "the line protocol; CWE-488 (exposure of data to the wrong session)",
        preconditions: &[Precondition::Clients(2)],
        level: Level::Required,
        check: |ctx| {
            let capacity = ctx.contract.capacity.unwrap_or(2);
            let mut clients: Vec<TestClient<'_>> = Vec::new();
            let mut replies = Vec::new();
            for number in 0..capacity.min(64) {
                let mut client = ctx.clients().connect()?;
                replies.push(client.learn_reply(&request(number))?);
                clients.push(client);
            }
            let requests: Vec<Vec<u8>> = (0..clients.len()).map(request).collect();
            let mut all: Vec<&mut TestClient<'_>> = clients.iter_mut().collect();
            ctx.clients().send_interleaved(&mut all, &requests)?;
            for (number, reply) in replies.iter().enumerate() {
                let Err(failure) = clients[number].expect(reply) else { continue };
                // The missing reply may have gone to another client.
                let is_elsewhere = failure.fault.is_hang()
                    && clients.iter_mut().zip(&replies).any(|(client, own)| {
                        let received = |client: &mut TestClient<'_>| client.received_reply().ok();
                        (0..2).any(|_| received(client).is_some_and(|line| line != *own))
                    });
                let failure = match is_elsewhere {
                    true => failure.fault(Fault::OtherReply),
                    false => failure,
                };
                return Err(failure.hint_if(
                    Fault::is_content,
                    "do all clients share one buffer or variable? each connection needs its own",
                ));
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/reset-beside",
        requirement: "a client that resets in the middle of a request does not affect other clients",
        source: "the contract: connection limit; RFC 9293 section 3.5.3 (reset processing)",
        preconditions: &[Precondition::Clients(2)],
        level: Level::Required,
        check: |ctx| {
            let mut good = ctx.clients().connect()?;
            let reply = good.learn_reply(&request(1))?;
            for number in 0..10 {
                let mut bad = ctx.clients().connect_with_retry(&request(2))?;
                if number == 0 {
                    ctx.clients().check_isolation(&mut good, &mut bad)?;
                }
                bad.send(b"12")?;
                bad.reset();
                good.request(&request(1))?;
                good.expect(&reply)?;
                // The slot must be free before the next client connects.
                ctx.process().wait_until_asleep();
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/poison-beside",
        requirement: "a client that sends malformed requests does not affect other clients",
        source: "the contract: connection limit; CWE-20 (improper input validation)",
        preconditions: &[Precondition::Clients(2)],
        level: Level::Hardening,
        check: |ctx| {
            let mut good = ctx.clients().connect()?;
            let reply = good.learn_reply(&request(1))?;
            let mut bad = ctx.clients().connect()?;
            ctx.clients().check_isolation(&mut good, &mut bad)?;
            let max_length = ctx.contract.max_line.unwrap_or(LONG_LINE).min(LONG_LINE);
            let deep = "(".repeat(max_length);
            let long = "1".repeat(max_length + 1);
            for malformed in ["1+*(", "\0", "1\0+2", "\u{1b}[2J", &deep, &long] {
                // The server may have closed the connection of the bad client.
                let _ = bad.try_raw_request(malformed.as_bytes());
                let mut expect_reply = || {
                    let answered = good.request(&request(1)).and_then(|()| good.expect(&reply));
                    answered.map_err(|failure| failure.caused_by(malformed.as_bytes()))
                };
                expect_reply()?;
                // Repeat the request when the server has handled the malformed line.
                let _ = bad.reply_until_asleep(QUIET);
                expect_reply()?;
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/heavy-beside-light",
        requirement: "a client that sends expensive requests does not block other clients",
        source: "the contract: connection limit; CWE-400 (uncontrolled resource consumption)",
        preconditions: &[
            Precondition::Calc,
            Precondition::Clients(2),
            Precondition::Pipelining,
            Precondition::Supports("1.5*1.5*1"),
        ],
        level: Level::Required,
        check: |ctx| {
            let mut light = ctx.clients().connect()?;
            let reply = light.learn_reply(&request(1))?;
            let mut heavy = ctx.clients().connect()?;
            ctx.clients().check_isolation(&mut light, &mut heavy)?;
            let max_length = ctx.contract.max_line.unwrap_or(LONG_LINE).min(LONG_LINE);
            // The dialect may need spaces around operators.
            let factor = ctx.contract.payload(b"1.5*1.5").len() - 3;
            let expression = "1.5*".repeat(((max_length - 1) / factor).min(MAX_OPERATORS)) + "1";
            // The server may close the connection of the heavy client.
            let _ = heavy
                .try_send(&ctx.contract.sent(expression.as_bytes()).repeat(EXPENSIVE_REQUESTS));
            for _ in 0..EXPENSIVE_REQUESTS {
                light.request(&request(1))?;
                light.expect(&reply)?;
            }
            // The heavy client reads its pending replies and closes cleanly.
            while heavy.reply_until_asleep(QUIET).is_ok() {}
            Ok(())
        },
    },
    Case {
        name: "isolation/schedules",
        requirement: "in random interleavings of several clients, each client gets its own replies, and connection slots are used and freed as declared",
        source: "the line protocol; the contract: connection limit, queue, overload policy",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::DelimitedRequests,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: schedules::check,
    },
    Case {
        name: "isolation/churn",
        requirement: "200 successive clients are all served",
        source: "CWE-772 (missing release of a resource)",
        preconditions: &[Precondition::NoExitAfterConnections],
        level: Level::Required,
        check: |ctx| {
            ctx.clients().connect()?.learn_reply(&request(7))?;
            ctx.require_round_trips(2 * 200)?;
            for number in 0..200 {
                let expected = format!("client {} of 200 is served", number + 1);
                ctx.clients().expect_service_with_retry(&expected).map_err(|failure: Failure| {
                    failure.hint(match ctx.contract.broadcast {
                        None => "does each client leave a descriptor, a thread or a used connection slot behind?",
                        Some(_) => "is a client that has left removed from the receivers? a failed send to it must not end the service of others",
                    })
                })?;
            }
            Ok(())
        },
    },
];
