//! Expected results for each broken server.

use super::fault::Fault::{self, *};
use super::fault::Shape::{self, *};
use Inconclusive::{AllOthers, These};

/// Expected results for a broken server.
pub(crate) struct Row {
    pub(crate) fault: Fault,
    pub(crate) shape: Shape,
    /// Timeout of each reply or event: short in rows with a hang, to save time.
    pub(crate) timeout: &'static str,
    /// Failing cases, with their states: `completed` (the case ran to its end), `hang`, `crash` or
    /// `leak`.
    pub(crate) failing: &'static [(&'static str, &'static str)],
    /// Inconclusive cases.
    pub(crate) inconclusive: Inconclusive,
    /// Cases whose results depend on timing. A comment above the row says why.
    pub(crate) timing_dependent: &'static [&'static str],
}

/// Expected inconclusive cases of a row.
#[derive(Clone, Copy)]
pub(crate) enum Inconclusive {
    These(&'static [&'static str]),
    AllOthers,
}

/// Returns a row with the default timeout and without inconclusive cases.
const fn row(fault: Fault, shape: Shape, failing: &'static [(&'static str, &'static str)]) -> Row {
    Row { fault, shape, failing, timeout: "5s", inconclusive: These(&[]), timing_dependent: &[] }
}

impl Row {
    const fn timeout(mut self, timeout: &'static str) -> Row {
        self.timeout = timeout;
        self
    }

    const fn inconclusive(mut self, inconclusive: Inconclusive) -> Row {
        self.inconclusive = inconclusive;
        self
    }

    const fn timing_dependent(mut self, timing_dependent: &'static [&'static str]) -> Row {
        self.timing_dependent = timing_dependent;
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
    row(WrongSum, Busy, &[("results/arithmetic", "completed")])
        .inconclusive(These(&["results/precedence"])),
    row(
        CalculatesFromTheLeft,
        Busy,
        &[("results/arithmetic", "completed"), ("results/precedence", "completed")],
    ),
    row(
        PrintsSixDigits,
        Busy,
        &[("results/arithmetic", "completed"), ("results/float-precision", "completed")],
    ),
    row(Wraps, Busy, &[("results/overflow", "completed")]),
    // Every 110th reply is wrong. The client of the case sends requests until the server exits, so it
    // may get the 110th reply or not.
    row(
        SometimesWrong,
        Busy,
        &[("framing/pipelined", "completed"), ("results/arithmetic", "completed")],
    )
    .timing_dependent(&["shutdown/busy-client"])
    .inconclusive(These(&[
        "framing/random-cuts",
        "contract/shutdown",
        "disconnects/half-close-many",
        "back-pressure/slow-reader",
    ])),
    row(UsesAShell, Busy, &[("malformed/injection", "completed")]),
    row(HangsAtDivisionByZero, Busy, &[("results/division-by-zero", "hang")]).timeout("2s"),
    row(
        TrimsTheEcho,
        Echo,
        &[("results/echo-is-identical", "completed"), ("malformed/only-spaces", "completed")],
    ),
    row(
        StopsAtNul,
        Echo,
        &[("results/echo-is-identical", "completed"), ("malformed/nul", "completed")],
    ),
    row(
        CutsAt1024,
        Echo,
        &[
            ("framing/sizes", "completed"),
            ("contract/max-line", "completed"),
            ("oversize/at-the-limit", "completed"),
        ],
    ),
    row(
        TreatsAReadAsALine,
        Busy,
        &[
            ("framing/byte-by-byte", "completed"),
            ("framing/all-cuts", "completed"),
            ("framing/split-token", "completed"),
            ("framing/pipelined", "completed"),
            ("framing/random-cuts", "completed"),
            ("oversize/endless-line", "completed"),
            ("isolation/own-answers", "completed"),
        ],
    )
    .inconclusive(These(&[
        "contract/shutdown",
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
        .timeout("2s")
        .inconclusive(These(&[
            "contract/shutdown",
            "isolation/schedules",
            "disconnects/half-close-many",
            "shutdown/drains",
            "shutdown/second-signal",
            "back-pressure/never-reads",
            "back-pressure/others-are-served",
            "back-pressure/slow-reader",
            "leaks/memory",
        ])),
    row(AnswersTwice, Busy, &[("framing/one-line", "completed")]).inconclusive(AllOthers),
    row(Prompts, Busy, &[("framing/one-line", "completed")]).inconclusive(AllOthers),
    row(KeepsTheCarriageReturn, Busy, &[("framing/crlf", "completed")]),
    row(IgnoresAnUnterminatedLine, Busy, &[("framing/end-without-newline", "completed")]),
    row(IgnoresEmptyLines, Busy, &[("malformed/empty-line", "hang")]).timeout("2s"),
    row(QuotesTheRequest, Busy, &[("malformed/escapes", "completed")]),
    row(
        ClosesAtAnError,
        Busy,
        &[
            ("results/division-by-zero", "completed"),
            ("results/overflow", "completed"),
            ("malformed/syntax", "completed"),
            ("malformed/empty-line", "completed"),
            ("malformed/only-spaces", "completed"),
            ("malformed/nul", "completed"),
            ("malformed/invalid-utf8", "completed"),
            ("malformed/nesting", "completed"),
            ("malformed/operator-chain", "completed"),
            ("malformed/escapes", "completed"),
        ],
    )
    .inconclusive(These(&["contract/error-lines"])),
    row(CrashesOnInvalidUtf8, Busy, &[("malformed/invalid-utf8", "crash")]),
    row(
        CrashesOnNesting,
        Busy,
        &[("malformed/nesting", "crash"), ("isolation/poison-beside", "crash")],
    ),
    row(
        OffByOneAtTheLimit,
        Busy,
        &[("contract/max-line", "completed"), ("oversize/at-the-limit", "completed")],
    ),
    row(AnswersTheRestOfALongLine, Busy, &[("oversize/endless-line", "completed")]),
    row(
        ClosesAtALongLine,
        Busy,
        &[("oversize/one-past", "completed"), ("oversize/endless-line", "completed")],
    ),
    row(BuffersAnEndlessLine, Busy, &[("oversize/endless-line", "leak")]),
    row(
        OneBufferForAll,
        Busy,
        &[("isolation/own-answers", "completed"), ("isolation/schedules", "completed")],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "oversize/endless-beside",
        "isolation/reset-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "timeouts/drip-beside",
        "fairness/flood",
    ]))
    .timing_dependent(&[
        "back-pressure/never-reads",
        "refusal/slot-freed-in-request",
        "disconnects/reset-in-request",
        "disconnects/reset-in-reply",
        "back-pressure/others-are-served",
    ]),
    row(
        RepliesToTheLastClient,
        Busy,
        &[
            ("isolation/idle-beside-active", "hang"),
            ("isolation/own-answers", "hang"),
            ("isolation/schedules", "hang"),
            ("refusal/connected-clients-unaffected", "hang"),
            ("refusal/storm", "hang"),
            ("timeouts/silent-crowd", "hang"),
            ("back-pressure/others-are-served", "hang"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "oversize/endless-beside",
        "isolation/no-broadcast",
        "isolation/reset-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "timeouts/drip-beside",
        "fairness/flood",
    ])),
    row(Broadcasts, Busy, &[("isolation/no-broadcast", "completed")]).inconclusive(These(&[
        "contract/capacity",
        "contract/when-full",
        "contract/queue",
        "contract/error-lines",
        "oversize/endless-beside",
        "isolation/idle-beside-active",
        "isolation/own-answers",
        "isolation/reset-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "isolation/schedules",
        "refusal/as-declared",
        "refusal/busy-line-is-whole",
        "refusal/connected-clients-unaffected",
        "refusal/slot-freed-by-fin",
        "refusal/slot-freed-by-rst",
        "refusal/slot-freed-in-request",
        "refusal/race-at-release",
        "refusal/storm",
        "timeouts/drip-beside",
        "timeouts/silent-crowd",
        "exhaustion/new-connections",
        "exhaustion/no-spin",
        "exhaustion/connected-clients",
        "back-pressure/others-are-served",
        "fairness/flood",
        "leaks/descriptors",
        "leaks/threads-and-processes",
        "leaks/zombies",
        "leaks/memory",
        "leaks/close-wait",
        "leaks/resets",
    ])),
    row(
        OneAtATime,
        Busy,
        &[
            ("contract/capacity", "completed"),
            ("contract/when-full", "completed"),
            ("isolation/idle-beside-active", "hang"),
            ("isolation/own-answers", "hang"),
            ("isolation/reset-beside", "hang"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "hang"),
            ("refusal/busy-line-is-whole", "hang"),
            ("refusal/connected-clients-unaffected", "hang"),
            ("refusal/slot-freed-by-fin", "hang"),
            ("refusal/slot-freed-by-rst", "hang"),
            ("refusal/slot-freed-in-request", "hang"),
            ("refusal/race-at-release", "hang"),
            ("timeouts/silent-crowd", "hang"),
            ("back-pressure/others-are-served", "hang"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "oversize/endless-beside",
        "isolation/poison-beside",
        "isolation/heavy-beside-light",
        "timeouts/drip-beside",
        "fairness/flood",
    ])),
    row(
        IgnoresTheConnectionLimit,
        Busy,
        &[
            ("contract/capacity", "completed"),
            ("isolation/schedules", "completed"),
            ("refusal/as-declared", "completed"),
        ],
    )
    .inconclusive(These(&[
        "contract/when-full",
        "contract/queue",
        "refusal/busy-line-is-whole",
        "refusal/race-at-release",
    ])),
    row(
        CountsAClientTwice,
        Busy,
        &[("contract/capacity", "completed"), ("isolation/schedules", "hang")],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "isolation/own-answers",
        "refusal/as-declared",
        "refusal/busy-line-is-whole",
        "refusal/connected-clients-unaffected",
        "refusal/slot-freed-by-fin",
        "refusal/slot-freed-by-rst",
        "refusal/slot-freed-in-request",
        "refusal/race-at-release",
        "timeouts/silent-crowd",
    ])),
    row(
        NeverFreesASlot,
        Busy,
        &[
            ("isolation/schedules", "hang"),
            ("isolation/churn", "completed"),
            ("refusal/slot-freed-by-fin", "completed"),
            ("refusal/slot-freed-by-rst", "completed"),
            ("refusal/slot-freed-in-request", "completed"),
            ("refusal/storm", "completed"),
            ("timeouts/silent-crowd", "completed"),
            ("disconnects/nothing-said", "completed"),
            ("disconnects/reset-before-accept", "completed"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "contract/max-line",
        "malformed/injection",
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
        KeepsTheSlotAfterAReset,
        Busy,
        &[
            ("isolation/schedules", "hang"),
            ("refusal/slot-freed-by-rst", "completed"),
            ("refusal/slot-freed-in-request", "completed"),
            ("disconnects/reset-before-accept", "completed"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&[
        "isolation/reset-beside",
        "disconnects/reset-in-request",
        "disconnects/reset-in-reply",
        "leaks/resets",
    ])),
    row(
        IgnoresClientsOverTheLimit,
        Busy,
        &[
            ("contract/when-full", "completed"),
            ("contract/queue", "completed"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "completed"),
            ("refusal/busy-line-is-whole", "hang"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&["refusal/race-at-release"]))
    // A client that comes before the server has noticed the reset of the last one is ignored.
    .timing_dependent(&["disconnects/reset-in-reply"]),
    row(ResetsRejectedClients, Busy, &[("refusal/busy-line-is-whole", "completed")]),
    row(
        SendsTheBusyReplyToAnother,
        Busy,
        &[("refusal/connected-clients-unaffected", "completed"), ("refusal/storm", "completed")],
    ),
    row(
        QueuesInsteadOfRefusing,
        Refuse,
        &[
            ("contract/when-full", "completed"),
            ("isolation/schedules", "hang"),
            ("refusal/as-declared", "completed"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&["refusal/race-at-release"])),
    row(
        ClosesInsteadOfResetting,
        Reset,
        &[("contract/when-full", "completed"), ("refusal/as-declared", "completed")],
    )
    .inconclusive(These(&["refusal/race-at-release"])),
    // A client of a schedule may disconnect before or after the server writes the replies.
    row(
        DiesOfSigpipe,
        Busy,
        &[
            ("disconnects/reset-in-reply", "crash"),
            ("back-pressure/never-reads", "crash"),
            ("back-pressure/others-are-served", "crash"),
            ("fairness/flood", "crash"),
        ],
    )
    .timing_dependent(&["isolation/schedules", "idle/after-reset"]),
    row(CrashesOnAnEarlyReset, Busy, &[("disconnects/reset-before-accept", "crash")])
        .timing_dependent(&["idle/after-reset"]),
    row(
        ResetsAtHalfClose,
        Busy,
        &[
            ("framing/end-without-newline", "completed"),
            ("disconnects/half-close", "completed"),
            ("disconnects/half-close-many", "completed"),
        ],
    )
    .inconclusive(These(&["isolation/schedules"])),
    row(
        ClosesAtHalfClose,
        Busy,
        &[("framing/end-without-newline", "completed"), ("disconnects/half-close", "completed")],
    )
    .inconclusive(These(&["isolation/schedules"]))
    // The server may have replied to all requests before the FIN arrives.
    .timing_dependent(&["disconnects/half-close-many"]),
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
    row(SpinsWithoutDescriptors, Busy, &[("exhaustion/no-spin", "completed")]),
    row(
        ExitsWithoutDescriptors,
        Busy,
        &[
            ("exhaustion/new-connections", "crash"),
            ("exhaustion/no-spin", "crash"),
            ("exhaustion/connected-clients", "crash"),
        ],
    ),
    row(SpinsWithoutClients, Busy, &[("idle/no-client", "completed")]).inconclusive(These(&[
        "oversize/endless-line",
        "idle/connected-clients",
        "idle/after-fin",
        "idle/after-reset",
        "exhaustion/new-connections",
        "exhaustion/no-spin",
        "exhaustion/connected-clients",
    ])),
    row(SpinsBesideAnIdleClient, Busy, &[("idle/connected-clients", "completed")])
        .inconclusive(These(&["oversize/endless-line", "exhaustion/connected-clients"])),
    row(SpinsAfterFin, Busy, &[("idle/after-fin", "completed")]),
    row(SpinsAfterReset, Busy, &[("idle/after-reset", "completed")]),
    row(BuffersRepliesWithoutLimit, Busy, &[("back-pressure/never-reads", "leak")])
        .timing_dependent(&["shutdown/second-signal"]),
    row(BlocksInAWrite, Busy, &[("back-pressure/others-are-served", "hang")]).timeout("2s"),
    row(
        ServesTheBusiestClient,
        Busy,
        &[("back-pressure/others-are-served", "hang"), ("fairness/flood", "hang")],
    )
    .timeout("2s"),
    row(IgnoresPartialWrites, Busy, &[("back-pressure/slow-reader", "completed")]).timeout("2s"),
    row(
        NeverClosesIdleClients,
        Idle,
        &[
            ("contract/idle-timeout", "completed"),
            ("timeouts/idle-is-closed", "hang"),
            ("timeouts/idle-beside-a-flood", "hang"),
        ],
    )
    .timeout("2s"),
    row(
        ClosesTooEarly,
        Idle,
        &[("contract/idle-timeout", "completed"), ("timeouts/idle-is-closed", "completed")],
    ),
    row(ClosesActiveClients, Idle, &[("timeouts/activity-keeps-alive", "completed")]),
    row(
        ExitsWith0AfterAFailedStart,
        Busy,
        &[
            ("startup/host-not-ours", "completed"),
            ("startup/host-unknown", "completed"),
            ("startup/bad-port", "completed"),
            ("startup/privileged-port", "completed"),
            ("startup/port-taken", "completed"),
        ],
    ),
    row(SharesItsPort, Busy, &[("startup/port-taken", "completed")]),
    row(BindsAllAddresses, Busy, &[("startup/bind-address", "completed")]),
    row(CannotRestart, Busy, &[("startup/restart", "crash")]).timeout("2s"),
    row(
        IgnoresSigterm,
        Busy,
        &[
            ("contract/shutdown", "hang"),
            ("shutdown/sigterm", "hang"),
            ("shutdown/drains", "hang"),
            ("shutdown/busy-client", "hang"),
            ("shutdown/reset-while-draining", "hang"),
            ("shutdown/second-signal", "hang"),
        ],
    )
    .timeout("2s")
    .inconclusive(These(&["startup/restart", "shutdown/port-is-free"])),
    row(IgnoresSigint, Busy, &[("shutdown/sigint", "hang"), ("shutdown/second-signal", "hang")])
        .timeout("2s"),
    row(
        ExitsWith1AtSigterm,
        Busy,
        &[
            ("contract/shutdown", "completed"),
            ("shutdown/sigterm", "completed"),
            ("shutdown/sigint", "completed"),
            ("shutdown/drains", "completed"),
            ("shutdown/busy-client", "completed"),
            ("shutdown/reset-while-draining", "completed"),
        ],
    ),
    row(
        DropsReceivedRequests,
        Busy,
        &[("contract/shutdown", "completed"), ("shutdown/drains", "completed")],
    )
    .inconclusive(These(&["shutdown/second-signal"])),
    row(
        LeavesAChild,
        Busy,
        &[
            ("shutdown/sigterm", "leak"),
            ("shutdown/sigint", "leak"),
            ("shutdown/drains", "leak"),
            ("shutdown/busy-client", "leak"),
            ("shutdown/reset-while-draining", "leak"),
        ],
    )
    .timeout("2s"),
    row(IgnoresASecondSignal, Busy, &[("shutdown/second-signal", "hang")]),
];
