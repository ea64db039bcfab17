//! Report files, JUnit and the step summary: when they are written, and what an incomplete run
//! leaves.

use super::*;

pub(super) fn junit_written_to_a_pipe_or_a_symlink_does_not_replace_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let [target, link, pipe] = ["target", "link", "pipe"].map(|name| folder.path().join(name));
    std::os::unix::fs::symlink(&target, &link).expect("a link");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    // Open for reading and writing, so that the open of a writer does not block.
    let open_pipe = fs::OpenOptions::new().read(true).write(true).open(&pipe).expect("a pipe");
    for file in [&link, &pipe] {
        failing().arg("--junit").arg(file).assert().code(1);
    }
    assert!(fs::symlink_metadata(&link).expect("a link").is_symlink());
    assert!(fs::read_to_string(&target).expect("a readable file").contains("</testsuites>"));
    let mut written = vec![0; 64 * 1024];
    let size = std::io::Read::read(&mut &open_pipe, &mut written).expect("JUnit in the pipe");
    let written = String::from_utf8_lossy(&written[..size]);
    assert_eq!(written.matches("</testsuites>").count(), 1, "{written}");
}

pub(super) fn junit_can_be_written_without_a_report() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let xml = folder.path().join("test-results/harness.xml");
    failing().arg("--junit").arg(&xml).assert().code(1);
    let junit = quick_junit::Report::deserialize_from_str(
        &fs::read_to_string(&xml).expect("a readable file"),
    );
    let junit = junit.expect("valid JUnit XML");
    assert_eq!((junit.tests, junit.failures), (1, 1));
    let case = &junit.test_suites[0].test_cases[0];
    assert_eq!(case.name.as_str(), "refusal/as-declared");
    assert!(case.classname.as_ref().is_some_and(|name| name.contains("serve select")));
    failing()
        .args(["--junit", "/proc/no/such/file.xml"])
        .assert()
        .code(3)
        .stdout("")
        .stderr(contains("choose another file with --junit"));
}

pub(super) fn an_unwritable_output_path_is_rejected_at_startup() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let directory = folder.path().display().to_string();
    let words = format!("--junit: {directory} is a folder");
    failing().args(["--junit", &directory]).assert().code(3).stdout("").stderr(contains(words));
    let plain_file = file(folder.path(), "file", "");
    for path in [plain_file.clone(), format!("{plain_file}/counterexamples")] {
        let words = contains(format!("{plain_file} is not a directory"));
        failing().args(["--counterexamples", &path]).assert().code(3).stdout("").stderr(words);
    }
    // If the harness cannot write one file, it leaves no temporary file behind.
    let report = folder.path().join("report");
    fs::create_dir_all(report.join("summary.md")).expect("a folder");
    failing().arg("--output").arg(&report).assert().code(3).stdout("");
    let entries = fs::read_dir(&report).expect("a directory");
    let names = entries.map(|entry| entry.expect("a directory entry").file_name());
    assert!(!names.into_iter().any(|name| name.to_string_lossy().starts_with('.')));
}

pub(super) fn a_check_killed_halfway_keeps_its_verdicts_and_is_not_reported_as_passed() {
    let folder = tempfile::tempdir().expect("a temporary directory");
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
    check.kill().expect("a running check");
    check.wait().expect("an exit status");
    let report = read_report().expect("a JSON document");
    assert_eq!(report["complete"], false);
    let cases = report["servers"][0]["cases"].as_array().expect("cases").iter();
    let names: Vec<&str> = cases.map(|case| case["name"].as_str().expect("a name")).collect();
    let all = || harness::conformance::cases().map(|case| case.name);
    assert!(all().filter(|name| names.contains(name)).eq(names.clone()), "{names:?}");
    assert!(names.len() < all().count(), "the check ended before it was killed");
    let junit = quick_junit::Report::deserialize_from_str(
        &fs::read_to_string(&xml).expect("a readable file"),
    );
    let junit = junit.expect("valid JUnit XML");
    let suite = junit.test_suites.last().expect("a suite");
    assert_eq!((suite.name.as_str(), suite.tests, suite.errors), ("harness", 1, 1));
}

pub(super) fn an_interrupted_check_prints_the_path_of_its_partial_report() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (report, xml) = (folder.path().join("report"), folder.path().join("harness.xml"));
    let check = common::harness()
        .args(["check", "select-echo", "--jobs", "1", "--output"])
        .arg(&report)
        .arg("--junit")
        .arg(&xml)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .expect("the harness starts");
    let read_report = || -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(report.join("report.json")).ok()?).ok()
    };
    common::wait_until("a verdict is written", || {
        read_report().is_some_and(|report| report["servers"][0]["cases"][0].is_object())
    });
    kill(Pid::from_raw(check.id() as i32), Signal::SIGINT).expect("a signal");
    let output = check.wait_with_output().expect("the harness runs");
    assert_eq!(output.status.code(), Some(130));
    let text = String::from_utf8_lossy(&output.stdout);
    let (page, xml) = (report.join("index.html"), xml.display());
    let message = format!("interrupted; partial results: {}, {xml}\n", page.display());
    assert!(text.ends_with(&message), "{text}");
    let report = read_report().expect("a JSON document");
    assert_eq!(report["complete"], false);
    // The harness does not write the report after each result, so it must write the last ones on
    // SIGINT.
    let count = report["servers"][0]["cases"].as_array().expect("cases").len();
    let printed =
        text.lines().filter(|line| line.contains('/') && line.starts_with("pass ")).count();
    assert!(printed > 0 && count >= printed, "{count}: {text}");
}

pub(super) fn results_are_appended_to_the_github_step_summary() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let summary = file(folder.path(), "summary", "before\n");
    failing().env("GITHUB_STEP_SUMMARY", &summary).assert().code(1);
    let text = fs::read_to_string(&summary).expect("a readable file");
    assert!(
        text.starts_with("before\n# ") && text.contains("Verdicts: 0 passed, 1 failed"),
        "{text}"
    );
    fs::write(&summary, "x".repeat(1024 * 1024 - 300)).expect("a full summary");
    failing().env("GITHUB_STEP_SUMMARY", &summary).assert().code(1);
    let text = fs::read_to_string(&summary).expect("a readable file");
    assert!(text.len() <= 1024 * 1024 && text.contains("has at most 1 MiB"), "{}", text.len());
}

pub(super) fn a_step_summary_that_cannot_be_written_does_not_change_the_exit_code() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    for path in ["/proc/no/such/file".to_owned(), folder.path().display().to_string()] {
        let warning = || contains(format!("no step summary: cannot append to {path}"));
        failing().env("GITHUB_STEP_SUMMARY", &path).assert().code(1).stdout(warning());
        let passing = ["check", "select-echo", "--case", "framing/single"];
        let report = folder.path().join("report");
        let mut check = harness();
        check.args(passing).arg("--output").arg(&report).env("GITHUB_STEP_SUMMARY", &path);
        check.assert().code(0).stdout(warning());
        let summary = fs::read_to_string(report.join("summary.md")).expect("a readable file");
        assert!(summary.contains("**Passed.**"), "{summary}");
    }
}

pub(super) fn the_evidence_of_passed_cases_is_written_on_request() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let report = folder.path().join("report");
    let check = |flags: &[&str]| {
        let mut check = harness();
        check.args(["check", "select-echo", "--case", "framing/single"]).args(flags);
        check
    };
    let report = report.to_str().expect("a UTF-8 path");
    check(&["--evidence", "all"]).assert().code(2).stderr(contains("--output"));
    check(&["--evidence", "all", "--output", report]).assert().code(0);
    let file = Path::new(report).join("evidence/select-echo/framing-single.json");
    let text = fs::read_to_string(&file).expect("a readable file");
    let evidence: Value = serde_json::from_str(&text).expect("a JSON document");
    assert!(!evidence["result"]["transcript"].as_array().expect("events").is_empty());
    check(&["--output", report]).assert().code(0);
    assert!(!file.exists(), "the default is `failures`");
}
