//! Cases that detect a property, and compare it with the contract or report it if undeclared.

use std::str::FromStr;
use std::time::Duration;

use crate::client::ClientError;
use crate::conformance::case::Case;
use crate::conformance::context::TestContext;
use crate::conformance::experiments::{
    ClientsAtLimit, ErrorReply, PROCESSES_REMAIN_HINT, UnansweredOutcome, common_prefix,
    error_replies, expected_outcome, longest_line, shut_down, stay_idle,
};
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MAX_CLIENTS;
use crate::conformance::precondition::Precondition;
use crate::contract::RequiredModel;
use crate::contract::ShutdownPolicy;
use crate::contract::{Declared, MIN_MAX_LINE};
use crate::exit::Exit;
use crate::figures::counted;
use crate::results::{Discovery, Fault, Level, State};
use crate::text::printable;

/// Idle time of the client if no idle timeout is declared.
const UNDECLARED_IDLE_TIME: Duration = Duration::from_secs(1);

pub(in crate::conformance) const CASES: &[Case] = &[
    Case {
        name: "contract/capacity",
        requirement: "the server serves exactly the declared number of connections at a time",
        source: "the contract: connection limit",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let clients = ClientsAtLimit::connect(ctx)?;
            let seen = clients.served_text();
            let Some(declared) = ctx.contract.capacity else {
                return report_undeclared(ctx, &seen, clients.declaration(ctx));
            };
            if clients.is_out_of_time && clients.served.len() <= declared {
                return Err(limit_not_reached(seen));
            }
            match clients.served.len() {
                MAX_CLIENTS.. if declared >= MAX_CLIENTS => {}
                served if served == declared => {}
                served => {
                    let hint = match served > declared {
                        true => {
                            "does the server check its limit before it serves a connection, and is this limit the declared one?"
                        }
                        false => {
                            "does the server serve one client at a time, or count a connection twice?"
                        }
                    };
                    return Err(Failure::fail(
                        format!("{} served at a time", counted(declared, "connection")),
                        seen,
                    )
                    .fault(more_or_less(served > declared))
                    .hint(hint));
                }
            }
            as_declared(ctx, seen)
        },
    },
    Case {
        name: "contract/when-full",
        requirement: "the server handles a connection over the limit by its declared overload policy",
        source: "the contract: overload policy",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Fillable,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut clients = ClientsAtLimit::connect(ctx)?;
            clients.fill_queue(ctx)?;
            let declared = ctx.contract.when_full;
            match (&clients.next, declared) {
                (None, None) => {
                    let declares = Declared { when_full: clients.policy(), ..Declared::default() };
                    report_undeclared(ctx, &clients.overload_text(), declares)
                }
                (None, Some(declared)) if clients.policy() == Some(declared) => {
                    as_declared(ctx, clients.overload_text())
                }
                (None, Some(_)) if clients.is_out_of_time => {
                    Err(limit_not_reached(clients.overload_text()))
                }
                (None, Some(_)) => {
                    Err(Failure::assumption_failed(&["contract/capacity"], clients.overload_text()))
                }
                (Some(next), None) => {
                    report_undeclared(ctx, &clients.overload_text(), next.declaration())
                }
                (Some(next), Some(declared)) if next.policy() == Some(declared) => {
                    as_declared(ctx, clients.overload_text())
                }
                (Some(next), Some(declared)) => Err(Failure {
                    hint: next.hint(declared),
                    ..Failure::fail(expected_outcome(declared), clients.overload_text())
                }),
            }
        },
    },
    Case {
        name: "contract/queue",
        requirement: "the server queues exactly the declared number of connections over the limit",
        source: "the contract: queue",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::Fillable,
            Precondition::UnlimitedRequests,
            Precondition::NoExitAfterConnections,
            Precondition::Launched,
        ],
        level: Level::Required,
        check: |ctx| {
            let mut clients = ClientsAtLimit::connect(ctx)?;
            if !clients.is_acceptance_known {
                return Err(Failure::inconclusive(
                    "the kernel does not report which connections were accepted (sock_diag)",
                ));
            }
            clients.fill_queue(ctx)?;
            let waiting = clients.waiting.len();
            let seen = match &clients.next {
                Some(_) => format!("{} queued", counted(waiting, "connection")),
                None => format!("at least {} queued", counted(waiting, "connection")),
            };
            match ctx.contract.queue {
                None if clients.has_no_limit() => {
                    report_undeclared(ctx, &clients.overload_text(), Declared::default())
                }
                None => {
                    // If the queue was not filled, its length is unknown.
                    let queue = clients.next.is_some().then_some(waiting);
                    report_undeclared(ctx, &seen, Declared { queue, ..Declared::default() })
                }
                Some(_) if clients.is_out_of_time => Err(limit_not_reached(seen)),
                Some(_) if clients.has_no_limit() => {
                    Err(Failure::assumption_failed(&["contract/capacity"], clients.overload_text()))
                }
                Some(declared) if declared == waiting => as_declared(ctx, seen),
                Some(declared) => {
                    Err(Failure::fail(format!("{} queued", counted(declared, "connection")), seen)
                        .fault(more_or_less(waiting > declared)))
                }
            }
        },
    },
    Case {
        name: "contract/max-line",
        requirement: "the longest request that the server answers is as long as declared",
        source: "the contract: longest request",
        preconditions: &[
            Precondition::Padding(MIN_MAX_LINE),
            Precondition::DelimitedRequests,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let longest = longest_line(ctx)?;
            let seen = longest.text();
            let Some(declared) = ctx.contract.max_line else {
                let is_exact = longest.is_exact() && longest.answered >= MIN_MAX_LINE;
                let max_line = is_exact.then_some(longest.answered);
                let declares = Declared { max_line, ..Declared::default() };
                let error = match longest.unanswered {
                    Some((_, UnansweredOutcome::OtherReply(line))) => Some(line),
                    _ => None,
                };
                ctx.evidence().report_discovery(Discovery {
                    observed: seen,
                    declares,
                    error_reply: error.map(|line| line.as_slice().into()),
                    concurrency_model: None,
                });
                return Ok(());
            };
            let expected = format!("only requests up to {declared} bytes answered");
            match &longest.unanswered {
                None if longest.is_out_of_time => Err(limit_not_reached(seen)),
                Some(_) if longest.is_out_of_time && !longest.is_exact() => {
                    Err(limit_not_reached(seen))
                }
                None if longest.answered < declared => as_declared(ctx, seen),
                Some(_) if longest.is_exact() && longest.answered == declared => {
                    as_declared(ctx, seen)
                }
                Some((_, UnansweredOutcome::ClientError(error @ ClientError::Silent(..)))) => {
                    let failure = Failure::client_error(expected, error);
                    let fault = match longest.answered < declared {
                        true => Fault::LessThanDeclared,
                        false => failure.fault,
                    };
                    Err(Failure { observed: seen, ..failure.fault(fault) })
                }
                _ => {
                    Err(Failure::fail(expected, seen)
                        .fault(more_or_less(longest.answered > declared)))
                }
            }
        },
    },
    Case {
        name: "contract/error-lines",
        requirement: "every error reply begins with the declared prefix",
        source: "the contract: error prefix",
        preconditions: &[
            Precondition::OwnReplies,
            Precondition::ErrorReplies,
            Precondition::NoExitAfterConnections,
        ],
        level: Level::Required,
        check: |ctx| {
            let lines = error_replies(ctx)?;
            if lines.is_empty() {
                let seen = "no invalid request got an error reply";
                return Err(Failure::assumption_failed(&["malformed/syntax"], seen));
            }
            let common = common_prefix(lines.iter().map(|line| line.reply.as_slice()));
            let Some(prefix) = &ctx.contract.error_prefix else {
                // Replies to plain requests must not begin with the prefix.
                let marks_errors = !common.is_empty() && !ctx.learned_replies().has_prefix(common);
                return match std::str::from_utf8(common) {
                    Ok(text) if marks_errors => {
                        let error_prefix = Some(text.to_owned());
                        let seen = format!("error replies begin with {}", printable(common));
                        report_undeclared(
                            ctx,
                            &seen,
                            Declared { error_prefix, ..Declared::default() },
                        )
                    }
                    _ => {
                        let seen = "error replies have no common prefix of their own";
                        report_undeclared(ctx, seen, Declared::default())
                    }
                };
            };
            for ErrorReply { request, reply } in &lines {
                if !reply.starts_with(prefix.as_bytes()) {
                    let prefix = printable(prefix.as_bytes());
                    let request = printable(request);
                    let expected = format!("to {request}: a reply that begins with {prefix}");
                    return Err(Failure::fail(expected, printable(reply)));
                }
            }
            as_declared(ctx, format!("error replies begin with {}", printable(prefix.as_bytes())))
        },
    },
    Case {
        name: "contract/idle-timeout",
        requirement: "an idle connection is closed after the declared idle timeout, and not earlier",
        source: "the contract: idle timeout",
        preconditions: &[
            Precondition::Optional(&Precondition::IdleTimeout),
            Precondition::UnlimitedRequests,
        ],
        level: Level::Required,
        check: |ctx| {
            let declared = ctx.contract.idle_timeout;
            let until = declared.map_or(UNDECLARED_IDLE_TIME, |_| ctx.contract.idle_until());
            let idle = stay_idle(ctx, until)?;
            let after = idle.max_idle_time.as_millis();
            let seen = match idle.is_closed() {
                true => format!("closed after {after} ms without a request"),
                false => format!("open for at least {} ms without a request", until.as_millis()),
            };
            match (declared, &idle.received) {
                (_, Ok(line)) => Err(Failure::fail("no data without a request", printable(line))
                    .fault(Fault::ExtraBytes)),
                (None, _) if idle.is_closed() => {
                    // The harness notices the close a little late, so round down to a multiple of
                    // 50 ms.
                    let rounded = u64::try_from((after - after % 50).max(1)).unwrap_or(u64::MAX);
                    let idle_timeout = Some(Duration::from_millis(rounded));
                    report_undeclared(ctx, &seen, Declared { idle_timeout, ..Declared::default() })
                }
                (None, _) => report_undeclared(ctx, &seen, Declared::default()),
                (Some(declared), _) if idle.is_closed() && idle.max_idle_time >= declared => {
                    as_declared(ctx, seen)
                }
                (Some(declared), _) => {
                    let (from, to) = (declared.as_millis(), until.as_millis());
                    let expected = format!("closed after {from} to {to} ms without a request");
                    let fault = match idle.is_closed() {
                        true => Fault::ClosesEarly,
                        false => Fault::StaysOpen,
                    };
                    Err(Failure::fail(expected, seen).fault(fault).with_connection_end())
                }
            }
        },
    },
    Case {
        name: "contract/concurrency-model",
        requirement: "the server has the required concurrency model",
        source: "the contract: concurrency model; proc_pid_syscall(5)",
        preconditions: &[Precondition::Launched],
        level: Level::Required,
        check: |ctx| {
            let seen = ctx.process().concurrency_model();
            ctx.evidence().record_concurrency_model(seen.model);
            ctx.evidence().note(seen.evidence.join("; "));
            let text = format!("{}: {}", seen.model, seen.description);
            match ctx.contract.concurrency_model {
                None => {
                    let required = RequiredModel::from_str(seen.model.name()).ok();
                    let declares = Declared { concurrency_model: required, ..Declared::default() };
                    let concurrency_model = Some(seen.model);
                    ctx.evidence().report_discovery(Discovery {
                        observed: text,
                        declares,
                        concurrency_model,
                        error_reply: None,
                    });
                    Ok(())
                }
                Some(required) if seen.meets(required) => as_declared(ctx, text),
                Some(required) => {
                    Err(Failure::fail(format!("the concurrency model `{required}`"), text)
                        .hint("detected from the system calls in which its threads and processes slept while idle clients were connected"))
                }
            }
        },
    },
    Case {
        name: "contract/shutdown",
        requirement: "on SIGTERM, the server drains or drops requests in flight as declared, and no process of it remains",
        source: "the contract: behaviour on SIGTERM",
        preconditions: &[Precondition::Launched],
        level: Level::Required,
        check: |ctx| {
            let shutdown = shut_down(ctx)?;
            let seen = shutdown.text();
            let detected = shutdown.policy();
            let expected = match ctx.contract.shutdown {
                None if shutdown.exit.is_some() && shutdown.processes_left > 0 => {
                    report_undeclared(ctx, &seen, Declared::default())?;
                    let failure = Failure::fail("every process of the server exits", seen);
                    return Err(failure.fault(Fault::ProcessesRemain).hint(PROCESSES_REMAIN_HINT));
                }
                None => {
                    let declares = Declared { shutdown: detected, ..Declared::default() };
                    return report_undeclared(ctx, &seen, declares);
                }
                declared if declared == detected => return as_declared(ctx, seen),
                // The server may have sent all replies before it received the signal.
                Some(ShutdownPolicy::Abort) if shutdown.exit.is_some() => {
                    return as_declared(ctx, seen);
                }
                Some(ShutdownPolicy::Abort) => "the server exits at once",
                Some(ShutdownPolicy::Drain) => {
                    "all requests in flight are answered, then the server exits with code 0"
                }
            };
            let (state, fault) = match shutdown.exit {
                None => (State::Hang, Fault::DoesNotExit),
                Some(exit) if shutdown.replies == shutdown.requests && exit != Exit::Code(0) => {
                    (State::Completed, Fault::ExitStatus)
                }
                Some(_) => (State::Completed, Fault::Requirement),
            };
            let hint = "exit when the clients have their replies: a reply that does not fit in the socket buffers waits for its client";
            let failure = Failure { state, ..Failure::fail(expected, seen).fault(fault) };
            Err(failure.hint_if(|_| shutdown.exits_with_unread_replies, hint))
        },
    },
];

/// Returns the fault of a server with more, or with less, than it declares.
fn more_or_less(is_more: bool) -> Fault {
    if is_more { Fault::MoreThanDeclared } else { Fault::LessThanDeclared }
}

/// Returns the inconclusive result of a search for a limit that had too little time.
fn limit_not_reached(seen: String) -> Failure {
    Failure::inconclusive(format!("the case had no time to reach the limit: {seen}"))
}

/// Records that the detected property matches the declared property.
fn as_declared(ctx: &TestContext<'_>, seen: String) -> Result<(), Failure> {
    ctx.evidence().record_verified();
    ctx.evidence().observe(seen);
    Ok(())
}

/// Reports an undeclared property, with the declaration that follows from it, if any.
fn report_undeclared(ctx: &TestContext<'_>, seen: &str, declares: Declared) -> Result<(), Failure> {
    ctx.evidence().report_discovery(Discovery {
        observed: seen.to_owned(),
        declares,
        ..Discovery::default()
    });
    Ok(())
}
