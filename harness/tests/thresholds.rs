//! `--threshold` of `harness load` and `harness bench`.

use assert_cmd::Command;
use harness::results::{
    Caveat, CaveatKind, IdleConnectionCost, Measurement, Outcome, Validity, ValidityLabel,
};
use harness::stats::Quantiles;
use harness::thresholds::{NotMet, Threshold, check_all};
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

use crate::common::{self, DEADLINE, known, tests};
use crate::reports::sample::measurement;

tests![
    every_metric_is_that_of_the_measurement,
    a_threshold_is_not_met_beyond_its_limit_without_a_value_and_in_an_invalid_run,
    memory_per_connection_is_checked_where_it_is_measured,
    an_invalid_threshold_is_a_usage_error_that_says_what_is_allowed,
    a_load_test_exits_with_1_if_a_threshold_is_not_met_and_prints_each_result,
    a_bench_has_the_results_of_each_workload_in_its_document,
];

fn harness(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(DEADLINE).args(arguments);
    command
}

fn threshold(text: &str) -> Threshold {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Returns the reason why the threshold is not met by the measurement.
fn not_met(text: &str, measurement: &Measurement) -> Option<NotMet> {
    let results = check_all(&[threshold(text)], [measurement]);
    assert_eq!(results.len(), 1, "{text}");
    assert_eq!(results[0].is_met, results[0].not_met.is_none(), "{text}");
    results[0].not_met
}

fn idle() -> Measurement {
    let cost = IdleConnectionCost {
        memory_per_connection_bytes: 2048,
        connected_in_ms: 1,
        growth: Vec::new(),
    };
    Measurement { idle_connections: Some(cost), ..measurement("idle-memory", 1000, 1.0) }
}

fn every_metric_is_that_of_the_measurement() {
    let mut one = measurement("closed-8", 8, 1234.5);
    one.outcomes.add_many(Outcome::Reset, 7);
    // The sample has these figures, all different.
    for text in [
        "p50==20us",
        "p90==30us",
        "p99==120us",
        "p99.9==440us",
        "max==2.1ms",
        "throughput==1234.5",
        "outcomes.reset==7",
        "outcomes.answered==5",
        "outcomes.timed_out==0",
        "cpu-per-request==11.4us",
    ] {
        assert_eq!(not_met(text, &one), None, "{text}");
    }
    assert_eq!(not_met("memory-per-connection==2KiB", &idle()), None);
}

fn a_threshold_is_not_met_beyond_its_limit_without_a_value_and_in_an_invalid_run() {
    let valid = measurement("closed-8", 8, 1000.0);
    let too_few = Quantiles { p99: None, ..valid.latency_intended_ns };
    let few = Measurement { latency_intended_ns: too_few, server_stats: None, ..valid.clone() };
    let caveat = Caveat { kind: CaveatKind::Stolen, text: "a guest".to_owned() };
    let disturbed = Measurement {
        validity: Validity { label: ValidityLabel::Disturbed, caveats: vec![caveat] },
        ..valid.clone()
    };
    let is_disturbed = Some(NotMet::NotValid(ValidityLabel::Disturbed));
    for (text, measurement, expected, words) in [
        ("p99<=120us", &valid, None, "threshold p99 <= 120 µs under closed-8: met (120 µs)"),
        ("p99<120us", &valid, Some(NotMet::Beyond), "not met: 120 µs"),
        ("p99<1s", &few, Some(NotMet::NoValue), "no value of p99 (too few requests"),
        ("p90<1s", &few, None, "met (30.0 µs)"),
        ("cpu-per-request<1s", &few, Some(NotMet::NoValue), "no value of cpu-per-request"),
        ("memory-per-connection<1MiB", &valid, Some(NotMet::NoValue), "no value of memory"),
        ("p99<1s", &disturbed, is_disturbed, "not valid (disturbed; measured 120 µs)"),
    ] {
        assert_eq!(not_met(text, measurement), expected, "{text}");
        let result = check_all(&[threshold(text)], [measurement])[0].to_string();
        assert!(result.contains(words), "{text}: {result}");
    }
}

fn memory_per_connection_is_checked_where_it_is_measured() {
    let closed = measurement("closed-8", 8, 1000.0);
    let both = [threshold("memory-per-connection<1KiB"), threshold("throughput>0")];
    let results = check_all(&both, [&closed, &idle()]);
    let found: Vec<(&str, bool)> =
        results.iter().map(|it| (it.workload.as_str(), it.is_met)).collect();
    assert_eq!(found, [("closed-8", true), ("idle-memory", false), ("idle-memory", true)]);
}

fn an_invalid_threshold_is_a_usage_error_that_says_what_is_allowed() {
    for command in [&["load", "127.0.0.1:9"][..], &["bench", "select-echo"]] {
        for (text, words) in [
            ("p98<10ms", "the metrics are p50, p90, p99, p99.9, max, throughput"),
            ("outcomes.lost==0", "one of answered, wrong_reply"),
            ("p99=10ms", "the operators are < <= > >= and =="),
            ("p99<10", "write a time with a unit (ns, us, µs, ms or s)"),
        ] {
            let error = harness(command).args(["--threshold", text]).assert().code(2).stdout("");
            error.stderr(contains(words));
        }
    }
    harness(&["bench", "select-echo", "--against", "poll-echo", "--threshold", "p99<1s"])
        .assert()
        .code(2)
        .stderr(contains("cannot be used with"));
}

/// Runs a short load test of a known-answer server. Returns the document, the text and the code.
fn loaded(answer: &str, arguments: &[&str]) -> (Value, String, i32) {
    let server = known(answer);
    let address = server.address.to_string();
    let short = ["--duration", "300ms", "--warm-up", "10ms", "--connections", "1", "--json"];
    let output = harness(&["load", &address]).args(short).args(arguments).output();
    let output = output.expect("the harness runs");
    let document = serde_json::from_slice(&output.stdout);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (document.expect("a document"), text, output.status.code().expect("a code"))
}

fn a_load_test_exits_with_1_if_a_threshold_is_not_met_and_prints_each_result() {
    let conditions = ["--threshold", "max<3600s", "--threshold", "throughput < 0"];
    let (document, text, code) = loaded("echo", &conditions);
    let results = document["thresholds"].as_array().expect("results");
    let is_valid = document["validity"]["label"] == "valid";
    // Whether a run on a busy machine is valid does not depend on the server.
    let met: Vec<&Value> = results.iter().map(|it| &it["is_met"]).collect();
    assert_eq!(met, [&Value::from(is_valid), &Value::from(false)], "{document}");
    assert_eq!(results[1]["threshold"], "throughput < 0/s");
    assert_eq!(results[1]["value"], document["throughput_per_s"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("threshold throughput < 0/s under load: not met"), "{text}");
    assert!(text.contains("threshold max < 3600 s under load: "), "{text}");
    // Without a threshold, the document is that of the measurement only.
    let (plain, text, _) = loaded("echo", &[]);
    assert_eq!(plain.get("thresholds"), None);
    assert!(!text.contains("threshold"), "{text}");
    let (document, text, code) = loaded("echo", &["--threshold", "max<3600s"]);
    let is_valid = document["validity"]["label"] == "valid";
    assert_eq!(code == 0, is_valid, "{text}");
    // Every reply is wrong, so the run is not valid.
    let (document, text, code) = loaded("wrong:1", &["--threshold", "outcomes.reset==0"]);
    assert_eq!((code, &document["thresholds"][0]["is_met"]), (1, &false.into()), "{text}");
    assert!(text.contains("not met: the run is not valid (faulty; measured 0)"), "{text}");
}

fn a_bench_has_the_results_of_each_workload_in_its_document() {
    let bench = ["bench", "select-echo", "--workload", "closed-1", "--workload", "closed-8"];
    let short = ["--duration", "300ms", "--warm-up", "10ms"];
    let output = harness(&bench)
        .args(short)
        .args(["--json", "--threshold", "throughput<0"])
        .assert()
        .code(1)
        .stderr(contains("select-echo threshold throughput < 0/s under closed-1: not met"));
    let document: Value =
        serde_json::from_slice(&output.get_output().stdout).expect("one document");
    let results = document[0]["thresholds"].as_array().expect("results");
    let workloads: Vec<&Value> = results.iter().map(|it| &it["workload"]).collect();
    assert_eq!(workloads, ["closed-1", "closed-8"]);
    let text = harness(&bench).args(short).args(["--threshold", "throughput<0"]).assert().code(1);
    text.stdout(contains("threshold").and(contains("under closed-8: not met")));
}
