//! `harness bench`.

use super::*;

pub(super) fn a_bench_without_an_answered_request_exits_with_1() {
    let folder = tempfile::tempdir().expect("a folder");
    let manifest = folder.path().join("servers.toml");
    let program = env!("CARGO_BIN_EXE_harness");
    let entry = format!(
        "[[server]]\nname = \"wrong\"\nservice = \"echo\"\n\
         command = ['{program}', 'known', 'wrong:1', '{{host}}', '{{port}}']\n"
    );
    std::fs::write(&manifest, entry).expect("a file");
    let manifest = manifest.to_str().expect("plain words");
    harness(&["bench", "--manifest", manifest, "--workload", "closed-1", "--plan", "quick"])
        .assert()
        .code(1)
        .stdout(contains("closed-1: 0/s, p50 -, p99 - (faulty)"));
}

pub(super) fn ctrl_c_during_comparisons_keeps_the_finished_ones() {
    let mut child = common::harness()
        .args(["bench", "select-echo", "poll-echo", "--against", "epoll-level-echo", "--json"])
        .args(["--duration", "300ms", "--launches", "4"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the harness starts");
    let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines();
    assert!(lines.any(|line| line.expect("words").starts_with("select-echo against")));
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).expect("a signal");
    lines.for_each(drop);
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    let all: Value = serde_json::from_slice(&output.stdout).expect("one document");
    assert_eq!((&all[0]["server"], &all[0]["partial"]), (&"select-echo".into(), &false.into()));
}

/// Runs a bench for this time, and returns the servers in its document. While a measurement has no
/// reply, because the machine was busy with other things, the bench is repeated for longer.
fn benched(arguments: &[&str], duration: Duration) -> Vec<Value> {
    for attempt in 0..TRIES {
        let mut command = harness(&["bench", "--plan", "quick", "--seed", "1", "--json"]);
        let duration = format!("{}ms", duration.as_millis() << (2 * attempt));
        command.args(["--warm-up", "50ms", "--duration", &duration]).args(arguments);
        let output = command.output().expect("it ends");
        let servers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
        let is_answered = measurements(&servers).all(|it| number(&it["outcomes"]["answered"]) > 0);
        let is_faulty = measurements(&servers).any(|it| it["validity"]["label"] == "faulty");
        let expected = i32::from(!is_answered || is_faulty);
        assert_eq!(output.status.code(), Some(expected), "{output:?}");
        if is_answered {
            return servers;
        }
    }
    panic!("a measurement has no reply after {TRIES} attempts: {arguments:?}");
}

fn measurements(servers: &[Value]) -> impl Iterator<Item = &Value> {
    servers.iter().flat_map(|it| it["measurements"].as_array().expect("a list"))
}

pub(super) fn a_bench_measures_only_the_named_workloads() {
    let churn = benched(&["select-echo", "--workload", "churn"], Duration::from_secs(1));
    let one = &churn[0]["measurements"][0];
    assert_eq!((&churn[0]["name"], &one["workload"]), (&"select-echo".into(), &"churn".into()));
    assert_eq!(churn[0]["measurements"].as_array().map(Vec::len), Some(1));
    // Each request has its own connection, and one may be aborted at the end.
    let answered = all_answered(one);
    assert!(number(&one["connections"]["answered"]) >= answered, "{one}");

    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().to_str().expect("plain words");
    harness(&["bench", "server1", "--workload", "closed-", "--output", output])
        .args(["--duration", "300ms", "--warm-up", "10ms"])
        .assert()
        .success()
        .stdout(starts_with("iterative-refuse-calc closed-1: ").and(contains("report: ")));
    let report = read(&folder.path().join("report.json"));
    assert_eq!(report["complete"], true);
    assert_eq!(report["servers"][0]["measurements"].as_array().map(Vec::len), Some(1));
}

pub(super) fn a_command_is_benchmarked_under_the_workloads() {
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' serve select-calc {{host}} {{port}}");
    let servers = benched(
        &["--cmd", &command, "--service", "calc", "--workload", "closed-1"],
        Duration::from_millis(150),
    );
    let name = servers[0]["name"].as_str().expect("a name");
    assert!(name.ends_with("serve select-calc {host} {port}"), "{name}");
    let one = &servers[0]["measurements"][0];
    assert_eq!(
        (&one["workload"], number(&one["outcomes"]["wrong_reply"])),
        (&"closed-1".into(), 0)
    );
    harness(&["bench", "--cmd", "/no/such/program {port}"])
        .assert()
        .code(2)
        .stderr(contains("--cmd: /no/such/program is not installed"));
}

pub(super) fn a_bench_that_measured_nothing_fails_and_gives_the_reason() {
    let one_at_a_time =
        "iterative-refuse-calc not measured: closed-64: the server serves one client at a time";
    harness(&["bench", "server1", "--workload", "closed-64"])
        .assert()
        .code(2)
        .stdout(contains(one_at_a_time))
        .stderr(contains(
            "nothing was measured: iterative-refuse-calc: closed-64: the server serves one",
        ));
    // The reason is printed even if another server is measured.
    let both = ["bench", "server1", "select", "--workload", "closed-64", "--duration", "1s"];
    harness(&both).args(["--warm-up", "10ms"]).assert().success().stdout(contains(one_at_a_time));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("servers.toml");
    let entry = "[[server]]\nname = \"absent\"\ncommand = \"/no/such/program {host} {port}\"\n";
    std::fs::write(&file, entry).expect("a file");
    harness(&["bench", "--manifest", file.to_str().expect("plain words")])
        .assert()
        .code(3)
        .stderr(contains("no selected server can run on this machine"));
}

pub(super) fn every_workload_gets_correct_replies_from_a_suitable_server() {
    let duration = Duration::from_millis(150);
    let mut servers = benched(&["epoll-level-calc", "epoll-level-echo"], duration);
    servers.extend(benched(&["server1", "--workload", "refusal"], duration));
    for server in &servers {
        assert_eq!(server["problem"], Value::Null, "{}", server["name"]);
    }
    for one in measurements(&servers) {
        assert_eq!((number(&one["outcomes"]["wrong_reply"]), &one["partial"]), (0, &false.into()));
    }
    for workload in WORKLOADS {
        let is_measured = measurements(&servers).any(|one| one["workload"] == workload.name);
        assert!(is_measured, "{} is not measured: {servers:?}", workload.name);
    }
}

/// As in a comparison, a request without a correct reply is a failure of the server.
pub(super) fn a_bench_with_a_faulty_measurement_exits_with_1() {
    let program = env!("CARGO_BIN_EXE_harness");
    let command = format!("'{program}' known wrong:50 {{host}} {{port}}");
    let flags = ["--workload", "closed-1", "--plan", "quick", "--duration", "500ms"];
    let output = harness(&["bench", "--cmd", &command, "--json"]).args(flags).output();
    let output = output.expect("it ends");
    let servers: Vec<Value> = serde_json::from_slice(&output.stdout).expect("a list");
    let one = measurements(&servers).next().expect("a measurement");
    assert_eq!((output.status.code(), &one["validity"]["label"]), (Some(1), &"faulty".into()));
    harness(&["bench", "--cmd", &command, "--against-cmd", &command, "--launches", "4"])
        .args(["--duration", "400ms", "--connections", "1"])
        .assert()
        .code(1);
}
