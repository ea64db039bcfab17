//! Shared by all test files.

pub(crate) mod schedule;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::server::{Launcher, Server};
use libtest_mimic::{Completion, Failed, Trial};

use schedule::{Cost, Slots};

type Run = Box<dyn FnOnce() -> Result<Completion, Failed> + Send>;

/// A test with its name inside its file.
pub(crate) struct Test {
    name: String,
    run: Run,
    is_variant: bool,
    /// Where it differs from that of its module.
    cost: Option<Cost>,
}

impl Test {
    /// A test that fails by an error or a panic.
    pub(crate) fn new(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
    ) -> Test {
        Test::ignorable(name, || run().map(|()| Completion::Completed))
    }

    /// A test that finds out by itself that it cannot run here.
    pub(crate) fn ignorable(
        name: impl Into<String>,
        run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
    ) -> Test {
        Test { name: name.into(), run: Box::new(run), is_variant: false, cost: None }
    }

    /// A variant of another test, run with `--include-ignored`.
    pub(crate) fn variant(self, is_variant: bool) -> Test {
        Test { is_variant, ..self }
    }

    /// One that costs something else than the others of its module.
    pub(crate) fn costing(self, cost: Cost) -> Test {
        Test { cost: Some(cost), ..self }
    }

    /// What it costs in a module of that cost, and how libtest-mimic runs it: when there are slots
    /// for it.
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

/// Lists the tests of a file, in place of `#[test]`. A function that is not listed is dead code.
/// After a semicolon come those that cost something else than the others.
macro_rules! trials {
    ($($name:ident),+ $(,)? $(; $cost:expr => $($other:ident),+ $(,)?)?) => {
        pub(crate) fn tests() -> Vec<$crate::common::Test> {
            let test = |name, run: fn()| {
                $crate::common::Test::new(name, move || {
                    run();
                    Ok(())
                })
            };
            vec![
                $(test(stringify!($name), $name),)+
                $($(test(stringify!($other), $other).costing($cost),)+)?
            ]
        }
    };
}
pub(crate) use trials;

/// A test that runs a program of this machine. Without it the test is ignored, but in CI it fails.
pub(crate) fn needs(
    program: &'static str,
    run: impl FnOnce() -> Result<Completion, Failed>,
) -> Result<Completion, Failed> {
    let version = Command::new(program).arg("--version").output();
    match (version.is_ok_and(|it| it.status.success()), std::env::var_os("CI").is_some()) {
        (true, _) => run(),
        (false, true) => Err(format!("{program} is not installed, and CI requires it").into()),
        (false, false) => Ok(Completion::ignored_with(format!("{program} is not installed"))),
    }
}

/// How long anything may take that should happen.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// The harness, to be run.
pub(crate) fn harness() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    // What tests do is no part of a summary.
    command.env_remove("GITHUB_STEP_SUMMARY");
    command
}

/// A known-answer server, ended when dropped.
pub(crate) fn known(answer: &str) -> Server {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    launcher.launch(&harness::selftest::known::spec(&launcher, answer)).expect(answer)
}

/// Waits until something is so.
pub(crate) fn wait_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(DEADLINE, what, holds);
}

/// As [`wait_until`], for what takes several runs of a server.
pub(crate) fn wait_long_until(what: &str, holds: impl FnMut() -> bool) {
    wait_for(6 * DEADLINE, what, holds);
}

fn wait_for(patience: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "it does not come about that {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether a process runs. One that has ended and was not waited for does not.
pub(crate) fn runs(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(!stat.rsplit_once(") ")?.1.starts_with('Z')))
        .unwrap_or(false)
}

/// `harness serve`, ended when dropped.
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

    /// As [`start`](Self::start), by a command that was prepared.
    pub(crate) fn run(mut command: Command) -> Served {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the harness starts");
        let mut first_line = String::new();
        let output = child.stdout.take().expect("it is piped");
        BufReader::new(output).read_line(&mut first_line).expect("a first line");
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
