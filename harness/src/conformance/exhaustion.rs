//! When the server has nothing left to serve with.

use std::thread::sleep;
use std::time::Duration;

use super::subject::{Finding, Party, request};
use super::{Case, Need};
use crate::client::Trouble;

/// While the server has nothing to do, it is watched for so long.
const WATCHED: Duration = Duration::from_millis(400);

/// The processor time that it may use meanwhile. One that spins uses all that it is given.
const IDLE: Duration = Duration::from_millis(100);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "exhaustion/newcomers",
        requirement: "without a free descriptor, newcomers are turned away or wait, and are served once there is one",
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            subject.without_descriptors(|| {
                // The first may be served by the descriptor that a blocked accept holds already.
                for _ in 0..4 {
                    let met = subject.try_connect().and_then(|mut party| party.ask(&request(7)));
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
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            subject.without_descriptors(|| {
                // The first may be served by the descriptor that a blocked accept holds already.
                let _ = subject.try_connect().map(|party| party.client.cut());
                let _at_the_door: Vec<Result<Party<'_>, Trouble>> =
                    (0..3).map(|_| subject.try_connect()).collect();
                sleep(WATCHED / 4);
                let before = subject.cpu_time();
                sleep(WATCHED);
                let used = subject.cpu_time() - before;
                if used > IDLE {
                    let expected = format!(
                        "at most {} ms of processor time in {} ms",
                        IDLE.as_millis(),
                        WATCHED.as_millis()
                    );
                    return Err(Finding::fail(expected, format!("{} ms", used.as_millis())).hint(
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
        needs: &[Need::Clients(2)],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            subject.without_descriptors(|| {
                let _newcomers: Vec<Result<Party<'_>, Trouble>> =
                    (0..3).map(|_| subject.try_connect()).collect();
                for _ in 0..20 {
                    client.send(&[&request(1)[..], b"\n"].concat())?;
                    client.expect(&reply)?;
                }
                Ok(())
            })
        },
    },
];
