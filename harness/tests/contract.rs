//! A wrong declaration fails the case that names it and no other; what is not declared is told.

use std::path::Path;
use std::process::Command;
use std::thread;

use crate::common::trials;
use serde_json::Value;

trials![
    a_server_that_is_as_it_declares_passes,
    a_wrong_declaration_fails_by_its_name_and_no_other_case_does,
    an_idle_client_that_is_closed_later_than_tolerated_fails_the_declaration,
    a_wrong_queue_fails_by_its_name,
    what_is_not_declared_is_told_with_the_flags_that_would_declare_it,
    an_echo_declares_a_longest_line_and_its_error,
    a_server_that_does_not_drain_is_told_from_one_that_does,
];

/// A server with all that can be declared but a queue, and what it declares.
const SELECT: &str = "serve select {host} {port} --max-connections 5 --idle-timeout 3s";
const DECLARED: [(&str, &str); 8] = [
    ("capacity", "5"),
    ("queue", "0"),
    ("when-full", "busy"),
    ("max-line", "4096"),
    ("error-prefix", "error: "),
    ("idle-timeout", "3s"),
    ("ending", "drain"),
    ("expect", "select"),
];

/// A server that takes in three clients to wait.
const POOL: &str = "serve thread-pool {host} {port} --workers 2 --max-connections 5";

struct Seen {
    case: String,
    words: String,
    observed: String,
}

/// What the contract's cases say of a command of this program.
fn check(serve: &str, declared: &[(&str, &str)]) -> Vec<Seen> {
    let program = env!("CARGO_BIN_EXE_harness");
    check_command("contract/", &format!("'{program}' {serve}"), declared)
}

fn check_command(case: &str, command: &str, declared: &[(&str, &str)]) -> Vec<Seen> {
    let flags = declared.iter().map(|(name, value)| format!("--{name}={value}"));
    let output = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--case", case, "--json", "--cmd", command])
        .args(flags)
        .output()
        .expect("the harness runs");
    let said = String::from_utf8_lossy(&output.stderr);
    let document: Value = serde_json::from_slice(&output.stdout).expect(&said);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let cases = document["cases"].as_array().expect("cases");
    let seen = |case: &Value| Seen {
        case: text(&case["name"]).replace("contract/", ""),
        words: match case["state"].as_str() {
            Some("ok") => text(&case["verdict"]),
            _ => format!("{} ({})", text(&case["verdict"]), text(&case["state"])),
        },
        observed: text(&case["observed"]),
    };
    cases.iter().map(seen).collect()
}

/// They mostly wait.
fn at_once<T: Sync>(rows: &[T], check: impl Fn(&T) + Sync) {
    thread::scope(|scope| {
        for row in rows {
            scope.spawn(|| check(row));
        }
    });
}

/// `DECLARED` with another value.
fn but(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    DECLARED.iter().map(|&one| if one.0 == name { (name, value) } else { one }).collect()
}

fn others_than<'s>(words: &str, seen: &'s [Seen]) -> Vec<(&'s str, &'s str, &'s str)> {
    seen.iter()
        .filter(|one| one.words != words)
        .map(|one| (one.case.as_str(), one.words.as_str(), one.observed.as_str()))
        .collect()
}

fn a_server_that_is_as_it_declares_passes() {
    assert_eq!(others_than("pass", &check(SELECT, &DECLARED)), []);
    let pool = [("capacity", "2"), ("queue", "3"), ("when-full", "busy")];
    let seen = check(POOL, &pool);
    assert_eq!(others_than("pass", &seen).len(), 5, "what is not declared");
}

fn a_wrong_declaration_fails_by_its_name_and_no_other_case_does() {
    let too_many = "serves 5 at once, then: \"error: busy, try again later\", then a clean end";
    let busy = "after 5 that are served: \"error: busy, try again later\", then a clean end";
    let lines = "lines up to 4096 bytes, then \"error: line too long (limit 4096 bytes)\"";
    let wrong = [
        ("capacity", "4", "capacity", too_many),
        ("capacity", "6", "capacity", too_many),
        ("queue", "1", "queue", "takes in 0 to wait"),
        ("when-full", "refuse", "when-full", busy),
        ("when-full", "wait", "when-full", busy),
        ("max-line", "100", "max-line", lines),
        ("max-line", "4097", "max-line", lines),
        ("max-line", "65536", "max-line", lines),
        ("error-prefix", "oops", "error-lines", ""),
        ("idle-timeout", "5s", "idle-timeout", "closed after "),
        ("expect", "threads", "mechanism", "select: with "),
    ];
    let fails = |&(name, value, case, observed): &(_, _, &str, &str)| {
        let seen = check(SELECT, &but(name, value));
        let failed = others_than("pass", &seen);
        let named: Vec<_> = failed.iter().map(|&(case, words, _)| (case, words)).collect();
        assert_eq!(named, [(case, "fail")], "{name} {value}: {failed:?}");
        assert!(failed.iter().all(|one| one.2.starts_with(observed)), "{name} {value}: {failed:?}");
    };
    at_once(&wrong, fails);
}

fn an_idle_client_that_is_closed_later_than_tolerated_fails_the_declaration() {
    let mut declared = but("idle-timeout", "2700ms");
    assert_eq!(others_than("pass", &check(SELECT, &declared)), [], "by default 500 ms are");
    declared.push(("idle-tolerance", "20ms"));
    let slow = SELECT.replace("3s", "10s");
    let seen = check(&slow, &declared);
    let failed = others_than("pass", &seen);
    assert_eq!(failed, [("idle-timeout", "fail", "kept for 2720 ms at least")]);
}

fn a_wrong_queue_fails_by_its_name() {
    at_once(&["0", "2", "4"], |queue| {
        let declared = [("capacity", "2"), ("queue", *queue), ("when-full", "busy")];
        let seen = check(POOL, &declared);
        let failed: Vec<_> = seen.iter().filter(|one| one.words.starts_with("fail")).collect();
        let named: Vec<_> = failed.iter().map(|one| (one.case.as_str(), &*one.observed)).collect();
        assert_eq!(named, [("queue", "takes in 3 to wait")], "declared {queue}");
    });
}

fn what_is_not_declared_is_told_with_the_flags_that_would_declare_it() {
    let busy = "\"error: busy, try again later\", then a clean end";
    let pool = [
        ("capacity", "serves 2 at once, then: taken in to wait; declare it with --capacity 2".to_owned()),
        ("when-full", format!("after 2 that are served and 3 that wait: {busy}; declare it with --when-full busy")),
        ("queue", "takes in 3 to wait; declare it with --queue 3".to_owned()),
        ("max-line", "lines up to 4096 bytes, then \"error: line too long (limit 4096 bytes)\"; declare it with --max-line 4096".to_owned()),
        ("error-lines", "errors begin with \"error: \"; declare it with --error-prefix 'error: '".to_owned()),
        ("idle-timeout", "kept for 1000 ms at least".to_owned()),
        ("mechanism", "declare it with --expect thread-pool".to_owned()),
        ("ending", "every request under way is answered, then exit code 0; declare it with --ending drain".to_owned()),
    ];
    let seen = check(POOL, &[]);
    assert_eq!(others_than("info", &seen), []);
    // How many threads sleep where is the matter of other tests.
    let said = |one: &Seen| match (one.case.as_str(), one.observed.split_once("; declare")) {
        ("mechanism", Some((_, flags))) => format!("declare{flags}"),
        _ => one.observed.clone(),
    };
    let told: Vec<_> = seen.iter().map(|one| (one.case.as_str(), said(one))).collect();
    assert_eq!(told, pool);
    let servers = [
        (
            "iterative",
            "serves 1 at once, then: connected, and left without an answer; declare it with --capacity 1 --when-full wait",
        ),
        (
            "iterative-refuse",
            "serves 1 at once, then: connection refused; declare it with --capacity 1 --when-full refuse",
        ),
        (
            "iterative-reset",
            "serves 1 at once, then: connected, then reset; declare it with --capacity 1 --when-full reset",
        ),
        ("select", "serves 256 at once, at least"),
    ];
    at_once(&servers, |(server, observed)| {
        let seen = check(&format!("serve {server} {{host}} {{port}}"), &[]);
        assert_eq!(seen[0].observed, *observed, "{server}");
    });
    let seen = check(&SELECT.replace("3s", "300ms"), &[("ending", "drain")]);
    assert!(seen[5].observed.starts_with("closed after "), "{}", seen[5].observed);
    assert!(seen[5].observed.contains(" ms of silence; declare it with --idle-timeout "));
}

fn an_echo_declares_a_longest_line_and_its_error() {
    let serve = "serve select-echo {host} {port} --max-connections 5";
    let declared = [("service", "echo"), ("max-line", "4096"), ("error-prefix", "oops")];
    let seen = check(serve, &declared);
    let failed: Vec<_> = seen.iter().filter(|one| one.words == "fail").collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0].case, "error-lines");
    let seen = check(serve, &[("service", "echo")]);
    assert_eq!(others_than("info", &seen)[0].0, "error-lines", "no error is known of an echo");
}

/// What a Python server does at SIGTERM, started after these shell words.
fn python_ending(shell: &str, declared: &[(&str, &str)]) -> Option<(String, String)> {
    let python = Command::new("python3").arg("--version").output();
    if !python.is_ok_and(|output| output.status.success()) {
        assert!(std::env::var_os("CI").is_none(), "python3 is not installed");
        return None;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/faulty.py");
    let script = script.display();
    let command =
        format!("sh -c '{shell} exec python3 -S -E {script} none $0 $1' {{host}} {{port}}");
    let ending = check_command("contract/ending", &command, declared).pop().expect("it");
    Some((ending.words, ending.observed))
}

fn a_server_that_does_not_drain_is_told_from_one_that_does() {
    let drain = [("ending", "drain")];
    let rows = [
        ("", &drain[..], "fail", "killed by SIGTERM"),
        ("", &[("ending", "abort")], "pass", "killed by SIGTERM"),
        ("", &[], "info", "killed by SIGTERM; declare it with --ending abort"),
        ("trap \"\" TERM;", &[], "info", "the server goes on"),
        ("trap \"\" TERM;", &drain, "fail (hang)", "the server goes on"),
    ];
    at_once(&rows, |&(shell, declared, words, end)| {
        let Some((said, observed)) = python_ending(shell, declared) else { return };
        assert_eq!(said, words, "{shell} {observed}");
        assert!(observed.ends_with(end), "{shell} {observed}");
    });
}
