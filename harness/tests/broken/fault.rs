//! The faults of the broken server, and its configurations.

use clap::ValueEnum;

/// Fault of a broken server, which is correct in every other respect. The comments are the
/// descriptions in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// none
    None,

    /// sums are off by one
    WrongSum,
    /// ignores operator precedence and evaluates from left to right
    CalculatesFromTheLeft,
    /// prints floats with six digits
    PrintsSixDigits,
    /// integers wrap around at 64 bits
    Wraps,
    /// every 110th reply on a connection is wrong
    SometimesWrong,
    /// passes expressions to a shell
    UsesAShell,
    /// never answers a division by zero
    HangsAtDivisionByZero,
    /// trims echoed lines
    TrimsTheEcho,
    /// cuts echoed lines at a NUL byte
    StopsAtNul,
    /// cuts echoed lines at 1024 bytes
    CutsAt1024,

    /// treats each read as one request
    TreatsAReadAsALine,
    /// loses the last reply to requests that arrive together
    LosesTheLastReply,
    /// sends every reply twice
    AnswersTwice,
    /// sends a prompt after each reply
    Prompts,
    /// treats a carriage return as part of the request
    KeepsTheCarriageReturn,
    /// does not answer an unterminated last request
    IgnoresAnUnterminatedLine,
    /// does not answer an empty line
    IgnoresEmptyLines,
    /// error replies quote the request's bytes
    QuotesTheRequest,
    /// crashes on bytes that are not valid UTF-8
    CrashesOnInvalidUtf8,
    /// closes the connection instead of sending an error reply
    ClosesAtAnError,
    /// overflows its stack on deeply nested parentheses
    CrashesOnNesting,

    /// rejects a request of exactly the longest permitted length
    OffByOneAtTheLimit,
    /// treats the rest of a line that is too long as a request
    AnswersTheRestOfALongLine,
    /// closes the connection after a line that is too long
    ClosesAtALongLine,
    /// buffers a line without an end
    BuffersAnEndlessLine,

    /// uses one input buffer for all connections
    OneBufferForAll,
    /// sends all replies to the client that connected last
    RepliesToTheLastClient,
    /// sends all replies to all clients
    Broadcasts,
    /// serves one client at a time, despite a higher declared limit
    OneAtATime,
    /// serves more connections than declared
    IgnoresTheConnectionLimit,
    /// serves fewer connections than declared
    CountsAClientTwice,
    /// never frees a connection slot
    NeverFreesASlot,
    /// does not free the connection slot of a client that resets
    KeepsTheSlotAfterAReset,
    /// accepts a connection over the limit and sends nothing
    IgnoresClientsOverTheLimit,
    /// closes a connection over the limit with unread input, which resets it
    ResetsRejectedClients,
    /// also sends the busy line to another client
    SendsTheBusyReplyToAnother,
    /// leaves a connection over the limit in the accept queue instead of refusing it
    QueuesInsteadOfRefusing,
    /// closes a connection over the limit instead of resetting it
    ClosesInsteadOfResetting,

    /// is killed by SIGPIPE when it writes to a closed connection
    DiesOfSigpipe,
    /// crashes if a client resets before its connection is accepted
    CrashesOnAnEarlyReset,
    /// resets the connection after a half-close
    ResetsAtHalfClose,
    /// treats a half-close as a disconnect and sends no replies
    ClosesAtHalfClose,
    /// leaks a descriptor per connection
    LeaksDescriptors,
    /// leaks a thread per connection
    LeaksThreads,
    /// leaks memory per connection
    LeaksMemory,
    /// starts a process per connection and never waits for it
    LeavesZombies,
    /// spins when it has no free descriptor
    SpinsWithoutDescriptors,
    /// exits when it has no free descriptor
    ExitsWithoutDescriptors,

    /// polls for connections without a timeout
    SpinsWithoutClients,
    /// polls an idle connection without a timeout
    SpinsBesideAnIdleClient,
    /// keeps polling a connection that the client has closed
    SpinsAfterFin,
    /// keeps polling a connection that the client has reset
    SpinsAfterReset,

    /// keeps reading from a client that does not read, and buffers the replies
    BuffersRepliesWithoutLimit,
    /// blocks all connections while one client does not read
    BlocksInAWrite,
    /// serves one client until it has no more requests
    ServesTheBusiestClient,
    /// discards the unwritten rest after a partial write
    IgnoresPartialWrites,

    /// never closes idle connections
    NeverClosesIdleClients,
    /// closes idle connections before the idle timeout
    ClosesTooEarly,
    /// closes active connections after the idle timeout
    ClosesActiveClients,

    /// exits with 0 when it cannot listen
    ExitsWith0AfterAFailedStart,
    /// shares its port (SO_REUSEPORT)
    SharesItsPort,
    /// listens on all addresses instead of 127.0.0.1
    BindsAllAddresses,
    /// cannot bind a port with connections in TIME_WAIT (no SO_REUSEADDR)
    CannotRestart,
    /// ignores SIGTERM
    IgnoresSigterm,
    /// ignores SIGINT
    IgnoresSigint,
    /// exits with 1 on SIGTERM and SIGINT
    ExitsWith1AtSigterm,
    /// exits on SIGTERM without answering received requests
    DropsReceivedRequests,
    /// leaves a child process behind
    LeavesAChild,
    /// ignores a second signal
    IgnoresASecondSignal,
}

/// Configuration of the server: service, overload policy and idle timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// A calculator that sends a busy line to connections over the limit.
    Busy,
    /// An echo server with a busy line.
    Echo,
    /// A calculator with a busy line and an idle timeout.
    Idle,
    /// A calculator that leaves connections over the limit in the accept queue.
    Wait,
    /// A calculator that refuses connections over the limit.
    Refuse,
    /// A calculator that resets connections over the limit.
    Reset,
}

impl Shape {
    /// Returns the contract as flags of `harness check`.
    pub(crate) fn contract(self) -> Vec<&'static str> {
        let mut flags = vec!["--capacity=3", "--max-line=4096", "--error-prefix=error: "];
        flags.extend(["--queue=0", "--shutdown=drain", "--ipv6"]);
        flags.push(match self {
            Shape::Busy | Shape::Echo | Shape::Idle => "--when-full=busy",
            Shape::Wait => "--when-full=wait",
            Shape::Refuse => "--when-full=refuse",
            Shape::Reset => "--when-full=reset",
        });
        match self {
            Shape::Echo => flags.push("--service=echo"),
            _ => flags.extend(["--division=integer", "--overflow"]),
        }
        if self == Shape::Idle {
            flags.push("--idle-timeout=2s");
        }
        flags
    }
}

/// Returns the name of a fault or a shape on the command line.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("a variant that is not hidden").get_name().to_owned()
}

/// Returns the description of a fault.
pub(crate) fn description(fault: Fault) -> String {
    let help =
        fault.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
    help.expect("a doc comment")
}
