//! Cases for resources that a server must release when clients disconnect.

use std::time::Duration;

use crate::conformance::assumptions::PIPELINING;
use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::{padded, request};
use crate::conformance::test_client::QUIET;
use crate::results::{Fault, Level};
use crate::server::proc::ResourceUsage;

/// Number of clients that connect and disconnect.
const CLIENTS: usize = 60;

/// Maximum number of clients that disconnect together.
const TOGETHER: usize = 30;

/// Permitted growth of a count, for a worker pool that still grows.
const SLACK: usize = CLIENTS / 10;

/// First timeout for the release of resources.
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of clients that send much data and disconnect, in each round.
const SENDING_CLIENTS: usize = 16;

/// Number of bytes that each of these clients sends: as many as fit in the socket buffers of both
/// sides.
const BYTES_PER_CLIENT: usize = 32 * 1024;

/// Permitted growth of the server's memory in a round, in bytes. All clients together send more.
const MAX_GROWTH: u64 = 192 * 1024;

/// Maximum length of a line that these clients send, in bytes.
const MAX_SENT_LINE: usize = 1000;

/// Maximum number of rounds. In a pool of many threads, each thread allocates memory once, so the
/// memory may grow for several rounds.
const MEMORY_ROUNDS: usize = 16;

/// Hint of a server that does not wait for its child processes.
const ZOMBIE_HINT: &str =
    "on SIGCHLD, call waitpid until no exited child is left: signals are not queued";

/// Maximum number of rounds with [`REPETITIONS`] times as much data. A garbage collector uses its
/// whole heap before it reuses memory.
const LARGE_MEMORY_ROUNDS: usize = 16;

/// Number of these rounds after which memory that still grows is a leak, if half of the time of the
/// case has passed. A Java server with the default heap of a machine with 24 GiB needs six.
const MIN_LARGE_MEMORY_ROUNDS: usize = 12;

/// Number of times that a client of such a round sends [`BYTES_PER_CLIENT`].
const REPETITIONS: usize = 16;

/// How a client closes its connection.
#[derive(Clone, Copy, PartialEq)]
enum Disconnect {
    Fin,
    Rst,
}

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "leaks/descriptors",
        requirement: "the number of open descriptors does not grow with the number of past clients",
        source: "CWE-775 (missing release of a file descriptor)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let result = expect_no_growth(ctx, "open descriptors", Disconnect::Fin, |usage| {
                usage.descriptors
            });
            result
                .map_err(|failure| failure.hint("is every accepted socket closed, on every path?"))
        },
    },
    Case {
        name: "leaks/threads-and-processes",
        requirement: "the number of threads and processes does not grow with the number of past clients",
        source: "CWE-772 (missing release of a resource); pthread_detach(3)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let result = expect_no_growth(ctx, "threads and processes", Disconnect::Fin, |usage| {
                usage.threads + usage.processes
            });
            result.map_err(|failure| {
                let failure = failure.hint(
                    "is every thread joined or detached, and every child process waited for?",
                );
                // Zombies are processes, too.
                match ctx.resources().usage().zombies > SLACK {
                    true => failure.fault(Fault::Zombies).hint(ZOMBIE_HINT),
                    false => failure,
                }
            })
        },
    },
    Case {
        name: "leaks/zombies",
        requirement: "the server reaps exited child processes, even when no further client connects",
        source: "wait(2); Stevens UNP 5.10 (wait and waitpid)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            connect_and_disconnect(ctx, Disconnect::Fin)?;
            expect_no_zombies(ctx)?;
            disconnect_together(ctx)?;
            expect_no_zombies(ctx)
        },
    },
    Case {
        name: "leaks/memory",
        requirement: "memory does not grow with the data that past clients have sent",
        source: "CWE-401 (missing release of memory)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::DelimitedRequests,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut outcome = Ok(());
            // One-time setup is no leak, and an allocator or a garbage collector may reach a steady
            // state late. A leak per client recurs in each round.
            for round in 1..=MEMORY_ROUNDS + LARGE_MEMORY_ROUNDS {
                let repetitions = if round > MEMORY_ROUNDS { REPETITIONS } else { 1 };
                ctx.process().wait_until_asleep();
                let memory = || ctx.resources().usage().anonymous_bytes;
                let before = memory();
                send_and_disconnect(ctx, repetitions)?;
                let is_last = round == MEMORY_ROUNDS + LARGE_MEMORY_ROUNDS
                    || round >= MEMORY_ROUNDS + MIN_LARGE_MEMORY_ROUNDS && !ctx.permits_a_step();
                outcome = ctx.wait_for(
                    if is_last { ctx.timeout } else { QUIET },
                    || memory() <= before + MAX_GROWTH,
                    || {
                        let sent = repetitions * SENDING_CLIENTS * BYTES_PER_CLIENT / 1024;
                        let expected = format!("memory grows by at most {} KiB", MAX_GROWTH / 1024);
                        let growth = memory().saturating_sub(before) / 1024;
                        let seen = format!("memory grew by {growth} KiB after {SENDING_CLIENTS} clients sent {sent} KiB, and grew in each of {round} rounds");
                        Failure::leak(expected, seen)
                            .hint("which data of a closed connection does the server keep?")
                    },
                );
                if outcome.is_ok() || is_last {
                    break;
                }
            }
            outcome
        },
    },
    Case {
        name: "leaks/close-wait",
        requirement: "no connection stays in CLOSE_WAIT after its client has closed",
        source: "RFC 9293 section 3.6 (closing a connection: CLOSE-WAIT); CWE-772 (missing release of a resource)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            for number in 0..10 {
                ctx.clients().connect_with_retry(&request(number))?.close();
            }
            let number = || ctx.resources().connections_in_close_wait();
            ctx.wait_until(
                || number() == 0,
                || {
                    let seen = format!("{} connections in CLOSE_WAIT", number());
                    Failure::leak("no connection in CLOSE_WAIT", seen).hint(
                        "a read of 0 bytes means that the client has closed: close the socket",
                    )
                },
            )
        },
    },
    Case {
        name: "leaks/resets",
        requirement: "a client that resets leaves no descriptor, thread or process behind",
        source: "CWE-775 (missing release of a file descriptor); CWE-772 (missing release of a resource)",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Launched,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let counted = "descriptors, threads and processes";
            let result = expect_no_growth(ctx, counted, Disconnect::Rst, |usage| {
                usage.descriptors + usage.threads + usage.processes
            });
            result.map_err(|failure| {
                // Zombies are processes, too.
                let has_zombies = ctx.resources().usage().zombies > SLACK;
                if has_zombies && only_zombies_remain(ctx) {
                    return failure.fault(Fault::Zombies).hint(ZOMBIE_HINT);
                }
                failure.hint("does the server release the same resources after a failed read or write as after a normal close?")
            })
        },
    },
];

/// Requires that a count of resources does not grow when clients connect and disconnect. `counted`
/// is the plural noun for the resources in a failure.
fn expect_no_growth(
    ctx: &TestContext<'_>,
    counted: &str,
    disconnect: Disconnect,
    count: fn(&ResourceUsage) -> usize,
) -> Result<(), Failure> {
    // One-time setup happens in the first round, and a worker pool may grow in several rounds. A
    // leak grows in every round.
    connect_and_disconnect(ctx, disconnect)?;
    let result = expect_small_growth(ctx, counted, disconnect, count, FIRST_TIMEOUT);
    result.or_else(|_| expect_small_growth(ctx, counted, disconnect, count, ctx.timeout))
}

/// Returns whether clients that reset leave nothing behind but child processes that have exited.
fn only_zombies_remain(ctx: &TestContext<'_>) -> bool {
    // A zombie counts as a process and as its only thread.
    let others = |usage: &ResourceUsage| {
        (usage.descriptors + usage.threads + usage.processes).saturating_sub(2 * usage.zombies)
    };
    expect_small_growth(ctx, "resources", Disconnect::Rst, others, ctx.timeout).is_ok()
}

/// Requires that a count grows by at most [`SLACK`] in one round of clients.
fn expect_small_growth(
    ctx: &TestContext<'_>,
    counted: &str,
    disconnect: Disconnect,
    count: fn(&ResourceUsage) -> usize,
    timeout: Duration,
) -> Result<(), Failure> {
    ctx.process().wait_until_asleep();
    // The server may still handle the last client, so the minimum of several samples is the
    // baseline.
    let mut before = usize::MAX;
    for _ in 0..5 {
        before = before.min(count(&ctx.resources().usage()));
        std::thread::sleep(Duration::from_millis(5));
    }
    connect_and_disconnect(ctx, disconnect)?;
    let after = || count(&ctx.resources().usage());
    ctx.wait_for(
        timeout.min(ctx.timeout),
        || after() <= before + SLACK,
        || {
            let expected = format!("about {before} {counted}, as before");
            Failure::leak(expected, format!("{} after {CLIENTS} more clients", after()))
        },
    )
}

/// Connects [`CLIENTS`] clients one after another. Each gets one reply and disconnects.
fn connect_and_disconnect(ctx: &TestContext<'_>, disconnect: Disconnect) -> Result<(), Failure> {
    for number in 0..CLIENTS {
        let client = ctx.clients().connect_with_retry(&request(number))?;
        match disconnect {
            Disconnect::Fin => client.close(),
            Disconnect::Rst => client.reset(),
        }
    }
    Ok(())
}

/// Requires that the server waits for its child processes that have exited.
fn expect_no_zombies(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let zombies = || ctx.resources().usage().zombies;
    ctx.wait_until(
        || zombies() == 0,
        || {
            let seen = format!("{} zombies", zombies());
            Failure::leak("no zombies", seen).fault(Fault::Zombies).hint(ZOMBIE_HINT)
        },
    )
}

/// Connects as many clients as the server serves at a time, at most [`TOGETHER`], and disconnects
/// them together. The exits of their child processes then coincide.
fn disconnect_together(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let limit = ctx.contract.capacity.map_or(TOGETHER, |capacity| capacity.min(TOGETHER));
    let mut clients = vec![ctx.clients().connect_with_retry(&request(0))?];
    // A server without a child process leaves no zombies.
    while clients.len() < limit && ctx.process().count() > 1 {
        match ctx.clients().try_to_be_served(&request(clients.len())) {
            Ok(client) => clients.push(client),
            // Other cases test how many clients are served.
            Err(_) => break,
        }
    }
    match clients.len() {
        1 => {}
        _ => ctx.process().while_stopped(|| drop(clients)),
    }
    Ok(())
}

/// Connects [`SENDING_CLIENTS`] clients one after another. Each sends many long lines, reads all
/// replies, does so `repetitions` times, and disconnects.
fn send_and_disconnect(ctx: &TestContext<'_>, repetitions: usize) -> Result<(), Failure> {
    let size = ctx.contract.max_line.unwrap_or(MAX_SENT_LINE).min(MAX_SENT_LINE);
    let line = ctx.contract.wire.sent(&padded(ctx.contract, &request(1), size));
    let last = ctx.contract.sent(&request(2));
    let lines = [line.repeat(BYTES_PER_CLIENT / line.len()), last].concat();
    for _ in 0..SENDING_CLIENTS {
        let mut client = ctx.clients().connect_with_retry(&request(1))?;
        // Of each repetition, only the last request gets this reply.
        client.learn_reply(&request(2))?;
        let result = (0..repetitions).try_for_each(|_| {
            client.try_send(&lines)?;
            client.skip_until_repeated()
        });
        result.map_err(|error| {
            Failure::assumption_failed(PIPELINING, format!("many pipelined requests: {error}"))
        })?;
    }
    ctx.evidence().record_verified();
    Ok(())
}
