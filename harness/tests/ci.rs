//! What CI needs: exit codes to choose, known failures, JUnit, the step summary, evidence over time;
//! and a document on it that cannot rot.

use std::fs;
use std::path::Path;

use crate::common::{self, trials};
use assert_cmd::Command;
use clap::Parser;
use harness::cli::Cli;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

trials![
    what_fails_the_run_can_be_chosen,
    a_known_failure_does_not_fail_the_run_and_is_shown_with_its_reason_everywhere,
    a_known_failure_that_passes_fails_the_run_and_is_to_be_removed,
    a_known_failure_in_what_is_not_declared_any_more_fails_the_run_and_is_not_called_mended,
    known_failures_of_a_command_that_is_not_judged_are_told,
    a_file_of_known_failures_that_is_wrong_is_told_with_its_line_and_what_is_right,
    verdicts_can_be_had_as_junit_alone,
    what_cannot_be_written_is_refused_at_the_start,
    a_check_that_is_killed_half_way_has_verdicts_and_is_not_green,
    the_step_summary_is_appended_to_where_there_is_one,
    what_a_server_writes_and_its_end_stand_on_the_clock_of_the_wire,
    what_a_server_holds_over_time_is_told,
    where_a_plain_request_gets_more_than_its_line_a_greeting_is_suspected_and_the_rest_is_short,
    every_failure_has_a_hint,
    no_verdict_depends_on_how_an_interpreter_is_set_up_in_the_environment,
    the_command_lines_in_the_documents_are_command_lines,
];

const EXE: &str = env!("CARGO_BIN_EXE_harness");

fn harness() -> Command {
    Command::from(common::harness())
}

/// A check in which `refusal/as-declared` fails: the server serves many, whatever is declared.
fn failing() -> Command {
    let mut command = harness();
    command
        .args(["check", "--capacity", "1", "--when-full", "refuse"])
        .args(["--case", "refusal/as-declared", "--cmd"])
        .arg(format!("'{EXE}' serve select {{host}} {{port}}"));
    command
}

fn file(folder: &Path, name: &str, text: &str) -> String {
    let file = folder.join(name);
    fs::write(&file, text).expect("a file");
    file.display().to_string()
}

const KNOWN: &str = "[[expected]]\ncase = \"refusal/as-declared\"\nreason = \"it serves many\"\n";

fn what_fails_the_run_can_be_chosen() {
    failing().assert().code(1);
    failing().args(["--fail-on", "fail"]).assert().code(1);
    failing().args(["--fail-on", "undecided,loose,not-applicable"]).assert().code(0);
    failing().args(["--fail-on", "none"]).assert().code(0).stdout(contains("1 failed"));
    let among = ["check", "select-echo", "--case", "results/"];
    harness().args(among).assert().code(0);
    harness().args(among).args(["--fail-on", "not-applicable"]).assert().code(1);
    failing().args(["--fail-on", "all"]).assert().code(2).stderr(contains("not-applicable"));
    failing()
        .args(["--fail-on", "none,fail"])
        .assert()
        .code(2)
        .stdout("")
        .stderr(contains("alone"));
}

fn a_known_failure_does_not_fail_the_run_and_is_shown_with_its_reason_everywhere() {
    let folder = tempfile::tempdir().expect("a folder");
    let expected = file(folder.path(), "expected.toml", KNOWN);
    let report = folder.path().join("report");
    failing()
        .args(["--expected", &expected, "--output"])
        .arg(&report)
        .assert()
        .code(0)
        .stdout(contains("known fail ").and(contains("it serves many (")))
        .stdout(contains("0 failed, 1 known failure"));
    for file in ["index.html", "summary.md", "report.json", "junit.xml"] {
        let page = fs::read_to_string(report.join(file)).expect("it is there");
        assert!(page.contains("it serves many"), "{file}");
    }
    // Elsewhere, or as something else, it is a failure as ever.
    for other in ["server = \"server1\"", "verdict = \"undecided\""] {
        let expected = file(folder.path(), "other.toml", &format!("{KNOWN}{other}\n"));
        failing().args(["--expected", &expected]).assert().code(1);
    }
    let command = format!("server = \"\"\"'{EXE}' serve select {{host}} {{port}}\"\"\"\n");
    let expected = file(folder.path(), "own.toml", &format!("{KNOWN}{command}"));
    failing().args(["--expected", &expected]).assert().code(0);
}

fn a_known_failure_that_passes_fails_the_run_and_is_to_be_removed() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = format!("# As of today.\n\n{KNOWN}server = \"server3\"\n");
    let expected = file(folder.path(), "expected.toml", &text);
    let told = contains("unexpected pass select-calc refusal/as-declared")
        .and(contains("remove the entry from ").and(contains("expected.toml, line 3")));
    let stale = ["check", "server3", "--case", "refusal/as", "--expected", &expected];
    harness().args(stale).assert().code(1).stdout(told);
    harness().args(stale).args(["--fail-on", "none"]).assert().code(0);
    let run = ["run", "server3", "--plan", "quick", "--expected", &expected, "--output"];
    let output = folder.path().join("report");
    harness().args(run).arg(output).assert().code(1).stdout(contains("1 stale expectation"));
    // It says nothing of servers that are not judged, and of cases that are not run.
    for (server, case) in [("server4", "refusal/as"), ("server3", "framing/crlf")] {
        let other = ["check", server, "--case", case, "--expected", &expected];
        harness().args(other).assert().code(0);
    }
}

fn a_known_failure_in_what_is_not_declared_any_more_fails_the_run_and_is_not_called_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let text = "[[expected]]\ncase = \"timeouts/idle-is-closed\"\nreason = \"not yet\"\n";
    let expected = file(folder.path(), "expected.toml", text);
    let command = format!("'{EXE}' serve select {{host}} {{port}}");
    let told = contains("stale: not applicable ")
        .and(contains("does not apply: remove the entry from "))
        .and(contains("1 stale expectation"))
        .and(contains("mended").not());
    let undeclared = ["check", "--case", "timeouts/", "--expected", &expected, "--cmd", &command];
    harness().args(undeclared).arg("--ending=drain").assert().code(1).stdout(told);
}

fn known_failures_of_a_command_that_is_not_judged_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let of = |server: &str| format!("{KNOWN}server = \"{server}\"\n");
    let text = format!("{}{}", of("server3"), of("./old {port}"));
    let expected = file(folder.path(), "expected.toml", &text);
    let note = format!("{expected}, line 5 is about another server: `./old {{port}}`\n");
    let told = contains(note.as_str()).and(contains("about another server").count(1));
    failing().args(["--expected", &expected, "--fail-on", "none"]).assert().code(0).stdout(told);
}

fn a_file_of_known_failures_that_is_wrong_is_told_with_its_line_and_what_is_right() {
    let folder = tempfile::tempdir().expect("a folder");
    let entry = |lines: &str| format!("# Why.\n[[expected]]\n{lines}\n");
    for (text, line, words) in [
        (entry("case = \"no/such\"\nreason = \"x\""), 3, "harness list cases"),
        (entry("case = \"refusal\"\nreason = \"x\""), 3, "a topic such as `refusal/`"),
        (entry("case = \"refusal/\"\nreason = \" \""), 4, "say why"),
        (entry("case = \"refusal/\""), 2, "missing field `reason`"),
        (entry("reason = \"x\""), 2, "missing field `case`"),
        (entry("because = \"x\""), 3, "expected one of `server`, `case`, `verdict`, `reason`"),
        (
            entry("case = \"refusal/\"\nreason = \"x\"\nverdict = \"pass\""),
            5,
            "expected one of `fail`, `undecided`, `loose`",
        ),
        (
            entry("case = \"refusal/\"\nreason = \"x\"\nserver = \"server5\""),
            5,
            "harness list servers",
        ),
        (entry("case = refusal/"), 3, ""),
        ("[[known]]\n".to_owned(), 1, "expected `expected`"),
    ] {
        let expected = file(folder.path(), "expected.toml", &text);
        let place = format!("harness: {expected}, line {line}");
        for command in ["check", "run"] {
            let wrong = contains(place.as_str()).and(contains(words));
            let expected = [command, "server3", "--expected", &expected];
            let output = ["--output".to_owned(), folder.path().join("x").display().to_string()];
            harness().args(expected).args(output).assert().code(2).stdout("").stderr(wrong);
        }
    }
    let missing = ["check", "server3", "--expected", "/no/such.toml"];
    harness().args(missing).assert().code(2).stderr(contains("/no/such.toml (--expected)"));
}

fn verdicts_can_be_had_as_junit_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let xml = folder.path().join("test-results/harness.xml");
    failing().arg("--junit").arg(&xml).assert().code(1);
    let read = quick_junit::Report::deserialize_from_str(
        &fs::read_to_string(&xml).expect("it is written"),
    );
    let read = read.expect("it is JUnit");
    assert_eq!((read.tests, read.failures), (1, 1));
    let case = &read.test_suites[0].test_cases[0];
    assert_eq!(case.name.as_str(), "refusal/as-declared");
    assert!(case.classname.as_ref().is_some_and(|name| name.contains("serve select")));
    failing()
        .args(["--junit", "/proc/no/such/file.xml"])
        .assert()
        .code(3)
        .stdout("")
        .stderr(contains("--junit names another"));
}

fn what_cannot_be_written_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().display().to_string();
    let words = format!("{place} (--junit) is a folder");
    failing().args(["--junit", &place]).assert().code(3).stdout("").stderr(contains(words));
    let taken = file(folder.path(), "taken", "");
    for below in [taken.clone(), format!("{taken}/replays")] {
        let words = contains(format!("{taken} is no folder"));
        failing().args(["--replays", &below]).assert().code(3).stdout("").stderr(words);
    }
    // What stands in the way of one file leaves no other behind.
    let report = folder.path().join("report");
    fs::create_dir_all(report.join("summary.md")).expect("a folder");
    failing().arg("--output").arg(&report).assert().code(3).stdout("");
    let names = fs::read_dir(&report).expect("it is there").map(|one| one.expect("it").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with('.')));
}

fn a_check_that_is_killed_half_way_has_verdicts_and_is_not_green() {
    let folder = tempfile::tempdir().expect("a folder");
    let (report, xml) = (folder.path().join("report"), folder.path().join("harness.xml"));
    let mut check = common::harness()
        .args(["check", "select-echo", "--jobs", "1", "--output"])
        .arg(&report)
        .arg("--junit")
        .arg(&xml)
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("the harness starts");
    let read_report = || -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(report.join("report.json")).ok()?).ok()
    };
    common::wait_until("a verdict is written", || {
        read_report().is_some_and(|report| report["servers"][0]["cases"][1].is_object())
    });
    check.kill().expect("it runs");
    check.wait().expect("it ends");
    let report = read_report().expect("a document");
    assert_eq!(report["complete"], false);
    let cases = report["servers"][0]["cases"].as_array().expect("cases").iter();
    let names: Vec<&str> = cases.map(|one| one["name"].as_str().expect("a name")).collect();
    let all = || harness::conformance::cases().map(|case| case.name);
    assert!(all().filter(|name| names.contains(name)).eq(names.clone()), "{names:?}");
    assert!(names.len() < all().count(), "it was not finished");
    let read = quick_junit::Report::deserialize_from_str(
        &fs::read_to_string(&xml).expect("it is written"),
    );
    let read = read.expect("it is JUnit");
    let suite = read.test_suites.last().expect("a suite");
    assert_eq!((suite.name.as_str(), suite.tests, suite.errors), ("harness", 1, 1));
}

fn the_step_summary_is_appended_to_where_there_is_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let summary = file(folder.path(), "summary", "before\n");
    failing().env("GITHUB_STEP_SUMMARY", &summary).assert().code(1);
    let text = fs::read_to_string(&summary).expect("it is there");
    assert!(
        text.starts_with("before\n# ") && text.contains("Verdicts: 0 passed, 1 failed"),
        "{text}"
    );
    failing()
        .env("GITHUB_STEP_SUMMARY", "/proc/no/such/file")
        .assert()
        .code(1)
        .stdout(contains("no step summary: cannot append to /proc/no/such/file"));
    fs::write(&summary, "x".repeat(1024 * 1024 - 300)).expect("a full summary");
    failing().env("GITHUB_STEP_SUMMARY", &summary).assert().code(1);
    let text = fs::read_to_string(&summary).expect("it is there");
    assert!(text.len() <= 1024 * 1024 && text.contains("holds 1 MiB"), "{}", text.len());
}

fn judgements(command: &mut Command) -> Vec<Value> {
    let output = command.arg("--json").output().expect("it ends").stdout;
    let document: Value = serde_json::from_slice(&output).expect("a document");
    document["cases"].as_array().expect("cases").clone()
}

fn what_a_server_writes_and_its_end_stand_on_the_clock_of_the_wire() {
    // The server has written its line before it answers. The harness reads it in a thread of its own,
    // which a busy machine may keep from running until after the signal: rarely, and not 20 times.
    let is_line_before_signal = |_| {
        let cases = judgements(harness().args(["check", "server3", "--case", "shutdown/sigterm"]));
        let events = cases[0]["transcript"].as_array().expect("events");
        let times: Vec<u64> = events.iter().map(|one| one["at_us"].as_u64().expect("it")).collect();
        assert!(times.is_sorted(), "{times:?}");
        let words: Vec<&str> = events.iter().map(|one| one["what"].as_str().expect("it")).collect();
        let place = |begin: &str| words.iter().position(|words| words.starts_with(begin));
        let signal = words.iter().position(|words| words.contains("SIGTERM")).expect("a signal");
        assert!(place("the server ended: exit code 0").is_some_and(|at| at > signal), "{words:?}");
        let written = place("server wrote: \"select-calc listens on ");
        written.unwrap_or_else(|| panic!("{words:?}")) < signal
    };
    assert!((0..20).any(is_line_before_signal));
}

fn what_a_server_holds_over_time_is_told() {
    // A silent client is there for as long as the idle timeout takes.
    let command = format!("'{EXE}' serve select {{host}} {{port}} --idle-timeout 2s");
    let idle = ["check", "--idle-timeout", "2s", "--case", "timeouts/idle-is-closed", "--cmd"];
    let cases = judgements(harness().args(idle).arg(command));
    let samples = cases[0]["resources"].as_array().expect("samples");
    let descriptors: Vec<u64> =
        samples.iter().map(|one| one["descriptors"].as_u64().expect("a count")).collect();
    assert!((2..=64).contains(&descriptors.len()), "{descriptors:?}");
    assert!(descriptors[1] > descriptors[0], "{descriptors:?}");
    failing().assert().stdout(contains("    held     : "));
}

const GREETS: &str = "\
import socketserver, sys
class Greet(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b'hello\\n')
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Greet).serve_forever()
";

fn where_a_plain_request_gets_more_than_its_line_a_greeting_is_suspected_and_the_rest_is_short() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = format!("python3 '{}' {{host}} {{port}}", file(folder.path(), "s.py", GREETS));
    let check = ["check", "--service", "echo", "--cmd", &command];
    let output = harness().args(check).assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8(output).expect("text");
    assert!(text.contains("hint     : does it greet, or prompt"), "{text}");
    let vacuous: Vec<&str> = text.lines().filter(|line| line.starts_with("vacuous ")).collect();
    assert!(vacuous.len() > 10, "{text}");
    let (log, sheet) = text.split_once("Mark sheet: ").expect("a mark sheet");
    assert!(sheet.contains(" framing/one-line must work first"), "{text}");
    let evidence = log.lines().filter(|line| line.starts_with("    ")).count();
    assert!((1..10).contains(&evidence), "of the one failure: {text}");
    for line in vacuous.iter().filter(|line| !line.contains(" framing/single")) {
        assert!(line.contains("is not answered by one line (see framing/one-line)"), "{line}");
    }
}

fn every_failure_has_a_hint() {
    // A calculator that keeps nothing of what is declared.
    let command = format!("'{EXE}' serve select-calc {{host}} {{port}}");
    let cases = judgements(
        harness()
            .args(["check", "--division", "exact", "--error-prefix", "oops: ", "--queue", "3"])
            .args(["--capacity", "2", "--when-full", "reset", "--ending", "abort"])
            .args(["--max-line", "100", "--cmd", &command]),
    );
    let failed: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
    assert!(failed.len() > 5, "{}", failed.len());
    for case in failed {
        assert!(case["hint"].is_string(), "{}", case["name"]);
    }
}

/// It says on which port it listens, and keeps it in a buffer.
const KEEPS: &str = "\
import socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
server = socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Echo)
print('listening on port', server.server_address[1])
server.serve_forever()
";

fn no_verdict_depends_on_how_an_interpreter_is_set_up_in_the_environment() {
    let folder = tempfile::tempdir().expect("a folder");
    let command = format!("python3 '{}' {{host}} {{port}}", file(folder.path(), "s.py", KEEPS));
    for variable in [None, Some("1")] {
        let mut check = harness();
        check.env_remove("PYTHONUNBUFFERED");
        if let Some(value) = variable {
            check.env("PYTHONUNBUFFERED", value);
        }
        let any_port =
            ["check", "--service", "echo", "--case", "startup/any-port", "--cmd", &command];
        check.args(any_port).assert().code(0).stdout(contains("loose startup/any-port"));
    }
    let set = format!("env PYTHONUNBUFFERED=1 {command}");
    let any_port = ["check", "--service", "echo", "--case", "startup/any-port", "--cmd", &set];
    harness().args(any_port).assert().code(0).stdout(contains("pass startup/any-port"));
}

/// The harness's command lines in the code blocks of a document, without what a shell adds.
fn commands(document: &str) -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    for block in document.split("```").skip(1).step_by(2) {
        for line in block.replace("\\\n", " ").lines() {
            let words = shlex::split(line).unwrap_or_default();
            let end_of_command = ["|", "||", "&", "&&", ";", ">", ">>"];
            for command in words.split(|word| end_of_command.contains(&word.as_str())) {
                let is_harness = |word: &String| word == "harness" || word.ends_with("/harness");
                // Before it may stand a prompt, `- run:` or `again    :`, but no other command.
                let before = |word: &String| word == "$" || word == "-" || word.ends_with(':');
                let Some(at) = command.iter().position(is_harness) else { continue };
                if command[..at].iter().all(|word| before(word) || word == "again") {
                    commands.push(command[at..].to_vec());
                }
            }
        }
    }
    commands
}

fn the_command_lines_in_the_documents_are_command_lines() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (document, least) in [("README.md", 5), ("docs/ci.md", 5)] {
        let text = fs::read_to_string(root.join(document)).expect("it is there");
        let commands = commands(&text);
        assert!(commands.len() >= least, "{document}: {commands:?}");
        for command in commands {
            if let Err(error) = Cli::try_parse_from(&command) {
                panic!("{document}: {}: {error}", command.join(" "));
            }
        }
    }
}
