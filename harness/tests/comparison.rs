//! `harness bench --against` and `--against-cmd`: interleaved comparisons of two servers.

mod commands;

use std::path::Path;

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;

use crate::common::{self, DEADLINE, tests};

use commands::{
    a_manifest_entry_is_compared_with_a_built_in_server,
    a_server_with_the_backlog_of_pythons_socketserver_is_not_called_failed,
    an_invalid_command_is_rejected_before_anything_is_launched,
    service_and_wire_are_those_of_the_commands, two_commands_are_compared,
};

tests![
    too_few_pairs_are_inconclusive_with_a_reason_and_without_an_interval,
    a_failed_server_is_named_with_its_error_and_the_others_are_compared,
    the_exit_code_follows_the_required_verdict,
    each_server_starts_first_in_half_of_the_launches_and_a_seed_repeats_the_order,
    an_invalid_comparison_is_rejected_before_anything_is_launched,
    without_server_names_every_comparable_server_is_compared,
    two_commands_are_compared,
    a_manifest_entry_is_compared_with_a_built_in_server,
    service_and_wire_are_those_of_the_commands,
    an_invalid_command_is_rejected_before_anything_is_launched
    | "python3" =>
    a_server_with_the_backlog_of_pythons_socketserver_is_not_called_failed,
];

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(6 * DEADLINE).arg("bench").args(arguments);
    command
}

/// Returns the results in the JSON document of a comparison, and the exit code.
fn compared(arguments: &[&str]) -> (Vec<Value>, i32) {
    let output = bench(arguments).arg("--json").output().expect("the harness runs");
    let document = serde_json::from_slice(&output.stdout);
    let results = document.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (results, output.status.code().expect("an exit without a signal"))
}

/// Writes a manifest of echo servers, with their names and commands. In a command, `known` stands
/// for a known-answer server.
fn manifest(folder: &Path, servers: &[(&str, &str)]) -> String {
    let program = env!("CARGO_BIN_EXE_harness");
    let entry = |(name, command): &(&str, &str)| {
        let command = command.replace("known", &format!("{program} known"));
        format!(
            "[[server]]\nname = {name:?}\ncommand = \"{command} {{host}} {{port}}\"\nservice = \
             \"echo\"\n"
        )
    };
    let file = folder.join("servers.toml");
    let text: String = servers.iter().map(entry).collect();
    std::fs::write(&file, text).expect("a file");
    file.to_str().expect("a UTF-8 path").to_owned()
}

fn too_few_pairs_are_inconclusive_with_a_reason_and_without_an_interval() {
    // A launch is shorter than its first pair of slices.
    let short = ["select-echo", "--against", "poll-echo", "--launches", "4", "--duration", "1ms"];
    let (results, code) = compared(&short);
    let result = &results[0];
    assert_eq!((&result["verdict"], code), (&"inconclusive".into(), 0), "{result}");
    for absent in ["ratio", "low", "high", "failed"] {
        assert_eq!(result[absent], Value::Null, "{absent}: {result}");
    }
    assert_eq!(
        result["reason"].as_str().map(|text| text.contains("0 of 4 launches have at least 4")),
        Some(true)
    );
    let (_, code) = compared(&[&short[..], &["--require", "conclusive"]].concat());
    assert_eq!(code, 1);
    bench(&short)
        .assert()
        .success()
        .stdout(contains("inconclusive (0 of 4 launches have at least 4 pairs"))
        .stdout(contains("try a longer --duration (now 1ms)"));
}

fn a_failed_server_is_named_with_its_error_and_the_others_are_compared() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let failing = [
        ("serves-five", "known some:5", "reset"),
        ("lies", "known wrong:1", "wrong reply"),
        ("dies", "timeout -s KILL 1 known echo", "the server exited"),
    ];
    // The results have the order of the manifest.
    let mut servers = failing.map(|(name, command, _)| (name, command)).to_vec();
    servers.extend([("right", "known echo"), ("also-right", "known echo")]);
    let file = manifest(folder.path(), &servers);
    for (name, _, words) in failing {
        let mut servers = vec![name];
        // The measurement must last until the server dies, also on a slow machine.
        let duration = if name == "dies" { "1h" } else { "1ms" };
        if name != "dies" {
            servers.push("also-right");
        }
        let settings = ["--against", "right", "--manifest", &file, "--duration", duration];
        let load = ["--launches", "4", "--connections", "8"];
        let (results, code) = compared(&[&servers[..], &settings, &load].concat());
        let names = results.iter().map(|result| result["server"].as_str().expect("a name"));
        assert_eq!((names.collect::<Vec<_>>(), code), (servers, 1), "{results:?}");
        let failed = results[0]["failed"].as_str().expect("a failure");
        assert!(
            failed.starts_with(&format!("{name} failed: ")) && failed.contains(words),
            "{failed}"
        );
        assert_eq!(results[0]["verdict"], "inconclusive");
        assert!(results[1..].iter().all(|result| result["failed"] == Value::Null), "{results:?}");
    }
}

fn the_exit_code_follows_the_required_verdict() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file =
        manifest(folder.path(), &[("plain", "known slower:0"), ("slow", "known slower:1000")]);
    let settings = ["--launches", "4", "--duration", "800ms", "--connections", "8"];
    let run = |server, other, require| {
        let arguments = ["--manifest", &file, server, "--against", other, "--require", require];
        let (results, code) = compared(&[&arguments[..], &settings].concat());
        let verdict = results[0]["verdict"].as_str().expect("a verdict").to_owned();
        (verdict, code, results)
    };
    // On a busy machine the interval may be too wide for a verdict, but the verdict is never the
    // opposite.
    let (verdict, code, results) = run("slow", "plain", "not-slower");
    assert!(["slower", "inconclusive"].contains(&&*verdict) && code == 1, "{results:?}");
    let (verdict, code, results) = run("plain", "slow", "not-slower");
    let is_faster = verdict == "faster";
    assert!(["faster", "inconclusive"].contains(&&*verdict), "{results:?}");
    assert_eq!(code, if is_faster { 0 } else { 1 }, "{results:?}");
    let (verdict, code, results) = run("slow", "plain", "conclusive");
    assert_eq!(code == 0, verdict != "inconclusive", "{results:?}");
}

fn each_server_starts_first_in_half_of_the_launches_and_a_seed_repeats_the_order() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let log = folder.path().join("log");
    let program = env!("CARGO_BIN_EXE_harness");
    for name in ["a", "b"] {
        let script =
            format!("printf {name} >> '{}'\nexec {program} known echo \"$@\"\n", log.display());
        std::fs::write(folder.path().join(name), script).expect("a file");
    }
    let command = |name| format!("sh '{}'", folder.path().join(name).display());
    let file = manifest(folder.path(), &[("a", &command("a")), ("b", &command("b"))]);
    let launched = |seed: &str| {
        std::fs::write(&log, "").expect("a file");
        let order = ["--manifest", &file, "a", "--against", "b", "--seed", seed];
        let short = ["--launches", "8", "--duration", "1ms", "--connections", "1"];
        let (results, _) = compared(&[&order[..], &short].concat());
        assert_eq!(results[0]["seed"].to_string(), seed);
        std::fs::read_to_string(&log).expect("a file")
    };
    let first = launched("1");
    let launches: Vec<&str> = (0..8).map(|at| &first[2 * at..2 * at + 2]).collect();
    let count = |order| launches.iter().filter(|launch| **launch == order).count();
    assert_eq!((count("ab"), count("ba"), first.len()), (4, 4, 16), "{first}");
    assert_eq!(launched("1"), first);
    // At least one of 10 random orders differs.
    assert!((2..12).any(|seed: u64| launched(&seed.to_string()) != first), "{first}");
    bench(&["select-echo", "--against", "poll-echo", "--seed", "7"])
        .args(["--launches", "4", "--duration", "1ms"])
        .assert()
        .success()
        .stdout(contains("seed 7"));
}

fn an_invalid_comparison_is_rejected_before_anything_is_launched() {
    let rows: &[(&[&str], &str)] = &[
        (&["select-calc", "--against", "select-echo"], "compare servers of the same service"),
        (&["select", "server1", "--against", "server3"], "compare with --connections 1"),
        (&["select", "--against", "server1"], "compare with --connections 1"),
        (&["select-echo", "--against", "select5"], "--against select5: `select5` is no server"),
        (&["select5", "--against", "select-echo"], "`select5` is no server"),
        (&["select", "--against", "poll", "--launches", "3"], "4..=1000"),
        (&["select", "--against", "poll", "--margin", "0"], "a percentage, such as 5"),
        (
            &["select", "--against", "poll", "--require", "valid"],
            "conclusive or --require not-slower",
        ),
        (&["select", "--against", "poll", "--connections", "1000000000"], "ulimit -n"),
        (&["select", "--require", "not-slower"], "add --against SERVER"),
        (&["select", "--margin", "3"], "--against"),
    ];
    for (arguments, words) in rows {
        bench(arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

fn without_server_names_every_comparable_server_is_compared() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let file = manifest(
        folder.path(),
        &[("one", "known echo"), ("two", "known echo"), ("absent", "/no/such/program")],
    );
    let arguments = ["--manifest", &file, "--against", "one", "--launches", "4"];
    let short = [&arguments[..], &["--duration", "1ms", "--connections", "8"]].concat();
    bench(&short)
        .assert()
        .success()
        .stdout(contains("not compared: absent cannot run on this machine"));
    let (results, _) = compared(&short);
    assert_eq!(results.iter().map(|result| &result["server"]).collect::<Vec<_>>(), ["two"]);
}
