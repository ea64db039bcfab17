//! Cases that compare each declared property with the detected one, and report undeclared
//! properties.

use std::str::FromStr;
use std::time::Duration;

use servers::OverloadPolicy;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::case_result::State;
use crate::conformance::context::TestContext;
use crate::conformance::discovery::Discovery;
use crate::conformance::experiments::{
    Crowd, Ended, Erroneous, Longest, Met, NotAnswered, common_prefix, ending, error_lines, idle,
    longest_line, words_for,
};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MOST_CLIENTS;
use crate::conformance::precondition::Precondition;
use crate::contract::Ending;
use crate::contract::Expected;
use crate::contract::{Declared, SHORTEST_JUDGED};
use crate::exit::Exit;
use crate::text::printable;

/// Time for which an idle connection is observed if no idle timeout is declared.
const KEPT: Duration = Duration::from_secs(1);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "contract/capacity",
        requirement: "as many clients are served at once as the server declares, and no more",
        source: "the contract: capacity",
        needs: &[Precondition::Lasting, Precondition::Lives],
        check: |ctx| {
            let crowd = Crowd::gather(ctx)?;
            let seen = crowd.served_words();
            let Some(declared) = ctx.contract.capacity else {
                return tell(ctx, &seen, crowd.declares(ctx));
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
                        Failure::fail(format!("serves {declared} at once"), seen).hint(hint)
                    );
                }
            }
            as_declared(ctx, seen)
        },
    },
    Case {
        name: "contract/when-full",
        requirement: "one client more than the server can take meets what it declares",
        source: "the contract: when full",
        needs: &[Precondition::Fillable, Precondition::Lasting, Precondition::Lives],
        check: |ctx| {
            let mut crowd = Crowd::gather(ctx)?;
            crowd.take_in(ctx)?;
            let declared = ctx.contract.when_full;
            match (&crowd.next, declared) {
                (None, None) => tell(ctx, &crowd.full_words(), Declared::default()),
                (None, Some(_)) => {
                    Err(Failure::blocked(&["contract/capacity"], crowd.full_words()))
                }
                (Some(met), None) => tell(ctx, &crowd.full_words(), met.declares()),
                (Some(met), Some(declared)) if met.kind() == Some(declared) => {
                    as_declared(ctx, crowd.full_words())
                }
                (Some(met), Some(declared)) => Err(Failure {
                    hint: met.hint(declared),
                    ..Failure::fail(words_for(declared), crowd.full_words())
                }),
            }
        },
    },
    Case {
        name: "contract/queue",
        requirement: "as many clients are taken in to wait as the server declares, and no more",
        source: "the contract: queue",
        needs: &[
            Precondition::Fillable,
            Precondition::Lasting,
            Precondition::Lives,
            Precondition::Launched,
        ],
        check: |ctx| {
            let mut crowd = Crowd::gather(ctx)?;
            if !crowd.is_told {
                return Err(Failure::vacuous(
                    "the kernel does not tell who was taken in (sock_diag)",
                ));
            }
            crowd.take_in(ctx)?;
            let waiting = crowd.waiting.len();
            let seen = match &crowd.next {
                Some(_) => format!("takes in {waiting} to wait"),
                None => format!("takes in {waiting} to wait, at least"),
            };
            match ctx.contract.queue {
                None if crowd.is_endless() => tell(ctx, &crowd.full_words(), Declared::default()),
                None => {
                    // The length of a queue that was not filled is unknown.
                    let queue = crowd.next.is_some().then_some(waiting);
                    tell(ctx, &seen, Declared { queue, ..Declared::default() })
                }
                Some(_) if crowd.is_endless() => {
                    Err(Failure::blocked(&["contract/capacity"], crowd.full_words()))
                }
                Some(declared) if declared == waiting => as_declared(ctx, seen),
                Some(declared) => Err(Failure::fail(format!("takes in {declared} to wait"), seen)),
            }
        },
    },
    Case {
        name: "contract/max-line",
        requirement: "requests are answered up to the length that the server declares, and none longer",
        source: "the contract: the longest line",
        needs: &[Precondition::Delimited, Precondition::Lives],
        check: |ctx| {
            let longest = longest_line(ctx)?;
            let seen = longest.words();
            let Some(declared) = ctx.contract.max_line else {
                let is_exact = longest.is_exact() && longest.answered >= SHORTEST_JUDGED;
                let max_line = is_exact.then_some(longest.answered);
                let declares = Declared { max_line, ..Declared::default() };
                let error = match longest.not {
                    Some((_, NotAnswered::Otherwise(line))) => Some(line),
                    _ => None,
                };
                ctx.discovered(Discovery { seen, declares, error, mechanism: None });
                return Ok(());
            };
            let expected = format!("lines up to {declared} bytes, and no longer ones");
            match &longest.not {
                None if longest.answered < declared => as_declared(ctx, seen),
                Some(_) if longest.is_exact() && longest.answered == declared => {
                    as_declared(ctx, seen)
                }
                Some((_, NotAnswered::ClientError(trouble @ ClientError::Silent(..)))) => {
                    Err(Failure { observed: seen, ..Failure::trouble(expected, trouble) })
                }
                _ => Err(Failure::fail(expected, seen)),
            }
        },
    },
    Case {
        name: "contract/error-lines",
        requirement: "every error reply begins with what the server declares",
        source: "the contract: the error prefix",
        needs: &[Precondition::Mistakes, Precondition::Lives],
        check: |ctx| {
            let lines = error_lines(ctx)?;
            if lines.is_empty() {
                return Err(Failure::vacuous("no erroneous request was answered with an error"));
            }
            let common = common_prefix(lines.iter().map(|one| one.reply.as_slice()));
            let Some(prefix) = &ctx.contract.error_prefix else {
                return match std::str::from_utf8(common) {
                    Ok(text) if !text.is_empty() => {
                        let error_prefix = Some(text.to_owned());
                        let seen = format!("errors begin with {}", printable(common));
                        tell(ctx, &seen, Declared { error_prefix, ..Declared::default() })
                    }
                    _ => {
                        let seen = "errors begin with nothing in common";
                        tell(ctx, seen, Declared::default())
                    }
                };
            };
            for Erroneous { request, reply } in &lines {
                if !reply.starts_with(prefix.as_bytes()) {
                    let prefix = printable(prefix.as_bytes());
                    let request = printable(request);
                    let expected = format!("after {request}: a line that begins with {prefix}");
                    return Err(Failure::fail(expected, printable(reply)));
                }
            }
            as_declared(ctx, format!("errors begin with {}", printable(prefix.as_bytes())))
        },
    },
    Case {
        name: "contract/idle-timeout",
        requirement: "a silent client is closed when the server declares, and not sooner",
        source: "the contract: the idle timeout",
        needs: &[Precondition::Preferably(&Precondition::IdleTimeout), Precondition::Lasting],
        check: |ctx| {
            let declared = ctx.contract.idle_timeout;
            let until = declared.map_or(KEPT, |_| ctx.contract.idle_until());
            let idle = idle(ctx, until)?;
            let after = idle.at_most.as_millis();
            let seen = match idle.is_ended() {
                true => format!("closed after {after} ms of silence"),
                false => format!("kept for {} ms at least", until.as_millis()),
            };
            match (declared, &idle.ended) {
                (_, Ok(line)) => Err(Failure::fail("nothing is sent unasked", printable(line))),
                (None, _) if idle.is_ended() => {
                    // The harness sees the close a little late, so the time is rounded down to 50
                    // ms.
                    let rounded = u64::try_from((after - after % 50).max(1)).unwrap_or(u64::MAX);
                    let idle_timeout = Some(Duration::from_millis(rounded));
                    tell(ctx, &seen, Declared { idle_timeout, ..Declared::default() })
                }
                (None, _) => tell(ctx, &seen, Declared::default()),
                (Some(declared), _) if idle.is_ended() && idle.at_most >= declared => {
                    as_declared(ctx, seen)
                }
                (Some(declared), _) => {
                    let (from, to) = (declared.as_millis(), until.as_millis());
                    Err(Failure::fail(format!("closed after {from} to {to} ms of silence"), seen))
                }
            }
        },
    },
    Case {
        name: "contract/mechanism",
        requirement: "the server is built as it is expected to be",
        source: "the contract: how it is built; proc_pid_syscall(5)",
        needs: &[Precondition::Launched],
        check: |ctx| {
            let seen = ctx.how_it_is_built();
            ctx.saw_mechanism(seen.mechanism);
            ctx.note(seen.evidence.join("; "));
            let words = format!("{}: {}", seen.mechanism, seen.words);
            match ctx.contract.expect {
                None => {
                    let expect = Expected::from_str(seen.mechanism.name()).ok();
                    let declares = Declared { expect, ..Declared::default() };
                    let mechanism = Some(seen.mechanism);
                    ctx.discovered(Discovery { seen: words, declares, mechanism, error: None });
                    Ok(())
                }
                Some(expected) => match seen.meets(expected) {
                    Ok(()) => as_declared(ctx, words),
                    Err(_) => Err(Failure::fail(format!("it is built as `{expected}`"), words)
                        .hint("this is what its threads and processes slept in while silent clients were connected")),
                },
            }
        },
    },
    Case {
        name: "contract/ending",
        requirement: "SIGTERM does to requests under way what the server declares",
        source: "the contract: the ending",
        needs: &[Precondition::Launched, Precondition::Pipelining, Precondition::Lasting],
        check: |ctx| {
            let ended = ending(ctx)?;
            let seen = ended.words();
            let as_it_is = match ended.exit {
                Some(Exit::Code(0)) if ended.answered == ended.asked => Some(Ending::Drain),
                Some(_) => Some(Ending::Abort),
                None => None,
            };
            let expected = match ctx.contract.ending {
                None => {
                    let declares = Declared { ending: as_it_is, ..Declared::default() };
                    return tell(ctx, &seen, declares);
                }
                declared if declared == as_it_is => return as_declared(ctx, seen),
                // The server may have sent all replies before it received the signal.
                Some(Ending::Abort) if ended.exit.is_some() => return as_declared(ctx, seen),
                Some(Ending::Abort) => "it ends at once",
                Some(Ending::Drain) => "what had arrived is answered, then exit code 0",
            };
            let state = if as_it_is.is_some() { State::Ok } else { State::Hang };
            Err(Failure { state, ..Failure::fail(expected, seen) })
        },
    },
];

/// Records that the detected property matches the declared one.
fn as_declared(ctx: &TestContext<'_>, seen: String) -> Result<(), Failure> {
    ctx.was_met();
    ctx.observe(seen);
    Ok(())
}

/// Reports an undeclared property, with the declaration that follows from it, if any.
fn tell(ctx: &TestContext<'_>, seen: &str, declares: Declared) -> Result<(), Failure> {
    ctx.discovered(Discovery { seen: seen.to_owned(), declares, ..Discovery::default() });
    Ok(())
}

impl Crowd<'_> {
    /// Returns whether the server answered all the clients that a case may open.
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

    /// Returns the declarations that follow from this and are still missing.
    fn declares(&self, ctx: &TestContext<'_>) -> Declared {
        if self.is_endless() {
            return Declared::default();
        }
        let next = self.next.as_ref().filter(|_| ctx.contract.when_full.is_none());
        let when_full = next.map(Met::declares).unwrap_or_default();
        Declared { capacity: Some(self.served.len()), ..when_full }
    }
}

impl Met {
    /// Returns the declaration of this overload policy.
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

/// Returns the part of a line that other lines will share.
///
/// It ends before the first digit: a number, such as that of the connected clients, may differ the
/// next time.
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
