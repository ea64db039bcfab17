//! Cases for clients that disconnect: by a FIN, by a half-close, or by a reset.

use std::time::Duration;

use crate::conformance::case::Case;
use crate::conformance::context::request;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::PIPELINED;

/// Requests sent at once before the half-close.
const MANY: usize = 200;

/// Clients that half-close. A server that leaks their descriptors adds as many, which does not
/// happen by chance.
const FINS: usize = 6;

/// First timeout for the server to close a descriptor.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "disconnects/half-close",
        requirement: "a client that ends its side gets the reply that is owed, then a clean end",
        source: "RFC 9293 section 3.6.1 (half-closed connections); shutdown(2)",
        needs: &[],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            client.request(&request(1))?;
            client.half_close()?;
            client.expect(&reply)?;
            client.expect_end()
        },
    },
    Case {
        name: "disconnects/half-close-many",
        requirement: "a client that ends its side behind many requests gets all the replies, then a clean end",
        source: "RFC 9293 section 3.6.1 (half-closed connections); RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        needs: &[Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let replies = [client.learn(&request(1))?, client.learn(&request(2))?];
            let many = [ctx.sent(&request(1)), ctx.sent(&request(2))].concat().repeat(MANY / 2);
            client.send(&many)?;
            for number in 0..MANY {
                client.expect(&replies[number % 2]).map_err(|finding| {
                    let seen = finding.observed;
                    Failure::blocked(PIPELINED, format!("even without an end: {seen}"))
                })?;
            }
            client.send(&many)?;
            client.half_close()?;
            for number in 0..MANY {
                client.expect(&replies[number % 2]).map_err(|finding| {
                    finding.hint(
                        "the end of input is no end of the output: send what is owed, then close",
                    )
                })?;
            }
            client.expect_end()
        },
    },
    Case {
        name: "disconnects/fin-frees-descriptor",
        requirement: "when a client has ended its side and is owed nothing, its descriptor is closed",
        source: "close(2); CWE-775 (missing release of a file descriptor)",
        needs: &[Precondition::Launched, Precondition::Lasting, Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            let held = || ctx.holdings().descriptors;
            let mut outcome = Ok(());
            // A worker pool that still starts adds descriptors once; a leak adds some each time.
            for patience in [FIRST_PATIENCE, FIRST_PATIENCE, ctx.patience] {
                ctx.let_it_rest();
                let before = held();
                let mut clients = Vec::new();
                for _ in 0..FINS {
                    let mut client = ctx.connect_soon(&request(2))?;
                    client.half_close()?;
                    clients.push(client);
                }
                outcome = ctx.wait_for(
                    patience.min(ctx.patience),
                    || held() <= before + FINS / 2,
                    || {
                        let expected = format!("about {before} open descriptors, as before");
                        Failure::leak(expected, format!("{} after {FINS} clients' FIN", held()))
                            .hint("a read that gives nothing is the client's end: close the socket")
                    },
                );
                if outcome.is_ok() {
                    break;
                }
            }
            outcome
        },
    },
    Case {
        name: "disconnects/nothing-said",
        requirement: "clients that connect and close without a word do no harm",
        source: "RFC 9293 section 3.6 (closing a connection)",
        needs: &[Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            for _ in 0..20 {
                // The server may refuse it while it still handles the last one.
                drop(ctx.try_connect());
            }
            ctx.serves_soon("the next client is served")
        },
    },
    Case {
        name: "disconnects/reset-before-accept",
        requirement: "clients that reset as soon as they are connected do no harm",
        source: "Stevens UNP 5.11 (connection abort before accept returns); accept(2)",
        needs: &[Precondition::Lives],
        check: |ctx| {
            ctx.connect()?.learn(&request(7))?;
            for _ in 0..20 {
                if let Ok(client) = ctx.try_connect() {
                    ctx.wait_until_established(&client);
                    client.reset();
                }
            }
            ctx.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
    Case {
        name: "disconnects/reset-in-request",
        requirement: "a client that resets in the middle of a request does no harm",
        source: "RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Precondition::Lives],
        check: |ctx| {
            for _ in 0..5 {
                let mut client = ctx.connect_soon(&request(1))?;
                client.send(b"12")?;
                client.reset();
            }
            ctx.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
    Case {
        name: "disconnects/reset-in-reply",
        requirement: "a client that resets while replies are being sent does no harm",
        source: "RFC 9293 section 3.5.3 (reset processing); Stevens UNP 5.13 (SIGPIPE)",
        needs: &[Precondition::Pipelining, Precondition::Lives],
        check: |ctx| {
            let many = ctx.sent(&request(1)).repeat(2000);
            for _ in 0..5 {
                let mut client = ctx.connect_soon(&request(1))?;
                // The server may be too slow to accept all the bytes.
                let _ = client.client.send(&many);
                client.reset();
            }
            ctx.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
];

fn dies_of_reset(finding: Failure) -> Failure {
    finding.hint(
        "a reset makes read, write, or the accepted socket itself fail: that error ends one \
         client, never the server",
    )
}
