//! What a server declares is what it does. What it does not declare is found out and told.

use std::str::FromStr;
use std::time::Duration;

use servers::OverloadPolicy;

use crate::client::Trouble;
use crate::conformance::case::Case;
use crate::conformance::discovery::Discovery;
use crate::conformance::finding::Finding;
use crate::conformance::need::MOST_CLIENTS;
use crate::conformance::need::Need;
use crate::conformance::observe::{
    Crowd, Ended, Erroneous, Longest, Met, NotAnswered, common_prefix, ending, error_lines, idle,
    longest_line, words_for,
};
use crate::conformance::subject::Subject;
use crate::conformance::verdict::State;
use crate::contract::Ending;
use crate::contract::Expected;
use crate::contract::{Declared, SHORTEST_JUDGED};
use crate::exit::Exit;
use crate::text::printable;

/// How long a silent client is watched that no idle timeout was declared for.
const KEPT: Duration = Duration::from_secs(1);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "contract/capacity",
        requirement: "as many clients are served at once as the server declares, and no more",
        source: "the contract: capacity",
        needs: &[Need::Lasting, Need::Lives],
        check: |subject| {
            let crowd = Crowd::gather(subject)?;
            let seen = crowd.served_words();
            let Some(declared) = subject.contract.capacity else {
                return tell(subject, &seen, crowd.declares(subject));
            };
            match crowd.served.len() {
                MOST_CLIENTS.. if declared >= MOST_CLIENTS => {}
                served if served == declared => {}
                served => {
                    let hint = match served > declared {
                        true => {
                            "is a client counted before it is taken on, and is the bound as declared?"
                        }
                        false => {
                            "does it serve one until that leaves, or count one twice? or is less declared?"
                        }
                    };
                    return Err(
                        Finding::fail(format!("serves {declared} at once"), seen).hint(hint)
                    );
                }
            }
            as_declared(subject, seen)
        },
    },
    Case {
        name: "contract/when-full",
        requirement: "one client more than the server can take meets what it declares",
        source: "the contract: when full",
        needs: &[Need::Fillable, Need::Lasting, Need::Lives],
        check: |subject| {
            let mut crowd = Crowd::gather(subject)?;
            crowd.take_in(subject)?;
            let declared = subject.contract.when_full;
            match (&crowd.next, declared) {
                (None, None) => tell(subject, &crowd.full_words(), Declared::default()),
                (None, Some(_)) => {
                    Err(Finding::blocked(&["contract/capacity"], crowd.full_words()))
                }
                (Some(met), None) => tell(subject, &crowd.full_words(), met.declares()),
                (Some(met), Some(declared)) if met.kind() == Some(declared) => {
                    as_declared(subject, crowd.full_words())
                }
                (Some(met), Some(declared)) => Err(Finding {
                    hint: met.hint(declared),
                    ..Finding::fail(words_for(declared), crowd.full_words())
                }),
            }
        },
    },
    Case {
        name: "contract/queue",
        requirement: "as many clients are taken in to wait as the server declares, and no more",
        source: "the contract: queue",
        needs: &[Need::Fillable, Need::Lasting, Need::Lives, Need::Launched],
        check: |subject| {
            let mut crowd = Crowd::gather(subject)?;
            if !crowd.is_told {
                return Err(Finding::vacuous(
                    "the kernel does not tell who was taken in (sock_diag)",
                ));
            }
            crowd.take_in(subject)?;
            let waiting = crowd.waiting.len();
            let seen = match &crowd.next {
                Some(_) => format!("takes in {waiting} to wait"),
                None => format!("takes in {waiting} to wait, at least"),
            };
            match subject.contract.queue {
                None if crowd.is_endless() => {
                    tell(subject, &crowd.full_words(), Declared::default())
                }
                None => {
                    // Of a queue that was not filled the length is not known.
                    let queue = crowd.next.is_some().then_some(waiting);
                    tell(subject, &seen, Declared { queue, ..Declared::default() })
                }
                Some(_) if crowd.is_endless() => {
                    Err(Finding::blocked(&["contract/capacity"], crowd.full_words()))
                }
                Some(declared) if declared == waiting => as_declared(subject, seen),
                Some(declared) => Err(Finding::fail(format!("takes in {declared} to wait"), seen)),
            }
        },
    },
    Case {
        name: "contract/max-line",
        requirement: "requests are answered up to the length that the server declares, and none longer",
        source: "the contract: the longest line",
        needs: &[Need::Delimited, Need::Lives],
        check: |subject| {
            let longest = longest_line(subject)?;
            let seen = longest.words();
            let Some(declared) = subject.contract.max_line else {
                let is_exact = longest.is_exact() && longest.answered >= SHORTEST_JUDGED;
                let max_line = is_exact.then_some(longest.answered);
                let declares = Declared { max_line, ..Declared::default() };
                let error = match longest.not {
                    Some((_, NotAnswered::Otherwise(line))) => Some(line),
                    _ => None,
                };
                subject.discovered(Discovery { seen, declares, error, mechanism: None });
                return Ok(());
            };
            let expected = format!("lines up to {declared} bytes, and no longer ones");
            match &longest.not {
                None if longest.answered < declared => as_declared(subject, seen),
                Some(_) if longest.is_exact() && longest.answered == declared => {
                    as_declared(subject, seen)
                }
                Some((_, NotAnswered::Trouble(trouble @ Trouble::Silent(..)))) => {
                    Err(Finding { observed: seen, ..Finding::trouble(expected, trouble) })
                }
                _ => Err(Finding::fail(expected, seen)),
            }
        },
    },
    Case {
        name: "contract/error-lines",
        requirement: "every error reply begins with what the server declares",
        source: "the contract: the error prefix",
        needs: &[Need::Mistakes, Need::Lives],
        check: |subject| {
            let lines = error_lines(subject)?;
            if lines.is_empty() {
                return Err(Finding::vacuous("no erroneous request was answered with an error"));
            }
            let common = common_prefix(lines.iter().map(|one| one.reply.as_slice()));
            let Some(prefix) = &subject.contract.error_prefix else {
                return match std::str::from_utf8(common) {
                    Ok(text) if !text.is_empty() => {
                        let error_prefix = Some(text.to_owned());
                        let seen = format!("errors begin with {}", printable(common));
                        tell(subject, &seen, Declared { error_prefix, ..Declared::default() })
                    }
                    _ => {
                        let seen = "errors begin with nothing in common";
                        tell(subject, seen, Declared::default())
                    }
                };
            };
            for Erroneous { request, reply } in &lines {
                if !reply.starts_with(prefix.as_bytes()) {
                    let prefix = printable(prefix.as_bytes());
                    let request = printable(request);
                    let expected = format!("after {request}: a line that begins with {prefix}");
                    return Err(Finding::fail(expected, printable(reply)));
                }
            }
            as_declared(subject, format!("errors begin with {}", printable(prefix.as_bytes())))
        },
    },
    Case {
        name: "contract/idle-timeout",
        requirement: "a silent client is closed when the server declares, and not sooner",
        source: "the contract: the idle timeout",
        needs: &[Need::Preferably(&Need::IdleTimeout), Need::Lasting],
        check: |subject| {
            let declared = subject.contract.idle_timeout;
            let until = declared.map_or(KEPT, |_| subject.contract.idle_until());
            let idle = idle(subject, until)?;
            let after = idle.at_most.as_millis();
            let seen = match idle.is_ended() {
                true => format!("closed after {after} ms of silence"),
                false => format!("kept for {} ms at least", until.as_millis()),
            };
            match (declared, &idle.ended) {
                (_, Ok(line)) => Err(Finding::fail("nothing is sent unasked", printable(line))),
                (None, _) if idle.is_ended() => {
                    // What is seen is a little late.
                    let rounded = u64::try_from((after - after % 50).max(1)).unwrap_or(u64::MAX);
                    let idle_timeout = Some(Duration::from_millis(rounded));
                    tell(subject, &seen, Declared { idle_timeout, ..Declared::default() })
                }
                (None, _) => tell(subject, &seen, Declared::default()),
                (Some(declared), _) if idle.is_ended() && idle.at_most >= declared => {
                    as_declared(subject, seen)
                }
                (Some(declared), _) => {
                    let (from, to) = (declared.as_millis(), until.as_millis());
                    Err(Finding::fail(format!("closed after {from} to {to} ms of silence"), seen))
                }
            }
        },
    },
    Case {
        name: "contract/mechanism",
        requirement: "the server is built as it is expected to be",
        source: "the contract: how it is built; proc_pid_syscall(5)",
        needs: &[Need::Launched],
        check: |subject| {
            let seen = subject.how_it_is_built();
            subject.saw_mechanism(seen.mechanism);
            subject.note(seen.evidence.join("; "));
            let words = format!("{}: {}", seen.mechanism, seen.words);
            match subject.contract.expect {
                None => {
                    let expect = Expected::from_str(seen.mechanism.name()).ok();
                    let declares = Declared { expect, ..Declared::default() };
                    let mechanism = Some(seen.mechanism);
                    subject.discovered(Discovery { seen: words, declares, mechanism, error: None });
                    Ok(())
                }
                Some(expected) => match seen.meets(expected) {
                    Ok(()) => as_declared(subject, words),
                    Err(_) => Err(Finding::fail(format!("it is built as `{expected}`"), words)
                        .hint("this is what its threads and processes slept in while silent clients were connected")),
                },
            }
        },
    },
    Case {
        name: "contract/ending",
        requirement: "SIGTERM does to requests under way what the server declares",
        source: "the contract: the ending",
        needs: &[Need::Launched, Need::Pipelining, Need::Lasting],
        check: |subject| {
            let ended = ending(subject)?;
            let seen = ended.words();
            let as_it_is = match ended.exit {
                Some(Exit::Code(0)) if ended.answered == ended.asked => Some(Ending::Drain),
                Some(_) => Some(Ending::Abort),
                None => None,
            };
            let expected = match subject.contract.ending {
                None => {
                    let declares = Declared { ending: as_it_is, ..Declared::default() };
                    return tell(subject, &seen, declares);
                }
                declared if declared == as_it_is => return as_declared(subject, seen),
                // It may have answered all before it was told to end.
                Some(Ending::Abort) if ended.exit.is_some() => return as_declared(subject, seen),
                Some(Ending::Abort) => "it ends at once",
                Some(Ending::Drain) => "what had arrived is answered, then exit code 0",
            };
            let state = if as_it_is.is_some() { State::Ok } else { State::Hang };
            Err(Finding { state, ..Finding::fail(expected, seen) })
        },
    },
];

/// What was seen is what is declared.
fn as_declared(subject: &Subject<'_>, seen: String) -> Result<(), Finding> {
    subject.was_met();
    subject.observe(seen);
    Ok(())
}

/// Nothing is declared: tells what was seen, and what would declare it, if anything does.
fn tell(subject: &Subject<'_>, seen: &str, declares: Declared) -> Result<(), Finding> {
    subject.discovered(Discovery { seen: seen.to_owned(), declares, ..Discovery::default() });
    Ok(())
}

impl Crowd<'_> {
    /// Whether all the clients that a case may open were served.
    fn is_endless(&self) -> bool {
        self.next.is_none() && self.waiting.is_empty()
    }

    fn served_words(&self) -> String {
        let served = self.served.len();
        match &self.next {
            Some(met) => format!("serves {served} at once, then: {}", met.words()),
            None if self.is_endless() => format!("serves {served} at once, at least"),
            None => format!("serves {served} at once, then: taken in to wait"),
        }
    }

    fn full_words(&self) -> String {
        let (served, waiting) = (self.served.len(), self.waiting.len());
        let met = match &self.next {
            Some(met) => met.words(),
            None => "as many as a case may open".to_owned(),
        };
        match waiting {
            0 => format!("after {served} that are served: {met}"),
            _ => format!("after {served} that are served and {waiting} that wait: {met}"),
        }
    }

    /// What would declare this, as far as it is not.
    fn declares(&self, subject: &Subject<'_>) -> Declared {
        if self.is_endless() {
            return Declared::default();
        }
        let next = self.next.as_ref().filter(|_| subject.contract.when_full.is_none());
        let when_full = next.map(Met::declares).unwrap_or_default();
        Declared { capacity: Some(self.served.len()), ..when_full }
    }
}

impl Met {
    /// What would declare this.
    fn declares(&self) -> Declared {
        let (when_full, busy_prefix) = match self {
            Met::Told(line) => match stable_prefix(line) {
                Some(prefix) => (Some(OverloadPolicy::Busy), Some(prefix)),
                None => (None, None),
            },
            other => (other.kind(), None),
        };
        Declared { when_full, busy_prefix, ..Declared::default() }
    }
}

/// What of a line that was seen once can be expected of others: a number in it, such as that of the
/// clients, may be another one the next time.
pub(crate) fn stable_prefix(line: &[u8]) -> Option<String> {
    let number = line.iter().position(u8::is_ascii_digit).unwrap_or(line.len());
    let prefix = std::str::from_utf8(&line[..number]).ok()?;
    (!prefix.trim().is_empty()).then(|| prefix.to_owned())
}

impl Longest {
    fn words(&self) -> String {
        let lines = format!("lines up to {} bytes", self.answered);
        match self.then() {
            Some(then) => format!("{lines}, then {then}"),
            None => format!("{lines} at least"),
        }
    }
}

impl Ended {
    fn words(&self) -> String {
        let answered = match self.answered == self.asked {
            true => "every request under way is answered".to_owned(),
            false => {
                format!("{} of {} requests under way are answered", self.answered, self.asked)
            }
        };
        match self.exit {
            Some(exit) => format!("{answered}, then {exit}"),
            None => format!("{answered}, and the server goes on"),
        }
    }
}
