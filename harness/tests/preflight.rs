//! The checks before a server is tested. If the server cannot be tested, the harness prints one
//! message with the remedy. The exit code is 2 for bad usage, 1 if
//! the server does not start, and 3 if there is no server to test.

use std::fs;
use std::net::TcpListener;

use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use crate::common::{self, Served, tests};

tests![
    shell_syntax_in_a_command_is_explained,
    every_command_that_takes_an_address_explains_an_invalid_one,
    a_server_on_any_address_of_localhost_is_found,
    a_file_given_as_a_server_name_is_answered_with_the_check_command
    | "python3" =>
    a_server_that_cannot_be_tested_gives_one_message_with_the_remedy,
    a_server_that_is_no_calculator_is_not_accused_of_wrong_results,
    a_counterexample_is_not_replayed_on_a_server_that_does_not_start,
    servers_beside_an_untestable_one_are_tested_and_each_has_its_entry,
    a_server_that_cannot_be_tested_is_in_the_report_and_in_junit,
];

const EXE: &str = env!("CARGO_BIN_EXE_harness");

fn harness() -> assert_cmd::Command {
    assert_cmd::Command::from(common::harness())
}

/// A calculator whose replies have no line end.
const UNTERMINATED: &str = "\
import socketserver, sys
class Calculate(socketserver.BaseRequestHandler):
    def handle(self):
        while line := self.request.recv(4096):
            self.request.sendall(str(eval(line, {})).encode())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server((sys.argv[1], int(sys.argv[2])), Calculate).serve_forever()
";

/// A key-value store: it knows no expressions.
const KEY_VALUE_STORE: &str = "\
import socketserver, sys
class Store(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            words = line.split()
            if words:
                self.wfile.write(b'OK\\n' if words[0] == b'PING' else b'ERR unknown command\\n')
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
Server((sys.argv[1], int(sys.argv[2])), Store).serve_forever()
";

/// Returns an address without a listener. The port is reserved until the socket is dropped.
fn closed_port() -> (Socket, String) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket
        .bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().expect("an address").into())
        .expect("a port");
    let address = socket
        .local_addr()
        .expect("a local address")
        .as_socket()
        .expect("an IP address")
        .to_string();
    (socket, address)
}

/// Matches a single message of at most 4 lines that contains all of `words`.
fn one_message(words: &[&str]) -> impl Predicate<str> + use<> {
    let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
    predicate::function(move |text: &str| {
        text.starts_with("harness: ")
            && text.lines().filter(|line| line.starts_with("harness: ")).count() == 1
            && text.lines().count() <= 4
            && words.iter().all(|word| text.contains(word.as_str()))
    })
}

fn a_server_that_cannot_be_tested_gives_one_message_with_the_remedy() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let unterminated = folder.path().join("unterminated.py");
    fs::write(&unterminated, UNTERMINATED).expect("a file");
    let unterminated = format!("python3 {} {{host}} {{port}}", unterminated.display());
    let [echo, calc] = ["select-echo", "select-calc"]
        .map(|name| format!("'{EXE}' serve {name} {{host}} {{port}}"));
    let on_another_port = format!("'{EXE}' serve select-calc {{host}} 0 --max-line=1{{port}}");
    let (_reserved, closed) = closed_port();
    let served = Served::start(&["server4", "127.0.0.1", "0"]);
    let running_echo = served.address.to_string();
    let probe = format!("harness probe --cmd '{unterminated}'");
    let rows: &[(&[&str], i32, &[&str])] = &[
        (
            &["--cmd", "/no/such/program {port}"],
            2,
            &["cannot run", "check that `/no/such/program` is installed"],
        ),
        (
            &["--cmd", "python3 missing.py {host} {port}"],
            2,
            &["exit code 2", "there is no `missing.py` in /", "correct the path"],
        ),
        (
            &["--cmd", "sh -c 'echo it is broken; exit 7' {port}"],
            1,
            &["exit code 7", "it is broken", "by hand"],
        ),
        (&["--cmd", &echo], 2, &["it is an echo server", "use --service echo"]),
        (&["--cmd", &calc, "--service", "echo"], 2, &["it is a calculator", "use --service calc"]),
        (&["--cmd", &unterminated], 2, &["not lines", "\"42\"", "without a line feed", &probe]),
        (&["--cmd", &on_another_port], 2, &["listens on", "--port"]),
        (&["--cmd", "./server"], 2, &["no {port}", "--port PORT", "--input '{port}\\n'"]),
        (&["--connect", &closed], 3, &["no server listens on 127.0.0.1:", "start it first"]),
        (&["--connect", &running_echo], 2, &["it is an echo server", "use --service echo"]),
    ];
    for (arguments, code, words) in rows {
        harness()
            .arg("check")
            .args(*arguments)
            .current_dir(folder.path())
            .assert()
            .code(*code)
            .stdout("")
            .stderr(one_message(words));
    }
}

/// Only the cases that judge no reply run.
fn a_server_that_is_no_calculator_is_not_accused_of_wrong_results() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let store = folder.path().join("store.py");
    fs::write(&store, KEY_VALUE_STORE).expect("a file");
    let command = format!("python3 {} {{host}} {{port}}", store.display());
    let prefixed = ["--error-prefix", "ERR"].as_slice();
    for declared in [&[], prefixed] {
        let topics = ["startup", "results", "malformed", "framing", "disconnects"];
        let output = harness()
            .args(["check", "--json", "--cmd", &command])
            .args(declared)
            .args(topics.iter().flat_map(|topic| ["--case", topic]))
            .current_dir(folder.path())
            .assert()
            .code(1)
            .stderr(contains("does not answer plain requests as a calculator does"))
            .get_output()
            .stdout
            .clone();
        let report: Value = serde_json::from_slice(&output).expect("JSON");
        for case in report["cases"].as_array().expect("cases") {
            let name = case["name"].as_str().expect("a name");
            let is_free_of_replies = name.starts_with("startup/")
                || ["disconnects/nothing-said", "disconnects/reset-before-accept"].contains(&name);
            let is_blocked = case["observed"].as_str().is_some_and(|it| it.contains("not judged"));
            let is_tried = case["state"] != "not-applicable";
            assert_eq!(case["state"] == "completed", is_free_of_replies && is_tried, "{case:#}");
            assert_eq!(is_blocked, !is_free_of_replies && is_tried, "{case:#}");
        }
    }
}

fn shell_syntax_in_a_command_is_explained() {
    for (command, words) in [
        ("cd app && ./server {port}", "sh -c 'cd app && ./server {port}'"),
        ("PORT={port} ./server", "env PORT={port} ./server"),
        ("./server {port} | tee log", "sh -c"),
        ("python3 ~/server.py {port}", "the full path"),
    ] {
        for subcommand in ["check", "probe"] {
            let message = one_message(&["no shell runs the command", words]);
            harness()
                .args([subcommand, "--cmd", command])
                .assert()
                .code(2)
                .stdout("")
                .stderr(message);
        }
    }
}

fn every_command_that_takes_an_address_explains_an_invalid_one() {
    for (address, words) in [
        ("http://127.0.0.1:80/", "this is a URL"),
        ("127.0.0.1", "the port is missing"),
        ("no such host:80", "cannot resolve host `no such host`"),
    ] {
        for command in [&["check", "--connect"][..], &["probe", "--connect"], &["load"]] {
            harness()
                .args(command)
                .arg(address)
                .assert()
                .code(2)
                .stdout("")
                .stderr(contains(words).and(contains("HOST:PORT")));
        }
    }
    let client = ["client", "http://127.0.0.1", "80"];
    harness().args(client).assert().code(2).stdout("").stderr(contains("is a URL"));
    let client = ["client", "no such host", "80"];
    harness().args(client).assert().code(3).stdout("").stderr(contains("cannot resolve"));
}

fn a_counterexample_is_not_replayed_on_a_server_that_does_not_start() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("one.json");
    let text = "{\"format\": 1, \"server\": \"one\", \"check\": \"--cmd 'python3 missing.py {port}'\", \
                \"case\": \"results/arithmetic\", \"seed\": 1, \"counterexample\": null}";
    fs::write(&file, text).expect("a file");
    let message = one_message(&["there is no `missing.py`"]);
    harness().arg("replay").arg(&file).assert().code(2).stdout("").stderr(message);
}

/// Writes a manifest of three servers: an echo server declared as a calculator, a missing script,
/// and a server with a correct entry.
fn manifest(folder: &std::path::Path) -> String {
    let entry = |name: &str, command: &str, service: &str| {
        format!(
            "[[server]]\nname = \"{name}\"\ncommand = \"{command}\"\nservice = \"{service}\"\n\n"
        )
    };
    let echo = format!("{EXE} serve select-echo {{host}} {{port}}");
    let text = [
        entry("mistaken", &echo, "calc"),
        entry("missing", "python3 missing.py {host} {port}", "calc"),
        entry("right", &echo, "echo"),
    ];
    let file = folder.join("servers.toml");
    fs::write(&file, text.concat()).expect("a file");
    file.display().to_string()
}

fn servers_beside_an_untestable_one_are_tested_and_each_has_its_entry() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let manifest = manifest(folder.path());
    let check = ["check", "--case", "framing/", "--json", "--manifest", &manifest];
    let output = harness().args(check).assert().code(1).get_output().clone();
    let words = String::from_utf8(output.stderr).expect("text");
    for (name, message) in
        [("mistaken", "it is an echo server"), ("missing", "there is no `missing.py`")]
    {
        let lines = words.lines().filter(|line| line.starts_with(&format!("{name}: not tested: ")));
        assert_eq!(lines.count(), 1, "{words}");
        assert!(words.contains(message), "{words}");
    }
    let document: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let verdicts = |name: &str| {
        let servers = document.as_array().expect("three servers");
        let server = servers.iter().find(|server| server["name"] == name).expect(name);
        let cases = server["cases"].as_array().expect("cases").clone();
        cases.into_iter().filter(|case| case["state"] != "not-applicable").collect::<Vec<Value>>()
    };
    assert!(verdicts("right").iter().all(|case| case["verdict"] != "fail"));
    assert!(verdicts("missing").iter().all(|case| case["verdict"] == "fail"));
    let (failed, others): (Vec<Value>, Vec<Value>) =
        verdicts("mistaken").into_iter().partition(|case| case["verdict"] == "fail");
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0]["name"], "framing/single");
    assert!(!others.is_empty());
    assert!(others.iter().all(|case| case["blocked_by"] == serde_json::json!(["framing/single"])));
}

fn a_server_that_cannot_be_tested_is_in_the_report_and_in_junit() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (report, junit) = (folder.path().join("report"), folder.path().join("junit.xml"));
    harness()
        .args(["check", "--cmd", "python3 missing.py {host} {port}", "--case", "framing/"])
        .arg("--output")
        .arg(&report)
        .arg("--junit")
        .arg(&junit)
        .assert()
        .code(2)
        .stdout("");
    let text = fs::read_to_string(&junit).expect("a readable file");
    assert!(text.contains("framing/single") && text.contains("<failure"), "{text}");
    let grading = fs::read_to_string(report.join("grading.md")).expect("a readable file");
    assert!(grading.contains("missing.py"), "{grading}");
}

fn a_server_on_any_address_of_localhost_is_found() {
    for host in ["127.0.0.1", "::1"] {
        if TcpListener::bind((host, 0)).is_err() {
            // This machine does not have the address.
            continue;
        }
        let served = Served::start(&["server4", host, "0"]);
        let address = format!("localhost:{}", served.port());
        let resolved =
            std::net::ToSocketAddrs::to_socket_addrs(&address).expect("a name that resolves");
        if !resolved.into_iter().any(|address| address == served.address) {
            continue;
        }
        let check =
            ["check", "--service", "echo", "--case", "framing/single", "--connect", &address];
        harness().args(check).assert().code(0);
    }
}

fn a_file_given_as_a_server_name_is_answered_with_the_check_command() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    fs::write(folder.path().join("aio.py"), "").expect("a file");
    harness()
        .args(["check", "aio.py"])
        .current_dir(folder.path())
        .assert()
        .code(2)
        .stderr(contains("harness check --cmd \"python3 aio.py {host} {port}\""));
}
