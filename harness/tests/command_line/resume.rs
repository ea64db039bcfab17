//! `harness run --resume`.

use std::path::Path;

use predicates::str::contains;
use serde_json::{Value, json};

use super::harness;

fn run(folder: &Path, more: &[&str]) -> assert_cmd::assert::Assert {
    let arguments = ["run", "iterative-echo", "--plan", "quick", "--output"];
    harness().args(arguments).arg(folder).args(more).assert()
}

fn read(folder: &Path) -> Value {
    let text = std::fs::read(folder.join("report.json")).expect("a report");
    serde_json::from_slice(&text).expect("a JSON document")
}

fn write(folder: &Path, report: &Value) {
    std::fs::write(folder.join("report.json"), report.to_string()).expect("a report");
}

/// Returns the throughputs of the first server, by workload.
fn throughputs(report: &Value) -> Vec<(String, f64)> {
    let measurements = report["servers"][0]["measurements"].as_array().expect("measurements");
    let one = |it: &Value| {
        let name = it["workload"].as_str().expect("a name").to_owned();
        (name, it["throughput_per_s"].as_f64().expect("a figure"))
    };
    measurements.iter().map(one).collect()
}

pub(super) fn an_interrupted_run_continues_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path();
    run(folder, &["--seed", "5"]).success();
    let whole = read(folder);
    // A run that was interrupted before its last workload.
    let mut interrupted = whole.clone();
    interrupted["complete"] = json!(false);
    let measurements = interrupted["servers"][0]["measurements"].as_array_mut().expect("an array");
    measurements.retain(|it| it["workload"] != "open-constant");
    write(folder, &interrupted);
    run(folder, &["--resume"]).success();
    let resumed = read(folder);
    assert_eq!(resumed["complete"], true);
    assert_eq!(resumed["seed"], 5);
    assert_eq!(resumed["servers"][0]["cases"], whole["servers"][0]["cases"]);
    let (before, after) = (throughputs(&whole), throughputs(&resumed));
    let names = |all: &[(String, f64)]| all.iter().map(|it| it.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&before), ["closed-1", "open-constant"]);
    assert_eq!(names(&after), names(&before));
    assert_eq!(after[0], before[0], "a workload that was measured is not measured again");
    let duration = |report: &Value| report["duration_ms"].as_u64().expect("a duration");
    assert!(duration(&resumed) >= duration(&whole), "the durations of both runs are added");
}

pub(super) fn a_run_that_cannot_be_continued_is_bad_usage() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let folder = folder.path();
    run(folder, &["--resume"]).code(2).stderr(contains("--resume: cannot read"));
    run(folder, &[]).success();
    run(folder, &["--resume"]).code(2).stderr(contains("is complete: start a new run"));
    let mut report = read(folder);
    report["complete"] = json!(false);
    report["plan"] = json!("standard plan: 250ms each");
    write(folder, &report);
    run(folder, &["--resume"]).code(2).stderr(contains("has another plan (standard plan"));
    report["plan"] = json!("quick plan: 100ms each");
    report["servers"][0]["name"] = json!("other");
    write(folder, &report);
    run(folder, &["--resume"]).code(2).stderr(contains("has other servers"));
    run(folder, &["--resume", "--seed", "3"]).code(2).stderr(contains("cannot be used with"));
}
