//! Titles and severities of faults, by case and by fault, and descriptions of topics.

use super::severity::Severity::{self, *};
use crate::results::Fault::{self, *};
use crate::results::Provocation;
use crate::text::NO_FREE_DESCRIPTOR;

/// Description of a case and of the fault that it tests for.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) case: &'static str,
    /// Severity of the fault that the case tests for.
    pub(super) severity: Severity,
    /// Completes "the server exits when …", for faults that any case can find.
    pub(super) when: &'static str,
    /// Title of the fault that the case tests for.
    pub(super) title: &'static str,
    /// Further faults with this title: ways in which a server has the fault that the case tests
    /// for.
    pub(super) own: &'static [Fault],
    /// Whether a client of the case suffers from what another client does.
    pub(super) affects_others: bool,
}

/// Title and severity of a fault that any case can find.
#[derive(Debug)]
pub(super) struct FaultDescription {
    pub(super) fault: Fault,
    /// Severity; `None` if it is the severity of the case.
    pub(super) severity: Option<Severity>,
    /// Title. If it ends with `when`, the clause of the case follows.
    pub(super) title: &'static str,
    /// Title if a client suffers from what another client does.
    pub(super) other_client: &'static str,
}

/// Descriptions of topics, as capabilities of the server.
pub(super) const TOPICS: &[(&str, &str)] = &[
    ("framing", "separates requests, however TCP splits and joins them"),
    ("contract", "has the declared properties"),
    ("wire", "follows its wire protocol: greeting, quit command, requests per connection"),
    ("results", "returns correct results"),
    ("malformed", "handles malformed input"),
    ("oversize", "handles requests that are too long"),
    ("isolation", "isolates clients from each other"),
    ("refusal", "enforces its connection limit, and reuses connection slots"),
    ("timeouts", "handles slow and idle clients"),
    ("disconnects", "handles disconnects (FIN and RST)"),
    ("idle", "sleeps when it has no work"),
    ("startup", "starts, or reports why it cannot start"),
    ("shutdown", "shuts down on SIGTERM and SIGINT"),
    ("exhaustion", "keeps working without free descriptors"),
    ("back-pressure", "handles clients that do not read replies"),
    ("fairness", "treats clients fairly"),
    ("leaks", "releases all resources"),
];

const fn row(
    case: &'static str,
    severity: Severity,
    when: &'static str,
    title: &'static str,
) -> Description {
    Description { case, severity, when, title, own: &[], affects_others: false }
}

impl Description {
    const fn own(self, own: &'static [Fault]) -> Description {
        Description { own, ..self }
    }

    const fn affecting_others(self) -> Description {
        Description { affects_others: true, ..self }
    }
}

/// The ways in which a client finds that no connection slot is free.
const SLOT: &[Fault] =
    &[Rejects, Refuses, DoesNotAccept, Resets, ClosesBeforeReply, ClosesInReply, Fault::NoReply];

/// The ways in which a reply is not the required value.
const VALUE: &[Fault] = &[WrongReply, ErrorReply, NoErrorReply, OtherReply];

/// The ways in which a client does not get what it waits for.
const CLIENT: &[Fault] =
    &[Resets, ClosesBeforeReply, ClosesInReply, Fault::NoReply, PartialReply, EndlessReply];

/// Descriptions of all cases, by topic.
#[rustfmt::skip]
pub(super) const CASES: &[Description] = &[
    row("framing/single", Severity::NoReply, "it receives its first request", "a plain request gets no reply line"),
    row("framing/one-line", Severity::NoReply, "it receives its first request", "a reply is not exactly one line").own(&[ExtraBytes]),
    row("framing/byte-by-byte", LostReplies, "a request arrives byte by byte", "a request that arrives byte by byte is not treated as one request").own(&[ExtraBytes]),
    row("framing/all-cuts", LostReplies, "a request arrives in two parts", "a request that arrives in two parts is not treated as one request"),
    row("framing/split-token", LostReplies, "a number arrives in two parts", "a number that arrives in two parts is not treated as one number"),
    row("framing/pipelined", LostReplies, "many requests arrive at once", "pipelined requests do not each get a reply"),
    row("framing/random-cuts", LostReplies, "requests arrive in parts of any size", "requests that arrive in parts of any size do not each get a reply"),
    row("framing/crlf", LostReplies, "a line ends with a carriage return", "a request that ends with CR LF is not answered like one that ends with LF"),
    row("framing/end-without-newline", LostReplies, "the last request has no line feed", "a last request without a line feed is not answered, or the connection is not closed after the reply"),
    row("framing/sizes", LostReplies, "a request has about 1024 bytes", "requests of about 1024 bytes are not answered like short ones"),
    row("contract/capacity", ContractViolation, "its connection limit is reached", "the server does not serve as many clients at once as it declares"),
    row("contract/when-full", ContractViolation, "a connection over the limit arrives", "a connection over the limit is not handled as declared"),
    row("contract/queue", ContractViolation, "connections wait for a slot", "the number of waiting connections is not the declared one"),
    row("contract/max-line", ContractViolation, "requests get longer", "the longest accepted request is not the declared one"),
    row("contract/error-lines", ContractViolation, "a request is malformed", "an error reply does not start with the declared prefix"),
    row("contract/idle-timeout", ContractViolation, "a client is idle", "an idle connection is not closed after the declared timeout"),
    row("contract/concurrency-model", ContractViolation, "idle connections are open", "the concurrency model is not the declared one"),
    row("contract/shutdown", ContractViolation, "SIGTERM arrives during requests", "on SIGTERM, requests in flight are not answered"),
    row("wire/greeting", ContractViolation, "a client waits for the greeting", "a client does not get the declared greeting or handshake").own(CLIENT),
    row("wire/quit", ContractViolation, "a client sends the quit command", "the quit command does not close the connection cleanly, or ends the service for other clients"),
    row("wire/requests-per-connection", ContractViolation, "a client has sent the last request of a connection", "a connection is not closed cleanly after its last request"),
    row("wire/connections-before-exit", ContractViolation, "it has served its last client", "the server does not exit with code 0 after its last client"),
    row("results/arithmetic", WrongResults, "it evaluates an expression", "a result is wrong").own(&[WrongReply]),
    row("results/precedence", WrongResults, "an expression has several operators", "operators are not applied in the usual order").own(VALUE),
    row("results/deterministic", WrongResults, "a request is repeated", "the same request gets different replies").own(VALUE),
    row("results/division-by-zero", WrongResults, "a client divides by zero", "a division by zero does not get an error reply").own(&[NoErrorReply]),
    row("results/overflow", WrongResults, "a result exceeds 64 bits", "a result beyond 64 bits is a wrong number").own(&[NoErrorReply, WrongReply]),
    row("results/float-precision", WrongResults, "it calculates with fractions", "fractions are not calculated in double precision").own(&[WrongReply]),
    row("results/echo-is-identical", WrongResults, "it echoes a line", "an echo differs from the line that was sent").own(&[WrongReply]),
    row("malformed/syntax", LostReplies, "a line is not an expression", "a line that is not an expression gets a reply that is no error").own(&[NoErrorReply]),
    row("malformed/empty-line", LostReplies, "an empty line arrives", "an empty line does not get one reply line"),
    row("malformed/only-spaces", LostReplies, "a line of spaces arrives", "a line of spaces does not get one reply line"),
    row("malformed/nul", LostReplies, "NUL bytes arrive", "NUL bytes do not get one reply line"),
    row("malformed/invalid-utf8", LostReplies, "invalid UTF-8 arrives", "invalid UTF-8 does not get one reply line"),
    row("malformed/nesting", LostReplies, "parentheses are nested deeply", "deeply nested parentheses close the connection"),
    row("malformed/operator-chain", LostReplies, "an expression has thousands of operators", "a chain of thousands of operators closes the connection"),
    row("malformed/escapes", Minor, "control characters arrive", "an error reply repeats control characters of the request unescaped"),
    row("malformed/injection", LostReplies, "an expression contains program code", "program code is not handled as malformed input"),
    row("oversize/at-the-limit", LostReplies, "the longest permitted request arrives", "the longest permitted request is not answered"),
    row("oversize/one-past", LostReplies, "a request is one byte too long", "a request that is one byte too long does not get one error line"),
    row("oversize/endless-line", ResourceLeak, "a line does not end", "an endless line is buffered in memory"),
    row("oversize/endless-beside", AffectsOthers, "a line does not end", "a client that sends an endless line keeps other clients from being served").affecting_others(),
    row("isolation/no-broadcast", Disclosure, "several clients send requests", "a client receives what other clients send"),
    row("isolation/broadcast", ContractViolation, "several clients send messages", "a message does not reach the declared clients"),
    row("isolation/idle-beside-active", AffectsOthers, "a client is idle", "an idle client keeps other clients from being served").affecting_others(),
    row("isolation/own-answers", LostReplies, "several clients send in turns", "a client does not get the replies to its own requests when other clients send too").own(&[OtherReply, WrongReply]).affecting_others(),
    row("isolation/reset-beside", AffectsOthers, "a client resets while others are connected", "a client that resets affects another client").affecting_others(),
    row("isolation/poison-beside", AffectsOthers, "a client sends malformed input", "a client that sends malformed input affects another client").affecting_others(),
    row("isolation/heavy-beside-light", AffectsOthers, "a client requests long calculations", "long calculations of one client delay the replies of another").affecting_others(),
    row("isolation/schedules", AffectsOthers, "several clients send interleaved requests", "with interleaved clients, a reply or a connection slot is lost"),
    row("isolation/churn", AffectsOthers, "many clients connect one after another", "some of many successive clients are not served").own(SLOT),
    row("refusal/as-declared", ContractViolation, "its connection limit is reached", "a connection over the limit is not handled as declared without delay"),
    row("refusal/busy-line-is-whole", ContractViolation, "a client over the limit has already sent a request", "a client that has already sent a request does not get the complete busy line"),
    row("refusal/connected-clients-unaffected", AffectsOthers, "connections over the limit are rejected", "rejected connections disturb the served clients").affecting_others(),
    row("refusal/queued-is-served-later", ContractViolation, "a connection waits for a slot", "a waiting connection is not served when a slot becomes free").own(&[Fault::NoReply]),
    row("refusal/accepted-is-served-later", ContractViolation, "accepted connections wait for a slot", "queued connections are not served, or not in the order of their arrival").own(&[Fault::NoReply]),
    row("refusal/slot-freed-by-fin", ContractViolation, "a client closes", "the connection slot of a client that closes is not freed").own(SLOT),
    row("refusal/slot-freed-by-rst", ContractViolation, "a client resets", "the connection slot of a client that resets is not freed").own(SLOT),
    row("refusal/slot-freed-in-request", ContractViolation, "a client disconnects during a request", "the connection slot of a client that disconnects during a request is not freed").own(SLOT),
    row("refusal/race-at-release", ContractViolation, "a client connects while another disconnects", "a connection slot is lost when one client connects while another disconnects"),
    row("refusal/backlog-depth", ContractViolation, "connections wait in the accept queue", "connections in the accept queue are lost"),
    row("refusal/storm", AffectsOthers, "hundreds of clients connect at once", "hundreds of simultaneous connections affect the served client").affecting_others(),
    row("timeouts/queued-client-gives-up", AffectsOthers, "a waiting client gives up", "a waiting client that gives up affects the server").affecting_others(),
    row("timeouts/idle-is-closed", ContractViolation, "a client is idle", "an idle connection is closed too early, too late or not at all"),
    row("timeouts/idle-beside-a-flood", ContractViolation, "one client is idle while another floods it", "an idle connection is not closed while another client floods the server"),
    row("timeouts/activity-keeps-alive", ContractViolation, "a client sends requests now and then", "an active client is disconnected as if it were idle").own(&[ClosesBeforeReply, Resets]),
    row("timeouts/drip-beside", AffectsOthers, "clients send one byte at a time", "clients that send one byte at a time keep another client from being served").affecting_others(),
    row("timeouts/silent-crowd", AffectsOthers, "many clients are idle", "idle clients keep another client from being served").affecting_others(),
    row("disconnects/half-close", LostReplies, "a client shuts down its sending side", "a client that shuts down its sending side does not get its reply or a clean close"),
    row("disconnects/half-close-many", LostReplies, "a client shuts down its sending side after many requests", "a client that shuts down its sending side after many requests does not get all replies"),
    row("disconnects/fin-frees-descriptor", ResourceLeak, "a client has shut down its sending side", "the descriptor of a client that has shut down its sending side is not closed"),
    row("disconnects/nothing-said", AffectsOthers, "clients connect and disconnect without a request", "clients that disconnect without a request affect the server").affecting_others(),
    row("disconnects/reset-before-accept", AffectsOthers, "a client resets before it is accepted", "clients that reset before they are accepted affect the server").affecting_others(),
    row("disconnects/reset-in-request", AffectsOthers, "a client resets during a request", "a client that resets during a request affects the server").affecting_others(),
    row("disconnects/reset-in-reply", AffectsOthers, "a client resets during a reply", "a client that resets during a reply affects the server").affecting_others(),
    row("idle/no-client", AffectsOthers, "it has no clients", "the server spins without clients: it keeps a CPU busy and does no work"),
    row("idle/connected-clients", AffectsOthers, "its clients are idle", "the server spins while its clients are idle: it keeps a CPU busy and does no work"),
    row("idle/after-fin", AffectsOthers, "clients close their connections", "the server spins after a client has closed its connection: it keeps a CPU busy and does no work"),
    row("idle/after-reset", AffectsOthers, "clients reset their connections", "the server spins after a client has reset its connection: it keeps a CPU busy and does no work"),
    row("startup/listens-in-time", Severity::NoReply, "it starts", "the server does not serve on the given address"),
    row("startup/bind-address", StartupOrShutdown, "it listens on 127.0.0.1", "the server also listens on addresses other than the given one"),
    row("startup/any-port", StartupOrShutdown, "it is given port 0", "with port 0 the server does not listen on a free port"),
    row("startup/ipv6", StartupOrShutdown, "it is given the host ::1", "with the host ::1 the server does not serve there"),
    row("startup/host-not-ours", StartupOrShutdown, "it is given an address of another machine", "given an address of another machine, the server does not exit with an error message and a non-zero status"),
    row("startup/host-unknown", StartupOrShutdown, "it is given an unknown host", "given a host that does not exist, the server does not exit with an error message and a non-zero status"),
    row("startup/bad-port", StartupOrShutdown, "it is given an invalid port", "given an invalid port, the server does not exit with an error message and a non-zero status"),
    row("startup/privileged-port", StartupOrShutdown, "it is given a port that it has no permission for", "given a port that needs privileges, the server does not exit with an error message and a non-zero status"),
    row("startup/port-taken", StartupOrShutdown, "its port is in use", "given a port in use, the server does not exit with an error message and a non-zero status"),
    row("startup/restart", StartupOrShutdown, "it is restarted", "the server cannot be restarted at once on the same port").own(&[ExitsBeforeListening, DoesNotListen]),
    row("shutdown/sigterm", StartupOrShutdown, "SIGTERM arrives", "on SIGTERM, the server does not shut down as declared"),
    row("shutdown/sigint", StartupOrShutdown, "SIGINT arrives", "on SIGINT, the server does not shut down as declared"),
    row("shutdown/drains", StartupOrShutdown, "SIGTERM arrives during requests", "requests received before SIGTERM are not answered").own(&[ClosesBeforeReply, ClosesInReply]),
    row("shutdown/busy-client", StartupOrShutdown, "SIGTERM arrives while a client sends requests", "a client that keeps sending keeps the server from exiting").own(&[DoesNotExit]),
    row("shutdown/reset-while-draining", StartupOrShutdown, "a client resets during the shutdown", "a client that resets during the shutdown keeps the server from exiting").own(&[DoesNotExit]),
    row("shutdown/second-signal", StartupOrShutdown, "a second signal arrives", "on a second signal, the server does not exit at once"),
    row("shutdown/aborts", StartupOrShutdown, "SIGTERM arrives", "on SIGTERM, the server does not exit at once"),
    row("shutdown/port-is-free", StartupOrShutdown, "SIGTERM arrives", "the port is not free after the server has exited"),
    row("exhaustion/new-connections", Exhaustion, "it has no free descriptor", "without a free descriptor, new connections are lost").own(SLOT),
    row("exhaustion/no-spin", Exhaustion, "it has no free descriptor", "without a free descriptor the server spins: it keeps a CPU busy and does no work"),
    row("exhaustion/connected-clients", Exhaustion, "it has no free descriptor", "without a free descriptor, connected clients are no longer served"),
    row("back-pressure/never-reads", ResourceLeak, "a client never reads", "a client that sends and never reads makes memory grow without bound"),
    row("back-pressure/others-are-served", AffectsOthers, "a client never reads", "a client that never reads keeps other clients from being served").affecting_others(),
    row("back-pressure/slow-reader", LostReplies, "a client reads slowly", "a client that reads slowly does not get every reply"),
    row("fairness/shares", AffectsOthers, "several clients send the same load", "clients with the same load are not served equally"),
    row("fairness/flood", AffectsOthers, "a client floods it", "a client that floods the server delays the replies of another client").affecting_others(),
    row("leaks/descriptors", ResourceLeak, "many clients have disconnected", "descriptors of disconnected clients are not closed"),
    row("leaks/threads-and-processes", ResourceLeak, "many clients have disconnected", "threads or processes of disconnected clients do not exit"),
    row("leaks/zombies", ResourceLeak, "many clients have disconnected", "child processes that have exited are not waited for (zombies)"),
    row("leaks/memory", ResourceLeak, "many clients have disconnected", "memory of disconnected clients is not freed"),
    row("leaks/close-wait", ResourceLeak, "clients have disconnected", "connections of disconnected clients stay in CLOSE_WAIT"),
    row("leaks/resets", ResourceLeak, "a client resets", "a client that resets leaves resources behind"),
];

const fn fault(
    fault: Fault,
    severity: Option<Severity>,
    title: &'static str,
    other_client: &'static str,
) -> FaultDescription {
    FaultDescription { fault, severity, title, other_client }
}

/// Descriptions of all faults but [`Requirement`].
#[rustfmt::skip]
pub(super) const FAULTS: &[FaultDescription] = &[
    fault(NotRun, Some(Severity::NoReply), "the server cannot be started", ""),
    fault(LaunchExits, Some(Severity::NoReply), "the server exits before it listens", ""),
    fault(LaunchKilled, Some(Severity::NoReply), "the server exceeds a limit before it listens", ""),
    fault(LaunchSilent, Some(Severity::NoReply), "the server does not listen in time", ""),
    fault(LaunchNotReady, Some(Severity::NoReply), "the server does not print in time that it is ready", ""),
    fault(LaunchElsewhere, Some(Severity::NoReply), "the server listens on another port", ""),
    fault(OtherService, Some(ContractViolation), "the server provides another service than it declares", ""),
    fault(Exits, Some(Outage), "the server exits when", ""),
    fault(SpinLimit, Some(Outage), "the server keeps the CPUs busy without pause when", ""),
    fault(TaskLimit, Some(Outage), "the server exceeds the limit of threads and processes when", ""),
    fault(Blocks, Some(Outage), "the server stops serving all clients when", ""),
    fault(Refuses, Some(AffectsOthers), "the server refuses connections when", "other clients are refused when"),
    fault(DoesNotAccept, Some(AffectsOthers), "the server does not accept connections when", "other clients are not accepted when"),
    fault(Rejects, Some(ContractViolation), "a client is rejected although a connection slot is free, when", "another client is rejected although a connection slot is free, when"),
    fault(Resets, Some(LostReplies), "the server resets the connection when", "the connection of another client is reset when"),
    fault(ClosesBeforeReply, Some(LostReplies), "the server closes the connection without a reply when", "the connection of another client is closed without a reply when"),
    fault(ClosesInReply, Some(LostReplies), "the server closes the connection in the middle of a reply when", "the connection of another client is closed in the middle of a reply when"),
    fault(ClosesAfterReply, Some(LostReplies), "the server closes the connection after the reply when", ""),
    fault(ClosesEarly, None, "the server closes the connection too early when", ""),
    fault(StaysOpen, None, "the server does not close the connection when", ""),
    fault(Fault::NoReply, Some(LostReplies), "the server sends no reply when", "another client gets no reply when"),
    fault(Starves, Some(AffectsOthers), "a client gets no reply while other clients are connected", ""),
    fault(PartialReply, Some(LostReplies), "the server sends only a part of a reply when", "another client gets only a part of a reply when"),
    fault(OtherEnd, Some(LostReplies), "a reply ends with another line end than the other replies when", ""),
    fault(NoNextReply, Some(LostReplies), "the next request gets no reply when", ""),
    fault(DoesNotRead, Some(LostReplies), "the server stops reading when", "the server stops reading from another client when"),
    fault(EndlessReply, Some(LostReplies), "the server sends a reply without an end when", "another client gets a reply without an end when"),
    fault(EmptyReply, Some(LostReplies), "the server replies with an empty line when", ""),
    fault(UnterminatedReply, Some(LostReplies), "the server sends a reply without a line feed when", ""),
    fault(WrongReply, Some(LostReplies), "the server sends a wrong reply when", "another client gets a wrong reply when"),
    fault(WrongNextReply, Some(LostReplies), "the next request gets a wrong reply when", ""),
    fault(OtherReply, Some(LostReplies), "a client gets the reply to another request when", ""),
    fault(ErrorReply, Some(LostReplies), "a valid request gets an error reply when", "a valid request of another client gets an error reply when"),
    fault(ChangesInvalidUtf8, Some(LostReplies), "an echo of invalid UTF-8 differs from the line that was sent", ""),
    fault(NoErrorReply, Some(ContractViolation), "the server reports no error when", ""),
    fault(ReplyFormat, Some(ContractViolation), "a reply has undeclared text around the value", ""),
    fault(ExtraBytes, Some(LostReplies), "the server sends bytes that no request asked for when", ""),
    fault(ExitsBeforeListening, None, "the server exits before it listens when", ""),
    fault(DoesNotListen, None, "the server does not listen when", ""),
    fault(ListensElsewhere, None, "the server listens on another port when", ""),
    fault(Listens, None, "the server listens instead of reporting an error when", ""),
    fault(ExitsWithSuccess, None, "the server exits with status 0 instead of an error status when", ""),
    fault(ExitsSilently, None, "the server exits without an error message when", ""),
    fault(Killed, None, "the server is killed by a signal when", ""),
    fault(DoesNotExit, Some(StartupOrShutdown), "the server does not exit when", ""),
    fault(ExitStatus, Some(StartupOrShutdown), "the server exits with a status other than 0 when", ""),
    fault(ProcessesRemain, Some(StartupOrShutdown), "child processes of the server keep running when", ""),
    fault(Zombies, None, "child processes that have exited are not waited for (zombies)", ""),
    fault(DoesNotReject, Some(ContractViolation), "a connection over the limit is not rejected", ""),
    fault(MoreThanDeclared, Some(ContractViolation), "more clients are served than declared when", ""),
    fault(LessThanDeclared, Some(ContractViolation), "fewer clients are served than declared when", ""),
    fault(TooLate, None, "the server reacts too late when", ""),
    fault(FileCreated, Some(CodeExecution), "a client can run code on the server's host", ""),
    fault(AttributesEvaluated, Some(CodeExecution), "a client can evaluate attributes of objects, and so run code on the server's host", ""),
];

/// Titles and severities of faults that differ for one case.
#[rustfmt::skip]
const EXCEPTIONS: &[(&str, Fault, Severity, &str)] = &[
    ("contract/capacity", MoreThanDeclared, ContractViolation, "the server serves more clients at once than it declares"),
    ("contract/capacity", LessThanDeclared, ContractViolation, "the server serves fewer clients at once than it declares"),
    ("contract/queue", MoreThanDeclared, ContractViolation, "more connections wait for a slot than declared"),
    ("contract/queue", LessThanDeclared, ContractViolation, "fewer connections wait for a slot than declared"),
    ("contract/max-line", MoreThanDeclared, ContractViolation, "requests longer than declared are answered"),
    ("contract/max-line", LessThanDeclared, ContractViolation, "requests shorter than the declared limit are not answered"),
    ("disconnects/half-close", StaysOpen, ResourceLeak, "the server does not close the connection when a client has shut down its sending side"),
    ("disconnects/half-close-many", StaysOpen, ResourceLeak, "the server does not close the connection when a client has shut down its sending side"),
    ("disconnects/nothing-said", OtherReply, Disclosure, "a client that sends nothing gets the reply to another client"),
    ("framing/end-without-newline", StaysOpen, ResourceLeak, "the server does not close the connection when a client has shut down its sending side"),
    ("refusal/as-declared", TooLate, ContractViolation, "a connection over the limit is rejected too late"),
];

/// Returns the texts of the error that makes a server exit in this case, if only one error is
/// probable.
pub(super) fn reason_of_an_exit(name: &str) -> &'static [&'static str] {
    match case(name) {
        Some(row) if row.severity == Exhaustion => NO_FREE_DESCRIPTOR,
        _ => &[],
    }
}

/// Returns the description of a case, if any.
fn case(name: &str) -> Option<&'static Description> {
    CASES.iter().find(|row| row.case == name)
}

fn fault_row(fault: Fault) -> Option<&'static FaultDescription> {
    FAULTS.iter().find(|row| row.fault == fault)
}

/// Returns the exception for a case and a fault, if any: severity and title.
fn exception(case: &str, fault: Fault) -> Option<(Severity, &'static str)> {
    let row = EXCEPTIONS.iter().find(|row| row.0 == case && row.1 == fault);
    row.map(|&(_, _, severity, title)| (severity, title))
}

/// Returns whether a fault is the one that the case tests for.
pub(super) fn is_own(name: &str, fault: Fault) -> bool {
    fault == Requirement || case(name).is_some_and(|row| row.own.contains(&fault))
}

/// Returns the title of a fault, without an initial capital; `None` if the case is unknown.
pub(super) fn title(name: &str, fault: Fault) -> Option<String> {
    let row = case(name);
    if let Some((_, title)) = exception(name, fault) {
        return Some(title.to_owned());
    }
    match (row, fault_row(fault)) {
        (Some(row), _) if is_own(name, fault) => Some(row.title.to_owned()),
        (row, Some(general)) => {
            let is_other = row.is_some_and(|row| row.affects_others);
            let title = match general.other_client {
                "" => general.title,
                _ if !is_other => general.title,
                other_client => other_client,
            };
            match (title.ends_with(WHEN), row) {
                (false, _) => Some(title.to_owned()),
                (true, Some(row)) => Some(format!("{title} {}", row.when)),
                (true, None) => None,
            }
        }
        (_, None) => None,
    }
}

/// The last word of a title that the clause of the case completes.
const WHEN: &str = "when";

/// Returns the severity of a fault; `None` if the case is unknown.
pub(super) fn severity(name: &str, fault: Fault) -> Option<Severity> {
    if let Some((severity, _)) = exception(name, fault) {
        return Some(severity);
    }
    let Some(row) = case(name) else { return fault_row(fault)?.severity };
    // Not every client can cause the conditions of these cases, and without replies to plain
    // requests, nothing else can be tested.
    let is_fixed = matches!(row.severity, Severity::NoReply | StartupOrShutdown | Exhaustion);
    let general = fault_row(fault).and_then(|general| general.severity);
    Some(match general {
        Some(severity) if fault.is_launch() || matches!(fault, OtherService | ReplyFormat) => {
            severity
        }
        _ if is_fixed || is_own(name, fault) => row.severity,
        Some(LostReplies) if row.severity == WrongResults && fault.is_content() => WrongResults,
        Some(LostReplies) if row.affects_others && fault != OtherReply => AffectsOthers,
        Some(severity) => severity,
        None => row.severity,
    })
}

/// Returns the clause that completes "the server exits when …".
pub(super) fn provocation(provocation: Provocation) -> &'static str {
    match provocation {
        Provocation::ConnectAndClose => "a client connects and closes the connection",
        Provocation::ConnectAndReset => "a client connects and resets the connection",
        Provocation::Request => "it receives its first request",
        Provocation::RequestAndClose => "a client closes the connection after a reply",
        Provocation::RequestAndReset => "a client resets the connection after a reply",
        Provocation::HalfRequestAndClose => {
            "a client closes the connection in the middle of a request"
        }
        Provocation::HalfRequestAndReset => {
            "a client resets the connection in the middle of a request"
        }
        Provocation::ResetInReplies => "a client resets the connection while it gets replies",
        Provocation::EmptyLine => "an empty line arrives",
        Provocation::MalformedLine => "a line is not an expression",
        Provocation::DivisionByZero => "a client divides by zero",
        Provocation::Nul => "NUL bytes arrive",
        Provocation::InvalidUtf8 => "invalid UTF-8 arrives",
    }
}

/// Returns the description of a topic, or its name if it has no description.
pub(in crate::report) fn topic(name: &str) -> &str {
    TOPICS.iter().find(|(topic, _)| *topic == name).map_or(name, |(_, text)| text)
}

/// Returns the topic of a case: its name up to the first `/`.
pub(in crate::report) fn topic_of(case: &str) -> &str {
    case.split('/').next().unwrap_or(case)
}
