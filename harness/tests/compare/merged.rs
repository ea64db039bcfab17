//! `harness report`.

use harness::report::{Document, EXPORTERS};
use harness::results::{LaunchFindings, StartState};

use super::*;

pub(super) fn several_reports_become_one_with_all_runs_in_every_format() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let launch = LaunchFindings { is_daemon: true, ..LaunchFindings::default() };
    let state = StartState { nice: 5, ..StartState::default() };
    let of = |second, verdict| {
        let cases = vec![result("a/b", Some(verdict), State::Completed)];
        let measurements = vec![measured(3, 1e4, 1e6, 2e4)];
        // The first report is of a version that did not record the launch.
        let (launch, start_state) = match second {
            1 => (None, None),
            _ => (Some(launch.clone()), Some(state.clone())),
        };
        let server = ServerResult { measurements, launch, start_state, ..of_cases(cases) };
        report(second, vec![server])
    };
    let one = write(folder.path(), "one", &of(1, Verdict::Pass));
    let two = write(folder.path(), "two", &of(2, Verdict::Fail));
    let output = folder.path().join("merged");
    harness(&["report", &one, &two, "--output"])
        .arg(&output)
        .assert()
        .code(0)
        .stdout(contains("merged 2 reports").and(contains("merged/index.html")));
    let merged = Report::read(&output.join("report.json")).expect("a report");
    assert_eq!(merged.servers[0].measurements[0].runs.len(), 6);
    assert_eq!(merged.servers[0].launch, Some(launch));
    assert_eq!(merged.servers[0].start_state, Some(state));
    // The result that needs attention stays.
    assert_eq!(merged.servers[0].cases[0].verdict, Some(Verdict::Fail));
    for exporter in EXPORTERS {
        let exists = output.join(exporter.file_name).exists();
        assert_eq!(
            exists,
            (exporter.render)(Document::of(&merged)).is_some(),
            "{}",
            exporter.file_name
        );
    }
}

pub(super) fn a_report_is_rendered_again_in_place() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let original = report(1, vec![of_measurements(vec![measured(3, 1e4, 1e6, 2e4)])]);
    let file = write(folder.path(), "report.json", &original);
    harness(&["report", &file, "--output"]).arg(folder.path()).assert().code(0);
    let (rewritten, _) = crate::reports::read_back(&folder.path().join("report.json"));
    let json = EXPORTERS.iter().find(|it| it.file_name == "report.json").expect("a format");
    assert_eq!(Some(rewritten), (json.render)(Document::of(&original)));
    assert!(folder.path().join("index.html").exists());
}

pub(super) fn an_input_of_several_is_not_overwritten_and_none_is_merged_twice() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let one = write(folder.path(), "report.json", &report(1, vec![of_cases(Vec::new())]));
    let two = write(folder.path(), "two.json", &report(2, Vec::new()));
    let before = std::fs::read(&one).expect("a file");
    harness(&["report", &two, &one, "--output"])
        .arg(folder.path())
        .assert()
        .code(2)
        .stderr(contains("would overwrite").and(contains("--output")));
    // The same file under another path.
    let link = folder.path().join("link");
    std::os::unix::fs::symlink(folder.path(), &link).expect("a link");
    harness(&["report", &two, &one, "--output"]).arg(&link).assert().code(2);
    assert_eq!(std::fs::read(&one).expect("a file"), before);
    assert!(!folder.path().join("index.html").exists());
    harness(&["report", &one, link.to_str().expect("a UTF-8 path")])
        .assert()
        .code(2)
        .stderr(contains("is given twice"));
}

pub(super) fn reports_of_different_machines_are_merged_only_on_request() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let one = report(1, Vec::new());
    let mut two = report(2, Vec::new());
    two.environment.kernel = "Linux 9.9".to_owned();
    let (one, two) = (write(folder.path(), "one", &one), write(folder.path(), "two", &two));
    let output = folder.path().join("merged");
    let mut merge = harness(&["report", &one, &two, "--output"]);
    merge.arg(&output).assert().code(2).stderr(contains("different machines"));
    assert!(!output.exists());
    merge.arg("--allow-different-machines").assert().code(0);
    assert!(output.join("report.json").exists());
}

pub(super) fn copies_and_reports_of_different_plans_are_not_merged() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let of = |second, plan: &str| {
        let measurements = vec![measured(1, 1e4, 1e6, 2e4)];
        let servers = vec![ServerResult { measurements, ..of_cases(Vec::new()) }];
        Report { plan: plan.to_owned(), ..report(second, servers) }
    };
    let one = write(folder.path(), "one", &of(1, "quick plan"));
    let output = folder.path().join("merged");
    let merge = |other: &str, more: &str| {
        harness(&["report", &one, other, "--output"])
            .arg(&output)
            .assert()
            .code(2)
            .stderr(contains(more.to_owned()));
        assert!(!output.exists());
    };
    merge(&write(folder.path(), "two", &of(2, "standard plan")), "different plans");
    merge(&write(folder.path(), "copy", &of(1, "quick plan")), "is a copy of another report");
    // A report without measurements has no plan.
    let cases = write(folder.path(), "cases", &report(3, vec![of_cases(Vec::new())]));
    harness(&["report", &cases, &one, "--output"]).arg(&output).assert().code(0);
    let merged = Report::read(&output.join("report.json")).expect("a report");
    assert_eq!((merged.plan.as_str(), merged.merged_reports), ("quick plan", 1));
}
