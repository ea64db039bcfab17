//! Cases for shutdown.

use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::client::ClientError;
use crate::conformance::assumptions::PIPELINING;
use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::experiments::{
    EXIT_FACTOR, PROCESSES_REMAIN_HINT, expect_end_at_exit, stop, with_remaining_processes,
};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::requests::request;
use crate::conformance::test_client::{OverfillOutcome, QUIET};
use crate::contract::ShutdownPolicy;
use crate::exit::Exit;
use crate::results::{Fault, Level};
use crate::text::printable;

/// Number of requests whose replies a client does not read: more than fit in its small receive
/// window.
const UNREAD_REPLIES: usize = 5_000;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "shutdown/sigterm",
        requirement: "SIGTERM makes an idle server and all its processes exit, even if an idle client is connected, with status 0 if the server drains",
        source: "the contract: behaviour on SIGTERM; signal(7)",
        preconditions: &[Precondition::AnyReply, Precondition::Shutdown],
        level: Level::Required,
        check: |ctx| expect_exit_when_idle(ctx, Signal::SIGTERM),
    },
    Case {
        name: "shutdown/sigint",
        requirement: "SIGINT makes an idle server and all its processes exit, even if an idle client is connected, with status 0 if the server drains",
        source: "the contract: behaviour on SIGTERM; signal(7)",
        preconditions: &[Precondition::AnyReply, Precondition::Shutdown],
        level: Level::Required,
        check: |ctx| expect_exit_when_idle(ctx, Signal::SIGINT),
    },
    Case {
        name: "shutdown/drains",
        requirement: "requests that arrive before SIGTERM are answered, then the server closes the connection cleanly",
        source: "the contract: behaviour on SIGTERM; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        preconditions: &[
            Precondition::Drain,
            Precondition::DelimitedRequests,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            let requests = ctx.contract.sent(&request(1)).repeat(50);
            client.send(&requests)?;
            for _ in 0..50 {
                client.expect(&reply).map_err(|failure| {
                    let seen = failure.observed;
                    Failure::assumption_failed(PIPELINING, format!("even without a signal: {seen}"))
                })?;
            }
            // The last request is incomplete, so it gets no reply.
            client.send(&[&requests[..], b"12"].concat())?;
            ctx.process().signal(Signal::SIGTERM);
            for _ in 0..50 {
                client.expect(&reply)?;
            }
            expect_end_at_exit(ctx, &mut client)?;
            expect_exit(ctx)
        },
    },
    Case {
        name: "shutdown/busy-client",
        requirement: "a client that keeps sending requests does not prevent the shutdown",
        source: "the contract: behaviour on SIGTERM",
        preconditions: &[Precondition::Drain, Precondition::UnlimitedRequests],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            let reply = client.learn_reply(&request(1))?;
            ctx.process().signal(Signal::SIGTERM);
            let deadline = Instant::now() + ctx.timeout * EXIT_FACTOR;
            while Instant::now() < deadline {
                match client.ask(&request(1)) {
                    Ok(line) if line == reply => {}
                    Ok(line) => return Err(ctx.wrong_reply(printable(&reply), &reply, &line)),
                    Err(error @ (ClientError::Silent(..) | ClientError::OutOfTime)) => {
                        return Err(Failure::not_closed(
                            "the server closes the connection",
                            &error,
                        ));
                    }
                    Err(_) => break,
                }
            }
            expect_exit(ctx).map_err(|failure| {
                failure.hint_if(
                    |fault| fault == Fault::DoesNotExit,
                    "answer the requests that arrived before the signal, and read no more",
                )
            })
        },
    },
    Case {
        name: "shutdown/reset-while-draining",
        requirement: "a client that resets during the drain does not prevent the shutdown",
        source: "the contract: behaviour on SIGTERM; RFC 9293 section 3.5.3 (reset processing)",
        preconditions: &[
            Precondition::Drain,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            // The server's kernel still has replies that do not fit in the client's receive window.
            let mut client = ctx.clients().connect_with_small_window()?;
            client.learn_reply(&request(1))?;
            client.send(&ctx.contract.sent(&request(1)).repeat(UNREAD_REPLIES))?;
            ctx.process().wait_until_asleep();
            ctx.process().signal(Signal::SIGTERM);
            thread::sleep(QUIET);
            client.reset();
            expect_exit(ctx).map_err(|failure| {
                failure.hint_if(
                    |fault| fault == Fault::DoesNotExit,
                    "a server that waits until a client has read its replies must detect that the client is gone",
                )
            })
        },
    },
    Case {
        name: "shutdown/second-signal",
        requirement: "a second signal terminates a server whose drain is blocked",
        source: "the contract: behaviour on SIGTERM; signal(7)",
        preconditions: &[
            Precondition::Drain,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            // Unread replies block the drain.
            let mut client = ctx.clients().connect_with_small_window()?;
            client.learn_reply(&request(1))?;
            if let OverfillOutcome::Buffers { .. } = client.fill_buffers()? {
                let tested_by = &["back-pressure/never-reads"];
                return Err(Failure::assumption_failed(
                    tested_by,
                    "unread replies do not block the drain",
                ));
            }
            ctx.process().signal(Signal::SIGTERM);
            if ctx.process().exits_soon(QUIET) == Some(Exit::Code(0)) {
                let seen = "the server exits before its client has read the replies";
                return Err(Failure::assumption_failed(&["shutdown/drains"], seen));
            }
            ctx.process().signal(Signal::SIGINT);
            match ctx.process().exits_within(ctx.timeout * EXIT_FACTOR) {
                Some(Exit::Code(0)) => {
                    let seen = "the server exited with code 0, as after a complete drain";
                    Err(Failure::fail(
                        "the second signal kills the server, or makes it exit with a non-zero code",
                        seen,
                    )
                    .fault(Fault::ExitsWithSuccess))
                }
                Some(_) => {
                    ctx.evidence().record_verified();
                    Ok(())
                }
                None => Err(Failure::fail(
                    "the second signal makes the server exit",
                    "the server does not exit",
                )
                .hang()
                .fault(Fault::DoesNotExit)),
            }
        },
    },
    Case {
        name: "shutdown/aborts",
        requirement: "SIGTERM makes a busy server and all its processes exit at once",
        source: "the contract: behaviour on SIGTERM; signal(7)",
        preconditions: &[
            Precondition::Abort,
            Precondition::Pipelining,
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            // Leaves unread replies and an incomplete request.
            let mut client = ctx.clients().connect_with_small_window()?;
            client.learn_reply(&request(1))?;
            client.send(&ctx.contract.sent(&request(1)).repeat(UNREAD_REPLIES))?;
            client.send(b"12")?;
            expect_exit_on(ctx, Signal::SIGTERM)
        },
    },
    Case {
        name: "shutdown/port-is-free",
        requirement: "after the server has exited on SIGTERM, connections to its port are refused",
        source: "the contract: behaviour on SIGTERM; connect(2) (ECONNREFUSED)",
        preconditions: &[
            Precondition::AnyReply,
            Precondition::NoExitAfterConnections,
            Precondition::Shutdown,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut client = ctx.clients().connect()?;
            client.learn_reply(&request(1))?;
            stop(ctx)?;
            // The kernel may need a moment to cancel pending io_uring operations.
            let mut connect_error = None;
            ctx.wait_until(
                || {
                    connect_error = ctx.clients().try_connect().err();
                    connect_error == Some(ClientError::Refused)
                },
                || Failure::inconclusive("the connection is not refused"),
            )
            .map_err(|_| {
                let seen = match &connect_error {
                    None => "a client is connected".to_owned(),
                    Some(error) => error.to_string(),
                };
                let failure = Failure::fail("connection refused", seen)
                    .hint("does a child process still hold the listening socket?");
                with_remaining_processes(ctx, failure)
            })
        },
    },
];

/// Requires that a signal makes an idle server exit, without a client and with an idle one.
fn expect_exit_when_idle(ctx: &TestContext<'_>, signal: Signal) -> Result<(), Failure> {
    ctx.clients().connect()?.learn_reply(&request(1))?;
    expect_exit_on(ctx, signal)?;
    ctx.relaunch()?;
    let mut client = ctx.clients().connect()?;
    client.learn_reply(&request(1))?;
    ctx.process().wait_until_asleep();
    expect_exit_on(ctx, signal).map_err(|failure| {
        let observed = format!("with an idle client: {}", failure.observed);
        Failure { observed, ..failure }.hint_if(
            |fault| fault == Fault::DoesNotExit,
            "the server exits without a client, but not while it waits for a request of an idle one",
        )
    })
}

/// Sends a signal, and requires that the server and all its processes exit.
fn expect_exit_on(ctx: &TestContext<'_>, signal: Signal) -> Result<(), Failure> {
    ctx.process().signal(signal);
    expect_exit(ctx)
}

/// Requires that the server and all its processes exit, with code 0 if the server drains.
fn expect_exit(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let drains = ctx.contract.shutdown == Some(ShutdownPolicy::Drain);
    let expected = match drains {
        true => "the server exits with code 0, and so do all its processes",
        false => "the server and all its processes exit",
    };
    match ctx.process().exits_within(ctx.timeout * EXIT_FACTOR) {
        Some(exit) if drains && exit != Exit::Code(0) => {
            return Err(Failure::fail(expected, exit.to_string()).fault(Fault::ExitStatus).hint(
                "handle the signal: stop accepting, answer what has arrived, then exit with \
                 status 0",
            ));
        }
        Some(_) => {}
        None => {
            let seen = format!(
                "the server has not exited after {} s",
                (ctx.timeout * EXIT_FACTOR).as_secs()
            );
            return Err(Failure::fail(expected, seen).hang().fault(Fault::DoesNotExit));
        }
    }
    ctx.wait_until(
        || ctx.process().count() == 0,
        || {
            let seen = format!("{} of its processes are still running", ctx.process().count());
            Failure::leak(expected, seen).fault(Fault::ProcessesRemain).hint(PROCESSES_REMAIN_HINT)
        },
    )
}
