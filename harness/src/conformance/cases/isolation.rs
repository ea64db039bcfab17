//! Cases for isolation between clients.

use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::schedules;
use crate::conformance::test_client::{QUIET, TestClient};

/// A line longer than most servers accept, and short enough for the socket buffers.
const TOO_LONG: usize = 8 * 1024;

/// Number of expensive requests sent at once.
const HEAVY: usize = 20;

/// Operators per expensive request. Servers that limit their number or evaluate recursively accept
/// as many.
const OPERATORS: usize = 250;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "isolation/idle-beside-active",
        requirement: "a client that says nothing does not keep another from being served",
        source: "the contract: capacity; Stevens UNP 6.8 (denial of service)",
        needs: &[Precondition::Clients(2)],
        check: |ctx| {
            let mut idle = ctx.connect()?;
            let reply = idle.learn(&request(1))?;
            ctx.still_serves("a client is served beside an idle one").map_err(|finding| {
                finding.hint("it seems to serve one client at a time: does a read on the first block the rest?")
            })?;
            idle.request(&request(1))?;
            idle.expect(&reply)
        },
    },
    Case {
        name: "isolation/own-answers",
        requirement: "each of many clients gets the answers to its own requests",
        source: "the line protocol; CWE-488 (exposure of data to the wrong session)",
        needs: &[Precondition::Clients(2)],
        check: |ctx| {
            let capacity = ctx.contract.capacity.unwrap_or(2);
            let mut clients: Vec<TestClient<'_>> = Vec::new();
            let mut replies = Vec::new();
            for number in 0..capacity.min(64) {
                let mut client = ctx.connect()?;
                replies.push(client.learn(&request(number))?);
                clients.push(client);
            }
            let requests: Vec<Vec<u8>> = (0..clients.len()).map(request).collect();
            let mut parties: Vec<&mut TestClient<'_>> = clients.iter_mut().collect();
            ctx.in_turns(&mut parties, &requests)?;
            for (client, reply) in clients.iter_mut().zip(&replies) {
                client.expect(reply).map_err(|finding| {
                    finding
                        .hint("is there one buffer for all clients? each connection needs its own")
                })?;
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/reset-beside",
        requirement: "a client that resets in the middle of a request does not harm another",
        source: "the contract: capacity; RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Precondition::Clients(2)],
        check: |ctx| {
            let mut good = ctx.connect()?;
            let reply = good.learn(&request(1))?;
            for number in 0..10 {
                let mut bad = ctx.connect_soon(&request(2))?;
                if number == 0 {
                    ctx.tells_apart(&mut good, &mut bad)?;
                }
                bad.send(b"12")?;
                bad.reset();
                good.request(&request(1))?;
                good.expect(&reply)?;
                // The next client must not find the connection slot still taken.
                ctx.let_it_rest();
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/poison-beside",
        requirement: "a client that sends what is no request does not harm another",
        source: "the contract: capacity; CWE-20 (improper input validation)",
        needs: &[Precondition::Clients(2)],
        check: |ctx| {
            let mut good = ctx.connect()?;
            let reply = good.learn(&request(1))?;
            let mut bad = ctx.connect()?;
            ctx.tells_apart(&mut good, &mut bad)?;
            let most = ctx.contract.max_line.unwrap_or(TOO_LONG).min(TOO_LONG);
            let deep = "(".repeat(most);
            let long = "1".repeat(most + 1);
            for poison in ["1+*(", "\0", "1\0+2", "\u{1b}[2J", &deep, &long] {
                // The server may close the bad client.
                let _ = bad.tell(poison.as_bytes());
                good.request(&request(1))?;
                good.expect(&reply)?;
                // By now the server has handled the bad line.
                let _ = bad.hear(QUIET);
                good.request(&request(1))?;
                good.expect(&reply)?;
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/heavy-beside-light",
        requirement: "a client that asks for long calculations does not keep another from its replies",
        source: "the contract: capacity; CWE-400 (uncontrolled resource consumption)",
        needs: &[
            Precondition::Calc,
            Precondition::Clients(2),
            Precondition::Pipelining,
            Precondition::Reads("1.5*1.5*1"),
        ],
        check: |ctx| {
            let mut light = ctx.connect()?;
            let reply = light.learn(&request(1))?;
            let mut heavy = ctx.connect()?;
            ctx.tells_apart(&mut light, &mut heavy)?;
            let most = ctx.contract.max_line.unwrap_or(TOO_LONG).min(TOO_LONG);
            // As for any bad client, the server may close it.
            let heavy_one = "1.5*".repeat(((most - 1) / 4).min(OPERATORS)) + "1";
            let _ = heavy.transmit(&ctx.sent(heavy_one.as_bytes()).repeat(HEAVY));
            for _ in 0..HEAVY {
                light.request(&request(1))?;
                light.expect(&reply)?;
            }
            // It reads the replies it is owed and closes cleanly.
            while heavy.hear(QUIET).is_ok() {}
            Ok(())
        },
    },
    Case {
        name: "isolation/schedules",
        requirement: "whatever several clients do in turns, each gets its own replies, and places are kept and given back as declared",
        source: "the line protocol; the contract: capacity, queue, when full",
        needs: &[
            Precondition::Delimited,
            Precondition::Pipelining,
            Precondition::Lasting,
            Precondition::Lives,
        ],
        check: schedules::check,
    },
    Case {
        name: "isolation/churn",
        requirement: "200 clients, one after another, are all served",
        source: "CWE-772 (missing release of a resource)",
        needs: &[Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            for number in 0..200 {
                let expected = format!("client {} of 200 is served", number + 1);
                ctx.serves_soon(&expected).map_err(|finding: Failure| {
                    finding.hint("what does a client leave behind? a descriptor, a thread, a place that is not given back?")
                })?;
            }
            Ok(())
        },
    },
];
