//! Mark sheets, byte by byte. After a change that is wanted, `BLESS=1 cargo test marks::`
//! writes the golden files anew.

use std::path::Path;
use std::time::Duration;

use crate::common::trials;
use harness::client::{Event, Happening};
use harness::conformance::{CaseResult, Known, KnownVerdict, State, Verdict};
use harness::environment::Environment;
use harness::exit::Exit;
use harness::report::{EXPORTERS, FORMAT, Output, Report, ServerResult, grading};

trials![
    mark_sheets_and_the_class_table_render_to_the_bytes_that_are_kept,
    a_page_needs_no_network_and_no_script_and_lets_no_server_write_into_it,
    one_server_has_a_page_and_no_table,
    a_report_without_foreign_servers_has_no_mark_sheet_and_leaves_none_of_an_earlier_one,
];

/// What a hostile server may say.
const HOSTILE: &str = "<script>alert(1)</script> | `tick` ``` [a](http://b) *c* \u{1b}[31m\n# d";

fn judgement(name: &'static str, verdict: Option<Verdict>, state: State) -> CaseResult {
    CaseResult {
        verdict,
        state,
        expected: "the reply \"3\"".to_owned(),
        observed: "as required".to_owned(),
        replay: format!("harness check --cmd 'python3 ben.py {{host}} {{port}}' --case {name}"),
        transcript: events(&[
            (1, connected()),
            (1, Happening::Sent(b"1+2\n".to_vec())),
            (1, Happening::Received(b"3\n".to_vec())),
        ]),
        took_ms: 12,
        ..CaseResult::new(name, "what is required")
    }
}

/// One event every 100 µs.
fn events(of: &[(usize, Happening)]) -> Vec<Event> {
    let of = of.iter().zip(0_u64..);
    of.map(|((client, happening), number)| Event::of(number * 100, *client, happening)).collect()
}

fn connected() -> Happening {
    Happening::Connected(Duration::from_micros(20))
}

fn passed(name: &'static str) -> CaseResult {
    judgement(name, Some(Verdict::Pass), State::Ok)
}

fn failed(name: &'static str, observed: &str, hint: &str) -> CaseResult {
    CaseResult {
        observed: observed.to_owned(),
        hint: Some(hint.to_owned()),
        ..judgement(name, Some(Verdict::Fail), State::Ok)
    }
}

fn crashed(name: &'static str) -> CaseResult {
    CaseResult {
        state: State::Crash,
        client_saw: Some("connection closed".to_owned()),
        exit: Some(Exit::Code(1)),
        log: format!("Traceback (most recent call last):\nUnicodeDecodeError: {HOSTILE}"),
        transcript: events(&[
            (1, connected()),
            (1, Happening::Sent(b"\xff\xfe\n".to_vec())),
            (1, Happening::ServerEnded),
            (0, Happening::Exited(Exit::Code(1))),
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
        original: None,
        command: format!("python3 {name}.py {{host}} {{port}}"),
        foreign: true,
        contract: "calc, 3 clients at once, the next is told busy".to_owned(),
        mechanism: Some("threads".to_owned()),
        not_run: None,
        cases,
        took_ms: Some(12_345),
        measured_command: None,
        measurements: Vec::new(),
        not_measured: Vec::new(),
        problem: None,
    }
}

fn ben() -> ServerResult {
    let split = |name, observed: &str| CaseResult {
        transcript: events(&[
            (1, connected()),
            (1, Happening::Sent(b"1".to_vec())),
            (1, Happening::Sent(b"+2\n".to_vec())),
            (1, Happening::Received(b"1\n".to_vec())),
        ]),
        ..failed(name, observed, "does it take what one read returns for one request?")
    };
    let known = Some(Known {
        verdict: KnownVerdict::Fail,
        reason: "integers have no limit in <Python>".to_owned(),
        place: "expected.toml, line 3".to_owned(),
        cause: None,
    });
    let other = |name, verdict, state, observed: &str| CaseResult {
        observed: observed.to_owned(),
        ..judgement(name, verdict, state)
    };
    server(
        "ben",
        vec![
            passed("framing/single"),
            split("framing/all-cuts", "\"1\""),
            split("framing/pipelined", HOSTILE),
            other("contract/queue", Some(Verdict::Info), State::Ok, "2 wait"),
            CaseResult { known, ..failed("results/overflow", "a wrong number", "is it checked?") },
            crashed("malformed/nul"),
            crashed("malformed/invalid-utf8"),
            CaseResult {
                blocked_by: vec!["framing/pipelined"],
                ..other("isolation/schedules", None, State::Vacuous, "no line")
            },
            other("timeouts/idle-is-closed", None, State::NotApplicable, "nothing is declared"),
            other("startup/any-port", Some(Verdict::Loose), State::Ok, "it does not say which"),
        ],
    )
}

fn report() -> Report {
    let mut built_in = server("select-calc", vec![passed("framing/single")]);
    built_in.foreign = false;
    let anna = server("anna", vec![passed("framing/single"), passed("results/arithmetic")]);
    let mut hostile = server(HOSTILE, Vec::new());
    hostile.not_run = Some("there is no <program> | for it".to_owned());
    hostile.took_ms = None;
    Report {
        format: FORMAT,
        complete: true,
        environment: Environment {
            began: "2026-01-02T03:04:05Z".to_owned(),
            command: "harness check --manifest class.toml".to_owned(),
            version: "0.1.0".to_owned(),
            folder_commit: None,
            build: "release".to_owned(),
            kernel: "Linux 6.18".to_owned(),
            processor: "A Processor".to_owned(),
            processors: 2,
            memory_mib: 24_000,
        },
        plan: "no measurements".to_owned(),
        seed: 7,
        servers: vec![built_in, anna, ben(), hostile],
    }
}

fn rendered(report: &Report, file: &str) -> Option<String> {
    let exporter = EXPORTERS.iter().find(|exporter| exporter.file_name == file);
    (exporter.expect("it is there").render)(report)
}

fn mark_sheets_and_the_class_table_render_to_the_bytes_that_are_kept() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let report = report();
    let sheets: Vec<String> =
        report.foreign().iter().map(|one| grading::sheet_words(one)).collect();
    let words = format!("{}\n{}\n", sheets.join("\n"), grading::class_words(&report.foreign()));
    let pages = ["marks.md", "marks.html"].map(|file| (file, rendered(&report, file)));
    for (file, page) in pages.into_iter().chain([("marks.txt", Some(words))]) {
        let (page, file) = (page.expect("there are foreign servers"), golden.join(file));
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&file, &page).expect("a golden file");
        }
        let kept = std::fs::read_to_string(&file).expect("a golden file");
        assert_eq!(page, kept, "{} differs; BLESS=1 keeps the new one", file.display());
    }
}

fn a_page_needs_no_network_and_no_script_and_lets_no_server_write_into_it() {
    let page = rendered(&report(), "marks.html").expect("a page");
    for word in ["https://", "<script", "src=", "@import", "url(", "\u{1b}"] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(page.contains("&lt;script&gt;"));
    let page = rendered(&report(), "marks.md").expect("a page");
    // Outside of code, every letter that could begin something is escaped; code is on one line.
    for line in page.lines() {
        let is_code = line.contains("``");
        assert!(is_code || !line.contains("<script") || line.contains("\\<script"), "{line}");
        assert!(!line.starts_with("# d") && !line.contains('\u{1b}'), "{line}");
    }
}

fn one_server_has_a_page_and_no_table() {
    let one = Report { servers: vec![ben()], ..report() };
    for file in ["marks.md", "marks.html"] {
        let page = rendered(&one, file).expect("a page");
        assert!(page.contains("ben") && !page.contains("first fault"), "{file}");
    }
}

fn a_report_without_foreign_servers_has_no_mark_sheet_and_leaves_none_of_an_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = Output::create(folder.path()).expect("a report");
    let has = || ["marks.md", "marks.html"].map(|file| folder.path().join(file).exists());
    output.write(&report()).expect("it is written");
    assert_eq!(has(), [true, true]);
    let mut built_in = report();
    built_in.servers.truncate(1);
    output.write(&built_in).expect("it is written");
    assert_eq!(has(), [false, false]);
}
