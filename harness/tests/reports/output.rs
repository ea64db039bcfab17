//! The subdirectories of a report.

use std::fs;

use harness::report::Output;
use serde_json::Value;

use super::sample::{every_event, failed};
use super::*;

/// Returns the paths of all files in a directory, relative to it.
fn files(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        match path.is_dir() {
            true => files.extend(self::files(&path).iter().map(|it| format!("{name}/{it}"))),
            false => files.push(name),
        }
    }
    files.sort();
    files
}

fn with_transcripts() -> Report {
    let mut report = report();
    let passed = CaseResult {
        transcript: every_event(),
        log: "output".to_owned(),
        ..result("framing/single", Some(Verdict::Pass), State::Completed)
    };
    let mut other = server("../other server", vec![passed.clone(), failed()]);
    other.measurements = vec![measurement("closed-1", 1, 1.0)];
    report.servers = vec![server("one", vec![passed, failed()]), other];
    report
}

pub(super) fn a_report_keeps_the_evidence_of_passed_cases_on_request() {
    let folder = tempfile::tempdir().expect("a directory");
    let output = || Output::create(folder.path()).expect("a directory");
    output().write(&with_transcripts()).expect("a report");
    assert!(!folder.path().join("evidence").exists());
    let output = output().with_evidence(Evidence::All);
    output.write(&with_transcripts()).expect("a report");
    let evidence = folder.path().join("evidence");
    let names = files(&evidence);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[1] == "one/framing-single.json" && names[0] == "files.json", "{names:?}");
    assert!(names[2].starts_with("other-server-"), "{names:?}");
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(evidence.join(name)).expect("a file");
        serde_json::from_str(&text).expect("a JSON document")
    };
    for (name, server) in [(&names[2], "../other server"), (&names[1], "one")] {
        let document = read(name);
        assert_eq!((&document["server"], &document["seed"]), (&server.into(), &7.into()));
        let transcript = document["result"]["transcript"].as_array().expect("a transcript");
        assert_eq!(transcript.len(), every_event().len());
        assert_eq!(document["result"]["log"], "output");
    }
    assert_eq!(read("files.json")[1]["server"], "../other server");
    // A continued run reads the results of the earlier run, without the evidence of passed cases.
    let continued = Report::read(&folder.path().join("report.json")).expect("a report");
    output.write(&continued).expect("a report");
    assert_eq!(files(&evidence), names);
    output.write(&Report { servers: Vec::new(), ..report() }).expect("a report");
    assert!(!evidence.exists());
}

pub(super) fn old_files_of_subdirectories_are_removed() {
    let folder = tempfile::tempdir().expect("a directory");
    let output = Output::create(folder.path()).expect("a directory");
    output.write(&report()).expect("a report");
    let histograms = folder.path().join("histograms");
    fs::write(histograms.join("own.hlog"), "of the user").expect("a file");
    output.write(&with_transcripts()).expect("a report");
    let names = files(&histograms);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[1].starts_with("other-server-") && names[1].ends_with("--closed-1.hlog"));
    assert_eq!([&names[0], &names[2]], ["files.json", "own.hlog"]);
}
