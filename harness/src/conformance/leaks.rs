//! What clients leave behind in a server: nothing.

use super::Case;
use super::finding::Finding;
use super::subject::{Subject, request};
use crate::server::proc::Holdings;

/// Clients that come and go.
const CLIENTS: usize = 60;

/// How much may be added meanwhile: a pool may still be growing, and needs few clients for that.
const SLACK: usize = CLIENTS / 10;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "leaks/descriptors",
        requirement: "open descriptors do not become more with every client that has come and gone",
        needs: &[],
        check: |subject| {
            settles(subject, "open descriptors", |held| held.descriptors).map_err(|finding| {
                finding.hint("is every accepted socket closed, on every way out?")
            })
        },
    },
    Case {
        name: "leaks/threads-and-processes",
        requirement: "threads and processes do not become more with every client that has come and gone",
        needs: &[],
        check: |subject| {
            settles(subject, "threads and processes", |held| held.threads + held.processes).map_err(
                |finding| {
                    finding.hint("is every thread joined or detached, every child waited for?")
                },
            )
        },
    },
];

fn settles(
    subject: &Subject<'_>,
    what: &str,
    count: fn(&Holdings) -> usize,
) -> Result<(), Finding> {
    // What a server sets up once, or up to some number, is set up by the first.
    come_and_go(subject)?;
    // The last of them may not have been seen off yet: the least of some looks is the baseline.
    let mut before = usize::MAX;
    for _ in 0..5 {
        before = before.min(count(&subject.holdings()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    come_and_go(subject)?;
    let after = || count(&subject.holdings());
    subject.wait_until(
        || after() <= before + SLACK,
        || {
            let expected = format!("about {before} {what}, as before");
            Finding::leak(expected, format!("{} after {CLIENTS} clients more", after()))
        },
    )
}

fn come_and_go(subject: &Subject<'_>) -> Result<(), Finding> {
    for number in 0..CLIENTS {
        let client = subject.connect_soon(&request(number))?;
        // In turns: a clean end, and a reset.
        if number % 2 == 0 { client.close() } else { client.reset() }
    }
    Ok(())
}
