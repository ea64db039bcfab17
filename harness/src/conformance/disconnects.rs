//! Clients that leave: politely, half, or by a reset.

use super::Case;
use super::subject::request;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "disconnects/half-close",
        requirement: "a client that ends its side gets the reply that is owed, then a clean end",
        source: "RFC 9293 section 3.6.1 (half-closed connections); shutdown(2)",
        needs: &[],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            client.send(&[&request(1)[..], b"\n"].concat())?;
            client.half_close()?;
            client.expect(&reply)?;
            client.expect_end()
        },
    },
    Case {
        name: "disconnects/nothing-said",
        requirement: "clients that connect and close without a word do no harm",
        source: "RFC 9293 section 3.6 (closing a connection)",
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            for _ in 0..20 {
                // It may be refused while the one before is being seen off.
                drop(subject.try_connect());
            }
            subject.serves_soon("the next client is served")
        },
    },
    Case {
        name: "disconnects/reset-before-accept",
        requirement: "clients that reset as soon as they are connected do no harm",
        source: "Stevens UNP 5.11 (connection abort before accept returns); accept(2)",
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            for _ in 0..20 {
                if let Ok(client) = subject.try_connect() {
                    client.reset();
                }
            }
            subject.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
    Case {
        name: "disconnects/reset-in-request",
        requirement: "a client that resets in the middle of a request does no harm",
        source: "RFC 9293 section 3.5.3 (reset processing)",
        needs: &[],
        check: |subject| {
            for _ in 0..5 {
                let mut client = subject.connect_soon(&request(1))?;
                client.send(b"12")?;
                client.reset();
            }
            subject.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
    Case {
        name: "disconnects/reset-in-reply",
        requirement: "a client that resets while replies are being sent does no harm",
        source: "RFC 9293 section 3.5.3 (reset processing); Stevens UNP 5.13 (SIGPIPE)",
        needs: &[],
        check: |subject| {
            let many = [&request(1)[..], b"\n"].concat().repeat(2000);
            for _ in 0..5 {
                let mut client = subject.connect_soon(&request(1))?;
                // The server may have been too slow to take it all.
                let _ = client.client.send(&many);
                client.reset();
            }
            subject.serves_soon("the next client is served").map_err(dies_of_reset)
        },
    },
];

fn dies_of_reset(finding: super::Finding) -> super::Finding {
    finding.hint(
        "a reset makes read, write, or the accepted socket itself fail: that error ends one \
         client, never the server",
    )
}
