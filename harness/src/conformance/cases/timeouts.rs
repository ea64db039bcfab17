//! Cases for the idle timeout and for slow clients.

use std::time::{Duration, Instant};

use servers::OverloadPolicy;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::{TestContext, request};
use crate::conformance::experiments::idle;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MOST_CLIENTS;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::TestClient;
use crate::text::printable;

/// Number of attempts to send within the idle timeout.
const TRIES: usize = 10;

/// Timeout of the client of the original teaching servers.
const CLIENT_PATIENCE: Duration = Duration::from_secs(2);

/// Number of clients that send single bytes, and the pause between two bytes.
const DRIPPING: usize = 8;
const DRIP: Duration = Duration::from_millis(10);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "timeouts/queued-client-gives-up",
        requirement: "a client that waits in the queue can give up after 2 s, and the server is unharmed",
        source: "the contract: when full; listen(2)",
        needs: &[Precondition::Full, Precondition::WhenFull(OverloadPolicy::Wait)],
        check: |ctx| {
            let mut incumbents = ctx.fill()?;
            let mut queued = ctx.connect()?;
            queued.request(&request(7))?;
            match queued.line_within(CLIENT_PATIENCE) {
                Err(ClientError::Silent(..)) => ctx.was_met(),
                Err(trouble) => {
                    return Err(Failure::trouble("the client waits until it gives up", &trouble));
                }
                Ok(_) => {
                    let seen = "the client was served";
                    return Err(Failure::fail("the client waits until it gives up", seen));
                }
            }
            queued.close();
            let reply = incumbents.served[0].ask(&request(0)).map_err(|trouble| {
                Failure::trouble("the client that is served gets its reply", &trouble)
            })?;
            incumbents.served[0].is_as_learned(&request(0), &reply)?;
            drop(incumbents);
            ctx.serves_soon("the next client is served")
        },
    },
    Case {
        name: "timeouts/idle-is-closed",
        requirement: "a client that is silent for the declared time is closed, and not sooner",
        source: "the contract: idle timeout",
        needs: &[Precondition::IdleTimeout, Precondition::Lasting],
        check: |ctx| {
            let declared = ctx.contract.idle_timeout.unwrap_or_default();
            let idle = idle(ctx, ctx.contract.idle_until())?;
            let after = idle.at_most;
            let expected = format!("closed after {} ms of silence", declared.as_millis());
            let seen = format!("closed after {} ms", after.as_millis());
            match idle.ended {
                Err(ClientError::Closed(_)) if after < declared => {
                    Err(Failure::fail(expected, seen))
                }
                Err(ClientError::Closed(_)) => {
                    ctx.was_met();
                    ctx.observe(seen);
                    Ok(())
                }
                Err(trouble) => Err(Failure::trouble(expected, &trouble)),
                Ok(line) => Err(Failure::fail(expected, printable(&line))),
            }
        },
    },
    Case {
        name: "timeouts/idle-beside-a-flood",
        requirement: "a silent client is closed also while another one floods the server",
        source: "the contract: idle timeout",
        needs: &[Precondition::IdleTimeout, Precondition::Clients(2), Precondition::Pipelining],
        check: |ctx| {
            let declared = ctx.contract.idle_timeout.unwrap_or_default();
            let mut flooding = ctx.connect()?;
            flooding.learn(&request(1))?;
            let mut silent = ctx.connect()?;
            silent.learn(&request(2))?;
            // Starts the flood just before the timeout expires; earlier it would only cost CPU
            // time.
            std::thread::sleep(declared * 4 / 5);
            let closed =
                flooding.while_it_floods(|| silent.line_within(declared * 2 + ctx.patience))?;
            let expected = format!("closed after {} ms of silence", declared.as_millis());
            match closed {
                Err(ClientError::Closed(_)) => {
                    ctx.was_met();
                    Ok(())
                }
                Err(trouble) => Err(Failure::trouble(expected, &trouble)
                    .hint("are deadlines looked at only when nothing else happens?")),
                Ok(line) => Err(Failure::fail(expected, printable(&line))),
            }
        },
    },
    Case {
        name: "timeouts/activity-keeps-alive",
        requirement: "a client that speaks within the idle timeout is not closed",
        source: "the contract: idle timeout",
        needs: &[Precondition::IdleTimeout, Precondition::Lasting],
        check: |ctx| {
            // On a busy machine the harness may send too late, so it tries again.
            for _ in 0..TRIES {
                if speaks_in_time(ctx)? {
                    return Ok(());
                }
            }
            Err(Failure::vacuous("the harness itself was too slow to speak in time"))
        },
    },
    Case {
        name: "timeouts/drip-beside",
        requirement: "clients that send a byte now and then do not keep another from being served",
        source: "the contract: capacity; Stevens UNP 6.8 (denial of service)",
        needs: &[Precondition::Clients(2), Precondition::Delimited],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            let mut dripping: Vec<TestClient<'_>> =
                (0..others(ctx).min(DRIPPING)).map(|_| ctx.connect()).collect::<Result<_, _>>()?;
            ctx.tells_apart(&mut client, &mut dripping[0])?;
            for byte in request(2) {
                for slow in &mut dripping {
                    // The server may close it for being slow.
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
        needs: &[Precondition::Clients(2)],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(7))?;
            let mut silent: Vec<TestClient<'_>> =
                (0..others(ctx)).map(|_| ctx.connect()).collect::<Result<_, _>>()?;
            // A client that is still in the accept queue could take the last slot instead.
            ctx.let_it_rest();
            for party in &mut silent {
                if !matches!(party.heard(), Err(ClientError::Silent(..))) {
                    let seen = "not all of them are served";
                    return Err(Failure::blocked(&["contract/capacity"], seen));
                }
            }
            for _ in 0..10 {
                client.request(&request(7))?;
                client.expect(&reply)?;
            }
            client.close();
            ctx.serves_soon("the next client is served in the last place")
        },
    },
];

/// Returns the connection slots besides one, limited to what a case opens.
fn others(ctx: &TestContext<'_>) -> usize {
    ctx.contract.capacity.unwrap_or(1).min(MOST_CLIENTS) - 1
}

/// Requires replies to a client that sends within the idle timeout several times.
///
/// Returns false if a reply is missing after the machine delayed a request beyond the timeout.
fn speaks_in_time(ctx: &TestContext<'_>) -> Result<bool, Failure> {
    let declared = ctx.contract.idle_timeout.unwrap_or_default();
    let mut client = ctx.connect()?;
    // The server receives the request later than this, so its idle time is shorter.
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
