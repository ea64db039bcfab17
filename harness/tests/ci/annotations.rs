//! Annotations and workflow commands in the log of GitHub Actions.

use super::*;

/// Returns the lines that GitHub Actions executes.
fn commands(log: &str) -> Vec<&str> {
    let is_command = |line: &&str| {
        line.trim_start().starts_with("::") || line.contains("##[") || line.contains("##vso[")
    };
    log.split(['\n', '\r']).filter(is_command).collect()
}

pub(super) fn each_cause_of_failures_is_annotated_in_github_actions() {
    let output = |command: &mut Command| command.output().expect("the harness runs");
    let without = output(&mut failing());
    let with = output(failing().env("GITHUB_ACTIONS", "true"));
    let [without, with_text] =
        [&without, &with].map(|it| String::from_utf8_lossy(&it.stdout).into_owned());
    assert_eq!(commands(&without), [""; 0]);
    let found = commands(&with_text);
    assert_eq!(found.len(), 1, "{with_text}");
    assert!(found[0].starts_with("::error title="), "{with_text}");
    assert!(found[0].contains("refusal/as-declared%0A"), "{with_text}");
    assert_eq!((with_text.lines().last(), with.status.code()), (Some(found[0]), Some(1)));
    let mut passing = harness();
    passing.args(["check", "select-echo", "--case", "framing/single"]);
    let passed = output(passing.env("GITHUB_ACTIONS", "true"));
    assert_eq!(commands(&String::from_utf8_lossy(&passed.stdout)), [""; 0]);
    // Standard output of --json is a JSON document.
    let json = output(failing().arg("--json").env("GITHUB_ACTIONS", "true"));
    serde_json::from_slice::<Value>(&json.stdout).expect("a JSON document");
    assert_eq!(commands(&String::from_utf8_lossy(&json.stderr)).len(), 1);
}

pub(super) fn a_run_annotates_what_needs_attention() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let entry = "[[known-failure]]\ncase = \"framing/single\"\nreason = \"it passes\"\n";
    let known = file(folder.path(), "known-failures.toml", entry);
    let mut run = harness();
    run.args(["run", "select-echo", "--plan", "quick", "--known-failures", &known, "--output"]);
    run.arg(folder.path().join("report")).env("GITHUB_ACTIONS", "true");
    let output = run.assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8_lossy(&output);
    let found = commands(&text);
    assert_eq!(found.len(), 1, "{text}");
    assert!(found[0].starts_with("::error title=Remove the known failure of "), "{text}");
    assert!(found[0].contains("known-failures.toml%2C line 1"), "{text}");
    assert_eq!(text.lines().last(), Some(found[0]));
}

/// A server whose replies and output are workflow commands. It exits after its first reply.
const INJECTING_SERVER: &str = "\
import os, socket, sys
COMMANDS = b'::error::injected\\n  ::add-mask::e\\r::stop-commands::x\\n##[error]injected ##vso[task.a]\\n'
server = socket.create_server((sys.argv[1], int(sys.argv[2])))
sys.stderr.buffer.write(COMMANDS)
sys.stderr.flush()
client = server.accept()[0]
client.recv(99)
client.sendall(COMMANDS)
sys.stderr.buffer.write(b'Error: ' + COMMANDS)
sys.stderr.flush()
os._exit(1)
";

pub(super) fn a_server_cannot_inject_a_workflow_command() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let script = file(folder.path(), "##[error]::s.py", INJECTING_SERVER);
    let command = format!("python3 '{script}' {{host}} {{port}}");
    for flags in [&[][..], &["--json"]] {
        let mut check = harness();
        check.args(["check", "--service", "echo", "--case", "framing/", "--cmd", &command]);
        check.args(flags).arg("--counterexamples").arg(folder.path().join("counterexamples"));
        let output = check.env("GITHUB_ACTIONS", "true").output().expect("the harness runs");
        let mut annotations = 0;
        for stream in [&output.stdout, &output.stderr] {
            let text = String::from_utf8_lossy(stream);
            for line in commands(&text) {
                assert!(line.starts_with("::error title="), "{line:?} in {text}");
                annotations += 1;
            }
        }
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("injected"), "the output is quoted: {text}");
        assert!(annotations > 0, "{text}");
        if !flags.is_empty() {
            let document: Value = serde_json::from_str(&text).expect("a JSON document");
            let log = document["cases"][0]["log"].as_str().expect("output");
            assert!(log.contains("##[error]injected"), "the value is unchanged: {log}");
        }
    }
}
