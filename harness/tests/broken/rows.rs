//! What each broken server fails, and what cannot be decided about it.

use super::fault::Fault::{self, *};
use super::fault::Shape::{self, *};
use Undecided::{AllOthers, These};

/// A broken server, and what the harness finds.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    pub(crate) shape: Shape,
    /// How long it is waited for what should come: short where something hangs.
    pub(crate) patience: &'static str,
    /// What fails: case and state.
    pub(crate) failing: &'static [(&'static str, &'static str)],
    /// What cannot be decided.
    pub(crate) undecided: Undecided,
    /// What may be found either way, as chance has its part in it. Each row says which.
    pub(crate) perhaps: &'static [&'static str],
}

/// Cases that could not try what they are about.
#[derive(Clone, Copy)]
pub(crate) enum Undecided {
    These(&'static [&'static str]),
    AllOthers,
}

/// One with which all else is decided, and passes, in the usual time.
const fn row(fault: Fault, shape: Shape, failing: &'static [(&'static str, &'static str)]) -> Row {
    Row { fault, shape, failing, patience: "5s", undecided: These(&[]), perhaps: &[] }
}

impl Row {
    const fn patience(mut self, patience: &'static str) -> Row {
        self.patience = patience;
        self
    }

    const fn undecided(mut self, undecided: Undecided) -> Row {
        self.undecided = undecided;
        self
    }

    const fn perhaps(mut self, perhaps: &'static [&'static str]) -> Row {
        self.perhaps = perhaps;
        self
    }
}

pub(crate) const ROWS: &[Row] = &[
    row(Fault::None, Busy, &[]),
    row(Fault::None, Echo, &[]),
    row(Fault::None, Idle, &[]),
    row(Fault::None, Wait, &[]),
    row(Fault::None, Refuse, &[]),
    row(Fault::None, Reset, &[]),
    row(WrongSum, Busy, &[("results/arithmetic", "ok")]).undecided(These(&["results/precedence"])),
    row(CalculatesFromTheLeft, Busy, &[("results/arithmetic", "ok"), ("results/precedence", "ok")]),
    row(PrintsSixDigits, Busy, &[("results/arithmetic", "ok"), ("results/float-precision", "ok")]),
    row(Wraps, Busy, &[("results/overflow", "ok")]),
    row(WrongNowAndThen, Busy, &[("framing/pipelined", "ok"), ("results/arithmetic", "ok")])
        .undecided(These(&[
            "framing/random-cuts",
            "contract/ending",
            "disconnects/half-close-many",
            "back-pressure/slow-reader",
        ])),
    row(UsesAShell, Busy, &[("malformed/injection", "ok")]),
    row(HangsAtDivisionByZero, Busy, &[("results/division-by-zero", "hang")]).patience("2s"),
    row(
        TrimsTheEcho,
        Echo,
        &[("results/echo-is-identical", "ok"), ("malformed/only-spaces", "ok")],
    ),
    row(StopsAtNul, Echo, &[("results/echo-is-identical", "ok"), ("malformed/nul", "ok")]),
    row(
        CutsAt1024,
        Echo,
        &[("framing/sizes", "ok"), ("contract/max-line", "ok"), ("oversize/at-the-limit", "ok")],
    ),
    row(
        TakesAReadForALine,
        Busy,
        &[
            ("framing/byte-by-byte", "ok"),
            ("framing/all-cuts", "ok"),
            ("framing/split-token", "ok"),
            ("framing/pipelined", "ok"),
            ("framing/random-cuts", "ok"),
            ("oversize/endless-line", "ok"),
            ("isolation/own-answers", "ok"),
        ],
    )
    .undecided(These(&[
        "contract/ending",
        "oversize/endless-beside",
        "isolation/reset-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "isolation/schedules",
        "timeouts/drip-beside",
        "disconnects/half-close-many",
        "shutdown/drains",
        "shutdown/second-signal",
        "back-pressure/never-reads",
        "back-pressure/others-are-served",
        "back-pressure/slow-reader",
        "fairness/flood",
        "leaks/memory",
    ])),
    row(LosesTheLastReply, Busy, &[("framing/pipelined", "hang"), ("framing/random-cuts", "hang")])
        .patience("2s")
        .undecided(These(&[
            "contract/ending",
            "isolation/schedules",
            "disconnects/half-close-many",
            "shutdown/drains",
            "shutdown/second-signal",
            "back-pressure/never-reads",
            "back-pressure/others-are-served",
            "back-pressure/slow-reader",
            "leaks/memory",
        ])),
    row(AnswersTwice, Busy, &[("framing/one-line", "ok")]).undecided(AllOthers),
    row(Prompts, Busy, &[("framing/one-line", "ok")]).undecided(AllOthers),
    row(KeepsTheCarriageReturn, Busy, &[("framing/crlf", "ok")]),
    row(ForgetsTheLastLine, Busy, &[("framing/end-without-newline", "ok")]),
    row(IgnoresEmptyLines, Busy, &[("malformed/empty-line", "hang")]).patience("2s"),
    row(QuotesTheClient, Busy, &[("malformed/escapes", "ok")]),
    row(DiesAtInvalidUtf8, Busy, &[("malformed/invalid-utf8", "crash")]),
    row(
        DiesAtNesting,
        Busy,
        &[("malformed/nesting", "crash"), ("isolation/poison-beside", "crash")],
    ),
    row(OffByOneAtTheLimit, Busy, &[("contract/max-line", "ok"), ("oversize/at-the-limit", "ok")]),
    row(AnswersTheRestOfALongLine, Busy, &[("oversize/endless-line", "ok")]),
    row(ClosesAtALongLine, Busy, &[("oversize/one-past", "ok"), ("oversize/endless-line", "ok")]),
    row(KeepsAnEndlessLine, Busy, &[("oversize/endless-line", "leak")]),
    row(OneBufferForAll, Busy, &[("isolation/own-answers", "ok"), ("isolation/schedules", "ok")])
        .patience("2s")
        .undecided(These(&[
            "oversize/endless-beside",
            "isolation/reset-beside",
            "isolation/poison-beside",
            "isolation/heavy-beside-light",
            "timeouts/drip-beside",
            "fairness/flood",
        ])),
    row(
        AnswersTheLastComer,
        Busy,
        &[
            ("isolation/idle-beside-active", "hang"),
            ("isolation/own-answers", "hang"),
            ("isolation/schedules", "hang"),
            ("refusal/incumbent-unharmed", "hang"),
            ("refusal/storm", "hang"),
            ("timeouts/silent-crowd", "hang"),
            ("back-pressure/others-are-served", "hang"),
        ],
    )
    .patience("2s")
    .undecided(These(&[
        "oversize/endless-beside",
        "isolation/reset-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "timeouts/drip-beside",
        "fairness/flood",
    ])),
    row(
        OneAtATime,
        Busy,
        &[
            ("contract/capacity", "ok"),
            ("contract/when-full", "ok"),
            ("isolation/idle-beside-active", "hang"),
            ("isolation/own-answers", "hang"),
            ("isolation/reset-beside", "hang"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "hang"),
            ("refusal/busy-line-is-whole", "hang"),
            ("refusal/incumbent-unharmed", "hang"),
            ("refusal/place-freed-by-fin", "hang"),
            ("refusal/place-freed-by-rst", "hang"),
            ("refusal/place-freed-in-request", "hang"),
            ("refusal/race-at-release", "hang"),
            ("timeouts/silent-crowd", "hang"),
            ("back-pressure/others-are-served", "hang"),
        ],
    )
    .patience("2s")
    .undecided(These(&[
        "oversize/endless-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "timeouts/drip-beside",
        "fairness/flood",
    ])),
    row(
        RefusesNobody,
        Busy,
        &[
            ("contract/capacity", "ok"),
            ("isolation/schedules", "ok"),
            ("refusal/as-declared", "ok"),
        ],
    )
    .undecided(These(&[
        "contract/when-full",
        "contract/queue",
        "refusal/busy-line-is-whole",
        "refusal/race-at-release",
    ])),
    row(CountsAClientTwice, Busy, &[("contract/capacity", "ok"), ("isolation/schedules", "hang")])
        .patience("2s")
        .undecided(These(&[
            "isolation/own-answers",
            "refusal/as-declared",
            "refusal/busy-line-is-whole",
            "refusal/incumbent-unharmed",
            "refusal/place-freed-by-fin",
            "refusal/place-freed-by-rst",
            "refusal/place-freed-in-request",
            "refusal/race-at-release",
            "timeouts/silent-crowd",
        ])),
    row(
        NeverFreesAPlace,
        Busy,
        &[
            ("isolation/schedules", "hang"),
            ("isolation/churn", "ok"),
            ("refusal/place-freed-by-fin", "ok"),
            ("refusal/place-freed-by-rst", "ok"),
            ("refusal/place-freed-in-request", "ok"),
            ("refusal/storm", "ok"),
            ("timeouts/silent-crowd", "ok"),
            ("disconnects/nothing-said", "ok"),
            ("disconnects/reset-before-accept", "ok"),
        ],
    )
    .patience("2s")
    .undecided(These(&[
        "contract/max-line",
        "isolation/reset-beside",
        "refusal/race-at-release",
        "disconnects/fin-frees-descriptor",
        "disconnects/reset-in-request",
        "disconnects/reset-in-reply",
        "leaks/descriptors",
        "leaks/threads-and-processes",
        "leaks/zombies",
        "leaks/memory",
        "leaks/close-wait",
        "leaks/resets",
    ])),
    row(
        KeepsThePlaceAfterAReset,
        Busy,
        &[
            ("isolation/schedules", "hang"),
            ("refusal/place-freed-by-rst", "ok"),
            ("refusal/place-freed-in-request", "ok"),
            ("disconnects/reset-before-accept", "ok"),
        ],
    )
    .patience("2s")
    .undecided(These(&[
        "isolation/reset-beside",
        "disconnects/reset-in-request",
        "disconnects/reset-in-reply",
        "leaks/resets",
    ])),
    row(
        LeavesTheRefusedSilent,
        Busy,
        &[
            ("contract/when-full", "ok"),
            ("contract/queue", "ok"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "ok"),
            ("refusal/busy-line-is-whole", "hang"),
        ],
    )
    .patience("2s")
    .undecided(These(&["refusal/race-at-release"])),
    row(ResetsTheRefused, Busy, &[("refusal/busy-line-is-whole", "ok")]),
    row(DisturbsAnother, Busy, &[("refusal/incumbent-unharmed", "ok"), ("refusal/storm", "ok")]),
    row(
        QueuesInsteadOfRefusing,
        Refuse,
        &[
            ("contract/when-full", "ok"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "ok"),
        ],
    )
    .patience("2s")
    .undecided(These(&["refusal/race-at-release"])),
    row(
        ClosesInsteadOfResetting,
        Reset,
        &[("contract/when-full", "ok"), ("refusal/as-declared", "ok")],
    )
    .undecided(These(&["refusal/race-at-release"])),
    // Whether a client of a schedule leaves before its replies are written, or after.
    row(
        DiesOfABrokenPipe,
        Busy,
        &[
            ("disconnects/reset-in-reply", "crash"),
            ("back-pressure/never-reads", "crash"),
            ("back-pressure/others-are-served", "crash"),
            ("fairness/flood", "crash"),
        ],
    )
    .perhaps(&["isolation/schedules"]),
    row(DiesAtAnEarlyReset, Busy, &[("disconnects/reset-before-accept", "crash")]),
    row(
        ResetsAtHalfClose,
        Busy,
        &[
            ("framing/end-without-newline", "ok"),
            ("disconnects/half-close", "ok"),
            ("disconnects/half-close-many", "ok"),
        ],
    )
    .undecided(These(&["isolation/schedules"])),
    row(
        ForgetsTheHalfClosed,
        Busy,
        &[
            ("framing/end-without-newline", "ok"),
            ("disconnects/half-close", "ok"),
            ("disconnects/half-close-many", "ok"),
        ],
    )
    .undecided(These(&["isolation/schedules"])),
    row(
        LeaksDescriptors,
        Busy,
        &[
            ("disconnects/fin-frees-descriptor", "leak"),
            ("leaks/descriptors", "leak"),
            ("leaks/resets", "leak"),
        ],
    ),
    row(LeaksThreads, Busy, &[("leaks/threads-and-processes", "leak"), ("leaks/resets", "leak")]),
    row(LeaksMemory, Busy, &[("leaks/memory", "leak")]),
    row(
        LeavesZombies,
        Busy,
        &[
            ("leaks/threads-and-processes", "leak"),
            ("leaks/zombies", "leak"),
            ("leaks/resets", "leak"),
        ],
    ),
    row(SpinsWithoutDescriptors, Busy, &[("exhaustion/no-spin", "ok")]),
    row(
        DiesWithoutDescriptors,
        Busy,
        &[
            ("exhaustion/newcomers", "crash"),
            ("exhaustion/no-spin", "crash"),
            ("exhaustion/old-clients", "crash"),
        ],
    ),
    row(HoardsReplies, Busy, &[("back-pressure/never-reads", "leak")])
        .undecided(These(&["shutdown/second-signal"])),
    row(BlocksInAWrite, Busy, &[("back-pressure/others-are-served", "hang")]).patience("2s"),
    row(
        ServesTheLoudest,
        Busy,
        &[("back-pressure/others-are-served", "hang"), ("fairness/flood", "hang")],
    )
    .patience("2s"),
    row(IgnoresPartialWrites, Busy, &[("back-pressure/slow-reader", "ok")]).patience("2s"),
    row(
        NeverClosesTheSilent,
        Idle,
        &[
            ("contract/idle-timeout", "ok"),
            ("timeouts/idle-is-closed", "hang"),
            ("timeouts/idle-beside-a-flood", "hang"),
        ],
    )
    .patience("2s"),
    row(
        ClosesTooEarly,
        Idle,
        &[("contract/idle-timeout", "ok"), ("timeouts/idle-is-closed", "ok")],
    ),
    row(ClosesTheActive, Idle, &[("timeouts/activity-keeps-alive", "ok")]),
    row(
        ExitsWith0AtATakenPort,
        Busy,
        &[
            ("startup/host-not-ours", "ok"),
            ("startup/host-unknown", "ok"),
            ("startup/bad-port", "ok"),
            ("startup/privileged-port", "ok"),
            ("startup/port-taken", "ok"),
        ],
    ),
    row(SharesItsPort, Busy, &[("startup/port-taken", "ok")]),
    row(BindsEverywhere, Busy, &[("startup/bind-address", "ok")]),
    row(CannotRestart, Busy, &[("startup/restart", "ok")]).patience("2s"),
    row(
        IgnoresSigterm,
        Busy,
        &[
            ("contract/ending", "hang"),
            ("shutdown/sigterm", "hang"),
            ("shutdown/drains", "hang"),
            ("shutdown/busy-client", "hang"),
            ("shutdown/reset-meanwhile", "hang"),
            ("shutdown/second-signal", "ok"),
        ],
    )
    .patience("2s")
    .undecided(These(&["startup/restart", "shutdown/port-is-free"])),
    row(IgnoresSigint, Busy, &[("shutdown/sigint", "hang"), ("shutdown/second-signal", "ok")])
        .patience("2s"),
    row(
        ExitsWith1AtSigterm,
        Busy,
        &[
            ("contract/ending", "ok"),
            ("shutdown/sigterm", "ok"),
            ("shutdown/sigint", "ok"),
            ("shutdown/drains", "ok"),
            ("shutdown/busy-client", "ok"),
            ("shutdown/reset-meanwhile", "ok"),
        ],
    ),
    row(DropsWhatHadArrived, Busy, &[("contract/ending", "ok"), ("shutdown/drains", "ok")])
        .undecided(These(&["shutdown/second-signal"])),
    row(
        LeavesAChild,
        Busy,
        &[
            ("shutdown/sigterm", "leak"),
            ("shutdown/sigint", "leak"),
            ("shutdown/drains", "leak"),
            ("shutdown/busy-client", "leak"),
            ("shutdown/reset-meanwhile", "leak"),
        ],
    )
    .patience("2s"),
    row(IgnoresASecondSignal, Busy, &[("shutdown/second-signal", "ok")]),
];
