//! Comparisons of servers that a command of the command line starts.

use super::*;

/// Settings of the shortest comparison. It has too few pairs for an interval.
const SHORT: [&str; 6] = ["--launches", "4", "--duration", "1ms", "--connections", "8"];

/// Returns the command that starts this program as a server.
fn command(arguments: &str) -> String {
    format!("'{}' {arguments} {{host}} {{port}}", env!("CARGO_BIN_EXE_harness"))
}

fn results(arguments: &[&str]) -> (Vec<Value>, i32) {
    compared(&[arguments, &SHORT].concat())
}

pub(super) fn two_commands_are_compared() {
    let (old, new) = (command("serve select-echo"), command("serve poll-echo"));
    let (found, code) = results(&["--cmd", &new, "--against-cmd", &old]);
    assert_eq!((found.len(), code), (1, 0), "{found:?}");
    let names = ["server", "against"].map(|key| found[0][key].as_str().expect("a name"));
    assert!(names[0].ends_with("serve poll-echo {host} {port}"), "{names:?}");
    assert!(names[1].ends_with("serve select-echo {host} {port}"), "{names:?}");
    assert_eq!(found[0]["failed"], Value::Null, "{found:?}");
    // A build can be compared with itself: the noise of the machine.
    let (found, code) = results(&["--cmd", &new, "--against-cmd", &new]);
    assert_eq!((found.len(), &found[0]["failed"], code), (1, &Value::Null, 0), "{found:?}");
    // A command and a built-in server, in both roles.
    let (found, _) = results(&["--cmd", &new, "--against", "select-echo"]);
    assert_eq!((&found[0]["against"], &found[0]["failed"]), (&"select-echo".into(), &Value::Null));
    let (found, _) = results(&["select-echo", "poll-echo", "--against-cmd", &old]);
    assert!(found.iter().map(|it| &it["server"]).eq(["select-echo", "poll-echo"]), "{found:?}");
    // The program of the new build is wrong: it is named.
    let wrong = command("known wrong:1");
    let (found, code) = results(&["--cmd", &wrong, "--against-cmd", &old]);
    let failed = found[0]["failed"].as_str().expect("a failure");
    assert!(failed.contains("known wrong:1") && failed.contains("wrong reply"), "{failed}");
    assert_eq!(code, 1);
}

pub(super) fn a_manifest_entry_is_compared_with_a_built_in_server() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = manifest(folder.path(), &[("mine", "known echo"), ("other", "known echo")]);
    let of = |arguments: &[&str]| {
        let (found, code) = results(&[&["--manifest", &file], arguments].concat());
        let key = |key: &str| found[0][key].as_str().expect("a name").to_owned();
        assert_eq!((found.len(), &found[0]["failed"], code), (1, &Value::Null, 0), "{found:?}");
        (key("server"), key("against"))
    };
    let pair = |one: &str, other: &str| (one.to_owned(), other.to_owned());
    assert_eq!(of(&["mine", "--against", "select-echo"]), pair("mine", "select-echo"));
    assert_eq!(of(&["select-echo", "--against", "mine"]), pair("select-echo", "mine"));
    assert_eq!(of(&["mine", "--against", "other"]), pair("mine", "other"));
    let old = command("known echo");
    assert_eq!(of(&["mine", "--against-cmd", &old]).0, "mine");
    assert_eq!(of(&["--cmd", &old, "--against", "mine"]).1, "mine");
    bench(&["--manifest", &file, "absent", "--against", "select-echo"])
        .assert()
        .code(2)
        .stderr(contains("there is no server `absent`"));
}

pub(super) fn service_and_wire_are_those_of_the_commands() {
    let calc = command("serve select-calc");
    let (found, _) = results(&["--cmd", &calc, "--service", "calc", "--against", "poll-calc"]);
    assert_eq!(found[0]["failed"], Value::Null, "{found:?}");
    bench(&["--cmd", &calc, "--against", "poll-calc"])
        .assert()
        .code(2)
        .stderr(contains("compare servers of the same service"));
    // With this wire protocol, each request is invalid, and the server answers with an error.
    let wire = ["--wire", "request = \"bogus {}\\n\"", "--service", "calc"];
    let (found, code) = results(&[&["--cmd", &calc, "--against", "poll-calc"], &wire[..]].concat());
    let failed = found[0]["failed"].as_str().expect("a failure");
    assert!(failed.contains("serve select-calc") && code == 1, "{failed}");
}

pub(super) fn an_invalid_command_is_rejected_before_anything_is_launched() {
    let echo = command("serve select-echo");
    let rows: &[(&[&str], &str)] = &[
        (
            &["--cmd", "/no/such/program {port}", "--against", "select-echo"],
            "--cmd: /no/such/program",
        ),
        (
            &["select-echo", "--against-cmd", "no-such-program {port}"],
            "--against-cmd: no-such-program",
        ),
        (&["select-echo", "--against-cmd", "sh -c true"], "{port}"),
        (&["--cmd", "sh 'x {port}", "--against", "select-echo"], "quote"),
        (&["select-echo", "--cmd", &echo], "cannot be used with"),
        (&["select-echo", "--against", "poll-echo", "--against-cmd", &echo], "cannot be used with"),
        (&["select-echo", "--against", "poll-echo", "--service", "calc"], "--cmd"),
        (&["--cmd", &echo, "--launches", "9"], "--against"),
        (&["--cmd", &echo, "--manifest", "servers.toml"], "--cmd and --manifest"),
        (&["--cmd", &echo, "--against-cmd", &echo, "--workload", "churn"], "cannot be used with"),
    ];
    for (arguments, words) in rows {
        bench(arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

pub(super) fn a_server_with_the_backlog_of_pythons_socketserver_is_not_called_failed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("server.py");
    let program = "\
import socketserver, sys
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
assert Server.request_queue_size == 5
Server((sys.argv[1], int(sys.argv[2])), Handler).serve_forever()
";
    std::fs::write(&file, program).expect("a file");
    let python = format!("python3 '{}' {{host}} {{port}}", file.display());
    for connections in ["16", "64"] {
        let arguments = ["--cmd", &python, "--against-cmd", &python, "--launches", "4"];
        let short = ["--duration", "1ms", "--connections", connections];
        let (found, code) = compared(&[&arguments[..], &short].concat());
        assert_eq!((&found[0]["failed"], code), (&Value::Null, 0), "{connections}: {found:?}");
    }
}
