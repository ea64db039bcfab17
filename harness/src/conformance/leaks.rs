//! What clients leave behind in a server: nothing.

use super::Case;
use super::subject::{Finding, Subject, request};
use crate::server::proc::Holdings;

/// Clients that come and go.
const CLIENTS: usize = 60;

/// Clients before them, so that what a server sets up once is set up.
const FIRST: usize = 5;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "leaks/descriptors",
        requirement: "after its clients have left, the server has no more open descriptors than before",
        needs: &[],
        check: |subject| {
            settles(subject, "open descriptors", |held| held.descriptors).map_err(|finding| {
                finding.hint("is every accepted socket closed, on every way out?")
            })
        },
    },
    Case {
        name: "leaks/threads-and-processes",
        requirement: "after its clients have left, the server has no more threads and processes than before",
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
    come_and_go(subject, FIRST)?;
    // The last of them may not have been seen off yet: the least of some looks is the baseline.
    let mut before = usize::MAX;
    for _ in 0..5 {
        before = before.min(count(&subject.holdings()));
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    come_and_go(subject, CLIENTS)?;
    let after = || count(&subject.holdings());
    subject.wait_until(
        || after() <= before,
        || {
            let expected = format!("at most {before} {what}, as before");
            Finding::leak(expected, format!("{} after {CLIENTS} clients", after()))
        },
    )
}

fn come_and_go(subject: &Subject<'_>, clients: usize) -> Result<(), Finding> {
    for number in 0..clients {
        let client = subject.connect_soon(&request(number))?;
        // In turns: a clean end, and a reset.
        if number % 2 == 0 { client.close() } else { client.reset() }
    }
    Ok(())
}
