//! Servers that start in another way than the harness expects, and machines on which the harness sees
//! less than it expects. Neither is a fault of the server.

mod hidden;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use harness::results::{Kind, LaunchFindings, ProcessView, Report, ServerResult};
use libtest_mimic::{Completion, Failed};
use tempfile::TempDir;

use crate::common::{Served, Test, harness, wait_until};

/// Exit code of `harness` if it could not do its work.
const HARNESS_ERROR: i32 = 3;

pub(crate) fn tests() -> Vec<Test> {
    let python = [
        Test::new("a_listener_outside_of_the_process_tree_is_tested", outside_listener),
        Test::new("a_client_that_detaches_from_its_server_is_no_crash", detached_client),
        Test::new("a_server_that_the_harness_did_not_start_keeps_running", kept_running),
        Test::new("a_server_outside_of_the_process_tree_is_measured", outside_measured),
        Test::new("a_slow_server_needs_a_longer_start_timeout", slow_start),
        Test::new("a_server_that_never_prints_the_awaited_text_is_not_ready", never_ready),
        Test::new("a_manifest_has_start_timeout_and_ready", start_keys_of_a_manifest),
        Test::new("a_server_that_does_not_start_fails_every_case", exits_before_it_listens),
        Test::new("a_server_starts_in_the_same_state_from_any_surroundings", same_state),
    ];
    let compiled = [
        Test::ignorable("a_server_of_another_user_is_tested_by_its_replies", hidden::other_user),
        Test::ignorable(
            "a_server_that_denies_inspection_is_tested_by_its_replies",
            hidden::not_dumpable,
        ),
        Test::ignorable(
            "a_server_that_proc_does_not_show_is_tested_by_its_replies",
            hidden::hidepid,
        ),
        Test::ignorable(
            "a_kernel_without_lists_of_children_hides_no_server",
            hidden::without_children,
        ),
        Test::ignorable(
            "a_kernel_that_lists_no_sockets_costs_one_connection",
            hidden::without_sockets,
        ),
    ];
    let others = [
        Test::ignorable("a_server_in_another_network_is_not_blamed", other_network),
        Test::new("a_connection_to_a_server_that_starts_later_is_awaited", awaited),
    ];
    let python = python.map(|test| test.needing("python3"));
    let compiled = compiled.map(|test| test.needing("cc"));
    python.into_iter().chain(compiled).chain(others).collect()
}

/// Returns an error with the evidence, unless the condition is true.
fn ensure(condition: bool, evidence: impl std::fmt::Debug) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(format!("{evidence:#?}").into()) }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/launching").join(name)
}

/// The echo server with one thread per client, and that which sleeps before it listens.
fn cause(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/causes").join(name);
    format!("python3 -S -E '{}' {{host}} {{port}}", path.display())
}

/// The result of a check.
struct Checked {
    code: Option<i32>,
    stderr: String,
    server: ServerResult,
}

impl Checked {
    /// Runs a check, and reads its report.
    fn run(mut check: Command, folder: &Path) -> Result<Checked, Failed> {
        let report = folder.join("report");
        let output = check.arg("--output").arg(&report).stdin(Stdio::null()).output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report = Report::read(&report.join("report.json"))
            .map_err(|error| format!("{error}: {stderr}"))?;
        let server = report.servers.into_iter().next().ok_or("no server in the report")?;
        Ok(Checked { code: output.status.code(), stderr, server })
    }

    fn kind(&self, case: &str) -> Option<Kind> {
        self.server.cases.iter().find(|result| result.name == case).map(|result| result.kind())
    }

    fn launch(&self) -> LaunchFindings {
        self.server.launch.clone().unwrap_or_default()
    }

    /// Requires that the server passes a case, and that a case which needs its processes is
    /// inconclusive for this reason.
    fn is_tested_by_its_replies(&self, view: ProcessView) -> Result<(), Failed> {
        let kinds = [self.kind("framing/pipelined"), self.kind("leaks/descriptors")];
        let evidence = (self.code, &self.stderr, self.launch(), kinds);
        ensure(self.launch().processes == view, &evidence)?;
        ensure(kinds == [Some(Kind::Pass), Some(Kind::Inconclusive)], &evidence)?;
        let leak = self.server.cases.iter().find(|result| result.name == "leaks/descriptors");
        let reason = leak.map(|result| result.observed.clone()).unwrap_or_default();
        ensure(reason == view.to_string(), reason)
    }
}

/// Adds the arguments of a check with a case that needs only replies, and one that needs processes.
fn check_both(command: &mut Command, server: &str) {
    command.args(["check", "--service", "echo", "--seed", "1", "--cmd", server]);
    command.args(["--case", "framing/pipelined", "--case", "leaks/descriptors"]);
}

/// A process that is killed when dropped.
struct KillOnDrop(Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running `broker.py`.
struct Broker {
    folder: TempDir,
    _process: KillOnDrop,
}

impl Broker {
    fn start(arguments: &[&str]) -> Result<Broker, Failed> {
        let folder = tempfile::tempdir()?;
        let mut broker = Command::new("python3");
        broker.arg(source("broker.py")).arg(folder.path().join("socket")).args(arguments);
        let mut process = broker.stdout(Stdio::piped()).spawn()?;
        let output = process.stdout.take().ok_or("a pipe")?;
        BufReader::new(output).read_line(&mut String::new())?;
        Ok(Broker { folder, _process: KillOnDrop(process) })
    }

    /// Returns the command that lets the broker start a server.
    fn client(&self, argument: &str) -> String {
        let socket = self.folder.path().join("socket");
        let client = source("broker-client.py");
        format!(
            "python3 '{}' '{}' {{host}} {{port}} {argument}",
            client.display(),
            socket.display()
        )
    }

    fn check(&self, argument: &str) -> Result<Checked, Failed> {
        let mut check = harness();
        check_both(&mut check, &self.client(argument));
        Checked::run(check, self.folder.path())
    }
}

fn outside_listener() -> Result<(), Failed> {
    let checked = Broker::start(&[])?.check("")?;
    checked.is_tested_by_its_replies(ProcessView::Outside)?;
    let launch = checked.launch();
    // A result is inconclusive.
    ensure(!launch.connected && !launch.keeps_running && checked.code == Some(1), launch)
}

fn detached_client() -> Result<(), Failed> {
    let checked = Broker::start(&["keep"])?.check("detach")?;
    checked.is_tested_by_its_replies(ProcessView::Outside)?;
    let launch = checked.launch();
    ensure(launch.keeps_running && !launch.connected, launch)
}

fn kept_running() -> Result<(), Failed> {
    let checked = Broker::start(&["keep"])?.check("")?;
    checked.is_tested_by_its_replies(ProcessView::Outside)?;
    let notes = checked.launch().notes();
    ensure(notes.iter().any(|note| note.contains("keeps running")), notes)
}

fn outside_measured() -> Result<(), Failed> {
    let broker = Broker::start(&[])?;
    let manifest = broker.folder.path().join("servers.toml");
    let command = broker.client("");
    let text = format!(
        "[[server]]\nname = 'outside'\nservice = 'echo'\ncommand = \"{command}\"\n\
         [server.contract]\ncapacity = 100000\n"
    );
    fs::write(&manifest, text)?;
    let output = harness()
        .args(["bench", "outside", "--plan", "quick", "--json", "--manifest"])
        .arg(manifest)
        .args(["--workload", "closed-1", "--workload", "idle-memory"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let document: serde_json::Value = serde_json::from_str(&text)?;
    let server = &document[0];
    let measured = &server["measurements"][0];
    ensure(measured["workload"] == "closed-1" && measured["server_stats"].is_null(), &text)?;
    let reason = server["not_measured"][0]["reason"].as_str().unwrap_or_default();
    ensure(reason == ProcessView::Outside.to_string(), &text)
}

fn slow_start() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let check = |timeout: &str| {
        let mut check = harness();
        check.args(["check", "--service", "echo", "--case", "framing/pipelined"]);
        check.args(["--cmd", &cause("slow-start.py"), "--start-timeout", timeout]);
        Checked::run(check, folder.path())
    };
    let short = check("300ms")?;
    ensure(short.code == Some(1), (short.code, &short.stderr))?;
    ensure(short.stderr.contains("--start-timeout"), &short.stderr)?;
    let reproduce = &short.server.cases[0].reproduce;
    ensure(reproduce.contains("--start-timeout=300ms"), reproduce)?;
    let long = check("60s")?;
    ensure(long.code == Some(0), (long.code, &long.stderr))
}

fn never_ready() -> Result<(), Failed> {
    let output = harness()
        .args(["check", "--service", "echo", "--case", "framing/pipelined"])
        .args(["--cmd", &cause("correct.py"), "--start-timeout", "1s", "--ready", "^ready$"])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(1) && text.contains("did not print"), text)?;
    let invalid = harness().args(["check", "--cmd", "x {port}", "--ready", "("]).output()?;
    ensure(invalid.status.code() == Some(2), invalid)
}

fn start_keys_of_a_manifest() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("servers.toml");
    let server = |name: &str, program: &str, keys: &str| {
        let command = cause(program).replace('\'', "");
        format!("[[server]]\nname = '{name}'\nservice = 'echo'\ncommand = '{command}'\n{keys}\n")
    };
    let text = [
        server("slow", "slow-start.py", "start-timeout = '60s'"),
        server("ready", "listens-before-it-serves.py", "ready = '^ready to serve'"),
        server("too-slow", "slow-start.py", "start-timeout = '300ms'"),
    ];
    fs::write(&manifest, text.concat())?;
    let check = |name: &str| {
        let mut check = harness();
        check.args(["check", name, "--case", "framing/pipelined", "--manifest"]).arg(&manifest);
        check.output()
    };
    for (name, code) in [("slow", 0), ("ready", 0), ("too-slow", 1)] {
        let output = check(name)?;
        ensure(output.status.code() == Some(code), (name, output))?;
    }
    fs::write(&manifest, server("bad", "slow-start.py", "start-timeout = 3"))?;
    ensure(check("bad")?.status.code() == Some(2), "a number without a unit is invalid")
}

/// The exit code does not depend on the number of cases or servers: the server is at fault.
fn exits_before_it_listens() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let manifest = folder.path().join("servers.toml");
    let server = |name| {
        format!("[[server]]\nname = '{name}'\ncommand = ['sh', '-c', 'exit 7', '{{port}}']\n")
    };
    fs::write(&manifest, [server("one"), server("two")].concat())?;
    let manifest = manifest.to_str().ok_or("a UTF-8 path")?;
    let command = "sh -c 'exit 7' {port}";
    for arguments in [
        &["--cmd", command][..],
        &["--cmd", command, "--case", "framing/pipelined"],
        &["--manifest", manifest],
        &["--manifest", manifest, "one", "--case", "framing/pipelined"],
    ] {
        let output = harness().arg("check").args(arguments).output()?;
        ensure(output.status.code() == Some(1), (arguments, output))?;
    }
    Ok(())
}

/// Writes a shell script that changes its surroundings and then runs the harness.
const SURROUNDINGS: &str = r#"
trap '' PIPE INT TERM HUP QUIT USR1 CHLD ALRM
umask 077
ulimit -S -n 256
ulimit -S -c unlimited 2>/dev/null
ulimit -S -s 1024
for number in $(seq 10 2 209); do eval "exec $number</dev/null" 2>/dev/null || true; done
export LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 LC_NUMERIC=de_DE.UTF-8
export PYTHONUNBUFFERED=1 PYTHONDEVMODE=1 PYTHONOPTIMIZE=2 PYTHONIOENCODING=latin-1 PYTHONWARNINGS=error
export NODE_OPTIONS=--no-deprecation JAVA_TOOL_OPTIONS=-Xint GITHUB_OUTPUT=/dev/full GITHUB_ENV=/dev/full
export MALLOC_ARENA_MAX=1 TZ=Asia/Tokyo OMP_NUM_THREADS=1
export LD_PRELOAD=/nonexistent.so
exec "$@" <&- >&-
"#;

fn same_state() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let check = |name: &str, mut command: Command| {
        let state = folder.path().join(name);
        let server = format!(
            "python3 '{}' '{}' {{host}} {{port}}",
            source("state.py").display(),
            state.display()
        );
        command.args(["check", "--service", "echo", "--seed", "1", "--cmd", &server]);
        command.args(["--case", "framing/pipelined", "--case", "disconnects/"]);
        let checked = Checked::run(command, folder.path())?;
        let verdicts: Vec<String> = checked
            .server
            .cases
            .iter()
            .map(|result| format!("{} {}", result.name, result.kind().name()))
            .collect();
        ensure(!verdicts.is_empty(), &checked.stderr)?;
        let state = fs::read_to_string(state)
            .map_err(|error| format!("{error}: {verdicts:?} {}", checked.stderr))?;
        Ok::<_, Failed>((verdicts, state))
    };
    let here = check("here", harness())?;
    let mut elsewhere = Command::new("bash");
    elsewhere.args(["-c", SURROUNDINGS, "bash", env!("CARGO_BIN_EXE_harness")]);
    let elsewhere = check("elsewhere", elsewhere)?;
    ensure(here == elsewhere, (&here, &elsewhere))?;
    ensure(here.1.contains("C.UTF-8") && !here.1.contains("GITHUB_"), here.1)
}

fn other_network() -> Result<Completion, Failed> {
    let trial = Command::new("unshare").args(["--net", "true"]).output();
    if !trial.is_ok_and(|output| output.status.success()) {
        return Ok(Completion::ignored_with("needs the permission to create a network namespace"));
    }
    let exe = env!("CARGO_BIN_EXE_harness");
    let command = format!("unshare --net '{exe}' serve select-echo {{host}} {{port}}");
    let output = harness()
        .args(["check", "--service", "echo", "--start-timeout", "1s", "--cmd", &command])
        .output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure(output.status.code() == Some(HARNESS_ERROR), &text)?;
    ensure(text.contains("another network namespace") && text.contains("--connect"), text)?;
    Ok(Completion::Completed)
}

fn awaited() -> Result<(), Failed> {
    let reserved = TcpListener::bind("127.0.0.1:0")?;
    let address: SocketAddr = reserved.local_addr()?;
    drop(reserved);
    // The name has several addresses on most machines, and the server listens on one of them.
    let port = address.port().to_string();
    let spawn = |arguments: &[&str]| {
        let mut command = harness();
        command.args(arguments).args(["--wait", "60s"]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn()
    };
    let local = format!("localhost:{port}");
    let case = "framing/pipelined";
    let waiting = [
        spawn(&["check", "--service", "echo", "--case", case, "--connect", &local])?,
        spawn(&["load", &local, "--duration", "1s", "--warm-up", "0s"])?,
        spawn(&["client", "localhost", &port])?,
    ];
    std::thread::sleep(Duration::from_millis(300));
    let mut served = None;
    wait_until("the server listens", || {
        served = Some(Served::start(&["select-echo", "127.0.0.1", &port]));
        TcpStream::connect(address).is_ok()
    });
    for process in waiting {
        let output = process.wait_with_output()?;
        ensure(output.status.success(), output)?;
    }
    drop(served);
    Ok(())
}
