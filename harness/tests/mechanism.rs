//! How servers are built, told from outside: each built-in pattern, and programs of a few lines in
//! Python and JavaScript, launched as any foreign server is.

use std::path::Path;

use harness::concurrency::{self, Mechanism, Seen};
use harness::contract::Contract;
use harness::contract::Expected;
use harness::server::{LaunchSpec, Launcher};
use libtest_mimic::{Completion, Failed};
use servers::Service;

use crate::common::{Test, needs};

/// What a server may be taken for, and what it must and must not be accepted as.
struct Row {
    /// A pattern, or a file and what it is told.
    server: &'static str,
    found: Mechanism,
    /// Event loops; with fewer clients than loops not all need be seen.
    loops: std::ops::RangeInclusive<usize>,
    second: bool,
    met: &'static [Expected],
    missed: &'static [Expected],
}

const NONE: std::ops::RangeInclusive<usize> = 0..=0;
const ONE: std::ops::RangeInclusive<usize> = 1..=1;

const fn row(
    server: &'static str,
    found: Mechanism,
    loops: std::ops::RangeInclusive<usize>,
    met: &'static [Expected],
    missed: &'static [Expected],
) -> Row {
    let second = !matches!(found, Mechanism::Iterative);
    Row { server, found, loops, second, met, missed }
}

use Expected::{Async, EventLoop, Processes, SingleThread};
use Mechanism::{
    AsyncRuntime, BusyLoop, Epoll, Fork, IoUring, Iterative, LoopAndWorkers, Poll, Prefork, Select,
    ThreadPool, Threads,
};

/// Judged with four workers, or sixteen processes, or 64 threads.
const PATTERNS: &[Row] = &[
    row("iterative", Iterative, NONE, &[SingleThread], &[EventLoop, Expected::Threads]),
    row("iterative-refuse", Iterative, NONE, &[SingleThread], &[EventLoop]),
    row("iterative-reset", Iterative, NONE, &[Expected::Iterative], &[Expected::ThreadPool]),
    row("iterative-busy", Iterative, NONE, &[Expected::Iterative], &[Expected::Poll]),
    row("fork-per-connection", Fork, NONE, &[Processes], &[Expected::Prefork, Expected::Poll]),
    row("prefork-accept", Prefork, NONE, &[Processes], &[Expected::Fork]),
    row("prefork-lock", Prefork, NONE, &[Processes], &[Expected::Threads]),
    row("prefork-mutex", Prefork, NONE, &[Processes], &[Expected::Threads]),
    row("prefork-fdpass", Prefork, NONE, &[Processes], &[Expected::Poll, EventLoop]),
    row("thread-per-connection", Threads, NONE, &[Expected::Threads], &[Expected::ThreadPool]),
    row("prethread-accept", ThreadPool, NONE, &[Expected::ThreadPool], &[Expected::Threads]),
    row("thread-pool", ThreadPool, NONE, &[Expected::ThreadPool], &[Expected::Threads]),
    row("select", Select, ONE, &[EventLoop, SingleThread], &[Expected::Poll, Async]),
    row("poll", Poll, ONE, &[EventLoop, SingleThread], &[Expected::Select, Expected::Epoll]),
    row("epoll-level", Epoll, ONE, &[EventLoop, SingleThread, Async], &[Expected::Poll]),
    row("epoll-edge", Epoll, ONE, &[EventLoop, SingleThread, Async], &[Expected::Poll]),
    row("epoll-exclusive", Epoll, 4..=4, &[EventLoop], &[SingleThread, Expected::Threads]),
    row("reuseport", Epoll, 4..=4, &[EventLoop], &[SingleThread, Expected::Threads]),
    row("multi-reactor", Epoll, 4..=4, &[EventLoop], &[SingleThread, Expected::Threads]),
    row("epoll-oneshot", LoopAndWorkers, ONE, &[Expected::Epoll, EventLoop], &[SingleThread]),
    row("leader-followers", LoopAndWorkers, ONE, &[Expected::Epoll, EventLoop], &[SingleThread]),
    row("half-sync-half-async", LoopAndWorkers, ONE, &[Expected::Epoll, Async], &[SingleThread]),
    row("staged", LoopAndWorkers, ONE, &[Expected::Epoll, EventLoop], &[Expected::ThreadPool]),
    row("tokio-current-thread", Epoll, ONE, &[Async, EventLoop], &[Expected::Threads]),
    row("tokio-multi-thread", AsyncRuntime, ONE, &[Async, Expected::Epoll], &[SingleThread]),
    row("actor", AsyncRuntime, ONE, &[Async, Expected::Epoll], &[SingleThread]),
    row("uring", IoUring, ONE, &[EventLoop, SingleThread], &[Expected::Epoll]),
    row("uring-per-core", IoUring, 4..=4, &[EventLoop], &[SingleThread]),
];

const PYTHON: &[Row] = &[
    row("iterative.py", Iterative, NONE, &[SingleThread], &[Expected::Poll]),
    row("iterative_timeout.py", Iterative, NONE, &[SingleThread], &[Expected::Poll, EventLoop]),
    row("threads.py", Threads, NONE, &[Expected::Threads], &[Expected::Select, EventLoop]),
    row("threads_timeout.py", Threads, NONE, &[Expected::Threads], &[Expected::Poll, EventLoop]),
    row("pool.py", ThreadPool, NONE, &[Expected::ThreadPool, Expected::Threads], &[EventLoop]),
    row("pool_ready.py", ThreadPool, NONE, &[Expected::ThreadPool], &[Expected::Threads]),
    row("select_loop.py", Select, ONE, &[EventLoop, SingleThread], &[Expected::Poll]),
    row("selectors_loop.py DefaultSelector", Epoll, ONE, &[EventLoop], &[Expected::Select]),
    row("selectors_loop.py PollSelector", Poll, ONE, &[EventLoop], &[Expected::Select]),
    row("selectors_loop.py SelectSelector", Select, ONE, &[EventLoop], &[Expected::Epoll]),
    row("asyncio_loop.py", Epoll, ONE, &[Async, SingleThread], &[Expected::Select]),
    row("fork.py", Fork, NONE, &[Processes], &[Expected::Prefork]),
    row("prefork.py", Prefork, NONE, &[Processes], &[Expected::Fork]),
    row("loop_in_processes.py EpollSelector", Epoll, 4..=4, &[Processes], &[Expected::Fork]),
    row("loop_in_processes.py SelectSelector", Select, 4..=4, &[Processes], &[Expected::Fork]),
    row("with_socketserver.py TCPServer", Iterative, NONE, &[SingleThread], &[Expected::Poll]),
    row("with_socketserver.py ThreadingTCPServer", Threads, NONE, &[], &[Expected::Poll]),
    row("with_socketserver.py ForkingTCPServer", Fork, NONE, &[Processes], &[Expected::Poll]),
    row("busy.py 0", BusyLoop, NONE, &[], &[EventLoop, Expected::Iterative]),
    row("busy.py 0.02", BusyLoop, NONE, &[], &[EventLoop, Expected::Iterative]),
];

const NODE: &[Row] = &[
    row("net.js", AsyncRuntime, ONE, &[EventLoop, SingleThread, Async], &[Expected::Threads]),
    row("cluster.js", AsyncRuntime, 2..=3, &[Expected::Prefork, Async], &[SingleThread]),
];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = vec![
        Test::new("every_pattern_has_a_row", || {
            let ids: Vec<&str> = servers::PATTERNS.iter().map(|pattern| pattern.id).collect();
            let rows: Vec<&str> = PATTERNS.iter().map(|row| row.server).collect();
            if ids == rows { Ok(()) } else { Err(format!("{ids:?}, and rows {rows:?}").into()) }
        }),
        Test::new("a_wrong_expectation_is_answered_by_what_was_seen", says_what_was_seen),
        Test::new("the_shell_that_started_a_server_is_no_part_of_it", sees_past_a_shell),
    ];
    for row in PATTERNS {
        let name = format!("a_pattern_is_told_from_outside::{}", row.server);
        tests.push(Test::ignorable(name, move || is_told(row, builtin(row))));
    }
    for (interpreter, command, rows) in
        [("python3", "python3 -S -E", PYTHON), ("node", "node", NODE)]
    {
        for row in rows {
            let name = format!("a_program_is_told_from_outside::{}", row.server.replace(' ', "::"));
            tests.push(Test::ignorable(name, move || {
                needs(interpreter, || is_told(row, foreign(command, row.server)))
            }));
        }
    }
    tests
}

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

fn builtin(row: &Row) -> LaunchSpec {
    let server = servers::find(&format!("{}-echo", row.server)).expect(row.server);
    LaunchSpec::judged(&launcher(), &server)
}

fn foreign(command: &str, server: &str) -> LaunchSpec {
    let (file, arguments) = server.split_once(' ').unwrap_or((server, ""));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mechanism").join(file);
    let command = format!("{command} '{}' {{host}} {{port}} {arguments}", path.display());
    LaunchSpec::foreign(&command, Contract::undeclared(Service::Echo)).expect(server)
}

fn seen(spec: &LaunchSpec) -> Result<Seen, Failed> {
    let server = launcher().launch(spec).map_err(|error| error.to_string())?;
    let seen = concurrency::see(&server);
    let ended = server.process.exit();
    if std::env::var_os("MECHANISM_SHOW").is_some() {
        eprintln!("{}: {} {:?}: {}", spec.name, seen.mechanism, seen.also, seen.words);
    }
    match ended {
        None => Ok(seen),
        Some(exit) => Err(format!("it did not survive: {exit}\n{}", evidence(&seen)).into()),
    }
}

fn evidence(seen: &Seen) -> String {
    format!("{} {:?}: {}\n{}", seen.mechanism, seen.also, seen.words, seen.evidence.join("\n"))
}

fn is_told(row: &Row, spec: LaunchSpec) -> Result<Completion, Failed> {
    if let Some(words) = &spec.unavailable {
        return Ok(Completion::ignored_with(format!("not run: {words}")));
    }
    let seen = seen(&spec)?;
    let found = (seen.mechanism, seen.second_is_accepted);
    if seen.mechanism != row.found || seen.second_is_accepted != Some(row.second) {
        return Err(format!("{found:?} is wrong: {}", evidence(&seen)).into());
    }
    if !row.loops.contains(&seen.loops) {
        return Err(format!("{} loops: {}", seen.loops, evidence(&seen)).into());
    }
    let own = row.found.name().parse::<Expected>();
    for expected in row.met.iter().chain(own.as_ref().ok()) {
        seen.meets(*expected).map_err(|words| format!("{words}\n{}", evidence(&seen)))?;
    }
    match row.missed.iter().find(|expected| seen.meets(**expected).is_ok()) {
        None => Ok(Completion::Completed),
        Some(wrong) => Err(format!("it passes for {wrong}: {}", evidence(&seen)).into()),
    }
}

fn sees_past_a_shell() -> Result<(), Failed> {
    let program = format!("'{}' serve iterative-echo", env!("CARGO_BIN_EXE_harness"));
    let command = format!("sh -c \"{program} $0 $1; true\" {{host}} {{port}}");
    let seen = seen(&LaunchSpec::foreign(&command, Contract::undeclared(Service::Echo))?)?;
    Ok(seen.meets(Expected::SingleThread)?)
}

fn says_what_was_seen() -> Result<(), Failed> {
    let server = servers::find("thread-per-connection-echo").expect("it");
    let seen = seen(&LaunchSpec::judged(&launcher(), &server))?;
    let words = seen.meets(Expected::Select).expect_err("it is no select loop");
    for part in ["expected select", "found threads", "with 5 clients", "5 in recv from a client"] {
        if !words.contains(part) {
            return Err(format!("`{part}` is not in: {words}").into());
        }
    }
    serde_json::to_string(&seen).map_err(|error| error.to_string())?;
    Ok(())
}
