//! When the server has nothing left to serve with.

use std::time::Duration;

use crate::client::Trouble;
use crate::conformance::case::Case;
use crate::conformance::finding::Finding;
use crate::conformance::need::Need;
use crate::conformance::party::Party;
use crate::conformance::subject::request;

/// How soon a newcomer should know that it is not served.
const TOLD: Duration = Duration::from_secs(2);

/// How often it is looked whether a server sleeps that has nothing to do. One that spins never
/// does, one that looks again after a pause now and then. Processor time would not tell: on a busy
/// machine one that spins gets little of it.
const LOOKS: usize = 100;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "exhaustion/newcomers",
        requirement: "without a free descriptor, newcomers are turned away or wait, and are served once there is one",
        source: "accept(2) (EMFILE); getrlimit(2)",
        needs: &[Need::Launched, Need::Lives],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            subject.without_descriptors(|| {
                // The first may be served by the descriptor that a blocked accept holds already.
                for _ in 0..4 {
                    let met = subject.try_connect().and_then(|mut party| {
                        party.tell(&request(7))?;
                        party.line_within(TOLD)
                    });
                    let Err(Trouble::Silent(..) | Trouble::ConnectTimedOut(_)) = met else {
                        continue;
                    };
                    subject
                        .loosely("newcomers are left without a word until there is a descriptor");
                    break;
                }
                Ok(())
            })?;
            let served = subject.serves_soon("clients are served once there are descriptors again");
            served.map_err(|finding| {
                finding.hint("an accept that fails for want of a descriptor ends neither the loop nor the server")
            })
        },
    },
    Case {
        name: "exhaustion/no-spin",
        requirement: "without a free descriptor, and with newcomers at the door, the server does not spin",
        source: "accept(2) (EMFILE); CWE-400 (uncontrolled resource consumption)",
        needs: &[Need::Launched, Need::Lives],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            subject.without_descriptors(|| {
                // The first may be served by the descriptor that a blocked accept holds already.
                let _ = subject.try_connect().map(|party| party.client.cut());
                let _at_the_door: Vec<Result<Party<'_>, Trouble>> =
                    (0..3).map(|_| subject.try_connect()).collect();
                let asleep = subject.seen_asleep(LOOKS);
                if asleep < LOOKS / 20 {
                    let expected = "the server sleeps while nothing can be done";
                    let seen = format!("it slept in {asleep} of {LOOKS} looks");
                    return Err(Finding::fail(expected, seen).hint(
                        "accept fails at once without a descriptor, and the listener stays ready: \
                         free a spare one to accept and close, or stop listening for a while",
                    ));
                }
                subject.was_met();
                Ok(())
            })
        },
    },
    Case {
        name: "exhaustion/old-clients",
        requirement: "without a free descriptor, the clients that are there are served as before",
        source: "accept(2) (EMFILE); getrlimit(2)",
        needs: &[Need::Clients(2), Need::Launched],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            subject.without_descriptors(|| {
                let _newcomers: Vec<Result<Party<'_>, Trouble>> =
                    (0..3).map(|_| subject.try_connect()).collect();
                for _ in 0..20 {
                    client.request(&request(1))?;
                    client.expect(&reply)?;
                }
                Ok(())
            })
        },
    },
];
