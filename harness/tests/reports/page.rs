//! Tests of `index.html` that need no browser.

use harness::comparison::{ReportComparison, Settings};
use harness::report::chart::{Styles, charts, svg, table};
use harness::report::key_figures::KeyFigures;
use harness::report::{Document, EXPORTERS};
use harness::results::{
    CaseResult, Event, EventKind, IdleConnectionCost, MemoryAt, Overload, OverloadOutcome,
    RateFigures, Report, ServerResult, State, Verdict,
};

use super::rendered;
use super::sample::{measurement, reference_workloads, report, result, server};

/// Maximum sizes in bytes.
const MAX_PAGE: usize = 2_000_000;
const MAX_JSON: usize = 6_000_000;

/// Renders `index.html`.
fn page(report: &Report) -> String {
    rendered(report, "index.html").expect("a page")
}

/// Returns a report as large as that of a run with all servers and the reference plan.
fn full_report() -> Report {
    let cases: Vec<String> =
        harness::conformance::cases().map(|case| case.name.to_owned()).collect();
    let servers = (0..60).map(|number| {
        let name = format!("a-server-with-a-long-name-{number:02}");
        let results = cases.iter().map(|case| CaseResult {
            reproduce: format!("harness check {name} --case {case} --seed 123456"),
            observed: "as required".to_owned(),
            overload: (case == "refusal/as-declared").then(|| Overload {
                outcome: OverloadOutcome::ALL[number % OverloadOutcome::ALL.len()],
                after_us: 70 + number as u64,
                line: None,
            }),
            ..result("", Some(Verdict::Pass), State::Completed)
        });
        let results =
            results.zip(&cases).map(|(result, case)| CaseResult { name: case.clone(), ..result });
        let rate = |at: u32| RateFigures {
            offered_per_s: 1_000.0 * f64::from(at) + 0.123_456_789,
            throughput_per_s: 1_000.0 * f64::from(at),
            p50_ns: Some(50_000),
            p99_ns: Some(500_000),
            is_sustained: at < 40,
            is_limited: false,
        };
        ServerResult {
            family: Some("threads".to_owned()),
            measurements: reference_workloads()
                .iter()
                .zip(1..)
                .map(|(workload, clients)| {
                    let mut one = measurement(workload, clients, 123_456.7);
                    if *workload == "saturation" {
                        one.rates = (0..54).map(rate).collect();
                    }
                    if *workload == "idle-memory" {
                        one.idle_connections = Some(IdleConnectionCost {
                            memory_per_connection_bytes: 1_234,
                            connected_in_ms: 456,
                            growth: (0..11)
                                .map(|at| MemoryAt {
                                    connections: at * 1_000,
                                    anonymous_bytes: 300_000 + at * 1_234_000,
                                })
                                .collect(),
                        });
                    }
                    one
                })
                .collect(),
            ..server(&name, results.collect())
        }
    });
    Report { servers: servers.collect(), ..report() }
}

pub(super) fn the_page_loads_nothing_and_escapes_server_output() {
    let mut report = report();
    report.servers[0].name = "</script><script>alert(1)</script>".to_owned();
    // The name of a namespace is not loaded.
    let page = page(&report).replace("http://www.w3.org/2000/svg", "");
    for word in ["http://", "https://", " src=", "@import", "url(", "<script>alert"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("panicked &lt;at&gt; the worst moment"));
}

pub(super) fn the_page_of_all_servers_is_small() {
    let report = full_report();
    let page = page(&report);
    assert!(page.len() < MAX_PAGE, "{} bytes", page.len());
    let elements = page.matches('<').count() - page.matches("</").count();
    assert!(elements < 50_000, "{elements} elements");
    let json = rendered(&report, "report.json").expect("JSON");
    assert!(json.len() < MAX_JSON, "{} bytes of JSON", json.len());
}

pub(super) fn script_and_style_are_short() {
    let page = page(&report());
    // The rules of the series are made, not written: one for each server.
    let (before, rest) = page.split_once("<style id=\"series-style\">").expect("the rules");
    let page = format!("{before}{}", rest.split_once("</style>").expect("their end").1);
    let size = |begin: &str, end: &str| -> usize {
        page.split(begin).skip(1).map(|rest| rest.split(end).next().map_or(0, str::len)).sum()
    };
    assert!(size("<script>", "</script>") <= 25 * 1024);
    assert!(size("<style", "</style>") <= 12 * 1024);
}

pub(super) fn a_chart_and_its_table_have_the_same_points() {
    let report = full_report();
    let styles = Styles::of(&report);
    let charts = charts(&report, &styles);
    assert_eq!(charts.len(), 8, "every chart has values");
    for chart in &charts {
        let points: usize = chart.series.iter().map(|series| series.points.len()).sum();
        let cells = table(chart).rows.iter().flat_map(|row| &row.cells).flatten().count();
        let circles = svg(chart, &styles, None).into_string().matches("<circle").count();
        assert_eq!((cells, circles), (points, points), "{}", chart.id);
    }
}

pub(super) fn every_server_has_a_row_and_every_result_a_cell() {
    let report = report();
    let page = page(&report);
    assert_eq!(
        page.matches("<tr data-server=").count() + page.matches("data-server=").count() / 2,
        {
            let run = report.servers.iter().filter(|it| it.not_run.is_none()).count();
            report.servers.len() + (report.servers.len() + run) / 2
        }
    );
    for row in KeyFigures::of(&report).rows {
        assert!(page.contains(&format!("<dl id=\"{}\">", row.server.name)), "{}", row.server.name);
    }
    let failed = "<td class=\"fail\"><a href=\"#one-calc/framing/crlf\">✗</a></td>";
    assert!(page.contains(failed), "{page}");
    assert!(page.contains("<div id=\"one-calc/framing/crlf\">"));
}

pub(super) fn long_transcripts_do_not_make_the_page_large() {
    let mut report = full_report();
    let text = |at: u64| {
        let noise: String =
            (0..60).map(|it| char::from(b'!' + ((at * 31 + it * it * 7) % 90) as u8)).collect();
        Event::new(at, 1, EventKind::Received { data: noise })
    };
    for server in &mut report.servers {
        for case in &mut server.cases {
            case.verdict = Some(Verdict::Fail);
            case.transcript = (0..60).map(text).collect();
        }
    }
    let page = page(&report);
    let size = |part: &str| page.split("<section").find(|it| it.contains(part)).map_or(0, str::len);
    let sizes = [
        "id=\"summary\"",
        "id=\"failures\"",
        "id=\"curves\"",
        "id=\"matrix\"",
        "id=\"servers\"",
        "id=\"method\"",
    ]
    .map(size);
    assert!(page.len() < MAX_PAGE, "{} bytes, {sizes:?}", page.len());
    let elements = page.matches('<').count() - page.matches("</").count();
    assert!(elements < 50_000, "{elements} elements");
}

pub(super) fn the_page_shows_what_changed_since_the_baseline() {
    let (old, mut new) = (report(), report());
    new.environment.started_at = "2026-02-03T04:05:06Z".to_owned();
    new.servers[0].cases[0].verdict = Some(Verdict::Fail);
    let comparison = ReportComparison::of(&[old], std::slice::from_ref(&new), Settings::default());
    let exporter = EXPORTERS.iter().find(|exporter| exporter.file_name == "index.html");
    let document = Document { report: &new, baseline: Some(&comparison) };
    let page = (exporter.expect("a page").render)(document).expect("a page");
    assert!(page.contains("<td class=\"fail changed\">"), "the cell is marked");
    assert_eq!(page.matches(" changed\">").count(), 1, "no other cell is marked");
    let section = page.split("id=\"baseline\"").nth(1).expect("a comparison with the baseline");
    assert!(section.contains("one-calc · framing/single"), "the changed verdict is listed");
    assert!(!super::rendered(&new, "index.html").expect("a page").contains("id=\"baseline\""));
}
