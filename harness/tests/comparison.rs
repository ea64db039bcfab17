//! `harness bench --against`: two servers in turns.

use std::path::Path;

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;

use crate::common::{self, DEADLINE, trials};

trials![
    too_few_pairs_have_no_interval_and_are_inconclusive_with_the_reason,
    a_server_that_fails_in_a_comparison_is_named_with_what_happened_and_others_are_compared,
    the_exit_code_is_what_is_required_of_the_verdict,
    either_server_is_launched_first_in_half_of_the_launches_and_a_seed_repeats_the_order,
    what_cannot_be_compared_is_told_before_anything_is_launched,
    servers_that_are_not_named_are_compared_where_they_can_be,
];

fn bench(arguments: &[&str]) -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(6 * DEADLINE).arg("bench").args(arguments);
    command
}

/// The document of a comparison, and the exit code.
fn compared(arguments: &[&str]) -> (Vec<Value>, i32) {
    let output = bench(arguments).arg("--json").output().expect("it runs");
    let document = serde_json::from_slice(&output.stdout);
    let all = document.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (all, output.status.code().expect("it ends by itself"))
}

/// A manifest of echoing servers: a name and the command of each, in which `known` stands for a
/// known-answer server.
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
    file.to_str().expect("plain words").to_owned()
}

fn too_few_pairs_have_no_interval_and_are_inconclusive_with_the_reason() {
    // A launch ends long before its first pair of slices does.
    let brief = ["select-echo", "--against", "poll-echo", "--launches", "4", "--duration", "1ms"];
    let (all, code) = compared(&brief);
    let one = &all[0];
    assert_eq!((&one["verdict"], code), (&"inconclusive".into(), 0), "{one}");
    for absent in ["ratio", "low", "high", "failed"] {
        assert_eq!(one[absent], Value::Null, "{absent}: {one}");
    }
    assert_eq!(one["reason"].as_str().map(|it| it.contains("0 of 4 launches have 4")), Some(true));
    let (_, code) = compared(&[&brief[..], &["--require", "conclusive"]].concat());
    assert_eq!(code, 1);
    bench(&brief)
        .assert()
        .success()
        .stdout(contains("inconclusive (0 of 4 launches have 4 pairs"))
        .stdout(contains("try a longer --duration (now 1ms)"));
}

fn a_server_that_fails_in_a_comparison_is_named_with_what_happened_and_others_are_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let failing = [
        ("serves-five", "known some:5", "reset"),
        ("lies", "known wrong:1", "wrong reply"),
        ("dies", "timeout -s KILL 1 known echo", "the server ended"),
    ];
    // They are compared in the order of the manifest.
    let mut servers = failing.map(|(name, command, _)| (name, command)).to_vec();
    servers.extend([("right", "known echo"), ("also-right", "known echo")]);
    let file = manifest(folder.path(), &servers);
    for (name, _, words) in failing {
        let mut servers = vec![name];
        // One that dies does so in the first launch, however slow the machine is.
        let duration = if name == "dies" { "1h" } else { "1ms" };
        if name != "dies" {
            servers.push("also-right");
        }
        let settings = ["--against", "right", "--manifest", &file, "--duration", duration];
        let load = ["--launches", "4", "--connections", "8"];
        let (all, code) = compared(&[&servers[..], &settings, &load].concat());
        let names = all.iter().map(|one| one["server"].as_str().expect("a name"));
        assert_eq!((names.collect::<Vec<_>>(), code), (servers, 1), "{all:?}");
        let failed = all[0]["failed"].as_str().expect("it failed");
        assert!(
            failed.starts_with(&format!("{name} failed: ")) && failed.contains(words),
            "{failed}"
        );
        assert_eq!(all[0]["verdict"], "inconclusive");
        assert!(all[1..].iter().all(|one| one["failed"] == Value::Null), "{all:?}");
    }
}

fn the_exit_code_is_what_is_required_of_the_verdict() {
    let folder = tempfile::tempdir().expect("a folder");
    let file =
        manifest(folder.path(), &[("plain", "known slower:0"), ("slow", "known slower:1000")]);
    let settings = ["--launches", "4", "--duration", "800ms", "--connections", "8"];
    let run = |server, other, require| {
        let arguments = ["--manifest", &file, server, "--against", other, "--require", require];
        let (all, code) = compared(&[&arguments[..], &settings].concat());
        let verdict = all[0]["verdict"].as_str().expect("a verdict").to_owned();
        (verdict, code, all)
    };
    // On a busy machine the interval may be too wide to say it; it never says the opposite.
    let (verdict, code, all) = run("slow", "plain", "not-slower");
    assert!(["slower", "inconclusive"].contains(&&*verdict) && code == 1, "{all:?}");
    let (verdict, code, all) = run("plain", "slow", "not-slower");
    let is_shown = verdict == "faster";
    assert!(["faster", "inconclusive"].contains(&&*verdict), "{all:?}");
    assert_eq!(code, if is_shown { 0 } else { 1 }, "{all:?}");
    let (verdict, code, all) = run("slow", "plain", "conclusive");
    assert_eq!(code == 0, verdict != "inconclusive", "{all:?}");
}

fn either_server_is_launched_first_in_half_of_the_launches_and_a_seed_repeats_the_order() {
    let folder = tempfile::tempdir().expect("a folder");
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
        let brief = ["--launches", "8", "--duration", "1ms", "--connections", "1"];
        let (all, _) = compared(&[&order[..], &brief].concat());
        assert_eq!(all[0]["seed"].to_string(), seed);
        std::fs::read_to_string(&log).expect("a file")
    };
    let first = launched("1");
    let launches: Vec<&str> = (0..8).map(|at| &first[2 * at..2 * at + 2]).collect();
    let count = |order| launches.iter().filter(|it| **it == order).count();
    assert_eq!((count("ab"), count("ba"), first.len()), (4, 4, 16), "{first}");
    assert_eq!(launched("1"), first);
    // Of 10 orders by chance one is another.
    assert!((2..12).any(|seed: u64| launched(&seed.to_string()) != first), "{first}");
    bench(&["select-echo", "--against", "poll-echo", "--seed", "7"])
        .args(["--launches", "4", "--duration", "1ms"])
        .assert()
        .success()
        .stdout(contains("seed 7"));
}

fn what_cannot_be_compared_is_told_before_anything_is_launched() {
    let rows: &[(&[&str], &str)] = &[
        (&["select-calc", "--against", "select-echo"], "compare servers of one service"),
        (&["select", "server1", "--against", "server3"], "compare with --connections 1"),
        (&["select", "--against", "server1"], "compare with --connections 1"),
        (&["select-echo", "--against", "select5"], "--against select5: there is no such server"),
        (&["select5", "--against", "select-echo"], "there is no such server"),
        (&["select", "--against", "poll", "--launches", "3"], "4..=1000"),
        (&["select", "--against", "poll", "--margin", "0"], "a percentage, such as 5"),
        (&["select", "--against", "poll", "--require", "valid"], "conclusive or not-slower"),
        (&["select", "--against", "poll", "--connections", "1000000000"], "ulimit -n"),
        (&["select", "--require", "not-slower"], "add --against SERVER"),
        (&["select", "--margin", "3"], "--against"),
    ];
    for (arguments, words) in rows {
        bench(arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

fn servers_that_are_not_named_are_compared_where_they_can_be() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = manifest(
        folder.path(),
        &[("one", "known echo"), ("two", "known echo"), ("absent", "/no/such/program")],
    );
    let arguments = ["--manifest", &file, "--against", "one", "--launches", "4"];
    let brief = [&arguments[..], &["--duration", "1ms", "--connections", "8"]].concat();
    bench(&brief).assert().success().stdout(contains("not compared: absent cannot be run here"));
    let (all, _) = compared(&brief);
    assert_eq!(all.iter().map(|one| &one["server"]).collect::<Vec<_>>(), ["two"]);
}
