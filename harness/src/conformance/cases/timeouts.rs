//! Waiting, and giving up, on either side.

use std::time::{Duration, Instant};

use servers::OverloadPolicy;

use crate::client::Trouble;
use crate::conformance::case::Case;
use crate::conformance::finding::Finding;
use crate::conformance::need::MOST_CLIENTS;
use crate::conformance::need::Need;
use crate::conformance::observe::idle;
use crate::conformance::party::Party;
use crate::conformance::subject::{Subject, request};

/// How often it is tried to speak in time.
const TRIES: usize = 10;

/// The patience of the original's client.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// Clients that drip, and their pause between two bytes.
const DRIPPING: usize = 8;
const DRIP: Duration = Duration::from_millis(10);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "timeouts/queued-client-gives-up",
        requirement: "a client that waits in the queue can give up after 2 s, and the server is unharmed",
        source: "the contract: when full; listen(2)",
        needs: &[Need::Full, Need::WhenFull(OverloadPolicy::Wait)],
        check: |subject| {
            let mut incumbents = subject.fill()?;
            let mut queued = subject.connect()?;
            queued.request(&request(7))?;
            match queued.line_within(CLIENT_PATIENCE) {
                Err(Trouble::Silent(..)) => subject.was_met(),
                Err(trouble) => {
                    return Err(Finding::trouble("the client waits until it gives up", &trouble));
                }
                Ok(_) => {
                    let seen = "the client was served";
                    return Err(Finding::fail("the client waits until it gives up", seen));
                }
            }
            queued.close();
            let reply = incumbents.served[0].ask(&request(0)).map_err(|trouble| {
                Finding::trouble("the client that is served gets its reply", &trouble)
            })?;
            incumbents.served[0].is_as_learned(&request(0), &reply)?;
            drop(incumbents);
            subject.serves_soon("the next client is served")
        },
    },
    Case {
        name: "timeouts/idle-is-closed",
        requirement: "a client that is silent for the declared time is closed, and not sooner",
        source: "the contract: idle timeout",
        needs: &[Need::IdleTimeout, Need::Lasting],
        check: |subject| {
            let declared = subject.contract.idle_timeout.unwrap_or_default();
            let idle = idle(subject, subject.contract.idle_until())?;
            let after = idle.at_most;
            let expected = format!("closed after {} ms of silence", declared.as_millis());
            let seen = format!("closed after {} ms", after.as_millis());
            match idle.ended {
                Err(Trouble::Closed(_)) if after < declared => Err(Finding::fail(expected, seen)),
                Err(Trouble::Closed(_)) => {
                    subject.was_met();
                    subject.observe(seen);
                    Ok(())
                }
                Err(trouble) => Err(Finding::trouble(expected, &trouble)),
                Ok(line) => Err(Finding::fail(expected, crate::text::printable(&line))),
            }
        },
    },
    Case {
        name: "timeouts/idle-beside-a-flood",
        requirement: "a silent client is closed also while another one floods the server",
        source: "the contract: idle timeout",
        needs: &[Need::IdleTimeout, Need::Clients(2), Need::Pipelining],
        check: |subject| {
            let declared = subject.contract.idle_timeout.unwrap_or_default();
            let mut flooding = subject.connect()?;
            flooding.learn(&request(1))?;
            let mut silent = subject.connect()?;
            silent.learn(&request(2))?;
            // The flood is there when the time comes; before that it would only cost.
            std::thread::sleep(declared * 4 / 5);
            let closed =
                flooding.while_it_floods(|| silent.line_within(declared * 2 + subject.patience))?;
            let expected = format!("closed after {} ms of silence", declared.as_millis());
            match closed {
                Err(Trouble::Closed(_)) => {
                    subject.was_met();
                    Ok(())
                }
                Err(trouble) => Err(Finding::trouble(expected, &trouble)
                    .hint("are deadlines looked at only when nothing else happens?")),
                Ok(line) => Err(Finding::fail(expected, crate::text::printable(&line))),
            }
        },
    },
    Case {
        name: "timeouts/activity-keeps-alive",
        requirement: "a client that speaks within the idle timeout is not closed",
        source: "the contract: idle timeout",
        needs: &[Need::IdleTimeout, Need::Lasting],
        check: |subject| {
            // Whoever is kept from speaking by a machine that is busy has not spoken in time.
            for _ in 0..TRIES {
                if speaks_in_time(subject)? {
                    return Ok(());
                }
            }
            Err(Finding::vacuous("the harness itself was too slow to speak in time"))
        },
    },
    Case {
        name: "timeouts/drip-beside",
        requirement: "clients that send a byte now and then do not keep another from being served",
        source: "the contract: capacity; Stevens UNP 6.8 (denial of service)",
        needs: &[Need::Clients(2), Need::Delimited],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            let mut dripping: Vec<Party<'_>> = (0..others(subject).min(DRIPPING))
                .map(|_| subject.connect())
                .collect::<Result<_, _>>()?;
            subject.tells_apart(&mut client, &mut dripping[0])?;
            for byte in request(2) {
                for slow in &mut dripping {
                    // It may be closed for being slow.
                    let _ = slow.client.send(&[byte]);
                }
                client.request(&request(1))?;
                client.expect(&reply).map_err(|finding| {
                    finding.hint("does it wait for the rest of a line that has begun? keep what came, and serve others")
                })?;
                std::thread::sleep(DRIP);
            }
            Ok(())
        },
    },
    Case {
        name: "timeouts/silent-crowd",
        requirement: "clients that say nothing, in all places but one, leave that one as good as ever",
        source: "the contract: capacity; Stevens UNP 6.8 (denial of service)",
        needs: &[Need::Clients(2)],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(7))?;
            let mut silent: Vec<Party<'_>> =
                (0..others(subject)).map(|_| subject.connect()).collect::<Result<_, _>>()?;
            // One that is still to be accepted may take the last place instead.
            subject.let_it_rest();
            for party in &mut silent {
                if !matches!(party.heard(), Err(Trouble::Silent(..))) {
                    let seen = "not all of them are served";
                    return Err(Finding::blocked(&["contract/capacity"], seen));
                }
            }
            for _ in 0..10 {
                client.request(&request(7))?;
                client.expect(&reply)?;
            }
            client.close();
            subject.serves_soon("the next client is served in the last place")
        },
    },
];

/// The places beside one, as far as a case fills them.
fn others(subject: &Subject<'_>) -> usize {
    subject.contract.capacity.unwrap_or(1).min(MOST_CLIENTS) - 1
}

/// A client that speaks within the idle timeout, again and again, is answered. Not so if the machine
/// kept it from speaking in time.
fn speaks_in_time(subject: &Subject<'_>) -> Result<bool, Finding> {
    let declared = subject.contract.idle_timeout.unwrap_or_default();
    let mut client = subject.connect()?;
    // The server has heard of it later than that, so it was not silent for longer.
    let mut spoke = Instant::now();
    let reply = client.learn(&request(1))?;
    for _ in 0..4 {
        std::thread::sleep(declared * 2 / 5);
        let speaks = Instant::now();
        let sent = client.request(&request(1));
        let was_silent = spoke.elapsed();
        match sent.and_then(|()| client.expect(&reply)) {
            Ok(()) => spoke = speaks,
            Err(_) if was_silent >= declared => return Ok(false),
            Err(finding) => return Err(finding),
        }
    }
    Ok(true)
}
