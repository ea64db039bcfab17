//! The faults, and the shapes of the server that has them.

use clap::ValueEnum;

/// What a broken server does wrong. Everything else it does right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// it has none
    None,

    /// sums are wrong by one
    WrongSum,
    /// it knows no precedence, and calculates from the left
    CalculatesFromTheLeft,
    /// floats are printed with six digits
    PrintsSixDigits,
    /// whole numbers wrap at 64 bits
    Wraps,
    /// every 110th reply to a client is wrong
    WrongNowAndThen,
    /// it gives the client's expression to a shell
    UsesAShell,
    /// a division by zero is never answered
    HangsAtDivisionByZero,
    /// it trims what it echoes
    TrimsTheEcho,
    /// its echo ends at a NUL byte
    StopsAtNul,
    /// it cuts lines at 1024 bytes
    CutsAt1024,

    /// what one read returns is taken for one request
    TakesAReadForALine,
    /// of the replies to requests that arrive together the last is lost
    LosesTheLastReply,
    /// every request is answered twice
    AnswersTwice,
    /// a prompt follows each reply
    Prompts,
    /// a carriage return is taken for part of the request
    KeepsTheCarriageReturn,
    /// a last request without a line feed is not answered
    ForgetsTheLastLine,
    /// an empty line is not answered
    IgnoresEmptyLines,
    /// errors quote the client's bytes
    QuotesTheClient,
    /// it ends at bytes that are no UTF-8
    DiesAtInvalidUtf8,
    /// it overflows its stack at deep nesting
    DiesAtNesting,

    /// the longest line that is allowed is refused
    OffByOneAtTheLimit,
    /// the rest of a line that is too long is taken for a request
    AnswersTheRestOfALongLine,
    /// a line that is too long ends the connection
    ClosesAtALongLine,
    /// a line without an end is kept in memory
    KeepsAnEndlessLine,

    /// there is one input buffer for all clients
    OneBufferForAll,
    /// replies go to the client that came last
    AnswersTheLastComer,
    /// one client is served at a time, whatever is declared
    OneAtATime,
    /// it takes on more clients than it declares
    RefusesNobody,
    /// it takes on fewer clients than it declares
    CountsAClientTwice,
    /// it never frees a place
    NeverFreesAPlace,
    /// the place of a client that resets is never freed
    KeepsThePlaceAfterAReset,
    /// a client too many is accepted and left without a word
    LeavesTheRefusedSilent,
    /// a client too many is closed over what it had sent
    ResetsTheRefused,
    /// when it turns a client away it tells another one, too
    DisturbsAnother,
    /// a client too many is left in the kernel's queue in place of being refused
    QueuesInsteadOfRefusing,
    /// a client too many is closed in place of being reset
    ClosesInsteadOfResetting,

    /// a write to a client that is gone ends it (SIGPIPE)
    DiesOfABrokenPipe,
    /// a client that is gone before it was accepted ends it
    DiesAtAnEarlyReset,
    /// a client that ends its side is reset
    ResetsAtHalfClose,
    /// a client that ends its side is taken for gone
    ForgetsTheHalfClosed,
    /// it keeps a descriptor of each client
    LeaksDescriptors,
    /// it keeps a thread of each client
    LeaksThreads,
    /// it keeps some memory of each client
    LeaksMemory,
    /// it starts a process for each client, and waits for none
    LeavesZombies,
    /// it spins without a free descriptor
    SpinsWithoutDescriptors,
    /// it ends without a free descriptor
    DiesWithoutDescriptors,

    /// it reads on from a client that does not read
    HoardsReplies,
    /// a client that does not read blocks all others
    BlocksInAWrite,
    /// a client that goes on asking is served until it has no more to ask
    ServesTheLoudest,
    /// what a write did not take is lost
    IgnoresPartialWrites,

    /// a silent client is never closed
    NeverClosesTheSilent,
    /// a silent client is closed too early
    ClosesTooEarly,
    /// a client is closed after the idle timeout, although it spoke
    ClosesTheActive,

    /// it exits with 0 when it cannot listen
    ExitsWith0AtATakenPort,
    /// it shares its port (SO_REUSEPORT)
    SharesItsPort,
    /// it listens on every address of the machine, where it is told the loopback one
    BindsEverywhere,
    /// it cannot listen over old connections (no SO_REUSEADDR)
    CannotRestart,
    /// it ignores SIGTERM
    IgnoresSigterm,
    /// it ignores SIGINT
    IgnoresSigint,
    /// it exits with 1 when it is told to end
    ExitsWith1AtSigterm,
    /// what had arrived when it is told to end is not answered
    DropsWhatHadArrived,
    /// it leaves a process behind
    LeavesAChild,
    /// a second signal does nothing
    IgnoresASecondSignal,
}

/// In which way the server is right otherwise, and what it declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Shape {
    /// A calculator that tells the client too many that it is busy.
    Busy,
    /// The same as an echo.
    Echo,
    /// A calculator that closes silent clients.
    Idle,
    /// One whose client too many waits in the kernel's queue.
    Wait,
    /// One whose client too many is refused.
    Refuse,
    /// One whose client too many is reset.
    Reset,
}

impl Shape {
    /// What it declares, as `harness check` takes it.
    pub(crate) fn contract(self) -> Vec<&'static str> {
        let mut flags = vec!["--capacity=3", "--max-line=4096", "--error-prefix=error: "];
        flags.extend(["--queue=0", "--ending=drain", "--ipv6"]);
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

/// As it is written on the command line.
pub(crate) fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("none is hidden").get_name().to_owned()
}

/// What the fault is, in one sentence.
pub(crate) fn sentence(fault: Fault) -> String {
    let words =
        fault.to_possible_value().and_then(|value| value.get_help().map(|it| it.to_string()));
    words.expect("every fault has a doc comment")
}
