//! Compares grading reports with golden files. After an intended change, update the golden files
//! with `BLESS=1 cargo test grading::`.

use std::path::Path;
use std::time::Duration;

use crate::common::{self, tests};
use harness::environment::Environment;
use harness::exit::Exit;
use harness::report::{Document, EXPORTERS, Output, grading};
use harness::results::{
    CaseResult, ConcurrencyModel, Event, EventKind, FORMAT, KnownFailure, KnownVerdict, Report,
    ServerResult, State, Verdict,
};

tests![
    grading_reports_and_the_class_table_match_the_golden_files,
    a_page_is_self_contained_without_scripts_and_escapes_server_output,
    a_single_server_has_a_page_but_no_class_table,
    a_report_without_external_servers_has_no_grading_report_and_removes_an_old_one,
];

/// Output of a hostile server.
const HOSTILE: &str = "<script>alert(1)</script> | `tick` ``` [a](http://b) *c* \u{1b}[31m\n# d";

fn result(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        expected: "the reply \"3\"".to_owned(),
        observed: "as required".to_owned(),
        reproduce: format!("harness check --cmd 'python3 ben.py {{host}} {{port}}' --case {name}"),
        transcript: events(&[
            (1, connected()),
            (1, EventKind::sent(b"1+2\n")),
            (1, EventKind::received(b"3\n")),
        ]),
        duration_ms: 12,
        ..CaseResult::new(name, "what is required")
    }
}

/// Returns a transcript with one event every 100 µs. Each event has a client number.
fn events(kinds: &[(usize, EventKind)]) -> Vec<Event> {
    let kinds = kinds.iter().zip(0_u64..);
    kinds.map(|((client, kind), number)| Event::new(number * 100, *client, kind.clone())).collect()
}

fn connected() -> EventKind {
    EventKind::connected(Duration::from_micros(20))
}

fn passed(name: &'static str) -> CaseResult {
    result(name, Some(Verdict::Pass), State::Completed)
}

fn failed(name: &'static str, observed: &str, hint: &str) -> CaseResult {
    CaseResult {
        observed: observed.to_owned(),
        hint: Some(hint.to_owned()),
        ..result(name, Some(Verdict::Fail), State::Completed)
    }
}

fn crashed(name: &'static str) -> CaseResult {
    CaseResult {
        state: State::Crash,
        client_observed: Some("connection closed".to_owned()),
        exit: Some(Exit::Code(1)),
        log: format!("Traceback (most recent call last):\nUnicodeDecodeError: {HOSTILE}"),
        transcript: events(&[
            (1, connected()),
            (1, EventKind::sent(b"\xff\xfe\n")),
            (1, EventKind::ReceivedFin),
            (0, EventKind::Exited { exit: Exit::Code(1) }),
        ]),
        ..failed(
            name,
            "the server ended, with exit code 1; the client saw: connection closed",
            "what the server wrote last tells where it died",
        )
    }
}

fn server(name: &str, cases: Vec<CaseResult>) -> ServerResult {
    ServerResult {
        name: name.to_owned(),
        command: format!("python3 {name}.py {{host}} {{port}}"),
        external: true,
        contract: "calc, 3 clients at once, the next is told busy".to_owned(),
        concurrency_model: Some(ConcurrencyModel::Threads),
        cases,
        duration_ms: Some(12_345),
        ..ServerResult::default()
    }
}

fn ben() -> ServerResult {
    let split = |name, observed: &str| CaseResult {
        transcript: events(&[
            (1, connected()),
            (1, EventKind::sent(b"1")),
            (1, EventKind::sent(b"+2\n")),
            (1, EventKind::received(b"1\n")),
        ]),
        ..failed(name, observed, "does it take what one read returns for one request?")
    };
    let known = Some(KnownFailure {
        verdict: KnownVerdict::Fail,
        reason: "integers have no limit in <Python>".to_owned(),
        location: "known-failures.toml, line 3".to_owned(),
        cause: None,
    });
    let other = |name, verdict, state, observed: &str| CaseResult {
        observed: observed.to_owned(),
        ..result(name, verdict, state)
    };
    server(
        "ben",
        vec![
            passed("framing/single"),
            split("framing/all-cuts", "\"1\""),
            split("framing/pipelined", HOSTILE),
            other("contract/queue", Some(Verdict::Info), State::Completed, "2 wait"),
            CaseResult {
                known_failure: known,
                ..failed("results/overflow", "a wrong number", "is it checked?")
            },
            crashed("malformed/nul"),
            crashed("malformed/invalid-utf8"),
            CaseResult {
                blocked_by: vec!["framing/pipelined".to_owned()],
                ..other("isolation/schedules", None, State::Inconclusive, "no line")
            },
            other("timeouts/idle-is-closed", None, State::NotApplicable, "nothing is declared"),
            other(
                "startup/any-port",
                Some(Verdict::Warn),
                State::Completed,
                "it does not say which",
            ),
        ],
    )
}

fn report() -> Report {
    let mut built_in = server("select-calc", vec![passed("framing/single")]);
    built_in.external = false;
    let anna = server("anna", vec![passed("framing/single"), passed("results/arithmetic")]);
    let mut hostile = server(HOSTILE, Vec::new());
    hostile.not_run = Some("there is no <program> | for it".to_owned());
    hostile.duration_ms = None;
    Report {
        format: FORMAT,
        complete: true,
        environment: Environment {
            started_at: "2026-01-02T03:04:05Z".to_owned(),
            command: "harness check --manifest class.toml".to_owned(),
            version: "0.1.0".to_owned(),
            commit: None,
            build: "release".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            cpu_model: "A Processor".to_owned(),
            cpus: 2,
            memory_mib: 24_000,
        },
        plan: "no measurements".to_owned(),
        seed: 7,
        duration_ms: 83_000,
        merged_reports: 0,
        servers: vec![built_in, anna, ben(), hostile],
    }
}

fn rendered(report: &Report, file: &str) -> Option<String> {
    let exporter = EXPORTERS.iter().find(|exporter| exporter.file_name == file);
    (exporter.expect("an exporter").render)(Document::of(report))
}

fn grading_reports_and_the_class_table_match_the_golden_files() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let report = report();
    let sheets: Vec<String> =
        report.external().iter().map(|server| grading::grading_text(server)).collect();
    let words = format!("{}\n{}\n", sheets.join("\n"), grading::overview_text(&report.external()));
    let pages = ["grading.md", "grading.html"].map(|file| (file, rendered(&report, file)));
    for (file, page) in pages.into_iter().chain([("grading.txt", Some(words))]) {
        let (page, file) =
            (page.expect("a page, because there are external servers"), golden.join(file));
        let page = common::without_assets(&page);
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &page).expect("a golden file");
        }
        let golden = std::fs::read_to_string(&file).expect("a golden file");
        assert_eq!(page, golden, "{} differs; BLESS=1 updates it", file.display());
    }
}

fn a_page_is_self_contained_without_scripts_and_escapes_server_output() {
    let page = rendered(&report(), "grading.html").expect("a page");
    for word in ["https://", "<script", "src=", "@import", "url(", "\u{1b}"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("&lt;script&gt;"));
    let page = rendered(&report(), "grading.md").expect("a page");
    // Outside of code, every character with a meaning in Markdown is escaped. Code is on one line.
    for line in page.lines() {
        let is_code = line.contains("``");
        assert!(is_code || !line.contains("<script") || line.contains("\\<script"), "{line}");
        assert!(!line.starts_with("# d") && !line.contains('\u{1b}'), "{line}");
    }
}

fn a_single_server_has_a_page_but_no_class_table() {
    let single = Report { servers: vec![ben()], ..report() };
    for file in ["grading.md", "grading.html"] {
        let page = rendered(&single, file).expect("a page");
        assert!(page.contains("ben") && !page.contains("worst fault"), "{file}");
    }
}

fn a_report_without_external_servers_has_no_grading_report_and_removes_an_old_one() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let output = Output::create(folder.path()).expect("an output directory");
    let exist = || ["grading.md", "grading.html"].map(|file| folder.path().join(file).exists());
    output.write(&report()).expect("a written report");
    assert_eq!(exist(), [true, true]);
    let mut built_in = report();
    built_in.servers.truncate(1);
    output.write(&built_in).expect("a written report");
    assert_eq!(exist(), [false, false]);
}
