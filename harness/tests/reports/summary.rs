//! The summary, and the annotations.

use harness::results::{
    IdleConnectionCost, Overload, OverloadOutcome, ServerResult, Validity, ValidityLabel,
};

use super::sample::reference_workloads;
use super::*;

/// Returns a report of all built-in servers, with all cases and many workloads.
fn all_servers(cases: impl Fn(&str, &'static str) -> CaseResult) -> Report {
    let built_in = servers::servers().map(|it| (it.name(), it.alias()));
    let external = ["python-threading-server", "node-event-loop"].map(|it| (it.to_owned(), None));
    let one = |(name, alias): (String, Option<&str>)| {
        let results = harness::conformance::cases().map(|case| cases(&name, case.name)).collect();
        let mut result = super::server(&name, results);
        result.alias = alias.map(str::to_owned);
        let measured = |it: &&str| measurement(it, 64, 123_456.0);
        result.measurements = reference_workloads().iter().map(measured).collect();
        result
    };
    let mut report = report();
    report.servers = built_in.chain(external).map(one).collect();
    report
}

fn summary(report: &Report) -> String {
    let summary = rendered(report, "summary.md").expect("a summary");
    assert!(summary.len() <= 20_000, "{} bytes", summary.len());
    summary
}

/// Returns the number before a text.
fn number_before(page: &str, text: &str) -> Option<usize> {
    let (before, _) = page.split_once(text)?;
    before.rsplit(' ').next()?.parse().ok()
}

fn passed(_: &str, case: &'static str) -> CaseResult {
    result(case, Some(Verdict::Pass), State::Completed)
}

pub(super) fn a_summary_of_all_servers_has_at_most_20_kb() {
    let report = all_servers(passed);
    let cases = report.servers[0].cases.len();
    assert!(report.servers.len() >= 58 && cases >= 100, "{} {cases}", report.servers.len());
    let page = summary(&report);
    let servers = report.servers.len();
    assert!(page.contains(&format!("**Passed.** {servers} servers tested. Verdicts:")), "{page}");
    for server in &report.servers {
        let rows = page.lines().filter(|line| line.starts_with(&format!("| {}", server.name)));
        assert!(rows.count() >= 1, "{} is missing", server.name);
    }

    // Every case of every server fails for another reason.
    let failed = |hint: &'static str| {
        move |server: &str, case: &'static str| CaseResult {
            hint: Some(format!("{hint} of {case} on {server}")),
            observed: hint.repeat(50),
            ..result(case, Some(Verdict::Fail), State::Completed)
        }
    };
    let report = all_servers(failed("<&\u{1f600}"));
    let page = summary(&report);
    let shown = page.lines().filter(|line| line.starts_with("- **")).count();
    let more = number_before(&page, " more causes").expect("a count of the other causes");
    assert_eq!(shown + more, report.causes().len());
    assert!(page.contains("</details>\n"), "{page}");

    // No text is bounded by its source.
    let long = "<&`|\u{1f600}".repeat(2_000);
    let mut report = all_servers(failed("<&`|\u{1f600}"));
    report.environment.command.clone_from(&long);
    report.environment.cpu_model.clone_from(&long);
    report.plan.clone_from(&long);
    for server in &mut report.servers {
        server.name += &long;
        server.problem = Some(long.clone());
        for result in &mut server.cases {
            result.reproduce.clone_from(&long);
        }
        for info in ["a/b", "c/d"] {
            let observed = long.clone();
            let info = result(info, Some(Verdict::Info), State::Completed);
            server.cases.push(CaseResult { observed, ..info });
        }
        let known_failure = known();
        let known = result("e/f", Some(Verdict::Fail), State::Completed);
        server.cases.push(CaseResult { known_failure, observed: long.clone(), ..known });
    }
    for number in 0..20 {
        let mut not_run = super::server(&format!("{number}{long}"), Vec::new());
        not_run.not_run = Some(format!("{number}{long}"));
        report.servers.push(not_run);
    }
    report.complete = false;
    let page = summary(&report);
    for noun in ["reasons", "causes", "servers", "known failures", "observations"] {
        assert!(number_before(&page, &format!(" more {noun}")).is_some(), "{noun}: {page}");
    }
    assert_eq!(page.matches("<details>").count(), page.matches("</details>").count());
}

fn failing(server: &str, hint: &str, case: &'static str) -> ServerResult {
    let failed = CaseResult {
        hint: Some(hint.to_owned()),
        ..result(case, Some(Verdict::Fail), State::Completed)
    };
    super::server(server, vec![failed])
}

pub(super) fn failures_of_several_servers_are_grouped_by_likely_cause() {
    let servers = vec![
        failing("a", "it reads once", "framing/all-cuts"),
        failing("b", "it wraps around", "results/overflow"),
        failing("c", "it reads once", "framing/pipelined"),
    ];
    let page = summary(&Report { servers, ..report() });
    let lines: Vec<&str> = page.lines().filter(|line| line.starts_with("- **")).collect();
    assert_eq!(lines.len(), 2, "{page}");
    // Wrong results are more severe than lost replies.
    assert!(lines[0].contains(": 1 failed case on 1 server: b results/overflow"), "{page}");
    let both = ": 2 failed cases on 2 servers: a framing/all-cuts, c framing/pipelined";
    assert!(lines[1].contains(both), "{page}");
    assert_eq!(page.matches("Likely cause: it reads once").count(), 1);
}

pub(super) fn each_result_that_needs_attention_has_one_cause() {
    let mut report = report();
    let blocked = ["framing/single".to_owned()].to_vec();
    let inconclusive = result("results/overflow", None, State::Inconclusive);
    report.servers[1].cases.push(CaseResult { blocked_by: blocked, ..inconclusive });
    report.servers[0].problem = Some("it exited".to_owned());
    let mut causes: Vec<(String, String)> =
        report.causes().into_iter().flat_map(|cause| cause.results).collect();
    causes.sort();
    let mut expected: Vec<(String, String)> = Vec::new();
    for server in &report.servers {
        let cases = server.cases.iter().filter(|result| !result.is_fine()).map(|it| &it.name);
        let failed = server.measurements.iter().filter(|it| it.problem().is_some());
        let names = cases.chain(failed.map(|it| &it.workload)).cloned();
        let own = server.problem.iter().map(|_| String::new());
        expected.extend(names.chain(own).map(|name| (server.name.clone(), name)));
    }
    expected.sort();
    assert_eq!(causes, expected);
    assert_eq!(expected.len(), 5);
}

pub(super) fn key_figures_are_those_of_their_workloads() {
    let mut cases: Vec<CaseResult> = ["a/b", "a/c"].map(|case| passed("", case)).to_vec();
    cases.push(result("a/d", Some(Verdict::Fail), State::Completed));
    cases.push(result("a/e", None, State::NotApplicable));
    let mut one = super::server("one", cases);
    one.when_full = Some(OverloadOutcome::Refused);
    let mut busy = measurement("closed-64", 64, 54_321.0);
    busy.runs.iter_mut().for_each(|run| run.p99_ns = Some(1_000_000));
    let mut fixed = measurement("open-constant", 16, 5_000.0);
    fixed.runs.iter_mut().for_each(|run| run.p99_ns = Some(2_000_000));
    fixed.validity = Validity { label: ValidityLabel::Disturbed, caveats: Vec::new() };
    let mut idle = measurement("idle-memory", 1_000, 10_000.0);
    idle.idle_connections = Some(IdleConnectionCost {
        memory_per_connection_bytes: 2_345,
        connected_in_ms: 1,
        growth: Vec::new(),
    });
    one.measurements = vec![measurement("closed-1", 1, 1.0), busy, fixed, idle];
    let mut two = super::server("two", Vec::new());
    let overload = |outcome| Some(Overload { outcome, after_us: 1, line: None });
    two.cases.push(CaseResult { overload: overload(OverloadOutcome::Busy), ..passed("", "a/b") });
    two.when_full = Some(OverloadOutcome::Refused);
    let page = summary(&Report { servers: vec![one, two], ..report() });
    let row = "| one | 2 of 3 | 54.1 | 1,000 | 2,000† | 2.29 | refused (declared) |";
    assert!(page.contains(row), "{page}");
    let missing = "not measured | ".repeat(4);
    assert!(page.contains(&format!("| two | 1 of 1 | {missing}told busy |")), "{page}");
}

pub(super) fn text_of_a_server_is_no_markup_in_a_summary() {
    let hostile =
        "</details><script>alert(1)</script> | `tick` ``` [a](http://b) *c* \u{1b}[31m\n# d";
    let mut one = super::server(hostile, Vec::new());
    one.measurements = vec![measurement("closed-64", 64, 1.0)];
    for (case, verdict, known_failure) in [
        ("framing/single", Verdict::Fail, None),
        ("framing/crlf", Verdict::Fail, known()),
        ("contract/queue", Verdict::Info, None),
    ] {
        one.cases.push(CaseResult {
            observed: hostile.to_owned(),
            expected: hostile.to_owned(),
            hint: Some(hostile.to_owned()),
            log: hostile.to_owned(),
            reproduce: hostile.to_owned(),
            known_failure,
            ..result(case, Some(verdict), State::Crash)
        });
    }
    one.problem = Some(hostile.to_owned());
    let mut two = super::server(hostile, Vec::new());
    two.not_run = Some(hostile.to_owned());
    let mut report = Report { servers: vec![one, two], ..report() };
    report.environment.command = hostile.to_owned();
    let page = summary(&report);
    let own = page.matches("<details><summary>").count();
    for line in page.lines() {
        let is_own = ["<details><summary>", "</details>"].iter().any(|it| line.starts_with(it));
        // In a code span, with a longer fence than any in the text, markup has no effect.
        let is_code = line.contains("````");
        assert!(is_own || is_code || !line.contains('<'), "{line}");
        assert!(is_code || !line.contains("``` [a]"), "{line}");
        assert!(!line.starts_with("# d") && !line.contains('\u{1b}'), "{line}");
    }
    assert_eq!(page.lines().filter(|line| *line == "</details>").count(), own, "{page}");
    let columns = page.lines().find(|line| line.starts_with("| server |")).expect("a table");
    let row = page.lines().find(|line| line.starts_with("| &lt;")).expect("a row");
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert_eq!(cells(row), cells(columns), "{row}");
}

pub(super) fn annotations_are_at_most_ten_and_count_the_rest() {
    let servers = |count: usize| -> Report {
        let server = |number| failing("a", &format!("cause {number}"), "framing/crlf");
        Report { servers: (0..count).map(server).collect(), ..report() }
    };
    assert_eq!(servers(0).annotations(), []);
    let ten = servers(10).annotations();
    assert_eq!(ten.iter().filter(|it| it.is_error).count(), 10);
    assert_eq!(ten.len(), 10);
    let many = servers(13).annotations();
    assert_eq!((many.len(), many[..10] == ten[..]), (11, true));
    assert!(!many[10].is_error, "GitHub does not show an eleventh error");
    assert_eq!(many[10].title, "more: 3 causes");
    assert!(ten[0].message.contains("1 failed case on 1 server: a framing/crlf"), "{:?}", ten[0]);
}
