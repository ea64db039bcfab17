//! Helpers of all test files.

pub(crate) mod schedule;
pub(crate) mod terminal;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::server::{Launcher, Server};
use libtest_mimic::{Completion, Failed, Trial};

use schedule::{Cost, Slots};

type Run = Box<dyn FnOnce() -> Result<Completion, Failed> + Send>;

/// A test of a module.
pub(crate) struct Test {
    name: String,
    run: Run,
    /// Whether the test repeats another one, and runs only with `--include-ignored`.
    is_variant: bool,
    /// Cost. `None` is the cost of the module.
    cost: Option<Cost>,
}

impl Test {
    /// Creates a test. An error or a panic of `run` is a failure.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Test {
        Test::ignorable(name, || run().map(|()| Completion::Completed))
    }

    /// Creates a test. `run` may also report that this machine cannot run the test.
    pub(crate) fn ignorable(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
    ) -> Test {
        Test { name: name.into(), run: Box::new(run), is_variant: false, cost: None }
    }

    /// Requires an installed program. Without the program, the test is ignored, or fails in CI.
    pub(crate) fn needing(self, program: &'static str) -> Test {
        let run = self.run;
        Test { run: Box::new(move || if_installed(program, run)), ..self }
    }

    /// Sets whether the test is a variant, which runs only with `--include-ignored`.
    pub(crate) fn variant(self, is_variant: bool) -> Test {
        Test { is_variant, ..self }
    }

    /// Replaces the cost of the module.
    pub(crate) fn costing(self, cost: Cost) -> Test {
        Test { cost: Some(cost), ..self }
    }

    /// Returns the cost, and a libtest-mimic trial that waits for free slots before `run`. `module`
    /// and `cost` are the name and the cost of the module.
    pub(crate) fn scheduled(self, module: Option<&str>, cost: Cost) -> (Cost, Trial) {
        let cost = self.cost.unwrap_or(cost);
        let name = match module {
            Some(module) => format!("{module}::{}", self.name),
            None => self.name,
        };
        let run = move || {
            let _slots = Slots::take(cost);
            (self.run)()
        };
        (cost, Trial::ignorable_test(name, run).with_ignored_flag(self.is_variant))
    }
}

/// Lists the tests of a file, in place of `#[test]`, and defines a function that returns them. The
/// compiler reports a function that is not listed as dead code. Tests with another cost follow a
/// semicolon, and tests that need a program follow a bar. `fn NAME;` sets the name of the defined
/// function (default: `tests`).
macro_rules! tests {
    (
        $($name:ident),+ $(,)?
        $(; $cost:expr => $($other:ident),+ $(,)?)?
        $(| $program:literal => $($needing:ident),+ $(,)?)?
    ) => {
        tests![
            fn tests; $($name),+ $(; $cost => $($other),+)? $(| $program => $($needing),+)?
        ];
    };
    (
        fn $tests:ident; $($name:ident),+ $(,)?
        $(; $cost:expr => $($other:ident),+ $(,)?)?
        $(| $program:literal => $($needing:ident),+ $(,)?)?
    ) => {
        pub(crate) fn $tests() -> Vec<$crate::common::Test> {
            let test = |name, run: fn()| {
                $crate::common::Test::new(name, move || {
                    run();
                    Ok(())
                })
            };
            vec![
                $(test(stringify!($name), $name),)+
                $($(test(stringify!($other), $other).costing($cost),)+)?
                $($(test(stringify!($needing), $needing).needing($program),)+)?
            ]
        }
    };
}
pub(crate) use tests;

fn if_installed(
    program: &'static str,
    run: impl FnOnce() -> Result<Completion, Failed>,
) -> Result<Completion, Failed> {
    // `ip` knows only `-V`.
    let is_installed = ["--version", "-V"].iter().any(|flag| {
        Command::new(program).arg(flag).output().is_ok_and(|output| output.status.success())
    });
    match (is_installed, std::env::var_os("CI").is_some()) {
        (true, _) => run(),
        (false, true) => Err(format!("{program} is not installed, and CI requires it").into()),
        (false, false) => Ok(Completion::ignored_with(format!("{program} is not installed"))),
    }
}

/// Deadline for every expected event.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Returns a command that runs the harness.
pub(crate) fn harness() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    // In CI, the tests must not write to the step summary of the job, or add annotations to it.
    command.env_remove("GITHUB_STEP_SUMMARY").env_remove("GITHUB_ACTIONS");
    command
}

/// Launches a known-answer server, which is killed when dropped.
pub(crate) fn known(answer: &str) -> Server {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    launcher.launch(&harness::selftest::known::spec(&launcher, answer)).expect(answer)
}

/// Waits until the condition holds. Panics after [`DEADLINE`].
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(DEADLINE, what, holds);
}

/// Like [`wait_until`], with six times the deadline, for commands that launch a server repeatedly.
pub(crate) fn wait_long_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(6 * DEADLINE, what, holds);
}

fn wait_for(timeout: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + timeout;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns whether a process exists and is not a zombie.
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(!stat.rsplit_once(") ")?.1.starts_with('Z')))
        .unwrap_or(false)
}

/// A running `harness serve`, killed when dropped.
pub(crate) struct Served {
    pub(crate) child: Child,
    pub(crate) address: SocketAddr,
    pub(crate) first_line: String,
}

impl Served {
    pub(crate) fn start(arguments: &[&str]) -> Served {
        let mut command = harness();
        command.arg("serve").args(arguments);
        Served::run(command)
    }

    /// Like [`start`](Self::start), with a complete command.
    pub(crate) fn run(mut command: Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the harness starts");
        let mut first_line = String::new();
        let output = child.stdout.take().expect("a pipe");
        BufReader::new(output).read_line(&mut first_line).expect("a line of output");
        let address = first_line
            .split_once("listens on ")
            .and_then(|(_, rest)| rest.split_once(": "))
            .and_then(|(address, _)| address.parse().ok())
            .unwrap_or_else(|| panic!("no address in {first_line:?}"));
        Served { child, address, first_line }
    }

    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The hand-written style sheets and the script of the pages.
const ASSETS: &[&str] = &[
    include_str!("../../src/report/html/base.css"),
    include_str!("../../src/report/html/page.css"),
    include_str!("../../src/report/html/page.js"),
    include_str!("../../src/report/chart/chart.css"),
    include_str!("../../src/report/grading/grading.css"),
];

/// Returns a page without its hand-written style sheets and script, which are files of their own.
/// Any other script stays.
pub(crate) fn without_assets(page: &str) -> String {
    ASSETS.iter().fold(page.to_owned(), |page, asset| page.replace(asset, ""))
}
