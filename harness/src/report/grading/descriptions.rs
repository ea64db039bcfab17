//! Descriptions of faults, by case, and of topics.

/// Descriptions of the fault of a failed case.
#[derive(Debug)]
pub(super) struct Description {
    pub(super) case: &'static str,
    /// Completes "the server exits when …", for a server that exited unexpectedly.
    pub(super) when: &'static str,
    /// Describes any other fault.
    pub(super) fault: &'static str,
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
    ("startup", "starts, or reports why it cannot start"),
    ("shutdown", "shuts down on SIGTERM and SIGINT"),
    ("exhaustion", "keeps working without free descriptors"),
    ("back-pressure", "handles clients that do not read replies"),
    ("fairness", "treats clients fairly"),
    ("leaks", "releases all resources"),
];

const fn row(case: &'static str, when: &'static str, fault: &'static str) -> Description {
    Description { case, when, fault }
}

/// Descriptions of all cases, by topic.
#[rustfmt::skip]
pub(super) const FAULTS: &[Description] = &[
    row("framing/single", "it receives its first request", "a plain request gets no reply line"),
    row("framing/one-line", "it receives its first request", "a reply is not exactly one line"),
    row("framing/byte-by-byte", "a request arrives byte by byte", "a request that arrives byte by byte is not treated as one request"),
    row("framing/all-cuts", "a request arrives in two parts", "a request that arrives in two parts is not treated as one request"),
    row("framing/split-token", "a number arrives in two parts", "a number that arrives in two parts is not treated as one number"),
    row("framing/pipelined", "many requests arrive at once", "pipelined requests do not each get a reply"),
    row("framing/random-cuts", "requests arrive in parts of any size", "requests that arrive in parts of any size do not each get a reply"),
    row("framing/crlf", "a line ends with a carriage return", "a request that ends with CR LF is not answered like one that ends with LF"),
    row("framing/end-without-newline", "the last request has no line feed", "a last request without a line feed is not answered, or the connection is not closed after the reply"),
    row("framing/sizes", "a request has about 1024 bytes", "requests of about 1024 bytes are not answered like short ones"),
    row("contract/capacity", "its connection limit is reached", "the server does not serve as many clients at once as it declares"),
    row("contract/when-full", "a connection over the limit arrives", "a connection over the limit is not handled as declared"),
    row("contract/queue", "connections wait for a slot", "the number of waiting connections is not the declared one"),
    row("contract/max-line", "requests get longer", "the longest accepted request is not the declared one"),
    row("contract/error-lines", "a request is malformed", "an error reply does not start with the declared prefix"),
    row("contract/idle-timeout", "a client is idle", "an idle connection is not closed after the declared timeout"),
    row("contract/concurrency-model", "idle connections are open", "the concurrency model is not the declared one"),
    row("contract/shutdown", "SIGTERM arrives during requests", "on SIGTERM, the server does not handle requests in flight as declared"),
    row("wire/greeting", "a client waits for the greeting", "the greeting is not the declared one"),
    row("wire/quit", "a client sends the quit command", "the quit command does not close the connection cleanly"),
    row("wire/requests-per-connection", "a client has sent the last request of a connection", "a connection is not closed cleanly after its last request"),
    row("wire/connections-before-exit", "it has served its last client", "the server does not exit with code 0 after its last client"),
    row("results/arithmetic", "it evaluates an expression", "a result is wrong"),
    row("results/precedence", "an expression has several operators", "operators are not applied in the usual order"),
    row("results/deterministic", "a request is repeated", "the same request gets different replies"),
    row("results/division-by-zero", "a client divides by zero", "a division by zero does not get an error line"),
    row("results/overflow", "a result exceeds 64 bits", "a result beyond 64 bits is a wrong number"),
    row("results/float-precision", "it calculates with fractions", "fractions are not calculated in double precision"),
    row("results/echo-is-identical", "it echoes a line", "an echo differs from the line that was sent"),
    row("malformed/syntax", "a line is not an expression", "a line that is not an expression does not get one error line"),
    row("malformed/empty-line", "an empty line arrives", "an empty line does not get one reply line"),
    row("malformed/only-spaces", "a line of spaces arrives", "a line of spaces does not get one reply line"),
    row("malformed/nul", "NUL bytes arrive", "NUL bytes do not get one reply line"),
    row("malformed/invalid-utf8", "invalid UTF-8 arrives", "invalid UTF-8 does not get one reply line"),
    row("malformed/nesting", "parentheses are nested deeply", "deeply nested parentheses close the connection"),
    row("malformed/operator-chain", "an expression has thousands of operators", "a chain of thousands of operators closes the connection"),
    row("malformed/escapes", "control characters arrive", "an error reply repeats control characters of the request unescaped"),
    row("malformed/injection", "an expression contains program code", "a client can run code on the server's host"),
    row("oversize/at-the-limit", "the longest permitted request arrives", "the longest permitted request is not answered"),
    row("oversize/one-past", "a request is one byte too long", "a request that is one byte too long does not get one error line"),
    row("oversize/endless-line", "a line does not end", "an endless line is buffered in memory, or does not get one error line"),
    row("oversize/endless-beside", "a line does not end", "a client that sends an endless line keeps other clients from being served"),
    row("isolation/idle-beside-active", "a client is idle", "an idle client keeps other clients from being served"),
    row("isolation/own-answers", "several clients send in turns", "a client does not get the replies to its own requests when other clients send too"),
    row("isolation/reset-beside", "a client resets while others are connected", "a client that resets affects another client"),
    row("isolation/poison-beside", "a client sends malformed input", "a client that sends malformed input affects another client"),
    row("isolation/heavy-beside-light", "a client requests long calculations", "long calculations of one client delay the replies of another"),
    row("isolation/schedules", "several clients send interleaved requests", "with interleaved clients, a reply or a connection slot is lost"),
    row("isolation/churn", "many clients connect one after another", "some of many successive clients are not served"),
    row("refusal/as-declared", "its connection limit is reached", "a connection over the limit is not handled as declared without delay"),
    row("refusal/busy-line-is-whole", "a client over the limit has already sent a request", "a client that has already sent a request does not get the complete busy line"),
    row("refusal/connected-clients-unaffected", "connections over the limit are rejected", "rejected connections disturb the served clients"),
    row("refusal/queued-is-served-later", "a connection waits for a slot", "a waiting connection is not served when a slot becomes free"),
    row("refusal/accepted-is-served-later", "accepted connections wait for a slot", "queued connections are not served, or not in the order of their arrival"),
    row("refusal/slot-freed-by-fin", "a client closes", "the connection slot of a client that closes is not freed"),
    row("refusal/slot-freed-by-rst", "a client resets", "the connection slot of a client that resets is not freed"),
    row("refusal/slot-freed-in-request", "a client disconnects during a request", "the connection slot of a client that disconnects during a request is not freed"),
    row("refusal/race-at-release", "a client connects while another disconnects", "a connection slot is lost when one client connects while another disconnects"),
    row("refusal/backlog-depth", "connections wait in the accept queue", "connections in the accept queue are lost"),
    row("refusal/storm", "hundreds of clients connect at once", "hundreds of simultaneous connections affect the served client"),
    row("timeouts/queued-client-gives-up", "a waiting client gives up", "a waiting client that gives up affects the server"),
    row("timeouts/idle-is-closed", "a client is idle", "an idle connection is closed too early, too late or not at all"),
    row("timeouts/idle-beside-a-flood", "one client is idle while another floods it", "an idle connection is not closed while another client floods the server"),
    row("timeouts/activity-keeps-alive", "a client sends requests now and then", "an active client is disconnected as if it were idle"),
    row("timeouts/drip-beside", "clients send one byte at a time", "clients that send one byte at a time keep another client from being served"),
    row("timeouts/silent-crowd", "many clients are idle", "idle clients keep another client from being served"),
    row("disconnects/half-close", "a client shuts down its sending side", "a client that shuts down its sending side does not get its reply or a clean close"),
    row("disconnects/half-close-many", "a client shuts down its sending side after many requests", "a client that shuts down its sending side after many requests does not get all replies"),
    row("disconnects/fin-frees-descriptor", "a client has shut down its sending side", "the descriptor of a client that has shut down its sending side is not closed"),
    row("disconnects/nothing-said", "clients connect and disconnect without a request", "clients that disconnect without a request affect the server"),
    row("disconnects/reset-before-accept", "a client resets before it is accepted", "clients that reset before they are accepted affect the server"),
    row("disconnects/reset-in-request", "a client resets during a request", "a client that resets during a request affects the server"),
    row("disconnects/reset-in-reply", "a client resets during a reply", "a client that resets during a reply affects the server"),
    row("startup/listens-in-time", "it starts", "the server does not serve on the given address"),
    row("startup/bind-address", "it listens on 127.0.0.1", "the server also listens on addresses other than the given one"),
    row("startup/any-port", "it is given port 0", "with port 0 the server does not listen on a free port"),
    row("startup/ipv6", "it is given the host ::1", "with the host ::1 the server does not serve there"),
    row("startup/host-not-ours", "it is given an address of another machine", "given an address of another machine, the server does not exit with an error message and a non-zero status"),
    row("startup/host-unknown", "it is given an unknown host", "given a host that does not exist, the server does not exit with an error message and a non-zero status"),
    row("startup/bad-port", "it is given an invalid port", "given an invalid port, the server does not exit with an error message and a non-zero status"),
    row("startup/privileged-port", "it is given a port that it has no permission for", "given a port that needs privileges, the server does not exit with an error message and a non-zero status"),
    row("startup/port-taken", "its port is in use", "given a port in use, the server does not exit with an error message and a non-zero status"),
    row("startup/restart", "it is restarted", "the server cannot be restarted at once on the same port"),
    row("shutdown/sigterm", "SIGTERM arrives", "on SIGTERM, the server does not shut down as declared"),
    row("shutdown/sigint", "SIGINT arrives", "on SIGINT, the server does not shut down as declared"),
    row("shutdown/drains", "SIGTERM arrives", "requests received before SIGTERM are not answered"),
    row("shutdown/busy-client", "SIGTERM arrives while a client sends requests", "a client that keeps sending keeps the server from exiting"),
    row("shutdown/reset-while-draining", "a client resets during the shutdown", "a client that resets during the shutdown keeps the server from exiting"),
    row("shutdown/second-signal", "a second signal arrives", "on a second signal, the server does not exit at once"),
    row("shutdown/aborts", "SIGTERM arrives", "on SIGTERM, the server does not exit at once"),
    row("shutdown/port-is-free", "SIGTERM arrives", "the port is not free after the server has exited"),
    row("exhaustion/new-connections", "it has no free descriptor", "without a free descriptor, new connections are lost"),
    row("exhaustion/no-spin", "it has no free descriptor", "without a free descriptor the server spins: it keeps a CPU busy and does no work"),
    row("exhaustion/connected-clients", "it has no free descriptor", "without a free descriptor, connected clients are no longer served"),
    row("back-pressure/never-reads", "a client never reads", "a client that sends and never reads makes memory grow without bound"),
    row("back-pressure/others-are-served", "a client never reads", "a client that never reads keeps other clients from being served"),
    row("back-pressure/slow-reader", "a client reads slowly", "a client that reads slowly does not get every reply"),
    row("fairness/shares", "several clients send the same load", "clients with the same load are not served equally"),
    row("fairness/flood", "a client floods it", "a client that floods the server delays the replies of another client"),
    row("leaks/descriptors", "many clients have disconnected", "descriptors of disconnected clients are not closed"),
    row("leaks/threads-and-processes", "many clients have disconnected", "threads or processes of disconnected clients do not exit"),
    row("leaks/zombies", "many clients have disconnected", "child processes that have exited are not waited for (zombies)"),
    row("leaks/memory", "many clients have disconnected", "memory of disconnected clients is not freed"),
    row("leaks/close-wait", "clients have disconnected", "connections of disconnected clients stay in CLOSE_WAIT"),
    row("leaks/resets", "a client resets", "a client that resets leaves resources behind"),
];

/// Returns the description of the fault of a case, if any.
pub(super) fn fault(case: &str) -> Option<&'static Description> {
    FAULTS.iter().find(|row| row.case == case)
}

/// Returns the description of a topic, or its name if it has no description.
pub(in crate::report) fn topic(name: &str) -> &str {
    TOPICS.iter().find(|(topic, _)| *topic == name).map_or(name, |(_, text)| text)
}

/// Returns the topic of a case: its name up to the first `/`.
pub(in crate::report) fn topic_of(case: &str) -> &str {
    case.split('/').next().unwrap_or(case)
}
