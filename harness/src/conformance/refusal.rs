//! What a client meets that finds the server full.

use std::time::{Duration, Instant};

use servers::WhenFull;

use super::finding::Finding;
use super::party::{Party, QUIET};
use super::subject::{PROMPT, Subject, request};
use super::{Case, Need};
use crate::client::{Trouble, printable};

/// Clients turned away in a row.
const STORM: usize = 50;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "refusal/as-declared",
        requirement: "a client that finds the server full meets what the server declares, at once",
        source: "the contract: capacity, when full",
        needs: &[Need::Full],
        check: |subject| {
            let _incumbents = subject.fill()?;
            let declared = subject.contract.when_full.unwrap_or(WhenFull::Wait);
            let (met, after) = meet(subject);
            subject.was_met();
            subject.observe(format!("{} after {} µs", met.words(), after.as_micros()));
            let expected = format!("when full: {}", words_for(declared));
            if met.kind() != Some(declared) {
                return Err(Finding {
                    hint: met.hint(declared),
                    ..Finding::fail(expected, met.words())
                });
            }
            if declared != WhenFull::Wait && after > PROMPT {
                let expected = format!("{expected}, within {} ms", PROMPT.as_millis());
                let seen = format!("{} after {} ms", met.words(), after.as_millis());
                return Err(Finding::fail(expected, seen));
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/busy-line-is-whole",
        requirement: "a client that has written already still gets the whole busy line and a clean end",
        source: "the contract: when full; RFC 1122 section 4.2.2.13 (closing over unread data resets)",
        needs: &[Need::Full, Need::WhenFull(WhenFull::Busy)],
        check: |subject| {
            let _incumbents = subject.fill()?;
            for _ in 0..20 {
                let expected = "the busy line, then a clean end (FIN)";
                let finding = |trouble: Trouble| {
                    Finding::trouble(expected, &trouble).hint(
                        "closing over unread input sends RST, which overtakes the line: shut the \
                         sending side, read until the client ends, then close",
                    )
                };
                let mut client = subject.try_connect().map_err(finding)?;
                // It may be turned away before it has written; that is the other case.
                let _ = client.client.send(b"1+2\n1+2\n");
                let line = client.line().map_err(finding)?;
                if !subject.contract.is_busy(&line) {
                    // Whom it turns away, and how, is the case refusal/as-declared.
                    let seen =
                        format!("a client that should be turned away got {}", printable(&line));
                    return Err(Finding::vacuous(seen));
                }
                let rest = client.client.rest().map_err(finding)?;
                if !rest.is_empty() {
                    return Err(Finding::fail(expected, printable(&rest)));
                }
                subject.was_met();
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/incumbent-unharmed",
        requirement: "clients that are turned away do not disturb those that are served",
        source: "the contract: capacity, when full",
        needs: &[Need::Full, Need::TurnsAway],
        check: |subject| {
            let mut incumbents = subject.fill()?;
            for _ in 0..STORM {
                // What it meets is another case's matter, unless it is nothing at all.
                let met = subject.try_connect().and_then(|mut client| client.client.send(b"1+2\n"));
                if let Err(trouble @ (Trouble::ConnectTimedOut(_) | Trouble::OutOfTime)) = met {
                    return Err(Finding::vacuous(format!("nobody is turned away: {trouble}")));
                }
                let incumbent = incumbents.served.first_mut().expect("a capacity of at least one");
                let reply = incumbent.ask(&request(0)).map_err(|trouble| {
                    Finding::trouble("the client that is served gets its reply", &trouble)
                })?;
                incumbent.is_as_learned(&request(0), &reply)?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/queued-is-served-later",
        requirement: "a client that waits is served when its turn comes, with what it sent early",
        source: "the contract: when full; listen(2)",
        needs: &[Need::Full, Need::WhenFull(WhenFull::Wait)],
        check: |subject| {
            let mut incumbents = subject.fill()?;
            let reply = incumbents.served[0].learn(&request(0))?;
            let mut queued = subject.connect()?;
            queued.send(&[&request(0)[..], b"\n"].concat())?;
            queued.expect_silence("while another client is served")?;
            incumbents.make_room().close();
            queued.expect(&reply)
        },
    },
    Case {
        name: "refusal/taken-in-is-served-later",
        requirement: "clients that the server takes in to wait are served in the order in which they came, with what they sent early",
        source: "the contract: capacity, queue",
        needs: &[Need::Full, Need::Queue],
        check: |subject| {
            let mut incumbents = subject.fill()?;
            let reply = incumbents.served[0].learn(&request(0))?;
            let mut waiting = std::mem::take(&mut incumbents.waiting);
            for client in &mut waiting {
                client.send(&[&request(0)[..], b"\n"].concat())?;
            }
            // All but one of the places stay taken, so they come through one by one.
            let mut served = incumbents.make_room();
            for mut next in waiting {
                next.expect_silence("while those before it are served")?;
                served.close();
                next.expect(&reply)?;
                served = next;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/place-freed-by-fin",
        requirement: "when a client closes, its place is taken by the next",
        source: "the contract: capacity; RFC 9293 section 3.6 (closing a connection)",
        needs: &[Need::Full],
        check: |subject| {
            for _ in 0..5 {
                let mut incumbents = subject.fill()?;
                incumbents.make_room().close();
                subject.serves_soon("a client is served once another has closed")?;
            }
            Ok(())
        },
    },
    Case {
        name: "refusal/place-freed-by-rst",
        requirement: "when a client resets, its place is taken by the next",
        source: "the contract: capacity; RFC 9293 section 3.5.3 (reset processing)",
        needs: &[Need::Full],
        check: |subject| {
            for _ in 0..5 {
                let mut incumbents = subject.fill()?;
                incumbents.make_room().reset();
                subject.serves_soon("a client is served once another has reset")?;
            }
            Ok(())
        },
    },
];

/// What a client met that came to a full server.
enum Met {
    Refused,
    Reset,
    Busy(Vec<u8>),
    Closed,
    Unanswered,
    Served(Vec<u8>),
    Other(String),
}

/// Sends one client more, which listens first and asks then. Says what it met and how soon.
fn meet(subject: &Subject<'_>) -> (Met, Duration) {
    let began = Instant::now();
    let mut client = match subject.try_connect() {
        Ok(client) => client,
        Err(Trouble::Refused) => return (Met::Refused, began.elapsed()),
        Err(Trouble::Reset) => return (Met::Reset, began.elapsed()),
        Err(trouble) => return (Met::Other(trouble.to_string()), began.elapsed()),
    };
    let first = client.client.line_within(if subject.contract.when_full == Some(WhenFull::Wait) {
        QUIET * 2
    } else {
        PROMPT * 2
    });
    let after = began.elapsed();
    let met = match first {
        Err(Trouble::Silent(..)) => {
            let asked = client.client.send(&[&request(7)[..], b"\n"].concat());
            match asked.and_then(|()| client.client.line_within(QUIET * 2)) {
                Err(Trouble::Silent(..)) => Met::Unanswered,
                Ok(line) if !subject.contract.is_busy(&line) => Met::Served(line),
                other => end_of(subject, &mut client, other),
            }
        }
        other => end_of(subject, &mut client, other),
    };
    (met, after)
}

/// What a client met that heard something or came to an end.
fn end_of(subject: &Subject<'_>, client: &mut Party<'_>, heard: Result<Vec<u8>, Trouble>) -> Met {
    match heard {
        Ok(line) if subject.contract.is_busy(&line) => match client.client.rest() {
            Ok(rest) if rest.is_empty() => Met::Busy(line),
            Ok(rest) => Met::Other(format!("{}, then {}", printable(&line), printable(&rest))),
            Err(trouble) => Met::Other(format!("{}, then {trouble}", printable(&line))),
        },
        Ok(line) => Met::Other(format!("{} without being asked", printable(&line))),
        Err(Trouble::Reset) => Met::Reset,
        Err(Trouble::Closed(bytes)) if bytes.is_empty() => Met::Closed,
        Err(trouble) => Met::Other(trouble.to_string()),
    }
}

impl Met {
    fn kind(&self) -> Option<WhenFull> {
        match self {
            Met::Refused => Some(WhenFull::Refuse),
            Met::Reset => Some(WhenFull::Reset),
            Met::Busy(_) => Some(WhenFull::Busy),
            Met::Unanswered => Some(WhenFull::Wait),
            Met::Closed | Met::Served(_) | Met::Other(_) => None,
        }
    }

    fn words(&self) -> String {
        match self {
            Met::Refused => "connection refused".to_owned(),
            Met::Reset => "connected, then reset".to_owned(),
            Met::Busy(line) => format!("{}, then a clean end", printable(line)),
            Met::Closed => "connected, then closed without a word".to_owned(),
            Met::Unanswered => "connected, and left without an answer".to_owned(),
            Met::Served(reply) => format!("served: {}", printable(reply)),
            Met::Other(words) => words.clone(),
        }
    }

    fn hint(&self, declared: WhenFull) -> Option<String> {
        let words = match (self, declared) {
            (Met::Served(_), _) => {
                "it serves more clients than it declares: is anything counted before a client is taken on?"
            }
            (Met::Unanswered, _) => {
                "the client was accepted, by the server or by the kernel's queue, and never read: \
                 this queues, it does not refuse. listen(0) does not refuse either; to refuse, \
                 close the listening socket or shut it down while clients are served"
            }
            (Met::Closed, WhenFull::Busy | WhenFull::Reset) => {
                "accept and close alone give a silent client an end of file"
            }
            (Met::Reset, WhenFull::Busy) => {
                "the busy line was overtaken by a reset: was there input that nobody read?"
            }
            (Met::Refused, WhenFull::Wait) => "does it close the listening socket while it serves?",
            _ => return None,
        };
        Some(words.to_owned())
    }
}

fn words_for(declared: WhenFull) -> &'static str {
    match declared {
        WhenFull::Wait => "connected, and answered only when a place is free",
        WhenFull::Refuse => "connection refused",
        WhenFull::Reset => "connected, then reset",
        WhenFull::Busy => "one line that says so (--busy-prefix), then a clean end",
    }
}
