//! The topic `contract/`: a wrong declaration fails only the case of its property, and properties
//! that are not declared are reported.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::common::tests;
use serde_json::Value;

tests![
    a_server_that_matches_its_declaration_passes,
    a_wrong_declaration_fails_only_the_case_that_names_it,
    closing_an_idle_client_after_the_tolerance_fails_the_declaration,
    a_wrong_queue_declaration_fails_the_queue_case,
    undeclared_properties_are_reported_with_the_flags_that_declare_them,
    an_echo_server_can_declare_a_maximum_line_length_and_its_error,
    cases_with_several_clients_apply_to_a_server_without_a_declared_limit_that_serves_them
    | "python3" =>
    a_server_that_does_not_drain_is_distinguished_from_one_that_does,
    the_rest_of_a_reply_is_awaited,
    an_echo_with_any_transformation_passes_the_leak_cases,
];

/// Arguments of a built-in server without a queue, and the properties that it declares.
const SELECT: &str = "serve select {host} {port} --max-connections 5 --idle-timeout 3s";
const DECLARED: [(&str, &str); 8] = [
    ("capacity", "5"),
    ("queue", "0"),
    ("when-full", "busy"),
    ("max-line", "4096"),
    ("error-prefix", "error: "),
    ("idle-timeout", "3s"),
    ("shutdown", "drain"),
    ("concurrency-model", "select"),
];

/// Arguments of a built-in server that queues three connections.
const POOL: &str = "serve thread-pool {host} {port} --workers 2 --max-connections 5";

struct CaseSummary {
    /// Name of the case, without `contract/`.
    case: String,
    /// Verdict, and the state unless it is `ok`.
    verdict: String,
    observed: String,
}

/// Tests a server of the harness with the contract cases.
fn check(serve: &str, declared: &[(&str, &str)]) -> Vec<CaseSummary> {
    let program = env!("CARGO_BIN_EXE_harness");
    check_command("contract/", &format!("'{program}' {serve}"), declared)
}

/// Tests the server that `command` launches, with the cases that `case` selects.
fn check_command(case: &str, command: &str, declared: &[(&str, &str)]) -> Vec<CaseSummary> {
    let flags = declared.iter().map(|(name, value)| format!("--{name}={value}"));
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--case", case, "--json", "--cmd", command])
        .args(flags)
        .output()
        .expect("the harness runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).expect(&stderr);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cases = document["cases"].as_array().expect("cases");
    let summary = |case: &Value| CaseSummary {
        case: text(&case["name"]).replace("contract/", ""),
        verdict: match case["state"].as_str() {
            Some("completed") => text(&case["verdict"]),
            _ => format!("{} ({})", text(&case["verdict"]), text(&case["state"])),
        },
        observed: text(&case["observed"]),
    };
    cases.iter().map(summary).collect()
}

/// Runs the checks in parallel, because they mostly wait.
fn in_parallel<T: Sync>(rows: &[T], check: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(|| check(row));
        }
    });
}

/// Returns `DECLARED` with one value replaced.
fn declared_except(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    DECLARED.iter().map(|&row| if row.0 == name { (name, value) } else { row }).collect()
}

fn results_other_than<'s>(
    verdict: &str,
    results: &'s [CaseSummary],
) -> Vec<(&'s str, &'s str, &'s str)> {
    results
        .iter()
        .filter(|result| result.verdict != verdict)
        .map(|result| (result.case.as_str(), result.verdict.as_str(), result.observed.as_str()))
        .collect()
}

fn a_server_that_matches_its_declaration_passes() {
    assert_eq!(results_other_than("pass", &check(SELECT, &DECLARED)), []);
    let pool = [("capacity", "2"), ("queue", "3"), ("when-full", "busy")];
    let results = check(POOL, &pool);
    assert_eq!(results_other_than("pass", &results).len(), 5, "five properties are not declared");
}

fn a_wrong_declaration_fails_only_the_case_that_names_it() {
    let too_many = "5 connections served at a time; the next one: \"error: busy, try again later\", then a clean close (FIN)";
    let busy = "5 connections served; the next one: \"error: busy, try again later\", then a clean close (FIN)";
    let lines = "requests up to 4096 bytes answered; a longer one: \"error: line too long (limit 4096 bytes)\"";
    let wrong = [
        ("capacity", "4", "capacity", too_many),
        ("capacity", "6", "capacity", too_many),
        ("queue", "1", "queue", "0 connections queued"),
        ("when-full", "refuse", "when-full", busy),
        ("when-full", "wait", "when-full", busy),
        ("max-line", "100", "max-line", lines),
        ("max-line", "4097", "max-line", lines),
        ("max-line", "65536", "max-line", lines),
        ("error-prefix", "oops", "error-lines", ""),
        ("idle-timeout", "5s", "idle-timeout", "closed after "),
        ("concurrency-model", "threads", "concurrency-model", "select: with "),
    ];
    let fails = |&(name, value, case, observed): &(_, _, &str, &str)| {
        let results = check(SELECT, &declared_except(name, value));
        let failed = results_other_than("pass", &results);
        let named: Vec<_> = failed.iter().map(|&(case, verdict, _)| (case, verdict)).collect();
        assert_eq!(named, [(case, "fail")], "{name} {value}: {failed:?}");
        assert!(
            failed.iter().all(|result| result.2.starts_with(observed)),
            "{name} {value}: {failed:?}"
        );
    };
    in_parallel(&wrong, fails);
}

fn closing_an_idle_client_after_the_tolerance_fails_the_declaration() {
    let mut declared = declared_except("idle-timeout", "2700ms");
    assert_eq!(
        results_other_than("pass", &check(SELECT, &declared)),
        [],
        "the default tolerance is 500 ms"
    );
    declared.push(("idle-tolerance", "20ms"));
    let slow = SELECT.replace("3s", "10s");
    let results = check(&slow, &declared);
    let failed = results_other_than("pass", &results);
    assert_eq!(failed, [("idle-timeout", "fail", "open for at least 2720 ms without a request")]);
}

fn a_wrong_queue_declaration_fails_the_queue_case() {
    in_parallel(&["0", "2", "4"], |queue| {
        let declared = [("capacity", "2"), ("queue", *queue), ("when-full", "busy")];
        let results = check(POOL, &declared);
        let failed: Vec<_> =
            results.iter().filter(|result| result.verdict.starts_with("fail")).collect();
        let named: Vec<_> =
            failed.iter().map(|result| (result.case.as_str(), &*result.observed)).collect();
        assert_eq!(named, [("queue", "3 connections queued")], "declared {queue}");
    });
}

fn undeclared_properties_are_reported_with_the_flags_that_declare_them() {
    let busy = "\"error: busy, try again later\", then a clean close (FIN)";
    let pool = [
        ("capacity", "2 connections served at a time; the next one is queued; declare it with --capacity 2".to_owned()),
        ("when-full", format!("2 connections served and 3 queued; the next one: {busy}; declare it with --when-full busy")),
        ("queue", "3 connections queued; declare it with --queue 3".to_owned()),
        ("max-line", "requests up to 4096 bytes answered; a longer one: \"error: line too long (limit 4096 bytes)\"; declare it with --max-line 4096".to_owned()),
        ("error-lines", "error replies begin with \"error: \"; declare it with --error-prefix 'error: '".to_owned()),
        ("idle-timeout", "open for at least 1000 ms without a request".to_owned()),
        ("concurrency-model", "declare it with --concurrency-model thread-pool".to_owned()),
        ("shutdown", "all requests in flight are answered, then exit code 0; declare it with --shutdown drain".to_owned()),
    ];
    let results = check(POOL, &[]);
    assert_eq!(results_other_than("info", &results), []);
    // concurrency.rs tests the description of the threads.
    let observed = |result: &CaseSummary| match (
        result.case.as_str(),
        result.observed.split_once("; declare"),
    ) {
        ("concurrency-model", Some((_, flags))) => format!("declare{flags}"),
        _ => result.observed.clone(),
    };
    let reported: Vec<_> =
        results.iter().map(|result| (result.case.as_str(), observed(result))).collect();
    assert_eq!(reported, pool);
    let servers = [
        (
            "iterative",
            "1 connection served at a time; the next one: connected, but no reply; declare it with --capacity 1 --when-full wait",
        ),
        (
            "iterative-refuse",
            "1 connection served at a time; the next one: connection refused; declare it with --capacity 1 --when-full refuse",
        ),
        (
            "iterative-reset",
            "1 connection served at a time; the next one: connected, then reset; declare it with --capacity 1 --when-full reset",
        ),
        ("select", "at least 256 connections served at a time"),
    ];
    in_parallel(&servers, |(server, observed)| {
        let results = check(&format!("serve {server} {{host}} {{port}}"), &[]);
        assert_eq!(results[0].observed, *observed, "{server}");
    });
    let results = check(&SELECT.replace("3s", "300ms"), &[("shutdown", "drain")]);
    assert!(results[5].observed.starts_with("closed after "), "{}", results[5].observed);
    assert!(results[5].observed.contains(" ms without a request; declare it with --idle-timeout "));
}

fn an_echo_server_can_declare_a_maximum_line_length_and_its_error() {
    let serve = "serve select-echo {host} {port} --max-connections 5";
    let declared = [("service", "echo"), ("max-line", "4096"), ("error-prefix", "oops")];
    let results = check(serve, &declared);
    let failed: Vec<_> = results.iter().filter(|result| result.verdict == "fail").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].case, "error-lines");
    let results = check(serve, &[("service", "echo")]);
    assert_eq!(
        results_other_than("info", &results)[0].0,
        "error-lines",
        "an echo server has no known error reply"
    );
}

/// Tests how a Python server handles SIGTERM. Returns the verdict and the observation. The `shell`
/// commands run before the server, whose first argument is its `behaviour` on SIGTERM.
fn python_shutdown(shell: &str, behaviour: &str, declared: &[(&str, &str)]) -> (String, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/shutdown.py");
    let script = script.display();
    let command =
        format!("sh -c '{shell} exec python3 -S -E {script} {behaviour} $0 $1' {{host}} {{port}}");
    let declared = [&[("service", "echo")], declared].concat();
    let case = check_command("contract/shutdown", &command, &declared).pop().expect("one case");
    (case.verdict, case.observed)
}

/// Time from each request to its reply. The harness waits several times as long for any reply, so a
/// busy machine may delay one.
const REPLY_TIME: Duration = Duration::from_millis(50);

/// Pause before the last byte of a long reply: longer than the harness waits for its first byte.
const PAUSE: Duration = Duration::from_millis(600);

/// Echoes lines, each after [`REPLY_TIME`], and pauses before the last byte of a long line.
fn echo_with_a_pause(client: UnixStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let is_long = line.len() > 1000;
        thread::sleep(REPLY_TIME);
        (&client).write_all(&line[..line.len() - usize::from(is_long)])?;
        if is_long {
            thread::sleep(PAUSE);
            (&client).write_all(b"\n")?;
        }
        line.clear();
    }
    Ok(())
}

/// The server under test is a relay to an echo server of this test, which the harness cannot see.
/// While the echo server pauses, the relay waits without a timeout.
fn the_rest_of_a_reply_is_awaited() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let path = folder.path().join("echo");
    let server = UnixListener::bind(&path).expect("a Unix socket");
    // The thread runs until this process exits.
    thread::spawn(move || {
        server
            .incoming()
            .flatten()
            .for_each(|client| drop(thread::spawn(|| echo_with_a_pause(client))));
    });
    let relay = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/relay.py");
    let command =
        format!("python3 -S -E '{}' {{host}} {{port}} '{}'", relay.display(), path.display());
    let case = check_command("contract/max-line", &command, &[("service", "echo")]).remove(0);
    let expected = "requests up to 262144 bytes answered; longer requests were not tried";
    assert_eq!((case.verdict.as_str(), case.observed.as_str()), ("info", expected));
}

fn a_server_that_does_not_drain_is_distinguished_from_one_that_does() {
    let (drain, abort) = ([("shutdown", "drain")], [("shutdown", "abort")]);
    let rows = [
        ("", "default", &drain[..], "fail", "killed by SIGTERM"),
        ("", "default", &abort, "pass", "killed by SIGTERM"),
        ("", "default", &[], "info", "killed by SIGTERM; declare it with --shutdown abort"),
        ("trap \"\" TERM;", "default", &[], "info", "the server does not exit"),
        ("trap \"\" TERM;", "default", &drain, "fail (hang)", "the server does not exit"),
        ("", "drain", &drain, "pass", "then exit code 0"),
        ("", "drain", &[], "info", "declare it with --shutdown drain"),
        ("", "late", &drain, "fail", ""),
        ("", "late", &abort, "pass", "then exit code 0"),
        ("", "late", &[], "info", "; declare it with --shutdown abort"),
    ];
    in_parallel(&rows, |&(shell, behaviour, declared, expected, end)| {
        let (verdict, observed) = python_shutdown(shell, behaviour, declared);
        assert_eq!(verdict, expected, "{shell} {behaviour} {observed}");
        assert!(observed.ends_with(end), "{shell} {behaviour} {observed}");
    });
}

fn cases_with_several_clients_apply_to_a_server_without_a_declared_limit_that_serves_them() {
    let program = env!("CARGO_BIN_EXE_harness");
    for (serve, clients, expected) in [
        ("select {host} {port} --max-connections 2", "isolation/own-answers", "pass"),
        ("select {host} {port} --max-connections 2", "fairness/shares", "not-applicable"),
        ("iterative {host} {port}", "isolation/own-answers", "not-applicable"),
        ("iterative-refuse {host} {port}", "isolation/idle-beside-active", "not-applicable"),
    ] {
        let cases = check_command(clients, &format!("'{program}' serve {serve}"), &[]);
        let [case] = &cases[..] else { panic!("one case") };
        assert!(case.verdict.contains(expected), "{serve}: {} {}", case.verdict, case.observed);
        let has_reason = case.observed.contains("at a time; the next one");
        assert_eq!(has_reason, expected == "not-applicable", "{}", case.observed);
    }
}

/// A case that compares replies with the untransformed text waits after each of many replies.
fn an_echo_with_any_transformation_passes_the_leak_cases() {
    let server = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/transform.py");
    for transform in ["upper", "lower", "reverse", "trim", "trim-end", "rot13", "upper,reverse"] {
        let command = format!("python3 -S -E '{server}' {transform} {{host}} {{port}}");
        let declared = [("service", "echo"), ("transform", transform)];
        for result in check_command("leaks/", &command, &declared) {
            assert_eq!(result.verdict, "pass", "{transform}: {}: {}", result.case, result.observed);
        }
    }
}
