//! The committed reference report, and the parts of the documentation that are made from it. After
//! a new reference run, `BLESS=1 cargo test reference::` updates the documentation.

use std::path::{Path, PathBuf};

use harness::report::chart::{Styles, charts, file};
use harness::report::{Document, EXPORTERS, findings};
use harness::results::Report;

use crate::common::tests;

tests![
    the_reference_report_is_complete_and_measures_every_server,
    the_findings_in_the_readme_are_those_of_the_reference_report,
    the_pictures_in_the_documentation_are_those_of_the_reference_report,
    every_format_of_the_reference_report_is_small,
];

/// Marks the begin and the end of the findings in the README.
const BEGIN: &str = "<!-- findings: made by a test from reports/reference/report.json -->\n";
const END: &str = "<!-- end of the findings -->\n";

/// The charts in the documentation.
const PICTURES: &[&str] = &["throughput", "rate", "memory"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn reference() -> Report {
    let path = root().join("reports/reference/report.json");
    Report::read(&path).unwrap_or_else(|error| panic!("{error}"))
}

/// Compares a file with the text that it must have. With `BLESS`, writes the file.
fn assert_file(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text).expect("a file");
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(committed, text, "{} is out of date; BLESS=1 updates it", path.display());
}

fn the_reference_report_is_complete_and_measures_every_server() {
    let report = reference();
    assert!(report.complete && report.is_fine(), "the reference run has failures");
    for pattern in servers::PATTERNS {
        for service in ["calc", "echo"] {
            let name = format!("{}-{service}", pattern.id);
            let server = report.servers.iter().find(|server| server.name == name).expect(&name);
            assert!(!server.cases.is_empty(), "{name} is not tested");
            if server.not_run.is_none() {
                let runs = server.measurements.iter().map(|it| it.runs.len()).min();
                assert!(runs >= Some(3), "{name} has {runs:?} runs");
            }
        }
    }
}

fn the_findings_in_the_readme_are_those_of_the_reference_report() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).expect("the README");
    let (before, rest) = readme.split_once(BEGIN).expect("the begin of the findings");
    let (_, after) = rest.split_once(END).expect("the end of the findings");
    let text = format!("{before}{BEGIN}\n{}\n{END}{after}", findings(&reference()).trim_end());
    assert_file(&path, &text);
}

fn the_pictures_in_the_documentation_are_those_of_the_reference_report() {
    let report = reference();
    let styles = Styles::of(&report);
    for name in PICTURES {
        let charts = charts(&report, &styles);
        let chart = charts.iter().find(|chart| chart.id == *name).expect(name);
        assert_file(&root().join(format!("docs/{name}.svg")), &file(chart, &styles));
    }
}

fn every_format_of_the_reference_report_is_small() {
    let report = reference();
    for (name, bound) in
        [("index.html", 2_000_000), ("summary.md", 20_000), ("report.json", 6_000_000)]
    {
        let exporter = EXPORTERS.iter().find(|exporter| exporter.file_name == name).expect(name);
        let text = (exporter.render)(Document::of(&report)).expect(name);
        assert!(text.len() <= bound, "{name} has {} bytes", text.len());
    }
}
