//! `--known-failures`: accepted failures, and entries that are stale or invalid.

use super::*;

pub(super) fn a_known_failure_does_not_fail_the_run_and_every_report_shows_its_reason() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let expected = file(folder.path(), "known-failures.toml", KNOWN);
    let report = folder.path().join("report");
    failing()
        .args(["--known-failures", &expected, "--output"])
        .arg(&report)
        .assert()
        .code(0)
        .stdout(contains("known fail ").and(contains("it serves many (")))
        .stdout(contains("0 failed, 1 known failure"));
    for file in ["index.html", "summary.md", "report.json", "junit.xml"] {
        let page = fs::read_to_string(report.join(file)).expect("a readable file");
        assert!(page.contains("it serves many"), "{file}");
    }
    // The entry does not cover other servers or other verdicts.
    for other in ["server = \"server1\"", "verdict = \"inconclusive\""] {
        let expected = file(folder.path(), "other.toml", &format!("{KNOWN}{other}\n"));
        failing().args(["--known-failures", &expected]).assert().code(1);
    }
    let command = format!("server = \"\"\"'{EXE}' serve select {{host}} {{port}}\"\"\"\n");
    let expected = file(folder.path(), "own.toml", &format!("{KNOWN}{command}"));
    failing().args(["--known-failures", &expected]).assert().code(0);
}

pub(super) fn a_known_failure_that_passes_fails_the_run_and_names_the_entry_to_remove() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text = format!("# A comment.\n\n{KNOWN}server = \"server3\"\n");
    let expected = file(folder.path(), "known-failures.toml", &text);
    let message = contains("unexpected pass select-calc refusal/as-declared")
        .and(contains("remove the entry at ").and(contains("known-failures.toml, line 3")));
    let stale = ["check", "server3", "--case", "refusal/as", "--known-failures", &expected];
    harness().args(stale).assert().code(1).stdout(message);
    harness().args(stale).args(["--fail-on", "none"]).assert().code(0);
    let run = ["run", "server3", "--plan", "quick", "--known-failures", &expected, "--output"];
    let output = folder.path().join("report");
    harness().args(run).arg(output).assert().code(1).stdout(contains("1 stale known failure"));
    // Entries for servers and cases that are not run are not stale.
    for (server, case) in [("server4", "refusal/as"), ("server3", "framing/crlf")] {
        let other = ["check", server, "--case", case, "--known-failures", &expected];
        harness().args(other).assert().code(0);
    }
}

pub(super) fn a_known_failure_of_an_undeclared_property_fails_the_run_as_stale_not_as_fixed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let text = "[[known-failure]]\ncase = \"timeouts/idle-is-closed\"\nreason = \"not yet\"\n";
    let expected = file(folder.path(), "known-failures.toml", text);
    let command = format!("'{EXE}' serve select {{host}} {{port}}");
    let message = contains("stale: not applicable ")
        .and(contains("does not apply to what is declared: remove the entry at "))
        .and(contains("1 stale known failure"))
        .and(contains("no longer occurs").not());
    let undeclared =
        ["check", "--case", "timeouts/", "--known-failures", &expected, "--cmd", &command];
    harness().args(undeclared).arg("--shutdown=drain").assert().code(1).stdout(message);
}

pub(super) fn a_known_failure_of_a_command_that_is_not_tested_is_reported() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let entry = |server: &str| format!("{KNOWN}server = \"{server}\"\n");
    let text = entry("server3") + &entry("./old {port}");
    let expected = file(folder.path(), "known-failures.toml", &text);
    let note = format!("{expected}, line 5 is about another server: `./old {{port}}`\n");
    let message = contains(note.as_str()).and(contains("about another server").count(1));
    failing()
        .args(["--known-failures", &expected, "--fail-on", "none"])
        .assert()
        .code(0)
        .stdout(message);
}

pub(super) fn an_error_in_a_known_failures_file_names_the_line_and_the_correction() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let entry = |lines: &str| format!("# Why.\n[[known-failure]]\n{lines}\n");
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
            "expected one of `fail`, `inconclusive`, `warn`",
        ),
        (
            entry("case = \"refusal/\"\nreason = \"x\"\nserver = \"server5\""),
            5,
            "harness list servers",
        ),
        (entry("case = refusal/"), 3, ""),
        ("[[known]]\n".to_owned(), 1, "expected `known-failure`"),
    ] {
        let expected = file(folder.path(), "known-failures.toml", &text);
        let location = format!("harness: {expected}, line {line}");
        for command in ["check", "run"] {
            let wrong = contains(location.as_str()).and(contains(words));
            let expected = [command, "server3", "--known-failures", &expected];
            let output = ["--output".to_owned(), folder.path().join("x").display().to_string()];
            harness().args(expected).args(output).assert().code(2).stdout("").stderr(wrong);
        }
    }
    let missing = ["check", "server3", "--known-failures", "/no/such.toml"];
    harness().args(missing).assert().code(2).stderr(contains("/no/such.toml (--known-failures)"));
}

pub(super) fn the_result_of_a_stale_known_failure_is_printed_once() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let expected = file(folder.path(), "known-failures.toml", KNOWN);
    let stale = ["check", "server3", "--case", "refusal/as", "--known-failures", &expected];
    let unexpected = contains("unexpected pass select-calc refusal/as-declared\n").count(1);
    let not_as_pass = contains("pass refusal/as-declared").not();
    harness().args(stale).assert().code(1).stdout(unexpected.and(not_as_pass));
    // An entry for a whole topic does not make the pass of one case unexpected.
    let text = "[[known-failure]]\ncase = \"framing/\"\nverdict = \"warn\"\nreason = \"x\"\n";
    let expected = file(folder.path(), "topic.toml", text);
    let topic = ["check", "server3", "--case", "framing/crlf", "--known-failures", &expected];
    harness().args(topic).assert().code(0).stdout(contains("pass framing/crlf").count(1));
}

pub(super) fn a_known_failure_of_another_server_of_the_manifest_has_no_effect() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let entry = |name: &str| {
        let program = env!("CARGO_BIN_EXE_harness");
        format!(
            "[[server]]\nname = \"{name}\"\ncommand = \"'{program}' serve select-calc {{host}} {{port}}\"\n"
        )
    };
    let manifest = file(folder.path(), "servers.toml", &(entry("one") + &entry("two")));
    let known = file(folder.path(), "known.toml", &format!("{KNOWN}server = \"two\"\n"));
    harness()
        .args(["check", "--manifest", &manifest, "one", "--case", "framing/crlf"])
        .args(["--known-failures", &known])
        .assert()
        .code(0)
        .stdout(contains("pass framing/crlf"));
    let other = file(folder.path(), "known.toml", &format!("{KNOWN}server = \"three\"\n"));
    harness()
        .args(["check", "--manifest", &manifest, "one", "--known-failures", &other])
        .assert()
        .code(2)
        .stderr(contains("there is no server `three`").and(contains("(one, two)")));
}
