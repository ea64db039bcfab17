//! Errors in arguments, and in the files and programs that they name.

use super::*;

pub(super) fn an_invalid_argument_is_a_usage_error_that_gives_the_correction() {
    let rows: &[(&[&str], &str)] = &[
        (&["serve", "server5", "127.0.0.1", "0"], "choose one of iterative"),
        (&["serve", "server1", "127.0.0.1", "66000"], "66000"),
        (&["serve", "server1", "127.0.0.1", "0", "--idle-timeout", "soon"], "250ms"),
        (&["check", "--case", "nonsense/"], "harness list cases"),
        (&["check", "--cmd", "python3 x.py"], "{port}"),
        (&["check", "--cmd", "/no/such/program {port}"], "/no/such/program"),
        (&["check", "--capacity", "3"], "--cmd"),
        (&["run", "--plan", "forever"], "quick"),
        (&["nonsense"], "choose one of iterative"),
        (&["chekc"], "did you mean `harness check`?"),
        (&["check", "--case", ""], "the case prefix is empty"),
        (&["bench", "--workload", ""], "the workload prefix is empty"),
        (&["check", "--manifest", "x.toml", "--capacity", "3"], "[server.contract]"),
        (&["check", "--cmd", "x {port}", "--capacity", "-1"], "at least 1"),
        (&["check", "--cmd", "x {port}", "--capacity", "1000000000000"], "at most 10000000"),
        (&["check", "--cmd", "x {port}", "--error-prefix", "a\nb"], "line feed"),
        (&["check", "--cmd", "x {port}", "--busy-prefix", ""], "must not be empty"),
        (&["check", "--cmd", "x {port}", "--idle-tolerance", "1s"], "needs idle-timeout"),
        (&["load", "127.0.0.1:1", "--connections", "-1"], "at least 1"),
        (&["load", "127.0.0.1:1", "--wire", "reply-end = { size = 99999999999 }"], "262144"),
        (&["load", "127.0.0.1:1", "--wire", "greeting = {}"], "{ lines = 1 }"),
    ];
    for (arguments, words) in rows {
        harness().args(*arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

pub(super) fn an_error_about_the_wrong_kind_of_file_says_what_is_expected_and_how_to_get_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str, text: &str| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("a file");
        file.display().to_string()
    };
    let json = file("report.json", "{ \"servers\": [] }");
    let text = file("notes.txt", "These are notes.\n");
    let known = file("known.toml", "[[known-failure]]\ncase = \"refusal/\"\nreason = \"x\"\n");
    let missing = folder.path().join("none").display().to_string();
    let directory = folder.path().display().to_string();
    let manifest: &[&str] = &["[[server]]", "docs/manifest.md", "harness probe --cmd"];
    for wrong in [&json, &text, &known, &missing, &directory] {
        for command in ["check", "bench"] {
            error_says_what_is_expected(&[command, "--manifest", wrong], wrong, manifest);
        }
    }
    let manifest = file("servers.toml", "[[server]]\nname = \"x\"\ncommand = \"./x {port}\"\n");
    let expected: &[&str] = &["[[known-failure]]", "docs/ci.md", "`reason`"];
    for wrong in [&json, &text, &manifest, &missing, &directory] {
        error_says_what_is_expected(
            &["check", "server1", "--known-failures", wrong],
            wrong,
            expected,
        );
    }
    let replay: &[&str] = &["counterexample file", "`harness check`", "`counterexamples/`"];
    for wrong in [&json, &text, &manifest, &missing, &directory] {
        error_says_what_is_expected(&["replay", wrong], wrong, replay);
    }
}

fn error_says_what_is_expected(arguments: &[&str], file: &str, words: &[&str]) {
    let output = harness().args(arguments).assert().code(2).stdout("");
    let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
    assert!(error.starts_with("harness: ") && error.contains(file), "{arguments:?}: {error}");
    for word in words {
        assert!(error.contains(word), "{arguments:?}: no {word} in {error}");
    }
}

pub(super) fn a_value_of_a_manifest_without_a_meaning_is_an_error_that_names_the_limit() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = folder.path().join("servers.toml");
    for (lines, words) in [
        ("contract = { capacity = 1_000_000_000_000 }", "at most 10000000"),
        ("contract = { error-prefix = \"a\\nb\" }", "line feed"),
        ("contract = { idle-tolerance = '1s' }", "needs idle-timeout"),
        ("dialect = { operators = '++' }", "listed twice"),
        ("wire = { reply-end = { size = 99999999999 } }", "from 1 to 262144"),
        ("wire = { greeting = {} }", "{ lines = 1 }"),
        ("[confinement]\ntasks = 0", "line 5"),
    ] {
        let text = format!("[[server]]\nname = 'x'\ncommand = 'x {{port}}'\n{lines}\n");
        std::fs::write(&file, &text).expect("a file");
        let output = harness().args(["check", "--manifest"]).arg(&file).assert().code(2);
        let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(error.contains(words), "{text}: {error}");
    }
}

pub(super) fn a_probe_of_a_missing_program_reports_nothing_about_its_port() {
    for (command, code) in
        [("/no/such/program {host} {port}", 2), ("/no/such/program", 2), ("false {port}", 3)]
    {
        let output = harness().args(["probe", "--cmd", command]).assert().code(code).stdout("");
        let error = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        let are_messages = error.lines().all(|line| line.starts_with("harness: "));
        assert!(are_messages && !error.is_empty(), "{command}: {error}");
    }
}
