//! Descriptions of the fault of each case, and of topics.

/// Description of a failed case. `when` completes "it ends when …" for a server that exited;
/// `wrong` describes the fault of a server that did not.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) case: &'static str,
    pub(super) when: &'static str,
    pub(super) wrong: &'static str,
}

/// Descriptions of topics, as capabilities of the server.
pub(super) const TOPICS: &[(&str, &str)] = &[
    ("framing", "tells requests apart, however TCP cuts and joins them"),
    ("contract", "keeps what it declares"),
    ("wire", "keeps to its protocol: greeting, end, number of requests"),
    ("results", "gives right results"),
    ("malformed", "stands what is no request"),
    ("oversize", "stands requests that are too long"),
    ("isolation", "keeps its clients apart"),
    ("refusal", "does as declared when it is full, and gives places back"),
    ("timeouts", "copes with clients that are slow or silent"),
    ("disconnects", "copes with clients that go, by FIN and by RST"),
    ("startup", "starts, or says why it cannot"),
    ("shutdown", "ends when it is told to"),
    ("exhaustion", "copes without a free descriptor"),
    ("back-pressure", "copes with clients that do not read"),
    ("fairness", "shares itself among its clients"),
    ("leaks", "leaves nothing behind"),
];

const fn row(case: &'static str, when: &'static str, wrong: &'static str) -> Wrong {
    Wrong { case, when, wrong }
}

/// Descriptions of all cases, by topic.
#[rustfmt::skip]
pub(super) const WRONG: &[Wrong] = &[
    row("framing/single", "it is asked for the first time", "a plain request gets no reply line"),
    row("framing/one-line", "it is asked for the first time", "a reply is more than its one line"),
    row("framing/byte-by-byte", "a request comes byte by byte", "a request that comes byte by byte is not taken for one request"),
    row("framing/all-cuts", "a request comes in two parts", "a request that comes in two parts is not taken for one request"),
    row("framing/split-token", "a number comes in two parts", "a number that comes in two parts is not taken for one number"),
    row("framing/pipelined", "many requests come at once", "requests that come together do not each get their reply"),
    row("framing/random-cuts", "requests come in pieces of any size", "requests that come in pieces of any size do not each get their reply"),
    row("framing/crlf", "a line ends with a carriage return", "a line that ends with a carriage return and a line feed is not understood"),
    row("framing/end-without-newline", "the last request has no line feed", "a last request without a line feed is not answered, or the connection not closed after it"),
    row("framing/sizes", "a request has about 1024 bytes", "requests of about 1024 bytes are not answered like short ones"),
    row("contract/capacity", "its places fill", "it does not serve as many clients at once as it declares"),
    row("contract/when-full", "one client more than it can take comes", "one client more than it can take does not meet what it declares"),
    row("contract/queue", "clients wait", "it does not take in as many waiting clients as it declares"),
    row("contract/max-line", "requests get longer", "the longest request that it answers is not the one it declares"),
    row("contract/error-lines", "a request is wrong", "an error reply does not begin as it declares"),
    row("contract/idle-timeout", "a client is silent", "a silent client is not closed when it declares"),
    row("contract/mechanism", "silent clients are there", "it is not built as it should be"),
    row("contract/ending", "SIGTERM comes during requests", "SIGTERM does not do to requests under way what it declares"),
    row("wire/greeting", "a client is to be greeted", "a client is not greeted as it declares"),
    row("wire/quit", "a client says the word that ends the connection", "the word that ends the connection does not end it cleanly"),
    row("wire/requests-per-connection", "a connection has had its requests", "a connection that has had its requests is not ended cleanly"),
    row("wire/clients-per-life", "it has had its clients", "it does not end with exit code 0 after the clients that it lives for"),
    row("results/arithmetic", "it calculates", "a result is wrong"),
    row("results/precedence", "an expression has several operators", "operators are not applied in the order of arithmetic"),
    row("results/deterministic", "it is asked the same again", "the same request gets different replies"),
    row("results/division-by-zero", "a client divides by zero", "a division by zero does not get an error line"),
    row("results/overflow", "a result has more than 64 bits", "a result beyond 64 bits is a wrong number"),
    row("results/float-precision", "it calculates with fractions", "fractions are not calculated in double precision"),
    row("results/echo-is-identical", "it echoes", "an echo is not what was sent"),
    row("malformed/syntax", "a line is no expression", "a line that is no expression does not get one error line"),
    row("malformed/empty-line", "an empty line comes", "an empty line does not get one reply line"),
    row("malformed/only-spaces", "a line of spaces comes", "a line of spaces does not get one reply line"),
    row("malformed/nul", "NUL bytes come", "NUL bytes do not get one reply line"),
    row("malformed/invalid-utf8", "bytes come that are no text", "bytes that are no text do not get one reply line"),
    row("malformed/nesting", "parentheses are nested deep", "parentheses that are nested deep end the connection"),
    row("malformed/operator-chain", "an expression is thousands of operators long", "a chain of thousands of operators ends the connection"),
    row("malformed/escapes", "control characters come", "an error reply carries a client's control characters to other terminals"),
    row("malformed/injection", "an expression is code", "a client can run code on the server's host"),
    row("oversize/at-the-limit", "the longest request comes", "the longest request that is allowed is not answered"),
    row("oversize/one-past", "a request is a byte too long", "a request that is a byte too long does not get one error line"),
    row("oversize/endless-line", "a line does not end", "a line that does not end is kept in memory, or not answered by one error line"),
    row("oversize/endless-beside", "a line does not end", "a client whose line does not end keeps others from being served"),
    row("isolation/idle-beside-active", "a client is silent", "a client that says nothing keeps others from being served"),
    row("isolation/own-answers", "several clients ask in turns", "a client does not get the answers to its own requests when others ask too"),
    row("isolation/reset-beside", "a client resets beside others", "a client that resets harms another"),
    row("isolation/poison-beside", "a client sends what is no request", "a client that sends what is no request harms another"),
    row("isolation/heavy-beside-light", "a client asks for long calculations", "long calculations of one client keep another from its replies"),
    row("isolation/schedules", "several clients act in turns", "what several clients do in turns costs one of them its replies, or a place"),
    row("isolation/churn", "many clients come one after another", "of many clients, one after another, some are not served"),
    row("refusal/as-declared", "it is full", "a client that finds it full does not meet what it declares"),
    row("refusal/busy-line-is-whole", "it is full, and a client has written already", "a client that has written already does not get the whole busy line"),
    row("refusal/incumbent-unharmed", "clients are turned away", "clients that are turned away disturb those that are served"),
    row("refusal/queued-is-served-later", "a client waits", "a client that waits is not served when its turn comes"),
    row("refusal/taken-in-is-served-later", "clients wait", "clients that wait are not served in the order in which they came"),
    row("refusal/place-freed-by-fin", "a client closes", "the place of a client that closes is not given back"),
    row("refusal/place-freed-by-rst", "a client resets", "the place of a client that resets is not given back"),
    row("refusal/place-freed-in-request", "a client goes in the middle of a request", "the place of a client that goes in the middle of a request is not given back"),
    row("refusal/race-at-release", "a client comes while another leaves", "a place is lost when one client comes while another leaves"),
    row("refusal/backlog-depth", "clients wait in the kernel", "clients that wait in the kernel are lost"),
    row("refusal/storm", "hundreds of clients come at once", "hundreds of clients at once harm the one that is served"),
    row("timeouts/queued-client-gives-up", "a client that waits gives up", "a client that waits and gives up does harm"),
    row("timeouts/idle-is-closed", "a client is silent", "a silent client is closed too soon, too late or not at all"),
    row("timeouts/idle-beside-a-flood", "a client floods it beside a silent one", "a silent client is not closed while another floods it"),
    row("timeouts/activity-keeps-alive", "a client speaks now and then", "a client that speaks in time is closed as if it were silent"),
    row("timeouts/drip-beside", "clients send a byte now and then", "clients that send a byte now and then keep another from being served"),
    row("timeouts/silent-crowd", "many clients are silent", "clients that say nothing keep another from being served"),
    row("disconnects/half-close", "a client ends its side", "a client that ends its side does not get the reply that is owed, or no clean end"),
    row("disconnects/half-close-many", "a client ends its side behind many requests", "a client that ends its side behind many requests does not get all replies"),
    row("disconnects/fin-frees-descriptor", "a client has ended its side", "the descriptor of a client that has ended its side is not closed"),
    row("disconnects/nothing-said", "clients come and go without a word", "clients that come and go without a word do harm"),
    row("disconnects/reset-before-accept", "a client resets before it is accepted", "clients that reset before they are accepted do harm"),
    row("disconnects/reset-in-request", "a client resets in the middle of a request", "a client that resets in the middle of a request does harm"),
    row("disconnects/reset-in-reply", "a client resets while it is answered", "a client that resets while it is answered does harm"),
    row("startup/listens-in-time", "it is started", "it does not serve where it was told to listen"),
    row("startup/bind-address", "it is told to listen on 127.0.0.1", "told to listen on one address it listens on others, too"),
    row("startup/any-port", "it is told port 0", "told port 0 it does not listen on a free port"),
    row("startup/ipv6", "it is told to listen on ::1", "told to listen on ::1 it does not serve there"),
    row("startup/host-not-ours", "it is told a foreign address", "told an address of another machine it does not say so and end with an error code"),
    row("startup/host-unknown", "it is told an unknown host", "told a host that does not exist it does not say so and end with an error code"),
    row("startup/bad-port", "it is told a bad port", "told a port that is no number it does not say so and end with an error code"),
    row("startup/privileged-port", "it is told a port that it may not have", "told a port that it may not have it does not say so and end with an error code"),
    row("startup/port-taken", "its port is taken", "on a taken port it does not say so and end with an error code"),
    row("startup/restart", "it is started again", "it cannot be started again at once where it was"),
    row("shutdown/sigterm", "SIGTERM comes", "SIGTERM does not end it as it should"),
    row("shutdown/sigint", "SIGINT comes", "SIGINT does not end it as it should"),
    row("shutdown/drains", "SIGTERM comes", "requests that came before SIGTERM are not answered"),
    row("shutdown/busy-client", "SIGTERM comes while a client asks", "a client that goes on asking keeps it from ending"),
    row("shutdown/reset-meanwhile", "a client resets while it ends", "a client that resets meanwhile keeps it from ending"),
    row("shutdown/second-signal", "a second signal comes", "a second signal does not end it at once"),
    row("shutdown/aborts", "SIGTERM comes", "SIGTERM does not end it at once"),
    row("shutdown/port-is-free", "SIGTERM has come", "its port is not free when it has ended"),
    row("exhaustion/newcomers", "it has no free descriptor", "without a free descriptor, newcomers are lost"),
    row("exhaustion/no-spin", "it has no free descriptor", "without a free descriptor it spins: it takes a whole processor and does nothing"),
    row("exhaustion/old-clients", "it has no free descriptor", "without a free descriptor, the clients that are there are served no more"),
    row("back-pressure/never-reads", "a client never reads", "a client that sends and never reads costs memory without bound"),
    row("back-pressure/others-are-served", "a client never reads", "a client that never reads keeps others from being served"),
    row("back-pressure/slow-reader", "a client reads slowly", "a client that reads slowly does not get every reply"),
    row("fairness/shares", "several clients want the same", "clients that want the same do not get the same"),
    row("fairness/flood", "a client floods it", "a client that floods it keeps a modest one from its replies"),
    row("leaks/descriptors", "many clients have come and gone", "descriptors become more with every client that has come and gone"),
    row("leaks/threads-and-processes", "many clients have come and gone", "threads or processes become more with every client that has come and gone"),
    row("leaks/zombies", "many clients have come and gone", "child processes that have ended are not waited for (zombies)"),
    row("leaks/memory", "many clients have come and gone", "memory grows by what clients send that have come and gone"),
    row("leaks/close-wait", "clients have gone", "connections of clients that have gone stay half open (CLOSE_WAIT)"),
    row("leaks/resets", "a client resets", "a client that resets leaves something behind"),
];

/// Returns the description of a case, if any.
pub(super) fn wrong(case: &str) -> Option<&'static Wrong> {
    WRONG.iter().find(|row| row.case == case)
}

/// Returns the description of a topic, or its name if it has no description.
pub(super) fn topic(name: &str) -> &str {
    TOPICS.iter().find(|(topic, _)| *topic == name).map_or(name, |(_, words)| words)
}

/// Returns the topic of a case: its name up to the first `/`.
pub(super) fn topic_of(case: &str) -> &str {
    case.split('/').next().unwrap_or(case)
}
