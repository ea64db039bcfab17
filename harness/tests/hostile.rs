//! Hostile servers. The harness tests them in bounded time and memory, and leaves none of their
//! processes behind. Run these tests with `cargo test hostile::`.

pub(crate) mod server;

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use libtest_mimic::Failed;
use serde_json::Value;
use server::Malice;

use crate::common::Test;

/// Time limit for all cases of a server, with default timeouts. The longest check takes 66 s on an
/// idle machine, nearly all of it waiting, and a few times as long on a busy one.
const MAX_CHECK_TIME: Duration = Duration::from_secs(300);

/// Time limit for a server that answers no plain request: the first case times out, and all others
/// are inconclusive at once. It includes the 20 s that the harness waits for a server to listen.
const MAX_CHECK_TIME_UNANSWERED: Duration = Duration::from_secs(40);

/// Maximum resident memory of the harness, in KiB.
const MAX_MEMORY_KIB: u64 = 300 * 1024;

/// Environment variable that marks every process of a test.
const TOKEN: &str = "HARNESS_TEST_TOKEN";

/// Declares every property, so that nearly every case applies.
const CONTRACT: &[&str] = &[
    "--capacity",
    "3",
    "--when-full",
    "busy",
    "--division",
    "integer",
    "--overflow",
    "--max-line",
    "4096",
    "--error-prefix",
    "error: ",
    "--idle-timeout",
    "1s",
    "--shutdown",
    "drain",
];

pub(crate) fn tests() -> Vec<Test> {
    Malice::value_variants()
        .iter()
        // Reversed, because the last behaviours take the longest to test.
        .rev()
        .flat_map(|&malice| {
            let name = format!(
                "a_server_that::{}::is_tested_in_bounded_time_and_memory",
                server::name(malice)
            );
            let in_all_cases = format!("{name}_in_all_cases");
            [
                Test::new(name, move || is_tested_in_bounded_time_and_memory(malice, TOPICS)),
                Test::new(in_all_cases, move || is_tested_in_bounded_time_and_memory(malice, &[]))
                    .variant(true),
            ]
        })
        .collect()
}

/// Topics with several clients, waits or signals, which give a hostile server many opportunities.
/// The test with all topics runs only with `--include-ignored`.
const TOPICS: &[&str] = &["contract/", "framing/", "refusal/storm", "shutdown/"];

fn is_tested_in_bounded_time_and_memory(malice: Malice, topics: &[&str]) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    // The variant of this test may run at the same time, so the token includes the number of
    // topics.
    let token = format!("{}-{}-{}", std::process::id(), server::name(malice), topics.len());
    // A server does not inherit the variable from the harness.
    let command = format!(
        "env {TOKEN}={token} '{}' hostile {} {{host}} {{port}}",
        program.display(),
        server::name(malice)
    );
    // Counterexamples of a hostile server are not kept.
    let counterexamples = tempfile::tempdir()?;
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json"])
        .args(CONTRACT)
        .args(server::flags(malice))
        .args(topics.iter().flat_map(|topic| ["--case", topic]))
        .arg("--counterexamples")
        .arg(counterexamples.path())
        .env(TOKEN, &token)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut output = harness.stdout.take().ok_or("standard output is not piped")?;
    let reading = thread::spawn(move || {
        let mut document = Vec::new();
        output.read_to_end(&mut document).map(|_| document)
    });
    let watched = wait_for_exit(&mut harness);
    let document = reading.join().map_err(|_| "the reader panicked")??;
    let (code, took, peak) = watched?;
    let left = remaining_marked_processes(&token);
    for pid in &left {
        let pid = nix::unistd::Pid::from_raw(*pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    if !left.is_empty() {
        return Err(format!("{} processes are left behind", left.len()).into());
    }
    if peak > MAX_MEMORY_KIB {
        return Err(format!("the harness used {peak} KiB of memory").into());
    }
    if code != Some(server::exit_code(malice)) {
        return Err(format!("exit code {code:?} after {took:?}").into());
    }
    has_a_result_for_every_case(malice, topics, took, &document)
}

/// Waits until the harness exits. Returns its exit code, the elapsed time, and its peak memory
/// in KiB.
fn wait_for_exit(harness: &mut Child) -> Result<(Option<i32>, Duration, u64), Failed> {
    let (began, status) = (Instant::now(), format!("/proc/{}/status", harness.id()));
    let mut peak = 0;
    loop {
        if let Some(status) = harness.try_wait()? {
            return Ok((status.code(), began.elapsed(), peak));
        }
        if began.elapsed() > MAX_CHECK_TIME {
            harness.kill()?;
            harness.wait()?;
            return Err(format!("the check took longer than {MAX_CHECK_TIME:?}").into());
        }
        let status = fs::read_to_string(&status).unwrap_or_default();
        // Until execve(2) is complete, the process has the memory of this one, and its name.
        let is_harness = |_: &&str| status.starts_with("Name:\tharness\n");
        let row = status.lines().find_map(|row| row.strip_prefix("VmHWM:")).filter(is_harness);
        let kib = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(20));
    }
}

/// Waits up to 2 s until the processes with the token have exited. Returns the
/// remaining ones.
fn remaining_marked_processes(token: &str) -> Vec<i32> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = marked_processes(token);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn marked_processes(token: &str) -> Vec<i32> {
    let variable = format!("{TOKEN}={token}\0").into_bytes();
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(variable.len()).any(|window| window == variable)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(is_marked)
        .collect()
}

fn has_a_result_for_every_case(
    malice: Malice,
    topics: &[&str],
    took: Duration,
    document: &[u8],
) -> Result<(), Failed> {
    let document: Value = serde_json::from_slice(document)?;
    let cases = document["cases"].as_array().ok_or("the document has no cases")?;
    let is_selected =
        |name: &str| topics.is_empty() || topics.iter().any(|topic| name.starts_with(topic));
    let expected = harness::conformance::cases().filter(|case| is_selected(case.name)).count();
    if cases.len() != expected {
        return Err(format!("{} of {expected} cases have a result", cases.len()).into());
    }
    if let Some(case) = cases.iter().find(|case| case["state"] == "harness-error") {
        return Err(format!("harness error: {case:#}").into());
    }
    let hit_task_limit = |case: &Value| {
        case["expected"].as_str().is_some_and(|words| words.ends_with("threads and processes"))
    };
    if malice == Malice::KeepsFiftyThreadsForEachClient && !cases.iter().any(hit_task_limit) {
        return Err("no case reports that the server exceeded the task limit".into());
    }
    let unanswered =
        cases.iter().any(|case| case["name"] == "framing/single" && case["verdict"] == "fail");
    if unanswered != server::answers_nothing(malice) {
        return Err(format!("framing/single failed: {unanswered}").into());
    }
    if unanswered && took > MAX_CHECK_TIME_UNANSWERED {
        return Err(format!("the check took {took:?} although nothing is answered").into());
    }
    Ok(())
}
