//! Clients do not notice each other.

use super::finding::Finding;
use super::party::Party;
use super::subject::request;
use super::{Case, Need};

pub(super) const CASES: &[Case] = &[
    Case {
        name: "isolation/idle-beside-active",
        requirement: "a client that says nothing does not keep another from being served",
        source: "the contract: capacity; Stevens UNP 6.8 (denial of service)",
        needs: &[Need::Clients(2)],
        check: |subject| {
            let mut idle = subject.connect()?;
            let reply = idle.learn(&request(1))?;
            subject.still_serves("a client is served beside an idle one").map_err(|finding| {
                finding.hint("it seems to serve one client at a time: does a read on the first block the rest?")
            })?;
            idle.send(&[&request(1)[..], b"\n"].concat())?;
            idle.expect(&reply)
        },
    },
    Case {
        name: "isolation/own-answers",
        requirement: "each of many clients gets the answers to its own requests",
        source: "the line protocol; CWE-488 (exposure of data to the wrong session)",
        needs: &[Need::Clients(2)],
        check: |subject| {
            let capacity = subject.contract.capacity.unwrap_or(2);
            let mut clients: Vec<Party<'_>> =
                (0..capacity.min(64)).map(|_| subject.connect()).collect::<Result<_, _>>()?;
            let mut replies = Vec::new();
            for (number, client) in clients.iter_mut().enumerate() {
                replies.push(client.learn(&request(number))?);
            }
            // All send the first half before any sends the second.
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(&request(number)[..3])?;
            }
            for (number, client) in clients.iter_mut().enumerate() {
                client.send(&[&request(number)[3..], b"\n"].concat())?;
            }
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
        needs: &[Need::Clients(2)],
        check: |subject| {
            let mut good = subject.connect()?;
            let reply = good.learn(&request(1))?;
            for _ in 0..10 {
                let mut bad = subject.connect_soon(&request(2))?;
                bad.send(b"12")?;
                bad.reset();
                good.send(&[&request(1)[..], b"\n"].concat())?;
                good.expect(&reply)?;
            }
            Ok(())
        },
    },
    Case {
        name: "isolation/churn",
        requirement: "200 clients, one after another, are all served",
        source: "CWE-772 (missing release of a resource)",
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            for number in 0..200 {
                let expected = format!("client {} of 200 is served", number + 1);
                subject.serves_soon(&expected).map_err(|finding: Finding| {
                    finding.hint("what does a client leave behind? a descriptor, a thread, a place that is not given back?")
                })?;
            }
            Ok(())
        },
    },
];
