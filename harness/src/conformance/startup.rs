//! Coming up, and not being able to.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::finding::Finding;
use super::subject::request;
use super::{Case, Need};
use crate::server::Exit;

/// How soon a server must give up that cannot listen.
const GIVES_UP: Duration = Duration::from_secs(10);

pub(super) const CASES: &[Case] = &[
    Case {
        name: "startup/port-taken",
        requirement: "a second server on a taken port says so, ends with an error code, and leaves the first alone",
        source: "bind(2) (EADDRINUSE); POSIX (exit status)",
        needs: &[],
        check: |subject| {
            subject.connect()?.learn(&request(7))?;
            // Some close their listener while they serve.
            subject.wait_until(
                || subject.is_listening(),
                || Finding::vacuous("the first server does not listen once its client has left"),
            )?;
            let second = subject.start_again()?;
            let expected = "it ends by itself, with an exit code other than 0 and a word about it";
            let exit = second.wait_for_exit(GIVES_UP);
            let listens = second.listening();
            let shared = listens.contains(&subject.address()) && subject.is_listening();
            let ended = second.end();
            let said = ended.log.lines().next_back().unwrap_or("").trim().to_owned();
            match exit {
                Some(exit @ Exit::Code(1..)) if !said.is_empty() => {
                    subject.observe(format!("it ended with {exit}, saying: {said}"));
                }
                Some(Exit::Code(1..)) => {
                    return Err(Finding::fail(expected, "it ended, saying nothing"));
                }
                Some(exit) => {
                    return Err(Finding::fail(
                        expected,
                        format!("it ended with {exit}; it said: {said}"),
                    )
                    .hint(
                        "a server that could not start must not look as if it had done its work",
                    ));
                }
                None if shared => {
                    return Err(Finding::fail(expected, "two servers listen on one port").hint(
                        "SO_REUSEPORT shares a port silently: the kernel deals clients to both",
                    ));
                }
                None => {
                    let seen = format!("it goes on, listening on {listens:?}; it said: {said}");
                    return Err(Finding {
                        state: super::State::Hang,
                        ..Finding::fail(expected, seen)
                    });
                }
            }
            subject.still_serves("the first server serves as before")
        },
    },
    Case {
        name: "startup/restart",
        requirement: "a server can be started again at once where it was, over connections in TIME_WAIT",
        source: "RFC 1122 section 4.2.2.13 (TIME-WAIT); Stevens UNP 7.5 (SO_REUSEADDR)",
        needs: &[Need::Drain],
        check: |subject| {
            let mut client = subject.connect()?;
            client.learn(&request(1))?;
            // The server closes first, so its side is the one that goes to TIME_WAIT.
            subject.signal(Signal::SIGTERM);
            if subject.wait_for_exit(subject.patience).is_none() {
                return Err(Finding::fail("it ends at SIGTERM", "it goes on"));
            }
            client.expect_end()?;
            let again = subject.start_again()?;
            let listening = again.wait_until_listening(subject.patience);
            listening.map(|_| subject.was_met()).map_err(|error| {
                Finding::fail("it listens again", error.to_string())
                    .hint("set SO_REUSEADDR before bind: otherwise old connections hold the port for a minute")
            })
        },
    },
];
