//! Servers that mean ill: the harness judges them in bounded time and memory, and leaves nothing
//! of them behind. `cargo test hostile::`.

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

/// How soon a server must be judged in all cases, with the usual patience: a loaded machine has
/// time enough, one that waits without an end has not.
const JUDGED: Duration = Duration::from_secs(90);

/// How soon one must be that answers no plain request: no case is waited for but the first. One that
/// does not even listen is given 20 s for that.
const JUDGED_UNANSWERED: Duration = Duration::from_secs(40);

/// How much memory the harness may need for that, in KiB.
const MEMORY: u64 = 300 * 1024;

/// The environment variable by which whatever a test has started is known.
const TOKEN: &str = "HARNESS_TEST_TOKEN";

/// Everything that can be declared, so that nearly every case applies.
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
    "--ending",
    "drain",
];

pub(crate) fn tests() -> Vec<Test> {
    Malice::value_variants()
        .iter()
        // The last take longest.
        .rev()
        .map(|&malice| {
            let name = format!("a_server_that::{}::is_judged_within_bounds", server::name(malice));
            Test::new(name, move || is_judged_within_bounds(malice))
        })
        .collect()
}

fn is_judged_within_bounds(malice: Malice) -> Result<(), Failed> {
    let program = std::env::current_exe()?;
    let command =
        format!("'{}' hostile {} {{host}} {{port}}", program.display(), server::name(malice));
    let token = format!("{}-{}", std::process::id(), server::name(malice));
    // Its counterexamples are of no use to anybody.
    let replays = tempfile::tempdir()?;
    let mut harness = Command::new(env!("CARGO_BIN_EXE_harness"))
        .args(["check", "--cmd", &command, "--json"])
        .args(CONTRACT)
        .args(server::jobs(malice))
        .arg("--replays")
        .arg(replays.path())
        .env(TOKEN, &token)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut output = harness.stdout.take().ok_or("it is piped")?;
    let reading = thread::spawn(move || {
        let mut document = Vec::new();
        output.read_to_end(&mut document).map(|_| document)
    });
    let watched = watch(&mut harness);
    let document = reading.join().map_err(|_| "the reader panicked")??;
    let (code, took, peak) = watched?;
    let left = carriers_that_stay(&token);
    for pid in &left {
        let pid = nix::unistd::Pid::from_raw(*pid);
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
    }
    if !left.is_empty() {
        return Err(format!("{} processes are left behind", left.len()).into());
    }
    if peak > MEMORY {
        return Err(format!("the harness grew to {peak} KiB").into());
    }
    if code != Some(server::exit_code(malice)) {
        return Err(format!("exit code {code:?} after {took:?}").into());
    }
    judged_in_every_case(malice, took, &document)
}

/// Waits for the harness to end. Gives its exit code, how long that took, and the most memory that
/// it has had, in KiB.
fn watch(harness: &mut Child) -> Result<(Option<i32>, Duration, u64), Failed> {
    let (began, status) = (Instant::now(), format!("/proc/{}/status", harness.id()));
    let mut peak = 0;
    loop {
        if let Some(status) = harness.try_wait()? {
            return Ok((status.code(), began.elapsed(), peak));
        }
        if began.elapsed() > JUDGED {
            harness.kill()?;
            harness.wait()?;
            return Err(format!("it is not judged within {JUDGED:?}").into());
        }
        let status = fs::read_to_string(&status).unwrap_or_default();
        let row = status.lines().find_map(|row| row.strip_prefix("VmHWM:"));
        let kib = row.and_then(|row| row.split_whitespace().next()?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        thread::sleep(Duration::from_millis(20));
    }
}

/// The processes that carry the token, once it was waited for them to end.
fn carriers_that_stay(token: &str) -> Vec<i32> {
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let left = carriers(token);
        if left.is_empty() || Instant::now() > deadline {
            return left;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn carriers(token: &str) -> Vec<i32> {
    let mark = format!("{TOKEN}={token}\0").into_bytes();
    let carries = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|window| window == mark)
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(carries).collect()
}

fn judged_in_every_case(malice: Malice, took: Duration, document: &[u8]) -> Result<(), Failed> {
    let document: Value = serde_json::from_slice(document)?;
    let cases = document["cases"].as_array().ok_or("there are no cases")?;
    let wanted = harness::conformance::cases().count();
    if cases.len() != wanted {
        return Err(format!("{} of {wanted} cases are judged", cases.len()).into());
    }
    if let Some(case) = cases.iter().find(|case| case["state"] == "harness-error") {
        return Err(format!("the harness is at fault: {case:#}").into());
    }
    let is_ended = |case: &Value| {
        case["expected"].as_str().is_some_and(|words| words.ends_with("threads and processes"))
    };
    if malice == Malice::KeepsFiftyThreadsForEachClient && !cases.iter().any(is_ended) {
        return Err("it is never ended for its threads".into());
    }
    let unanswered =
        cases.iter().any(|case| case["name"] == "framing/single" && case["verdict"] == "fail");
    if unanswered != server::answers_nothing(malice) {
        return Err(format!("framing/single fails: {unanswered}").into());
    }
    if unanswered && took > JUDGED_UNANSWERED {
        return Err(format!("although nothing is answered, it is judged after {took:?}").into());
    }
    Ok(())
}
