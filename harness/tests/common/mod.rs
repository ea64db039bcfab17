//! What several test files need.

// Each test file is a program of its own and uses a part of this.
#![allow(dead_code, reason = "no test file uses all of it")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use harness::server::{Launcher, Server};

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
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
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
