//! Servers that were not written for the harness: what is described is judged as it is, what is not
//! is met and then described, and a whole class is judged with those in it that mean ill.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use libtest_mimic::{Completion, Failed};
use serde_json::Value;
use servers::{Capacity, Service, Workers};

use crate::common::{self, Served, Test, needs};

/// A server of `tests/wires`, whose entry the probe writes again.
struct Met {
    name: &'static str,
    command: &'static str,
    /// What the probe finds out, besides: a line of the entry each.
    lines: &'static [&'static str],
    /// In what the server really is weak, whoever describes it.
    weak: &'static [&'static str],
}

const MET: &[Met] = &[
    Met {
        name: "no-newline",
        command: "python3 no-newline.py {host} {port}",
        lines: &[
            r#"request = "{}""#,
            r#"reply-end = { quiet = "100ms" }"#,
            r#"expect = "threads""#,
        ],
        weak: &[],
    },
    Met {
        name: "greeting",
        command: "python3 greeting.py {host} {port}",
        lines: &["greeting = { lines = 2 }"],
        weak: &[],
    },
    Met {
        name: "prompt",
        command: "python3 prompt.py {host} {port}",
        lines: &["greeting = { lines = 1 }", r#"prompt = "> ""#, r#"expect = "epoll""#],
        weak: &[],
    },
    Met {
        name: "prefix",
        command: "python3 prefix.py {host} {port}",
        lines: &[r#"shape = "binary""#, "parentheses = false"],
        weak: &[],
    },
    Met {
        name: "thread-id",
        command: "python3 thread-id.py {host} {port}",
        lines: &[r"\d+\] = ("],
        weak: &[],
    },
    Met {
        name: "nul",
        command: "python3 nul.py {host} {port}",
        lines: &[r#"reply-end = "\u0000""#, r#"request = "{}\u0000""#],
        weak: &[],
    },
    Met {
        name: "crlf",
        command: "python3 crlf.py {host} {port}",
        lines: &[r#"reply-end = "\r\n""#],
        weak: &[],
    },
    Met {
        name: "fixed-size",
        command: "python3 fixed-size.py {host} {port}",
        lines: &["reply-end = { size = 32 }"],
        weak: &[],
    },
    Met {
        name: "length",
        command: "python3 length.py {host} {port}",
        lines: &[r#"reply-end = { length = "u32-be" }"#],
        weak: &[],
    },
    Met {
        name: "once",
        command: "python3 once.py {host} {port}",
        lines: &[r#"reply-end = "close""#, "requests-per-connection = 1"],
        weak: &[],
    },
    Met {
        name: "one-client",
        command: "python3 one-client.py {host} {port}",
        lines: &["clients-per-life = 1", r#"expect = "iterative""#],
        weak: &[],
    },
    Met {
        name: "stdin-port",
        command: "python3 stdin-port.py",
        lines: &[r#"input = "{port}\n""#],
        weak: &[],
    },
    Met {
        name: "fixed-port",
        command: "python3 fixed-port.py",
        lines: &["port = 20551"],
        // It does not set SO_REUSEADDR.
        weak: &["startup/restart"],
    },
    Met {
        name: "spaced",
        command: "python3 spaced.py {host} {port}",
        lines: &["spaced = true", r#"shape = "binary""#],
        weak: &[],
    },
    Met {
        name: "fork",
        command: "python3 fork.py {host} {port}",
        lines: &[r#"expect = "fork""#],
        // SIGTERM leaves its children.
        weak: &["shutdown/aborts", "startup/restart"],
    },
    Met {
        name: "echo-raw",
        command: "python3 echo-raw.py {host} {port}",
        lines: &[r#"service = "echo""#, r#"request = "{}""#],
        weak: &[],
    },
];

/// Submissions of `tests/class`: what each is known to fail, if anything; and, where it is to be
/// said, the state of the cases that fail.
const CLASS: &[(&str, &str, &str)] = &[
    ("anna", "", ""),
    ("bert", "", ""),
    ("clara", "", ""),
    ("dora", "results/precedence", "ok"),
    ("emil", "disconnects/reset-in-request", "crash"),
    ("fritz", "framing/byte-by-byte", ""),
    ("gerda", "framing/single", "crash"),
    ("jakob", "framing/single", "hang"),
];

/// Topics of the cases whose outcome depends on how a server is described. The others depend on the
/// server, and are a variant.
const DESCRIBED: &[&str] = &[
    "contract/",
    "framing/",
    "isolation/",
    "malformed/",
    "oversize/",
    "refusal/",
    "results/",
    "wire/",
];

/// Those that mean ill: that they are judged, and gone, is what is wanted.
const HOSTILE: &[&str] = &["hans", "ida", "jakob"];

pub(crate) fn tests() -> Vec<Test> {
    let mut tests = Vec::new();
    for (number, (server, limits)) in built_in().into_iter().enumerate() {
        // Each pattern once, with limits and without in turns; the other way round is a variant.
        let is_variant = number / 2 % 2 != number % 2;
        let is_met = match limits.is_empty() {
            true => format!("a_built_in_server::{server}::is_met_and_passes"),
            false => format!("a_built_in_server::{server}_limited::is_met_and_passes"),
        };
        let test = Test::ignorable(is_met, move || built_in_is_met(&server, &limits));
        tests.push(test.variant(is_variant));
    }
    type Claim = fn() -> Result<(), Failed>;
    let single: &[(&str, Claim)] = &[
        ("a_class_is_judged_and_nothing_of_it_is_left", class_is_judged),
        ("what_wants_other_words_first_is_told", wants_other_words),
        ("where_there_is_no_server_one_message_says_why", no_server),
        ("a_file_that_takes_no_entry_is_left_as_it_is", takes_no_entry),
        ("a_probe_whose_output_nobody_reads_ends_well", nobody_reads),
        ("what_a_server_says_does_not_reach_the_terminal_as_it_is", escapes_are_shown),
        ("a_server_that_runs_already_is_met", meets_what_runs),
        ("a_threaded_server_is_no_select_server", is_no_select_server),
        ("a_server_that_runs_already_is_judged_and_left_alone", runs_already),
        ("load_speaks_the_same_wire", load_speaks_the_same_wire),
        ("what_cannot_be_in_a_manifest_is_told_by_line_and_field", manifest_errors),
    ];
    for (name, claim) in single {
        tests.push(test((*name).to_owned(), "python3", claim));
    }
    for met in MET {
        let name = format!("a_server_that_nobody_described::{}", met.name);
        let is_met = move |topics| move || is_met_and_passes(met, topics);
        tests.push(test(format!("{name}::is_met_and_passes"), "python3", is_met(DESCRIBED)));
        let in_all = test(format!("{name}::passes_in_all_cases"), "python3", is_met(&[]));
        tests.push(in_all.variant(true));
    }
    for name in names(&wires().join("wires.toml")) {
        let is_judged = format!("a_described_server::{name}::passes");
        // One that the probe describes as well is judged by that description, in all cases.
        let is_variant = MET.iter().any(|met| met.name == name);
        let test = test(is_judged, "python3", move || {
            is_right(&wires().join("wires.toml"), &name, &[], &[])
        });
        tests.push(test.variant(is_variant));
    }
    for name in names(&external()) {
        let program = if name.starts_with("node") { "node" } else { "python3" };
        let name: &'static str = name.leak();
        let is_right = move |topics| move || is_right(&external(), name, &[], topics);
        let test = |claim: &str, topics| {
            test(format!("a_server_of_this_project::{name}::{claim}"), program, is_right(topics))
        };
        tests.push(test("passes", DESCRIBED));
        tests.push(test("passes_in_all_cases", &[]).variant(true));
    }
    tests
}

fn test(
    name: String,
    program: &'static str,
    claim: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Test {
    Test::ignorable(name, move || needs(program, || claim().map(|()| Completion::Completed)))
}

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn wires() -> PathBuf {
    here().join("tests/wires")
}

fn external() -> PathBuf {
    here().join("../servers/external/external.toml")
}

/// The names of a manifest's servers.
fn names(manifest: &Path) -> Vec<String> {
    let text = fs::read_to_string(manifest).expect("the manifest is there");
    let table: toml::Table = text.parse().expect("it is TOML");
    let servers = table["server"].as_array().expect("it has servers");
    servers.iter().map(|one| one["name"].as_str().expect("a name").to_owned()).collect()
}

fn harness(folder: &Path, arguments: &[&str]) -> Result<Output, Failed> {
    // A shim that looks for the right version of Python takes longer than a server to start.
    let path = format!("/usr/bin:{}", std::env::var("PATH").unwrap_or_default());
    let mut command = Command::new(env!("CARGO_BIN_EXE_harness"));
    Ok(command.current_dir(folder).env("PATH", path).args(arguments).output()?)
}

fn failed(document: &Value) -> Vec<String> {
    let cases = document["cases"].as_array().cloned().unwrap_or_default();
    let is_bad = |case: &&Value| case["verdict"] == "fail" || case["state"] == "vacuous";
    cases.iter().filter(is_bad).map(|case| case["name"].as_str().unwrap_or("").to_owned()).collect()
}

/// A server of a manifest fails nothing but what it is weak in, and nothing is undecided: in the
/// cases of these topics, or in all where none is named.
fn is_right(
    manifest: &Path,
    name: &str,
    weak: &[&str],
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
    let unexpected: Vec<String> =
        failed(&document).into_iter().filter(|case| !weak.contains(&case.as_str())).collect();
    let least = if topics.is_empty() { 20 } else { 5 };
    if passed < least || !are_right_alone(folder.path(), &file, name, &unexpected, &document)? {
        let evidence = text(&output.stderr);
        return Err(format!("{passed} passed, wrong {unexpected:?}: {evidence}").into());
    }
    Ok(())
}

/// How often cases are run again that a busy machine left inconclusive.
const TRIES: usize = 3;

/// Whether these cases are only inconclusive, and pass when nothing of the check runs beside them: a
/// slow server under a flood may have no time left on a busy machine.
fn are_right_alone(
    folder: &Path,
    manifest: &str,
    name: &str,
    cases: &[String],
    document: &Value,
) -> Result<bool, Failed> {
    let mut left = cases.to_vec();
    let mut document = document.clone();
    for _ in 0..TRIES {
        let judged = document["cases"].as_array().into_iter().flatten();
        let mut failures = judged.filter(|case| case["verdict"] == "fail");
        if left.is_empty() || failures.any(|case| left.iter().any(|one| case["name"] == **one)) {
            break;
        }
        let mut check = vec!["check", "--manifest", manifest, name, "--json", "--jobs", "1"];
        check.extend(left.iter().flat_map(|case| ["--case", case]));
        document = serde_json::from_slice(&harness(folder, &check)?.stdout)?;
        left = failed(&document);
    }
    Ok(left.is_empty())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_met_and_passes(met: &Met, topics: &[&'static str]) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("servers.toml");
    let path = file.display().to_string();
    let asked = ["probe", "--cmd", met.command, "--name", met.name, "--output", &path];
    let output = harness(&wires(), &asked)?;
    let words = text(&output.stderr);
    if !output.status.success() {
        return Err(format!("the probe ended with {}: {words}", output.status).into());
    }
    let entry = fs::read_to_string(&file)?;
    for line in met.lines {
        if !entry.contains(line) {
            return Err(format!("`{line}` is not in the entry:\n{entry}\n{words}").into());
        }
    }
    is_right(&file, met.name, met.weak, topics)
        .map_err(|error| format!("{entry}\n{}", error.message().unwrap_or("")).into())
}

/// Every pattern as it is by default, and with every limit set that it has. The services take turns.
fn built_in() -> Vec<(String, Vec<String>)> {
    let mut rows = Vec::new();
    for (number, pattern) in servers::PATTERNS.iter().enumerate() {
        let service = |turn: usize| Service::ALL[turn % Service::ALL.len()].name();
        rows.push((format!("{}-{}", pattern.id, service(number)), Vec::new()));
        let mut limits = vec!["--max-line", "200", "--idle-timeout", "30s"];
        if !matches!(pattern.workers, Workers::One | Workers::PerClient(_)) {
            limits.extend(["--workers", "2"]);
        }
        limits.extend(match pattern.capacity {
            Capacity::One | Capacity::PerWorker => &[][..],
            Capacity::PerWorkerAndQueue(_) => &["--max-connections", "4"],
            Capacity::Limited { .. } => &["--max-connections", "3"],
        });
        let limits = limits.into_iter().map(str::to_owned).collect();
        rows.push((format!("{}-{}", pattern.id, service(number + 1)), limits));
    }
    rows
}

/// What the probe writes of a built-in server is what `check` finds, too.
fn built_in_is_met(server: &str, limits: &[String]) -> Result<Completion, Failed> {
    let found = servers::find(server).ok_or("it is in the catalogue")?;
    if let Some(words) = found.pattern.unavailable() {
        return Ok(Completion::ignored_with(format!("not run: {words}")));
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("servers.toml").display().to_string();
    let limits = limits.join(" ");
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' serve {server} {{host}} {{port}} {limits}");
    let asked = ["probe", "--cmd", &command, "--name", "it", "--output", &path];
    let output = harness(folder.path(), &asked)?;
    let words = text(&output.stderr);
    if !output.status.success() {
        return Err(format!("the probe ended with {}: {words}", output.status).into());
    }
    let entry = fs::read_to_string(&path)?;
    let row = |key: &str, value: &str| format!("{key} = {value}\n");
    let mut rows = vec![row("ending", r#""drain""#)];
    if let Capacity::One = found.pattern.capacity {
        rows.push(row("capacity", "1"));
    }
    if limits.contains("--max-connections 3") {
        rows.push(row("capacity", "3"));
    }
    if limits.contains("--workers 2") && matches!(found.pattern.capacity, Capacity::PerWorker) {
        rows.push(row("capacity", "2"));
    }
    if limits.contains("--max-connections 4") {
        rows.extend([row("capacity", "2"), row("queue", "2")]);
    }
    let is_full = rows.len() > 1;
    if is_full {
        let when_full = found.pattern.when_full.name();
        rows.push(row("when-full", &format!("\"{when_full}\"")));
    }
    rows.push(row("max-line", if limits.is_empty() { "4096" } else { "200" }));
    if found.service == Service::Calc {
        rows.push(row("error-prefix", r#""error: ""#));
    }
    if let Some(row) = rows.iter().find(|row| !entry.contains(*row)) {
        return Err(format!("`{}` is not in the entry:\n{entry}\n{words}", row.trim()).into());
    }
    for case in ["framing/single", "contract/", "refusal/as-declared"] {
        let check = ["check", "--manifest", &path, "--case", case];
        let output = harness(folder.path(), &check)?;
        let is_not_applicable = output.status.code() == Some(2) && case == "refusal/as-declared";
        let may_not_apply = is_not_applicable && !is_full;
        if !output.status.success() && !may_not_apply {
            let page = text(&output.stdout) + &text(&output.stderr);
            return Err(format!("{case}: {}: {page}\n{entry}", output.status).into());
        }
    }
    Ok(Completion::Completed)
}

/// Nothing that could be talked to: one line says why and what to do.
fn no_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    // A port that nobody listens on: taken, and not listened on.
    let taken = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
    taken.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
    let closed = taken.local_addr()?.as_socket().ok_or("it has an address")?.to_string();
    for (arguments, code, words) in [
        (["--cmd", "no-such-program {port}"], 2, &["no-such-program"][..]),
        (["--cmd", "no-such-program"], 2, &["no-such-program"]),
        (["--cmd", "python3 missing.py {port}"], 3, &["missing.py", "by hand"]),
        (["--cmd", "python3 missing.py"], 3, &["missing.py", "{port}"]),
        (["--connect", &closed], 3, &["connection refused", "start the server"]),
    ] {
        let output = harness(folder.path(), &[&["probe"][..], &arguments].concat())?;
        let said = text(&output.stderr);
        let is_told = words.iter().all(|word| said.contains(word));
        let messages = said.lines().filter(|line| line.starts_with("harness: ")).count();
        if output.status.code() != Some(code) || !is_told || messages != 1 {
            return Err(format!("{arguments:?}: {}: {said}", output.status).into());
        }
    }
    Ok(())
}

/// Told before the server is launched: its command would fail.
fn takes_no_entry() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let described = "[[server]]\nname = \"x\"\ncommand = \"./x {port}\"\n";
    for (content, words) in [(described, "--name"), ("This is no manifest.", "servers.toml")] {
        let file = folder.path().join("servers.toml");
        fs::write(&file, content)?;
        let probe = ["probe", "--cmd", "./no-such-program {port}", "--name", "x"];
        let probe = [&probe[..], &["--output", "servers.toml"]].concat();
        let output = harness(folder.path(), &probe)?;
        let said = text(&output.stderr);
        let is_told = output.status.code() == Some(2) && said.contains(words);
        if !is_told || said.contains("no-such-program") || fs::read_to_string(&file)? != content {
            return Err(format!("{}: {said}", output.status).into());
        }
    }
    Ok(())
}

fn nobody_reads() -> Result<(), Failed> {
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' serve select {{host}} {{port}}");
    let mut probe = common::harness()
        .args(["probe", "--cmd", &command])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // Both pipes have no reader from now on.
    drop((probe.stdout.take(), probe.stderr.take()));
    let status = probe.wait()?;
    if status.success() { Ok(()) } else { Err(format!("it ended with {status}").into()) }
}

/// What a server says to confuse a terminal, it says in vain; what is written is TOML.
fn escapes_are_shown() -> Result<(), Failed> {
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
    let (words, entry) = (text(&output.stderr), text(&output.stdout));
    let is_raw = |said: &str| said.chars().any(|it| it.is_control() && it != '\n');
    if !output.status.success() || is_raw(&words) || is_raw(&entry) {
        return Err(format!("{}: {words:?} {entry:?}", output.status).into());
    }
    let table: toml::Table = entry.parse().map_err(|error| format!("{error}: {entry}"))?;
    let value = table["server"][0]["wire"]["value"].as_str().unwrap_or_default();
    if value.contains("owned") { Ok(()) } else { Err(format!("{value:?}: {entry}").into()) }
}

fn meets_what_runs() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    for (server, limits, line) in [
        ("select-calc", &["--max-connections", "4"][..], "serves 4 at once"),
        ("iterative-calc", &[], "serves 1 at once"),
    ] {
        let mut running = Served::start(&[&[server, "127.0.0.1", "0"][..], limits].concat());
        let address = running.address.to_string();
        let output = harness(folder.path(), &["probe", "--connect", &address])?;
        let goes_on = matches!(running.child.try_wait(), Ok(None));
        let words = text(&output.stderr);
        let is_met = output.status.success() && words.contains(line);
        if !goes_on || !is_met || !output.stdout.is_empty() {
            return Err(format!("{server}: {}: {words}", output.status).into());
        }
    }
    Ok(())
}

fn wants_other_words() -> Result<(), Failed> {
    let output = harness(&wires(), &["probe", "--cmd", "python3 handshake.py {host} {port}"])?;
    let words = text(&output.stderr);
    let is_told = output.status.code() == Some(1) && words.contains("handshake");
    if is_told { Ok(()) } else { Err(format!("{}: {words}", output.status).into()) }
}

fn is_no_select_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let script = here().join("../servers/external/server2.py");
    let command = format!("python3 '{}' {{host}} {{port}}", script.display());
    let check = ["check", "--cmd", &command, "--case", "contract/mechanism", "--expect"];
    let select = harness(folder.path(), &[&check[..], &["select"]].concat())?;
    let page = text(&select.stdout);
    let is_told = page.contains("`select`") && page.contains("a thread for each connection");
    if select.status.code() != Some(1) || !is_told {
        return Err(format!("{}: {page}", select.status).into());
    }
    let threads = harness(folder.path(), &[&check[..], &["threads"]].concat())?;
    match threads.status.code() {
        Some(0) => Ok(()),
        _ => Err(text(&threads.stdout).into()),
    }
}

/// A server of this test's own, which goes on while it is judged.
fn runs_already() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let mut server = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["serve", "select-calc", "127.0.0.1", "0"])
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    let stdout = server.stdout.take().ok_or("it is piped")?;
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
    let address = line.split_whitespace().find_map(|word| {
        let word = word.trim_end_matches(':');
        word.starts_with("127.0.0.1:").then(|| word.to_owned())
    });
    let address = address.ok_or("it says where it listens")?;
    let output =
        harness(folder.path(), &["check", "--connect", &address, "--max-line", "4096", "--json"]);
    let goes_on = matches!(server.try_wait(), Ok(None));
    server.kill()?;
    server.wait()?;
    let output = output?;
    let document: Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    let wrong = failed(&document);
    let is_left_out = document["cases"].as_array().is_some_and(|cases| {
        cases.iter().any(|case| {
            case["name"] == "leaks/memory"
                && case["observed"].as_str().is_some_and(|words| words.contains("--connect"))
        })
    });
    if !goes_on || !wrong.is_empty() || !is_left_out {
        return Err(format!("{wrong:?}: {}", text(&output.stderr)).into());
    }
    Ok(())
}

fn class_is_judged() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let class = here().join("tests/class");
    let file = class.join("class.toml").display().to_string();
    let check = [
        "check",
        "--manifest",
        &file,
        "--confine",
        "--within",
        "40s",
        "--json",
        "--output",
        "page",
    ];
    let output = harness(folder.path(), &check)?;
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", text(&output.stderr)))?;
    let found = |name: &str| documents.iter().find(|one| one["server"] == name);
    for (name, case, state) in CLASS {
        let document = found(name).ok_or_else(|| format!("{name} is not judged"))?;
        let cases = document["cases"].as_array().cloned().unwrap_or_default();
        let fails: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
        let is_as_known = match *case {
            "" => fails.is_empty(),
            case => fails
                .iter()
                .any(|one| one["name"] == case && (state.is_empty() || one["state"] == *state)),
        };
        if !is_as_known {
            let names: Vec<String> =
                fails.iter().map(|one| format!("{} {}", one["name"], one["state"])).collect();
            return Err(format!("{name} fails {names:?}: {}", text(&output.stderr)).into());
        }
    }
    if let Some(name) = HOSTILE.iter().find(|name| found(name).is_none()) {
        return Err(format!("{name} is not judged").into());
    }
    let pages = ["page/marks.html", "page/marks.md", "page/index.html"];
    if let Some(page) = pages.iter().find(|page| !folder.path().join(page).exists()) {
        return Err(format!("there is no {page}").into());
    }
    let left = left_over(&class);
    if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}").into()) }
}

/// Processes that run a program of this folder.
fn left_over(folder: &Path) -> Vec<String> {
    let folder = folder.display().to_string();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|it| it.is_ascii_digit()))
        .filter_map(|entry| {
            let cwd = fs::read_link(entry.path().join("cwd")).ok()?.display().to_string();
            let line = text(&fs::read(entry.path().join("cmdline")).ok()?);
            (cwd.starts_with(&folder) || line.contains(&folder)).then_some(line)
        })
        .collect()
}

fn load_speaks_the_same_wire() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let manifest = wires().join("wires.toml").display().to_string();
    let bench = |names: &[&str], workload: &str, duration: &str| -> Result<Vec<Value>, Failed> {
        let asked = ["bench", "--manifest", &manifest, "--workload", workload, "--json"];
        let brief = ["--duration", duration, "--warm-up", "20ms"];
        let output = harness(folder.path(), &[&asked[..], &brief, names].concat())?;
        let read = serde_json::from_slice(&output.stdout);
        Ok(read.map_err(|error| format!("{error}: {}", text(&output.stderr)))?)
    };
    let names = ["greeting", "prompt", "nul", "crlf", "fixed-size", "length", "spaced", "template"];
    let more = ["handshake", "no-newline", "prefix", "echo-raw"];
    let answered = |one: &Value| one["measurements"][0]["outcomes"]["answered"].as_u64();
    // A busy machine answers nothing in so short a time: then it is measured for longer.
    let measured = |name: &str, workload: &str| -> Result<Value, Failed> {
        let mut one = Value::Null;
        for duration in ["100ms", "1s", "10s"] {
            one = bench(&[name], workload, duration)?.swap_remove(0);
            if answered(&one).is_none_or(|requests| requests > 0) {
                break;
            }
        }
        Ok(one)
    };
    for mut one in bench(&[&names[..], &more].concat(), "closed-8", "100ms")? {
        let name = one["server"].as_str().unwrap_or_default().to_owned();
        if answered(&one) == Some(0) {
            one = measured(&name, "closed-8")?;
        }
        let outcomes = &one["measurements"][0]["outcomes"];
        let sum: u64 =
            outcomes.as_object().into_iter().flatten().filter_map(|it| it.1.as_u64()).sum();
        let right = outcomes["answered"].as_u64().unwrap_or(0)
            + outcomes["in_flight"].as_u64().unwrap_or(0);
        if right == 0 || right != sum {
            return Err(format!("{}: {outcomes} {}", one["server"], one["not_measured"]).into());
        }
    }
    let churn = measured("once", "churn")?;
    if answered(&churn).unwrap_or(0) == 0 {
        return Err(format!("once: {churn}").into());
    }
    for (name, workload, words) in [
        ("once", "closed-1", "a connection is for 1"),
        ("no-newline", "pipelined-16", "must wait for the reply"),
        ("thread-id", "closed-1", "not always the same"),
    ] {
        let found = bench(&[name], workload, "100ms")?;
        if !found[0]["not_measured"].to_string().contains(words) {
            return Err(format!("{name}: {}", found[0]["not_measured"]).into());
        }
    }
    Ok(())
}

fn manifest_errors() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let begin = "[[server]]\nname = \"a\"\ncommand = \"true {port}\"\n";
    for (more, words) in [
        ("speed = 1\n", &["line 4", "unknown field `speed`"][..]),
        ("[server.wire]\nreply-end = { size = 0 }\n", &["line 5", "`reply-end`", "1 byte"]),
        ("[server.wire]\nvalue = \"(\"\n", &["line 5", "`value`", "regular expression"]),
        ("[server.contract]\nwhen-full = \"sulk\"\n", &["line 5", "`when-full`", "wait, refuse"]),
        ("[server.contract]\nidle-timeout = \"soon\"\n", &["line 5", "`idle-timeout`", "250ms"]),
        ("[server.dialect]\nshape = \"round\"\n", &["line 5", "`shape`", "binary"]),
        ("port = \"any\"\n", &["line 4", "`port`", "argument"]),
        ("[[server]]\nname = \"a\"\ncommand = \"true {port}\"\n", &["two servers `a`"]),
        ("[[server]]\nname = \"b\"\ncommand = \"true\"\n", &["line 4", "{port}"]),
        ("[limits]\nmemory = \"much\"\n", &["line 5", "`memory`", "16MiB"]),
    ] {
        let file = folder.path().join("servers.toml");
        fs::write(&file, format!("{begin}{more}"))?;
        let output = harness(folder.path(), &["check", "--manifest", "servers.toml"])?;
        let said = text(&output.stderr);
        let is_told = words.iter().all(|word| said.contains(word));
        if output.status.code() != Some(2) || !is_told {
            return Err(format!("{more}: {words:?} in {}: {said}", output.status).into());
        }
    }
    let output = harness(folder.path(), &["check", "--manifest", "none.toml"])?;
    match output.status.code() {
        Some(2) => Ok(()),
        _ => Err(text(&output.stderr).into()),
    }
}
