//! Output errors of every subcommand: a full disk, and a closed pipe.

use super::*;

/// A command that prints to standard output.
struct PrintingCommand {
    arguments: Vec<String>,
    input: &'static str,
    /// Another PATH, if any.
    path: Option<&'static str>,
    /// Exit code without output errors. `None` if a signal kills the process.
    code: Option<i32>,
    /// Signal to send, and the event to wait for before. `None` if the command exits by itself.
    stopped_by: Option<(Signal, Ready)>,
}

/// Event that shows that a command is ready for a signal.
#[derive(Clone, Copy)]
enum Ready {
    /// The server answers a request on this port.
    Answers(u16),
    /// The command has written to standard error.
    WritesErrors,
}

fn printing(arguments: &[&str]) -> PrintingCommand {
    let arguments = arguments.iter().map(|&word| word.to_owned()).collect();
    PrintingCommand { arguments, input: "", path: None, code: Some(0), stopped_by: None }
}

/// Returns every user-facing subcommand, with the fewest arguments that make it print.
fn all_printing(
    folder: &std::path::Path,
    served: &Served,
    ports: [u16; 2],
) -> Vec<PrintingCommand> {
    let folder = |name: &str| folder.join(name).to_str().expect("a UTF-8 path").to_owned();
    let (address, port) = (served.address.to_string(), served.port());
    let program = env!("CARGO_BIN_EXE_harness");
    let echo = format!("'{program}' serve select-echo {{host}} {{port}}");
    let wrong = format!("'{program}' known wrong:2 {{host}} {{port}}");
    let (counterexamples, file) = (folder("counterexamples"), folder("file.json"));
    let counterexample = serde_json::json!({
        "format": 1,
        "server": "select-echo",
        "check": "select-echo",
        "case": "results/echo-is-identical",
        "seed": 7,
        "counterexample": "x",
    });
    std::fs::write(&file, counterexample.to_string()).expect("a file");
    // On a busy machine, no request may be answered in this time. Then the test retries the
    // command.
    let short = ["--duration", "500ms", "--warm-up", "10ms"];
    let bench = ["bench", "select-echo", "--workload", "closed-1"];
    let against = ["bench", "select-echo", "--against", "poll-echo", "--launches", "4"];
    let report = folder("saved.json");
    let saved = serde_json::to_string(&crate::reports::sample::report()).expect("JSON");
    std::fs::write(&report, saved).expect("a file");
    vec![
        printing(&["--help"]),
        printing(&["--version"]),
        printing(&["list", "servers"]),
        printing(&["list", "cases", "--json"]),
        printing(&["check", "server1", "--case", "framing/single"]),
        printing(&["check", "server1", "--case", "framing/single", "--json"]),
        PrintingCommand {
            code: Some(1),
            ..printing(&["check", "--service", "echo", "--case", "results/echo-is-identical"])
                .and(&["--counterexamples", &counterexamples, "--cmd", &wrong])
        },
        printing(&["replay", &file]),
        // `--fail-on none`: the exit code must not depend on the verdicts.
        printing(&["run", "server1", "--plan", "quick", "--fail-on", "none"])
            .and(&["--output", &folder("report")]),
        printing(&["report", &report, "--output", &folder("rendered")]),
        printing(&["compare", &report, "--with", &report]),
        printing(&["history", &folder("history.jsonl"), &report]),
        printing(&["load", &address]).and(&short),
        printing(&["load", &address, "--json"]).and(&short),
        printing(&bench).and(&short),
        printing(&bench).and(&short).and(&["--json"]),
        printing(&against).and(&["--duration", "1s"]),
        // Without the reference load generators: it only names them.
        PrintingCommand { path: Some(""), ..printing(&["calibrate"]) },
        printing(&["probe", "--cmd", &echo]),
        PrintingCommand { input: "hello\n", ..printing(&["client", "127.0.0.1", &port]) },
        PrintingCommand {
            code: Some(130),
            stopped_by: Some((Signal::SIGINT, Ready::WritesErrors)),
            ..printing(&["selftest", "--json"])
        },
        PrintingCommand {
            stopped_by: Some((Signal::SIGTERM, Ready::Answers(ports[0]))),
            ..printing(&["serve", "select-echo", "127.0.0.1", &ports[0].to_string()])
        },
        PrintingCommand {
            code: None,
            stopped_by: Some((Signal::SIGKILL, Ready::Answers(ports[1]))),
            ..printing(&["known", "echo", "127.0.0.1", &ports[1].to_string()])
        },
    ]
}

impl PrintingCommand {
    fn and(mut self, arguments: &[&str]) -> PrintingCommand {
        self.arguments.extend(arguments.iter().map(|&word| word.to_owned()));
        self
    }

    /// Runs the command until it has a result, at most `TRIES` times. Returns the same as `run`.
    fn run_until_result(
        &self,
        stdout: fn() -> Stdio,
        stderr_is_full: bool,
    ) -> (Option<i32>, String) {
        let mut left = TRIES;
        loop {
            left -= 1;
            let (code, errors) = self.run(stdout(), stderr_is_full);
            let has_result = code == self.code || errors.contains("cannot write");
            if has_result || left == 0 {
                return (code, errors);
            }
        }
    }

    /// Runs the command. Returns the exit code and the text on standard error.
    fn run(&self, stdout: Stdio, stderr_is_full: bool) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let errors = folder.path().join("stderr");
        let stderr = if stderr_is_full { full() } else { created(&errors) };
        let mut command = common::harness();
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        if let Some(path) = self.path {
            command.env("PATH", path);
        }
        let mut child = command.spawn().expect("the harness starts");
        // A command that reads no input may have exited already.
        let _ = child.stdin.take().expect("a pipe").write_all(self.input.as_bytes());
        let error_text = || std::fs::read_to_string(&errors).unwrap_or_default();
        if let Some((signal, ready)) = self.stopped_by {
            wait_until("the command is ready for the signal", || match ready {
                Ready::WritesErrors => !error_text().is_empty(),
                Ready::Answers(port) => is_answered(port),
            });
            kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
        }
        let mut status = None;
        common::wait_long_until("the command exits", || {
            status = child.try_wait().expect("a status");
            status.is_some()
        });
        (status.and_then(|status| status.code()), error_text())
    }
}

fn is_answered(port: u16) -> bool {
    let ask = || {
        let mut client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(Duration::from_secs(1)))?;
        client.write_all(b"hello\n")?;
        client.read_exact(&mut [0; 6])
    };
    ask().is_ok()
}

/// Returns a file on which every write fails with ENOSPC.
fn full() -> Stdio {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    full.expect("/dev/full").into()
}

fn created(file: &std::path::Path) -> Stdio {
    std::fs::File::create(file).expect("a file").into()
}

/// Returns a pipe whose reader is closed.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// Maximum number of attempts: on a busy machine, a short run may have no result.
const TRIES: usize = 3;

pub(super) fn every_subcommand_reports_a_full_disk_and_exits_quietly_on_a_closed_pipe() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let served = Served::start(&["server4", "127.0.0.1", "0"]);
    let ports =
        [(); 2].map(|()| harness::server::PortLease::take([127, 0, 0, 1].into()).expect("a port"));
    let rows = all_printing(folder.path(), &served, ports.each_ref().map(|port| port.number()));
    // Internal subcommands write only to the harness.
    let internal = ["supervise", "help"];
    let command = <harness::cli::Cli as clap::CommandFactory>::command();
    for subcommand in command.get_subcommands().map(clap::Command::get_name) {
        let is_tested = rows.iter().any(|row| row.arguments[0] == subcommand);
        assert!(is_tested || internal.contains(&subcommand), "{subcommand} is not tested");
    }
    thread::scope(|scope| {
        for row in &rows {
            scope.spawn(move || {
                reports_a_full_disk(row);
                exits_quietly_on_a_closed_pipe(row);
            });
            // With a full standard error, the test could not see when to send the signal.
            if row.stopped_by.is_none() {
                scope.spawn(move || {
                    let (code, _) = row.run_until_result(Stdio::null, true);
                    assert_eq!(code, row.code, "{:?}, standard error is full", row.arguments);
                });
            }
        }
    });
}

fn reports_a_full_disk(row: &PrintingCommand) {
    let (code, stderr) = row.run_until_result(full, false);
    let expected = row.code.map(|_| 3);
    assert_eq!(code, expected, "{:?}: {stderr}", row.arguments);
    let is_reported = stderr.contains("cannot write") && !stderr.contains("panicked");
    assert!(is_reported, "{:?}: {stderr}", row.arguments);
}

fn exits_quietly_on_a_closed_pipe(row: &PrintingCommand) {
    let (code, stderr) = row.run_until_result(closed, false);
    assert_eq!(code, row.code, "{:?}: {stderr}", row.arguments);
    let is_quiet = !stderr.contains("panicked") && !stderr.contains("cannot write");
    assert!(is_quiet, "{:?}: {stderr}", row.arguments);
}
