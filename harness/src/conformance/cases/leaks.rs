//! Cases for resources that a server must release when clients leave.

use std::time::Duration;

use crate::conformance::case::Case;
use crate::conformance::context::{TestContext, request};
use crate::conformance::failure::Failure;
use crate::conformance::padding::padded;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::{PIPELINED, QUIET};
use crate::server::proc::ResourceUsage;

/// Clients that connect and leave.
const CLIENTS: usize = 60;

/// Permitted increase of a count: a worker pool may still grow, and needs few clients for that.
const SLACK: usize = CLIENTS / 10;

/// First timeout, enough for a server that releases resources late.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);

/// Clients that send much and leave, and the bytes each sends: as many as fit in the socket buffers
/// of both sides. All together exceed the permitted growth, in bytes.
const SENDING_CLIENTS: usize = 16;
const SENT_BY_EACH: usize = 32 * 1024;
const MOST_GROWTH: u64 = 192 * 1024;

/// The longest line that they send.
const SENT_LINE: usize = 1000;

/// Most rounds of such clients. In a pool of many threads, each thread has one-time setup costs.
const MEMORY_ROUNDS: usize = 16;

/// How a client closes its connection.
#[derive(Clone, Copy, PartialEq)]
enum Leaving {
    Closing,
    Resetting,
}

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "leaks/descriptors",
        requirement: "open descriptors do not become more with every client that has come and gone",
        source: "CWE-775 (missing release of a file descriptor)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            let settled =
                settles(ctx, "open descriptors", Leaving::Closing, |held| held.descriptors);
            settled.map_err(|finding| {
                finding.hint("is every accepted socket closed, on every way out?")
            })
        },
    },
    Case {
        name: "leaks/threads-and-processes",
        requirement: "threads and processes do not become more with every client that has come and gone",
        source: "CWE-772 (missing release of a resource); pthread_detach(3)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            let settled = settles(ctx, "threads and processes", Leaving::Closing, |held| {
                held.threads + held.processes
            });
            settled.map_err(|finding| {
                finding.hint("is every thread joined or detached, every child waited for?")
            })
        },
    },
    Case {
        name: "leaks/zombies",
        requirement: "a child process that has ended is waited for, also when no further client comes",
        source: "wait(2); Stevens UNP 5.10 (wait and waitpid)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            come_and_go(ctx, Leaving::Closing)?;
            let zombies = || ctx.holdings().zombies;
            ctx.wait_until(
                || zombies() == 0,
                || {
                    let seen = format!("{} are left", zombies());
                    Failure::leak("no child that has ended is left", seen)
                        .hint("wait for children when SIGCHLD comes, for all that there are: signals do not queue")
                },
            )
        },
    },
    Case {
        name: "leaks/memory",
        requirement: "memory does not grow by what clients send that have come and gone",
        source: "CWE-401 (missing release of memory)",
        needs: &[
            Precondition::Launched,
            Precondition::Delimited,
            Precondition::Pipelining,
            Precondition::Lasting,
            Precondition::Lives,
        ],
        check: |ctx| {
            let mut outcome = Ok(());
            // One-time setup is no leak, and an allocator or a garbage collector may take time to
            // settle. A leak per client recurs in each round.
            for round in 1..=MEMORY_ROUNDS {
                let last = round == MEMORY_ROUNDS;
                ctx.let_it_rest();
                let held = || ctx.holdings().anonymous_bytes;
                let before = held();
                come_and_send(ctx)?;
                outcome = ctx.wait_for(
                    if last { ctx.patience } else { QUIET },
                    || held() <= before + MOST_GROWTH,
                    || {
                        let sent = SENDING_CLIENTS * SENT_BY_EACH / 1024;
                        let expected = format!("at most {} KiB more memory", MOST_GROWTH / 1024);
                        let grown = held().saturating_sub(before) / 1024;
                        let seen = format!("{grown} KiB more after {sent} KiB sent by {SENDING_CLIENTS} clients, again and again");
                        Failure::leak(expected, seen)
                            .hint("what is kept of a client that is gone?")
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
        name: "leaks/close-wait",
        requirement: "when clients have gone, none of their connections stays half open",
        source: "RFC 9293 section 3.6 (closing a connection: CLOSE-WAIT); CWE-772 (missing release of a resource)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            for number in 0..10 {
                ctx.connect_soon(&request(number))?.close();
            }
            let left = || ctx.in_close_wait();
            ctx.wait_until(
                || left() == 0,
                || {
                    let seen = format!("{} are in CLOSE_WAIT", left());
                    Failure::leak("the server ends each connection that its client has ended", seen)
                        .hint("a read that gives nothing is the client's end: close the socket")
                },
            )
        },
    },
    Case {
        name: "leaks/resets",
        requirement: "a client that resets leaves no descriptor, thread or process behind",
        source: "CWE-775 (missing release of a file descriptor); CWE-772 (missing release of a resource)",
        needs: &[Precondition::Launched, Precondition::Lives],
        check: |ctx| {
            let what = "descriptors, threads and processes";
            let settled = settles(ctx, what, Leaving::Resetting, |held| {
                held.descriptors + held.threads + held.processes
            });
            settled.map_err(|finding| {
                finding.hint("is a client given up like any other when a read or a write fails?")
            })
        },
    },
];

fn settles(
    ctx: &TestContext<'_>,
    what: &str,
    leaving: Leaving,
    count: fn(&ResourceUsage) -> usize,
) -> Result<(), Failure> {
    // One-time setup happens during the first round, and a pool may grow for a while. A leak goes
    // on growing.
    come_and_go(ctx, leaving)?;
    let settled = adds_little(ctx, what, leaving, count, FIRST_PATIENCE);
    settled.or_else(|_| adds_little(ctx, what, leaving, count, ctx.patience))
}

fn adds_little(
    ctx: &TestContext<'_>,
    what: &str,
    leaving: Leaving,
    count: fn(&ResourceUsage) -> usize,
    patience: Duration,
) -> Result<(), Failure> {
    ctx.let_it_rest();
    // The server may still handle the last client, so the least of several samples is the baseline.
    let mut before = usize::MAX;
    for _ in 0..5 {
        before = before.min(count(&ctx.holdings()));
        std::thread::sleep(Duration::from_millis(5));
    }
    come_and_go(ctx, leaving)?;
    let after = || count(&ctx.holdings());
    ctx.wait_for(
        patience.min(ctx.patience),
        || after() <= before + SLACK,
        || {
            let expected = format!("about {before} {what}, as before");
            Failure::leak(expected, format!("{} after {CLIENTS} clients more", after()))
        },
    )
}

fn come_and_go(ctx: &TestContext<'_>, leaving: Leaving) -> Result<(), Failure> {
    for number in 0..CLIENTS {
        let client = ctx.connect_soon(&request(number))?;
        match leaving {
            Leaving::Closing => client.close(),
            Leaving::Resetting => client.reset(),
        }
    }
    Ok(())
}

/// Connects clients one after another that send many long lines and read all replies.
fn come_and_send(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let size = ctx.contract.max_line.unwrap_or(SENT_LINE).min(SENT_LINE);
    let line = ctx.sent(&padded(ctx, &request(1), size));
    let last = ctx.sent(&request(2));
    let lines = [line.repeat(SENT_BY_EACH / line.len()), last].concat();
    for _ in 0..SENDING_CLIENTS {
        let mut client = ctx.connect_soon(&request(1))?;
        let reply = client.learn(&request(2))?;
        let mut answered = client.transmit(&lines);
        // Only the last reply differs from the others.
        while answered.is_ok() {
            match client.line() {
                Ok(line) if line == reply => break,
                other => answered = other.map(drop),
            }
        }
        answered.map_err(|trouble| {
            Failure::blocked(PIPELINED, format!("many lines at once: {trouble}"))
        })?;
    }
    ctx.was_met();
    Ok(())
}
