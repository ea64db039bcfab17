//! Detection of concurrency models, for each built-in pattern and for short servers in Python and
//! JavaScript.

use std::path::Path;

use harness::concurrency::{self, Detected};
use harness::conformance::{Runner, cases};
use harness::contract::Contract;
use harness::contract::RequiredModel;
use harness::results::ConcurrencyModel;
use harness::server::{LaunchSpec, Launcher};
use libtest_mimic::{Completion, Failed};
use servers::Service;

use crate::common::Test;

/// A server, and the expected result of the detection.
struct Row {
    /// A pattern, or a file in `tests/concurrency` with further arguments.
    server: &'static str,
    model: ConcurrencyModel,
    /// Number of event loops. Loops without a client may stay undetected.
    loops: std::ops::RangeInclusive<usize>,
    /// Whether a second connection is accepted while the first one is open.
    second_is_accepted: bool,
    /// Required models that the server meets, besides the detected one.
    met: &'static [RequiredModel],
    /// Required models that the server does not meet.
    not_met: &'static [RequiredModel],
}

const NONE: std::ops::RangeInclusive<usize> = 0..=0;
const ONE: std::ops::RangeInclusive<usize> = 1..=1;

const fn row(
    server: &'static str,
    model: ConcurrencyModel,
    loops: std::ops::RangeInclusive<usize>,
    met: &'static [RequiredModel],
    not_met: &'static [RequiredModel],
) -> Row {
    let second_is_accepted = !matches!(model, ConcurrencyModel::Iterative);
    Row { server, model, loops, second_is_accepted, met, not_met }
}

use ConcurrencyModel::{
    AsyncRuntime, BusyLoop, Epoll, Fork, IoUring, Iterative, LoopAndWorkers, Poll, Prefork, Select,
    ThreadPool, Threads,
};
use RequiredModel::{AsyncRuntime as Async, EventLoop, Processes, SingleThread};

/// All patterns, in their test configuration: 4 workers, 16 processes or 64 threads.
const PATTERNS: &[Row] = &[
    row("iterative", Iterative, NONE, &[SingleThread], &[EventLoop, RequiredModel::Threads]),
    row("iterative-refuse", Iterative, NONE, &[SingleThread], &[EventLoop]),
    row(
        "iterative-reset",
        Iterative,
        NONE,
        &[RequiredModel::Iterative],
        &[RequiredModel::ThreadPool],
    ),
    row("iterative-busy", Iterative, NONE, &[RequiredModel::Iterative], &[RequiredModel::Poll]),
    row(
        "fork-per-connection",
        Fork,
        NONE,
        &[Processes],
        &[RequiredModel::Prefork, RequiredModel::Poll],
    ),
    row("prefork-accept", Prefork, NONE, &[Processes], &[RequiredModel::Fork]),
    row("prefork-lock", Prefork, NONE, &[Processes], &[RequiredModel::Threads]),
    row("prefork-mutex", Prefork, NONE, &[Processes], &[RequiredModel::Threads]),
    row("prefork-fdpass", Prefork, NONE, &[Processes], &[RequiredModel::Poll, EventLoop]),
    row(
        "thread-per-connection",
        Threads,
        NONE,
        &[RequiredModel::Threads],
        &[RequiredModel::ThreadPool],
    ),
    row(
        "prethread-accept",
        ThreadPool,
        NONE,
        &[RequiredModel::ThreadPool],
        &[RequiredModel::Threads],
    ),
    row("thread-pool", ThreadPool, NONE, &[RequiredModel::ThreadPool], &[RequiredModel::Threads]),
    row("select", Select, ONE, &[EventLoop, SingleThread], &[RequiredModel::Poll, Async]),
    row(
        "poll",
        Poll,
        ONE,
        &[EventLoop, SingleThread],
        &[RequiredModel::Select, RequiredModel::Epoll],
    ),
    row("epoll-level", Epoll, ONE, &[EventLoop, SingleThread, Async], &[RequiredModel::Poll]),
    row("epoll-edge", Epoll, ONE, &[EventLoop, SingleThread, Async], &[RequiredModel::Poll]),
    row("epoll-exclusive", Epoll, 4..=4, &[EventLoop], &[SingleThread, RequiredModel::Threads]),
    row("reuseport", Epoll, 4..=4, &[EventLoop], &[SingleThread, RequiredModel::Threads]),
    row("multi-reactor", Epoll, 4..=4, &[EventLoop], &[SingleThread, RequiredModel::Threads]),
    row("epoll-oneshot", LoopAndWorkers, ONE, &[RequiredModel::Epoll, EventLoop], &[SingleThread]),
    row(
        "leader-followers",
        LoopAndWorkers,
        ONE,
        &[RequiredModel::Epoll, EventLoop],
        &[SingleThread],
    ),
    row(
        "half-sync-half-async",
        LoopAndWorkers,
        ONE,
        &[RequiredModel::Epoll, Async],
        &[SingleThread],
    ),
    row(
        "staged",
        LoopAndWorkers,
        ONE,
        &[RequiredModel::Epoll, EventLoop],
        &[RequiredModel::ThreadPool],
    ),
    row("tokio-current-thread", Epoll, ONE, &[Async, EventLoop], &[RequiredModel::Threads]),
    row("tokio-multi-thread", AsyncRuntime, ONE, &[Async, RequiredModel::Epoll], &[SingleThread]),
    row("actor", AsyncRuntime, ONE, &[Async, RequiredModel::Epoll], &[SingleThread]),
    row("uring", IoUring, ONE, &[EventLoop, SingleThread], &[RequiredModel::Epoll]),
    row("uring-per-core", IoUring, 4..=4, &[EventLoop], &[SingleThread]),
];

const PYTHON: &[Row] = &[
    row("iterative.py", Iterative, NONE, &[SingleThread], &[RequiredModel::Poll]),
    row(
        "iterative_timeout.py",
        Iterative,
        NONE,
        &[SingleThread],
        &[RequiredModel::Poll, EventLoop],
    ),
    row(
        "threads.py",
        Threads,
        NONE,
        &[RequiredModel::Threads],
        &[RequiredModel::Select, EventLoop],
    ),
    row(
        "threads_timeout.py",
        Threads,
        NONE,
        &[RequiredModel::Threads],
        &[RequiredModel::Poll, EventLoop],
    ),
    row(
        "pool.py",
        ThreadPool,
        NONE,
        &[RequiredModel::ThreadPool, RequiredModel::Threads],
        &[EventLoop],
    ),
    row("pool_ready.py", ThreadPool, NONE, &[RequiredModel::ThreadPool], &[RequiredModel::Threads]),
    row("select_loop.py", Select, ONE, &[EventLoop, SingleThread], &[RequiredModel::Poll]),
    row("selectors_loop.py DefaultSelector", Epoll, ONE, &[EventLoop], &[RequiredModel::Select]),
    row("selectors_loop.py PollSelector", Poll, ONE, &[EventLoop], &[RequiredModel::Select]),
    row("selectors_loop.py SelectSelector", Select, ONE, &[EventLoop], &[RequiredModel::Epoll]),
    row("asyncio_loop.py", Epoll, ONE, &[Async, SingleThread], &[RequiredModel::Select]),
    row("fork.py", Fork, NONE, &[Processes], &[RequiredModel::Prefork]),
    row("prefork.py", Prefork, NONE, &[Processes], &[RequiredModel::Fork]),
    row("loop_in_processes.py EpollSelector", Epoll, 4..=4, &[Processes], &[RequiredModel::Fork]),
    row("loop_in_processes.py SelectSelector", Select, 4..=4, &[Processes], &[RequiredModel::Fork]),
    row("with_socketserver.py TCPServer", Iterative, NONE, &[SingleThread], &[RequiredModel::Poll]),
    row("with_socketserver.py ThreadingTCPServer", Threads, NONE, &[], &[RequiredModel::Poll]),
    row("with_socketserver.py ForkingTCPServer", Fork, NONE, &[Processes], &[RequiredModel::Poll]),
    row("busy.py 0", BusyLoop, NONE, &[], &[EventLoop, RequiredModel::Iterative]),
    row("busy.py 0.02", BusyLoop, NONE, &[], &[EventLoop, RequiredModel::Iterative]),
];

const NODE: &[Row] = &[
    row("net.js", AsyncRuntime, ONE, &[EventLoop, SingleThread, Async], &[RequiredModel::Threads]),
    row("cluster.js", AsyncRuntime, 2..=3, &[RequiredModel::Prefork, Async], &[SingleThread]),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("every_pattern_has_a_row", || {
            let ids: Vec<&str> = servers::PATTERNS.iter().map(|pattern| pattern.id).collect();
            let rows: Vec<&str> = PATTERNS.iter().map(|row| row.server).collect();
            if ids == rows {
                Ok(())
            } else {
                Err(format!("patterns {ids:?}, but rows {rows:?}").into())
            }
        }),
        Test::new(
            "a_concurrency_model_mismatch_is_explained_with_the_evidence",
            a_mismatch_is_explained,
        ),
        Test::new("the_shell_that_started_a_server_is_ignored", the_shell_is_ignored),
    ];
    for row in PATTERNS {
        let name = format!("the_concurrency_model_of_a_pattern_is_detected::{}", row.server);
        tests.push(Test::ignorable(name, move || is_detected(row, builtin(row))));
    }
    for (interpreter, command, rows) in
        [("python3", "python3 -S -E", PYTHON), ("node", "node", NODE)]
    {
        for row in rows {
            let name = format!(
                "the_concurrency_model_of_a_program_is_detected::{}",
                row.server.replace(' ', "::")
            );
            let test =
                Test::ignorable(name, move || is_detected(row, external(command, row.server)));
            tests.push(test.needing(interpreter));
        }
    }
    tests
}

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

fn builtin(row: &Row) -> LaunchSpec {
    let server = servers::find(&format!("{}-echo", row.server)).expect(row.server);
    LaunchSpec::builtin_under_test(&launcher(), &server)
}

fn external(command: &str, server: &str) -> LaunchSpec {
    let (file, arguments) = server.split_once(' ').unwrap_or((server, ""));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/concurrency").join(file);
    let command = format!("{command} '{}' {{host}} {{port}} {arguments}", path.display());
    LaunchSpec::external(&command, Contract::undeclared(Service::Echo)).expect(server)
}

/// Launches a server and detects its concurrency model. The environment variable `CONCURRENCY_SHOW`
/// prints the result.
fn detect(spec: &LaunchSpec) -> Result<Detected, Failed> {
    let server = launcher().launch(spec).map_err(|error| error.to_string())?;
    let detected = concurrency::detect(&server);
    let exit = server.process.exit();
    if std::env::var_os("CONCURRENCY_SHOW").is_some() {
        eprintln!(
            "{}: {} {:?}: {}",
            spec.name, detected.model, detected.also, detected.description
        );
    }
    match exit {
        None => Ok(detected),
        Some(exit) => {
            Err(format!("the server exited during detection: {exit}\n{}", evidence(&detected))
                .into())
        }
    }
}

fn evidence(detected: &Detected) -> String {
    format!(
        "{} {:?}: {}\n{}",
        detected.model,
        detected.also,
        detected.description,
        detected.evidence.join("\n")
    )
}

fn is_detected(row: &Row, spec: LaunchSpec) -> Result<Completion, Failed> {
    if let Some(reason) = &spec.unavailable {
        return Ok(Completion::ignored_with(format!("not run: {reason}")));
    }
    let detected = detect(&spec)?;
    let found = (detected.model, detected.second_is_accepted);
    let expected = (row.model, Some(row.second_is_accepted));
    if found != expected {
        let evidence = evidence(&detected);
        return Err(format!("detected {found:?}, expected {expected:?}: {evidence}").into());
    }
    if !row.loops.contains(&detected.loops) {
        return Err(format!("{} event loops: {}", detected.loops, evidence(&detected)).into());
    }
    let same_name = row.model.name().parse::<RequiredModel>();
    for expected in row.met.iter().chain(same_name.as_ref().ok()) {
        if !detected.meets(*expected) {
            return Err(
                format!("the server does not meet {expected}: {}", evidence(&detected)).into()
            );
        }
    }
    match row.not_met.iter().find(|expected| detected.meets(**expected)) {
        None => Ok(Completion::Completed),
        Some(wrong) => Err(format!("the server meets {wrong}: {}", evidence(&detected)).into()),
    }
}

fn the_shell_is_ignored() -> Result<(), Failed> {
    let program = format!("'{}' serve iterative-echo", env!("CARGO_BIN_EXE_harness"));
    let command = format!("sh -c \"{program} $0 $1; true\" {{host}} {{port}}");
    let detected = detect(&LaunchSpec::external(&command, Contract::undeclared(Service::Echo))?)?;
    if detected.meets(RequiredModel::SingleThread) {
        Ok(())
    } else {
        Err(evidence(&detected).into())
    }
}

fn a_mismatch_is_explained() -> Result<(), Failed> {
    let server = servers::find("thread-per-connection-echo").expect("a known server name");
    let mut spec = LaunchSpec::builtin_under_test(&launcher(), &server);
    spec.contract.concurrency_model = Some(RequiredModel::Select);
    let case =
        cases().find(|case| case.name == "contract/concurrency-model").expect("a known case");
    let result = Runner::new(launcher(), 1).run_case(&spec, case);
    let text = format!("{}, {}", result.expected, result.observed);
    for part in ["model `select`", "threads: ", "with 5 clients", "5 in recv from a client"] {
        if !text.contains(part) {
            return Err(format!("`{part}` is not in: {text}").into());
        }
    }
    serde_json::to_string(&detect(&spec)?).map_err(|error| error.to_string())?;
    Ok(())
}
