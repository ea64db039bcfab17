//! The evidence of a result: transcript, resource usage and hint.

use super::*;

fn results(command: &mut Command) -> Vec<Value> {
    let output = command.arg("--json").output().expect("the harness runs").stdout;
    let document: Value = serde_json::from_slice(&output).expect("a JSON document");
    document["cases"].as_array().expect("cases").clone()
}

pub(super) fn server_output_and_exit_are_in_the_transcript_in_time_order() {
    // The server prints its address before it answers. The harness reads this line in another
    // thread. On a busy machine, that thread may run only after the signal, but not 20 times in a
    // row.
    let is_line_before_signal = |_| {
        let cases = results(harness().args(["check", "server3", "--case", "shutdown/sigterm"]));
        let events = cases[0]["transcript"].as_array().expect("events");
        let times: Vec<u64> =
            events.iter().map(|event| event["at_us"].as_u64().expect("a time")).collect();
        assert!(times.is_sorted(), "{times:?}");
        let position = |matches: &dyn Fn(&Value) -> bool| events.iter().position(matches);
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        let signal = position(&|event| text(event, "text").contains("SIGTERM"));
        let signal = signal.expect("a signal in the transcript");
        let exit = position(&|event| event["kind"] == "exited" && event["exit"]["code"] == 0);
        assert!(exit.is_some_and(|exit| exit > signal), "{events:?}");
        let line = position(&|event| {
            let is_output = event["kind"] == "output";
            is_output && text(event, "data").starts_with("\"select-calc listens on ")
        });
        line.unwrap_or_else(|| panic!("{events:?}")) < signal
    };
    assert!((0..20).any(is_line_before_signal));
}

pub(super) fn resource_usage_over_time_is_reported() {
    // A silent client stays connected until the idle timeout.
    let command = format!("'{EXE}' serve select {{host}} {{port}} --idle-timeout 2s");
    let idle = ["check", "--idle-timeout", "2s", "--case", "timeouts/idle-is-closed", "--cmd"];
    let cases = results(harness().args(idle).arg(command));
    let samples = cases[0]["resources"].as_array().expect("samples");
    let descriptors: Vec<u64> =
        samples.iter().map(|sample| sample["descriptors"].as_u64().expect("a count")).collect();
    assert!((2..=64).contains(&descriptors.len()), "{descriptors:?}");
    assert!(descriptors[1] > descriptors[0], "{descriptors:?}");
    failing().assert().stdout(contains("    resources: "));
}

/// An echo server that greets each client with a line.
const GREETING_SERVER: &str = "\
import socketserver, sys
class Greet(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b'hello\\n')
        for line in self.rfile:
            self.wfile.write(line)
socketserver.ThreadingTCPServer((sys.argv[1], int(sys.argv[2])), Greet).serve_forever()
";

pub(super) fn an_extra_reply_line_suggests_a_greeting_and_blocked_cases_print_one_line() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let command =
        format!("python3 '{}' {{host}} {{port}}", file(folder.path(), "s.py", GREETING_SERVER));
    let check = ["check", "--service", "echo", "--cmd", &command];
    let output = harness().args(check).assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8(output).expect("text");
    assert!(text.contains("hint     : does the server send a greeting or a prompt"), "{text}");
    let inconclusive: Vec<&str> =
        text.lines().filter(|line| line.starts_with("inconclusive ")).collect();
    assert!(inconclusive.len() > 10, "{text}");
    let (results, grading_report) = text.split_once("Grading report: ").expect("a grading report");
    assert!(grading_report.contains(" framing/one-line must pass first"), "{text}");
    let evidence = results.lines().filter(|line| line.starts_with("    ")).count();
    assert!((1..10).contains(&evidence), "evidence of the one failure: {text}");
    for line in inconclusive.iter().filter(|line| !line.contains(" framing/single")) {
        assert!(line.contains("is not answered by one line (see framing/one-line)"), "{line}");
    }
}

pub(super) fn every_failure_has_a_hint() {
    // The server violates every declared property.
    let command = format!("'{EXE}' serve select-calc {{host}} {{port}}");
    let cases = results(
        harness()
            .args(["check", "--division", "exact", "--error-prefix", "oops: ", "--queue", "3"])
            .args(["--capacity", "2", "--when-full", "reset", "--shutdown", "abort"])
            .args(["--max-line", "100", "--cmd", &command]),
    );
    let failed: Vec<&Value> = cases.iter().filter(|case| case["verdict"] == "fail").collect();
    assert!(failed.len() > 5, "{}", failed.len());
    let names_no_cause = |case: &&Value| case["hint_names_no_cause"] == true;
    assert!(failed.iter().any(names_no_cause), "every hint names a cause");
    for case in failed {
        let hint = case["hint"].as_str().unwrap_or_else(|| panic!("{} has no hint", case["name"]));
        let without_cause = ["--output DIR", "this is the smallest counterexample"];
        let is_without_cause = without_cause.iter().any(|text| hint.starts_with(text));
        assert_eq!(names_no_cause(&case), is_without_cause, "{}", case["name"]);
    }
}
