//! External servers with other wire protocols, and the submissions of a school class. Some submissions
//! are hostile servers.
//! Servers with a manifest entry are tested. Servers without one are probed first.

mod class;
mod probing;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Completion, Failed};
use serde_json::Value;
use servers::{Capacity, Service, Workers};

use crate::common::{self, Served, Test};
use class::{FAULT_TOPICS, HOSTILE, check_submissions, class_is_tested};
use probing::{PROBED, built_in, built_in_is_probed, is_probed_and_passes};

/// Topics of the cases whose results depend most on the manifest entry. A variant runs all cases.
const ENTRY_TOPICS: &[&str] = &["contract/", "framing/", "malformed/", "results/", "wire/"];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (number, (server, limits)) in built_in().into_iter().enumerate() {
        // `built_in` has each pattern twice, with and without limits. By default only one of four
        // runs, alternately with and without limits.
        let is_variant = !matches!(number % 8, 0 | 5);
        let name = match limits.is_empty() {
            true => format!("a_built_in_server::{server}::is_probed_and_passes"),
            false => format!("a_built_in_server::{server}_limited::is_probed_and_passes"),
        };
        let test = Test::ignorable(name, move || built_in_is_probed(&server, &limits));
        tests.push(test.variant(is_variant));
    }
    type Claim = fn() -> Result<(), Failed>;
    let single: &[(&str, Claim)] = &[
        ("an_unsupported_handshake_is_reported", an_unsupported_handshake_is_reported),
        (
            "the_replies_of_an_unknown_protocol_are_described",
            the_replies_of_an_unknown_protocol_are_described,
        ),
        (
            "without_a_server_one_message_gives_the_reason",
            without_a_server_one_message_gives_the_reason,
        ),
        (
            "an_output_file_that_cannot_take_the_entry_is_left_unchanged",
            an_output_file_that_cannot_take_the_entry_is_left_unchanged,
        ),
        ("a_probe_with_closed_output_pipes_succeeds", a_probe_with_closed_output_pipes_succeeds),
        (
            "control_characters_from_a_server_do_not_reach_the_terminal",
            control_characters_from_a_server_do_not_reach_the_terminal,
        ),
        (
            "a_running_server_is_probed_and_left_running",
            a_running_server_is_probed_and_left_running,
        ),
        (
            "a_threaded_server_is_not_accepted_as_a_select_server",
            a_threaded_server_is_not_accepted_as_a_select_server,
        ),
        (
            "a_running_server_is_tested_and_left_running",
            a_running_server_is_tested_and_left_running,
        ),
        ("load_uses_the_same_wire_format_as_check", load_uses_the_same_wire_format_as_check),
        (
            "a_manifest_error_names_the_line_and_the_field",
            a_manifest_error_names_the_line_and_the_field,
        ),
    ];
    for (name, claim) in single {
        tests.push(test((*name).to_owned(), "python3", claim));
    }
    for (suffix, topics) in [("", FAULT_TOPICS), ("_by_all_cases", &[])] {
        let name = format!("a_class_is_tested{suffix}_and_leaves_no_process");
        let test = test(name, "python3", || class_is_tested(topics));
        tests.push(test.variant(topics.is_empty()));
    }
    // Two servers: one starts 200 processes, the other writes endless output. They do so in every
    // test case, which only takes time, so `--within` limits the time for all cases.
    for (within, is_variant) in [("3s", false), ("40s", true)] {
        let name = format!("hostile_servers_of_a_class_tested_within_{within}_leave_no_process");
        let test = test(name, "python3", move || check_submissions(HOSTILE, within, &[]));
        tests.push(test.variant(is_variant));
    }
    for (number, server) in PROBED.iter().enumerate() {
        let name = format!("a_server_without_a_description::{}", server.name);
        let claim = move |topics| move || is_probed_and_passes(server, topics);
        let entry = test(format!("{name}::is_probed_and_passes"), "python3", claim(ENTRY_TOPICS));
        // By default, every second one.
        tests.push(entry.variant(number % 2 == 1));
        let all_cases = test(format!("{name}::passes_all_cases"), "python3", claim(&[]));
        tests.push(all_cases.variant(true));
    }
    for name in names(&wires().join("wires.toml")) {
        let test_name = format!("a_described_server::{name}::passes");
        // The tests above also run the probed servers, with the entry that the probe writes.
        let probed = PROBED.iter().find(|server| server.name == name);
        let weaknesses = probed.map_or(&[][..], |server| server.weaknesses);
        let test = test(test_name, "python3", move || {
            fails_only(&wires().join("wires.toml"), &name, weaknesses, &[])
        });
        tests.push(test.variant(probed.is_some()));
    }
    for name in names(&external()) {
        let program = if name.starts_with("node") { "node" } else { "python3" };
        let name: &'static str = name.leak();
        let claim = move |topics| move || fails_only(&external(), name, &[], topics);
        let test = |suffix: &str, topics| {
            test(format!("a_server_of_this_project::{name}::{suffix}"), program, claim(topics))
        };
        tests.push(test("passes", ENTRY_TOPICS));
        tests.push(test("passes_all_cases", &[]).variant(true));
    }
    tests
}

fn test(
    name: String,
    program: &'static str,
    claim: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Test {
    Test::new(name, claim).needing(program)
}

/// Returns the directory of the package `harness`.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn wires() -> PathBuf {
    package().join("tests/wires")
}

fn external() -> PathBuf {
    package().join("../servers/external/external.toml")
}

/// Returns the server names in a manifest.
fn names(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).expect("a readable manifest");
    let table: toml::Table = text.parse().expect("valid TOML");
    let servers = table["server"].as_array().expect("an array of servers");
    servers.iter().map(|server| server["name"].as_str().expect("a name").to_owned()).collect()
}

/// Runs the harness in a directory.
fn harness(folder: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    // The Python shim of a version manager takes longer to start than a server.
    let path = format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    Ok(command.current_dir(folder).env("PATH", path).args(arguments).output()?)
}

/// Returns the names of the failed and the inconclusive cases.
fn failed_or_inconclusive(document: &Value) -> Vec<String> {
    let cases = document["cases"].as_array().cloned().unwrap_or_default();
    let is_bad = |case: &&Value| case["verdict"] == "fail" || case["state"] == "inconclusive";
    cases.iter().filter(is_bad).map(|case| case["name"].as_str().unwrap_or("").to_owned()).collect()
}

/// Checks that a server of a manifest fails only the `weaknesses`, and that no case is
/// inconclusive. Runs the cases of these topics, or all cases if `topics` is empty.
fn fails_only(
    manifest: &Path,
    name: &str,
    weaknesses: &[&str],
    topics: &[&'static str],
) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = manifest.display().to_string();
    let mut check = vec!["check", "--manifest", &file, name, "--json"];
    check.extend(topics.iter().flat_map(|topic| ["--case", topic]));
    let output = harness(folder.path(), &check)?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    let passed = document["cases"]
        .as_array()
        .map_or(0, |cases| cases.iter().filter(|case| case["verdict"] == "pass").count());
    let unexpected: Vec<String> = failed_or_inconclusive(&document)
        .into_iter()
        .filter(|case| !weaknesses.contains(&case.as_str()))
        .collect();
    let min_passed = if topics.is_empty() { 20 } else { 5 };
    if passed < min_passed
        || !pass_when_run_alone(folder.path(), &file, name, &unexpected, &document)?
    {
        let evidence = text(&output.stderr);
        return Err(format!("{passed} passed, unexpected {unexpected:?}: {evidence}").into());
    }
    Ok(())
}

/// Maximum number of reruns of cases that were inconclusive on a busy machine.
const TRIES: usize = 3;

/// Returns whether none of these cases failed, and each passes when it runs alone. On a busy
/// machine, a slow server may get too little CPU time during a flood, so that a case is
/// inconclusive.
fn pass_when_run_alone(
    folder: &Path,
    manifest: &str,
    name: &str,
    cases: &[String],
    document: &Value,
) -> Result<bool, Failed> {
    let mut left = cases.to_vec();
    let mut document = document.clone();
    for _ in 0..TRIES {
        let results = document["cases"].as_array().into_iter().flatten();
        let mut failures = results.filter(|case| case["verdict"] == "fail");
        if left.is_empty() || failures.any(|case| left.iter().any(|name| case["name"] == **name)) {
            break;
        }
        let mut check = vec!["check", "--manifest", manifest, name, "--json", "--jobs", "1"];
        check.extend(left.iter().flat_map(|case| ["--case", case]));
        document = serde_json::from_slice(&harness(folder, &check)?.stdout)?;
        left = failed_or_inconclusive(&document);
    }
    Ok(left.is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn without_a_server_one_message_gives_the_reason() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    // A port that is bound, but not listening.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    bound.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let closed = bound.local_addr()?.as_socket().ok_or("not an IP address")?.to_string();
    for (arguments, code, words) in [
        (["--cmd", "no-such-program {port}"], 2, &["no-such-program"][..]),
        (["--cmd", "no-such-program"], 2, &["no-such-program"]),
        (["--cmd", "python3 missing.py {port}"], 3, &["missing.py", "by hand"]),
        (["--cmd", "python3 missing.py"], 3, &["missing.py", "{port}"]),
        (["--connect", &closed], 3, &["connection refused", "start the server"]),
    ] {
        let output = harness(folder.path(), &[&["probe"][..], &arguments].concat())?;
        let stderr = text(&output.stderr);
        let is_reported = words.iter().all(|word| stderr.contains(word));
        let messages = stderr.lines().filter(|line| line.starts_with("harness: ")).count();
        if output.status.code() != Some(code) || !is_reported || messages != 1 {
            return Err(format!("{arguments:?}: {}: {stderr}", output.status).into());
        }
    }
    Ok(())
}

/// The error must not mention the command, because the harness reports it before it launches the
/// server.
fn an_output_file_that_cannot_take_the_entry_is_left_unchanged() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let with_entry = "[[server]]\nname = \"x\"\ncommand = \"./x {port}\"\n";
    for (content, words) in [(with_entry, "--name"), ("This is not a manifest.", "servers.toml")] {
        let file = folder.path().join("servers.toml");
        fs::write(&file, content)?;
        let probe = ["probe", "--cmd", "./no-such-program {port}", "--name", "x"];
        let probe = [&probe[..], &["--output", "servers.toml"]].concat();
        let output = harness(folder.path(), &probe)?;
        let stderr = text(&output.stderr);
        let is_reported = output.status.code() == Some(2) && stderr.contains(words);
        if !is_reported
            || stderr.contains("no-such-program")
            || fs::read_to_string(&file)? != content
        {
            return Err(format!("{}: {stderr}", output.status).into());
        }
    }
    Ok(())
}

fn a_probe_with_closed_output_pipes_succeeds() -> Result<(), Failed> {
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' serve select {{host}} {{port}}");
    let mut probe = common::harness()
        .args(["probe", "--cmd", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Closes the readers of both pipes.
    drop((probe.stdout.take(), probe.stderr.take()));
    let status = probe.wait()?;
    if status.success() { Ok(()) } else { Err(format!("the probe ended with {status}").into()) }
}

/// The harness escapes control characters in its messages, and the manifest entry is valid TOML.
fn control_characters_from_a_server_do_not_reach_the_terminal() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let script = "import socketserver, sys\n\
        class Calculator(socketserver.StreamRequestHandler):\n\
        \x20   def handle(self):\n\
        \x20       for line in self.rfile:\n\
        \x20           try: reply = '\\x1b]0;owned\\x07[%d]' % sum(map(int, line.split(b'+')))\n\
        \x20           except ValueError: reply = '\\x1b[2Jno'\n\
        \x20           self.wfile.write(reply.encode() + b'\\n')\n\
        socketserver.ThreadingTCPServer.daemon_threads = True\n\
        socketserver.ThreadingTCPServer(('127.0.0.1', int(sys.argv[1])), Calculator).serve_forever()\n";
    fs::write(folder.path().join("escapes.py"), script)?;
    let output = harness(folder.path(), &["probe", "--cmd", "python3 escapes.py {port}"])?;
    let (stderr, entry) = (text(&output.stderr), text(&output.stdout));
    let has_control = |text: &str| text.chars().any(|it| it.is_control() && it != '\n');
    if !output.status.success() || has_control(&stderr) || has_control(&entry) {
        return Err(format!("{}: {stderr:?} {entry:?}", output.status).into());
    }
    let table: toml::Table = entry.parse().map_err(|error| format!("{error}: {entry}"))?;
    let value = table["server"][0]["wire"]["value"].as_str().unwrap_or_default();
    if value.contains("owned") { Ok(()) } else { Err(format!("{value:?}: {entry}").into()) }
}

fn a_running_server_is_probed_and_left_running() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (server, limits, line) in [
        ("select-calc", &["--max-connections", "4"][..], "4 connections served at a time"),
        ("iterative-calc", &[], "1 connection served at a time"),
    ] {
        let mut running = Served::start(&[&[server, "127.0.0.1", "0"][..], limits].concat());
        let address = running.address.to_string();
        let output = harness(folder.path(), &["probe", "--connect", &address])?;
        let still_runs = matches!(running.child.try_wait(), Ok(None));
        let stderr = text(&output.stderr);
        let is_detected = output.status.success() && stderr.contains(line);
        if !still_runs || !is_detected || !output.stdout.is_empty() {
            return Err(format!("{server}: {}: {stderr}", output.status).into());
        }
    }
    Ok(())
}

fn an_unsupported_handshake_is_reported() -> Result<(), Failed> {
    let output = harness(&wires(), &["probe", "--cmd", "python3 -S handshake.py {host} {port}"])?;
    let stderr = text(&output.stderr);
    let is_reported = output.status.code() == Some(1) && stderr.contains("handshake");
    if is_reported { Ok(()) } else { Err(format!("{}: {stderr}", output.status).into()) }
}

fn the_replies_of_an_unknown_protocol_are_described() -> Result<(), Failed> {
    let output = harness(&wires(), &["probe", "--cmd", "python3 -S key-value.py {host} {port}"])?;
    let stderr = text(&output.stderr);
    let words =
        ["only calculators and echo servers", "greeting = { lines = 1 }", r#"reply-end = "\r\n""#];
    let is_reported = output.status.code() == Some(1) && words.iter().all(|it| stderr.contains(it));
    if is_reported { Ok(()) } else { Err(format!("{}: {stderr}", output.status).into()) }
}

fn a_threaded_server_is_not_accepted_as_a_select_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let script = package().join("../servers/external/server2.py");
    let command = format!("python3 '{}' {{host}} {{port}}", script.display());
    let check =
        ["check", "--cmd", &command, "--case", "contract/concurrency-model", "--concurrency-model"];
    let select = harness(folder.path(), &[&check[..], &["select"]].concat())?;
    let page = text(&select.stdout);
    let is_reported = page.contains("`select`") && page.contains("one thread per connection");
    if select.status.code() != Some(1) || !is_reported {
        return Err(format!("{}: {page}", select.status).into());
    }
    let threads = harness(folder.path(), &[&check[..], &["threads"]].concat())?;
    match threads.status.code() {
        Some(0) => Ok(()),
        _ => Err(text(&threads.stdout).into()),
    }
}

fn a_running_server_is_tested_and_left_running() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut server = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["serve", "select-calc", "127.0.0.1", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = server.stdout.take().ok_or("standard output is not piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let address = line.split_whitespace().find_map(|word| {
        let word = word.trim_end_matches(':');
        word.starts_with("127.0.0.1:").then(|| word.to_owned())
    });
    let address = address.ok_or("the server printed no address")?;
    let output =
        harness(folder.path(), &["check", "--connect", &address, "--max-line", "4096", "--json"]);
    let still_runs = matches!(server.try_wait(), Ok(None));
    server.kill()?;
    server.wait()?;
    let output = output?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    let unexpected = failed_or_inconclusive(&document);
    let memory_is_excluded = document["cases"].as_array().is_some_and(|cases| {
        cases.iter().any(|case| {
            case["name"] == "leaks/memory"
                && case["observed"].as_str().is_some_and(|words| words.contains("--connect"))
        })
    });
    if !still_runs || !unexpected.is_empty() || !memory_is_excluded {
        return Err(format!("{unexpected:?}: {}", text(&output.stderr)).into());
    }
    Ok(())
}

fn load_uses_the_same_wire_format_as_check() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let manifest = wires().join("wires.toml").display().to_string();
    let bench = |names: &[&str], workload: &str, duration: &str| -> Result<Vec<Value>, Failed> {
        let command = ["bench", "--manifest", &manifest, "--workload", workload, "--json"];
        let times = ["--duration", duration, "--warm-up", "20ms"];
        let output = harness(folder.path(), &[&command[..], &times, names].concat())?;
        let read = serde_json::from_slice(&output.stdout);
        Ok(read.map_err(|error| format!("{error}: {}", text(&output.stderr)))?)
    };
    let names = [
        "greeting",
        "prompt",
        "nul",
        "crlf",
        "fixed-size",
        "length",
        "spaced",
        "template",
        "handshake",
        "no-newline",
        "prefix",
        "echo-raw",
    ];
    let answered = |server: &Value| server["measurements"][0]["outcomes"]["answered"].as_u64();
    // On a busy machine, a short measurement may have no reply. Then repeat it with a longer
    // duration.
    let measure = |name: &str, workload: &str| -> Result<Value, Failed> {
        let mut server = Value::Null;
        for duration in ["100ms", "1s", "10s"] {
            server = bench(&[name], workload, duration)?.swap_remove(0);
            if answered(&server).is_none_or(|requests| requests > 0) {
                break;
            }
        }
        Ok(server)
    };
    for mut server in bench(&names, "closed-8", "100ms")? {
        let name = server["name"].as_str().unwrap_or_default().to_owned();
        if answered(&server) == Some(0) {
            server = measure(&name, "closed-8")?;
        }
        let outcomes = &server["measurements"][0]["outcomes"];
        let sum: u64 = outcomes
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(_, count)| count.as_u64())
            .sum();
        let expected = outcomes["answered"].as_u64().unwrap_or(0)
            + outcomes["in_flight"].as_u64().unwrap_or(0);
        if expected == 0 || expected != sum {
            return Err(format!("{name}: {outcomes} {}", server["not_measured"]).into());
        }
    }
    let churn = measure("once", "churn")?;
    if answered(&churn).unwrap_or(0) == 0 {
        return Err(format!("once: {churn}").into());
    }
    for (name, workload, words) in [
        ("once", "closed-1", "allows 1 request per connection"),
        ("no-newline", "pipelined-16", "does not allow pipelining"),
        ("thread-id", "closed-1", "differ between replies"),
    ] {
        let servers = bench(&[name], workload, "100ms")?;
        if !servers[0]["not_measured"].to_string().contains(words) {
            return Err(format!("{name}: {}", servers[0]["not_measured"]).into());
        }
    }
    Ok(())
}

fn a_manifest_error_names_the_line_and_the_field() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let valid = "[[server]]\nname = \"a\"\ncommand = \"true {port}\"\n";
    for (added, words) in [
        ("speed = 1\n", &["line 4", "unknown field `speed`"][..]),
        (
            "[server.wire]\nreply-end = { size = 0 }\n",
            &["line 5", "`reply-end`", "from 1 to 262144 bytes"],
        ),
        ("[server.wire]\nvalue = \"(\"\n", &["line 5", "`value`", "regular expression"]),
        ("[server.contract]\nwhen-full = \"sulk\"\n", &["line 5", "`when-full`", "wait, refuse"]),
        ("[server.contract]\nidle-timeout = \"soon\"\n", &["line 5", "`idle-timeout`", "250ms"]),
        ("[server.dialect]\nshape = \"round\"\n", &["line 5", "`shape`", "two-operands"]),
        ("port = \"any\"\n", &["line 4", "`port`", "argument"]),
        (
            "[[server]]\nname = \"a\"\ncommand = \"true {port}\"\n",
            &["line 4", "another server has the name `a`"],
        ),
        ("[[server]]\nname = \"b\"\ncommand = \"true\"\n", &["line 4", "{port}"]),
        ("[confinement]\nmemory = \"much\"\n", &["line 5", "`memory`", "16MiB"]),
    ] {
        let file = folder.path().join("servers.toml");
        fs::write(&file, format!("{valid}{added}"))?;
        let output = harness(folder.path(), &["check", "--manifest", "servers.toml"])?;
        let stderr = text(&output.stderr);
        let is_reported = words.iter().all(|word| stderr.contains(word));
        if output.status.code() != Some(2) || !is_reported {
            return Err(format!("{added}: {words:?} in {}: {stderr}", output.status).into());
        }
    }
    let output = harness(folder.path(), &["check", "--manifest", "none.toml"])?;
    match output.status.code() {
        Some(2) => Ok(()),
        _ => Err(text(&output.stderr).into()),
    }
}
