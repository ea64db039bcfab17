//! Ending in good order.

use std::thread;
use std::time::Instant;

use nix::sys::signal::Signal;

use crate::client::Trouble;
use crate::conformance::case::Case;
use crate::conformance::finding::Finding;
use crate::conformance::need::Need;
use crate::conformance::observe::GONE;
use crate::conformance::party::{PIPELINED, QUIET, Stuffed};
use crate::conformance::subject::{Subject, request};
use crate::contract::Ending;
use crate::exit::Exit;
use crate::text::printable;

/// Replies that wait for a client when it resets: more than its small window takes.
const UNREAD: usize = 5_000;

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "shutdown/sigterm",
        requirement: "SIGTERM ends an idle server, one that drains with exit code 0, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Need::Ends],
        check: |subject| {
            subject.connect()?.learn(&request(1))?;
            ends_by(subject, Signal::SIGTERM)
        },
    },
    Case {
        name: "shutdown/sigint",
        requirement: "SIGINT ends an idle server, one that drains with exit code 0, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Need::Ends],
        check: |subject| {
            subject.connect()?.learn(&request(1))?;
            ends_by(subject, Signal::SIGINT)
        },
    },
    Case {
        name: "shutdown/drains",
        requirement: "requests that arrived before SIGTERM are answered, then the connection ends cleanly",
        source: "the contract: ending; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        needs: &[Need::Drain, Need::Delimited, Need::Pipelining, Need::Lasting],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            let requests = subject.sent(&request(1)).repeat(50);
            client.send(&requests)?;
            for _ in 0..50 {
                client.expect(&reply).map_err(|finding| {
                    let seen = finding.observed;
                    Finding::blocked(PIPELINED, format!("even without a signal: {seen}"))
                })?;
            }
            // The last one has not arrived as a whole, and is nobody's.
            client.send(&[&requests[..], b"12"].concat())?;
            subject.signal(Signal::SIGTERM);
            for _ in 0..50 {
                client.expect(&reply)?;
            }
            client.expect_end()?;
            gone(subject)
        },
    },
    Case {
        name: "shutdown/busy-client",
        requirement: "a client that goes on asking does not keep a server from ending",
        source: "the contract: ending",
        needs: &[Need::Drain, Need::Lasting],
        check: |subject| {
            let mut client = subject.connect()?;
            let reply = client.learn(&request(1))?;
            subject.signal(Signal::SIGTERM);
            let deadline = Instant::now() + subject.patience * GONE;
            while Instant::now() < deadline {
                match client.ask(&request(1)) {
                    Ok(line) if line == reply => {}
                    Ok(line) => return Err(Finding::fail(printable(&reply), printable(&line))),
                    Err(trouble @ (Trouble::Silent(..) | Trouble::OutOfTime)) => {
                        return Err(Finding::trouble("the connection is ended", &trouble));
                    }
                    Err(_) => break,
                }
            }
            gone(subject).map_err(|finding| {
                finding.hint("answer what had arrived when the signal came, and read no more")
            })
        },
    },
    Case {
        name: "shutdown/reset-meanwhile",
        requirement: "a client that resets while it is waited for does not keep a server from ending",
        source: "the contract: ending; RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Need::Drain, Need::Pipelining, Need::Lasting],
        check: |subject| {
            // Replies that the kernel has taken and the client has not.
            let mut client = subject.connect_with_small_window()?;
            client.learn(&request(1))?;
            client.send(&subject.sent(&request(1)).repeat(UNREAD))?;
            subject.let_it_rest();
            subject.signal(Signal::SIGTERM);
            thread::sleep(QUIET);
            client.reset();
            gone(subject).map_err(|finding| {
                finding.hint("who waits until a client has its replies must see that it is gone")
            })
        },
    },
    Case {
        name: "shutdown/second-signal",
        requirement: "a second signal ends a server that cannot drain at once",
        source: "the contract: ending; signal(7)",
        needs: &[Need::Drain, Need::Pipelining, Need::Lasting],
        check: |subject| {
            // Replies that nobody reads keep the drain waiting.
            let mut client = subject.connect_with_small_window()?;
            client.learn(&request(1))?;
            if let Stuffed::Hoards { .. } = client.stuff()? {
                let by = &["back-pressure/never-reads"];
                return Err(Finding::blocked(by, "nothing keeps it from draining"));
            }
            subject.signal(Signal::SIGTERM);
            if subject.wait_for_exit(QUIET) == Some(Exit::Code(0)) {
                let seen = "it does not wait for its client";
                return Err(Finding::blocked(&["shutdown/drains"], seen));
            }
            subject.signal(Signal::SIGINT);
            match subject.exits_within(subject.patience * GONE) {
                Some(Exit::Code(0)) => {
                    let seen = "it ended with exit code 0, as if it had drained";
                    Err(Finding::fail(
                        "it ends at the second signal, by it or with an error code",
                        seen,
                    ))
                }
                Some(_) => {
                    subject.was_met();
                    Ok(())
                }
                None => Err(Finding::fail("it ends at the second signal", "it goes on")),
            }
        },
    },
    Case {
        name: "shutdown/aborts",
        requirement: "SIGTERM ends a server at once, whatever it is doing, and no process survives",
        source: "the contract: ending; signal(7)",
        needs: &[Need::Abort, Need::Pipelining, Need::Lasting],
        check: |subject| {
            // Replies that nobody reads, and half a request.
            let mut client = subject.connect_with_small_window()?;
            client.learn(&request(1))?;
            client.send(&subject.sent(&request(1)).repeat(UNREAD))?;
            client.send(b"12")?;
            ends_by(subject, Signal::SIGTERM)
        },
    },
    Case {
        name: "shutdown/port-is-free",
        requirement: "when SIGTERM has ended a server, nobody listens in its place",
        source: "the contract: ending; connect(2) (ECONNREFUSED)",
        needs: &[Need::Lives, Need::Ends],
        check: |subject| {
            let mut client = subject.connect()?;
            client.learn(&request(1))?;
            subject.signal(Signal::SIGTERM);
            if subject.exits_within(subject.patience * GONE).is_none() {
                return Err(Finding::blocked(&["shutdown/sigterm"], "it goes on"));
            }
            // The kernel may take a moment to end what a ring still does.
            let mut met = None;
            subject
                .wait_until(
                    || {
                        met = subject.try_connect().err();
                        met == Some(Trouble::Refused)
                    },
                    || Finding::vacuous("not refused"),
                )
                .map_err(|_| {
                    let seen = match &met {
                        None => "a client is connected".to_owned(),
                        Some(trouble) => trouble.to_string(),
                    };
                    Finding::fail("connection refused", seen)
                        .hint("does a child of it still hold the listening socket?")
                })
        },
    },
];

fn ends_by(subject: &Subject<'_>, signal: Signal) -> Result<(), Finding> {
    subject.signal(signal);
    gone(subject)
}

fn gone(subject: &Subject<'_>) -> Result<(), Finding> {
    let drains = subject.contract.ending == Some(Ending::Drain);
    let expected = match drains {
        true => "it ends with exit code 0, and all its processes with it",
        false => "it ends, and all its processes with it",
    };
    match subject.exits_within(subject.patience * GONE) {
        Some(exit) if drains && exit != Exit::Code(0) => {
            return Err(Finding::fail(expected, exit.to_string()));
        }
        Some(_) => {}
        None => {
            let seen = format!("it is still there after {} s", (subject.patience * GONE).as_secs());
            return Err(Finding {
                state: crate::conformance::verdict::State::Hang,
                ..Finding::fail(expected, seen)
            });
        }
    }
    subject.wait_until(
        || subject.processes() == 0,
        || {
            let left = format!("{} processes of it are left", subject.processes());
            Finding::leak(expected, left).hint("were all child processes told, and waited for?")
        },
    )
}
