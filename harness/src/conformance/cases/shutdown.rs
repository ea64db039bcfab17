//! Cases for shutdown.

use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::case_result::State;
use crate::conformance::context::{TestContext, request};
use crate::conformance::experiments::GONE;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::Precondition;
use crate::conformance::test_client::{PIPELINED, QUIET, Stuffed};
use crate::contract::Ending;
use crate::exit::Exit;
use crate::text::printable;

/// Replies pending for a client when it resets: more than its small receive window takes.
const UNREAD: usize = 5_000;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "shutdown/sigterm",
        requirement: "SIGTERM ends an idle server, one that drains with exit code 0, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Precondition::Ends],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            ends_by(ctx, Signal::SIGTERM)
        },
    },
    Case {
        name: "shutdown/sigint",
        requirement: "SIGINT ends an idle server, one that drains with exit code 0, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Precondition::Ends],
        check: |ctx| {
            ctx.connect()?.learn(&request(1))?;
            ends_by(ctx, Signal::SIGINT)
        },
    },
    Case {
        name: "shutdown/drains",
        requirement: "requests that arrived before SIGTERM are answered, then the connection ends cleanly",
        source: "the contract: ending; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        needs: &[
            Precondition::Drain,
            Precondition::Delimited,
            Precondition::Pipelining,
            Precondition::Lasting,
        ],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            let requests = ctx.sent(&request(1)).repeat(50);
            client.send(&requests)?;
            for _ in 0..50 {
                client.expect(&reply).map_err(|finding| {
                    let seen = finding.observed;
                    Failure::blocked(PIPELINED, format!("even without a signal: {seen}"))
                })?;
            }
            // The last request is incomplete, so it gets no reply.
            client.send(&[&requests[..], b"12"].concat())?;
            ctx.signal(Signal::SIGTERM);
            for _ in 0..50 {
                client.expect(&reply)?;
            }
            client.expect_end()?;
            gone(ctx)
        },
    },
    Case {
        name: "shutdown/busy-client",
        requirement: "a client that goes on asking does not keep a server from ending",
        source: "the contract: ending",
        needs: &[Precondition::Drain, Precondition::Lasting],
        check: |ctx| {
            let mut client = ctx.connect()?;
            let reply = client.learn(&request(1))?;
            ctx.signal(Signal::SIGTERM);
            let deadline = Instant::now() + ctx.patience * GONE;
            while Instant::now() < deadline {
                match client.ask(&request(1)) {
                    Ok(line) if line == reply => {}
                    Ok(line) => return Err(Failure::fail(printable(&reply), printable(&line))),
                    Err(trouble @ (ClientError::Silent(..) | ClientError::OutOfTime)) => {
                        return Err(Failure::trouble("the connection is ended", &trouble));
                    }
                    Err(_) => break,
                }
            }
            gone(ctx).map_err(|finding| {
                finding.hint("answer what had arrived when the signal came, and read no more")
            })
        },
    },
    Case {
        name: "shutdown/reset-meanwhile",
        requirement: "a client that resets while it is waited for does not keep a server from ending",
        source: "the contract: ending; RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Precondition::Drain, Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            // The kernel has accepted replies that the client has not received.
            let mut client = ctx.connect_with_small_window()?;
            client.learn(&request(1))?;
            client.send(&ctx.sent(&request(1)).repeat(UNREAD))?;
            ctx.let_it_rest();
            ctx.signal(Signal::SIGTERM);
            thread::sleep(QUIET);
            client.reset();
            gone(ctx).map_err(|finding| {
                finding.hint("who waits until a client has its replies must see that it is gone")
            })
        },
    },
    Case {
        name: "shutdown/second-signal",
        requirement: "a second signal ends a server that cannot drain at once",
        source: "the contract: ending; signal(7)",
        needs: &[Precondition::Drain, Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            // Unread replies block the drain.
            let mut client = ctx.connect_with_small_window()?;
            client.learn(&request(1))?;
            if let Stuffed::Hoards { .. } = client.stuff()? {
                let by = &["back-pressure/never-reads"];
                return Err(Failure::blocked(by, "nothing keeps it from draining"));
            }
            ctx.signal(Signal::SIGTERM);
            if ctx.wait_for_exit(QUIET) == Some(Exit::Code(0)) {
                let seen = "it does not wait for its client";
                return Err(Failure::blocked(&["shutdown/drains"], seen));
            }
            ctx.signal(Signal::SIGINT);
            match ctx.exits_within(ctx.patience * GONE) {
                Some(Exit::Code(0)) => {
                    let seen = "it ended with exit code 0, as if it had drained";
                    Err(Failure::fail(
                        "it ends at the second signal, by it or with an error code",
                        seen,
                    ))
                }
                Some(_) => {
                    ctx.was_met();
                    Ok(())
                }
                None => Err(Failure::fail("it ends at the second signal", "it goes on")),
            }
        },
    },
    Case {
        name: "shutdown/aborts",
        requirement: "SIGTERM ends a server at once, whatever it is doing, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Precondition::Abort, Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            // Leaves unread replies and an incomplete request.
            let mut client = ctx.connect_with_small_window()?;
            client.learn(&request(1))?;
            client.send(&ctx.sent(&request(1)).repeat(UNREAD))?;
            client.send(b"12")?;
            ends_by(ctx, Signal::SIGTERM)
        },
    },
    Case {
        name: "shutdown/port-is-free",
        requirement: "when SIGTERM has ended a server, nobody listens in its place",
        source: "the contract: ending; connect(2) (ECONNREFUSED)",
        needs: &[Precondition::Lives, Precondition::Ends],
        check: |ctx| {
            let mut client = ctx.connect()?;
            client.learn(&request(1))?;
            ctx.signal(Signal::SIGTERM);
            if ctx.exits_within(ctx.patience * GONE).is_none() {
                return Err(Failure::blocked(&["shutdown/sigterm"], "it goes on"));
            }
            // The kernel may need a moment to cancel pending io_uring operations.
            let mut met = None;
            ctx.wait_until(
                || {
                    met = ctx.try_connect().err();
                    met == Some(ClientError::Refused)
                },
                || Failure::vacuous("not refused"),
            )
            .map_err(|_| {
                let seen = match &met {
                    None => "a client is connected".to_owned(),
                    Some(trouble) => trouble.to_string(),
                };
                Failure::fail("connection refused", seen)
                    .hint("does a child of it still hold the listening socket?")
            })
        },
    },
];

fn ends_by(ctx: &TestContext<'_>, signal: Signal) -> Result<(), Failure> {
    ctx.signal(signal);
    gone(ctx)
}

fn gone(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let drains = ctx.contract.ending == Some(Ending::Drain);
    let expected = match drains {
        true => "it ends with exit code 0, and all its processes with it",
        false => "it ends, and all its processes with it",
    };
    match ctx.exits_within(ctx.patience * GONE) {
        Some(exit) if drains && exit != Exit::Code(0) => {
            return Err(Failure::fail(expected, exit.to_string()));
        }
        Some(_) => {}
        None => {
            let seen = format!("it is still there after {} s", (ctx.patience * GONE).as_secs());
            return Err(Failure { state: State::Hang, ..Failure::fail(expected, seen) });
        }
    }
    ctx.wait_until(
        || ctx.processes() == 0,
        || {
            let left = format!("{} processes of it are left", ctx.processes());
            Failure::leak(expected, left).hint("were all child processes told, and waited for?")
        },
    )
}
