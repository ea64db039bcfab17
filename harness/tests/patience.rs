//! Servers that free their connection slots late, machines that are overloaded, and servers that are
//! far away: none of these is a fault of the server.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::results::{CaseResult, Fault, Kind, Obstacle, Report, ServerResult};
use libtest_mimic::{Completion, Failed};

use crate::common::schedule::Cost;
use crate::common::{self, Test};

pub(crate) fn tests() -> Vec<Test> {
    let mut tests: Vec<Test> = LATE_SLOTS
        .iter()
        .enumerate()
        .map(|(number, &(rejection, arguments))| {
            let name = format!("a_slot_that_is_freed_late::{rejection}::is_waited_for");
            let test = Test::new(name, move || a_late_slot_is_waited_for(arguments, 1));
            // By default, every second one.
            test.needing("python3").variant(number % 2 == 1)
        })
        .collect();
    tests.extend(LATE_SLOTS.iter().map(|&(rejection, arguments)| {
        let name = format!("a_slot_that_is_freed_late::{rejection}::is_waited_for_many_times");
        let claim = move || a_late_slot_is_waited_for(arguments, CHECKS);
        Test::new(name, claim).needing("python3").variant(true)
    }));
    let spinning = "a_server_that_spins_in_many_processes_is_killed_and_the_check_ends";
    let greedy = [
        Test::new(spinning, || a_server_that_spins_is_killed(&CASES_UNDER_LOAD[..FEW_CASES])),
        Test::new(format!("{spinning}_in_many_cases"), || {
            a_server_that_spins_is_killed(CASES_UNDER_LOAD)
        })
        .variant(true),
        Test::new(
            "a_correct_server_beside_spinning_processes_does_not_fail",
            a_correct_server_beside_spinning_processes_does_not_fail,
        )
        .variant(true),
    ];
    tests.push(
        Test::ignorable(
            "a_server_that_spins_with_a_quota_of_the_cpus_is_killed",
            a_server_that_spins_with_a_quota_is_killed,
        )
        .needing("python3"),
    );
    let at_a_distance = |name: &str, cases: &'static [&'static str]| {
        Test::ignorable(name, || a_far_server_gets_the_verdicts_of_a_near_one(cases))
            .needing("python3")
            .needing("ip")
    };
    let far = "a_far_server_gets_the_verdicts_of_a_near_one";
    tests.push(at_a_distance(far, CASES_AT_A_DISTANCE).costing(Cost::Greedy));
    tests.push(at_a_distance(&format!("{far}_in_all_cases"), &[]).variant(true));
    tests.extend(greedy.map(|test| test.needing("python3").costing(Cost::Greedy)));
    tests
}

/// What happens to a client of the full server, and the arguments of `late_slot.py`.
const LATE_SLOTS: &[(&str, &str)] = &[
    ("waits", "queue"),
    ("is_refused", "refused"),
    ("is_reset", "reset"),
    ("is_closed", "closed"),
    ("gets_a_busy_line", "line 'error: busy'"),
    ("gets_an_undeclared_line", "line 'no slot is free'"),
];

/// The cases in which a client connects after another one has left.
const CASES_AFTER_ANOTHER_CLIENT: &[&str] = &[
    "contract/capacity",
    "disconnects/",
    "framing/random-cuts",
    "isolation/churn",
    "isolation/schedules",
    "leaks/close-wait",
    "malformed/",
    "refusal/storm",
    "results/deterministic",
    "startup/port-taken",
];

/// Number of checks of a variant. Each has other delays.
const CHECKS: usize = 4;

fn path(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/patience").join(file).display().to_string()
}

/// Returns the flags that choose these cases.
fn named<'c>(cases: &[&'c str]) -> Vec<&'c str> {
    cases.iter().flat_map(|&case| ["--case", case]).collect()
}

/// Runs a check, and returns the results of the server's cases.
fn check(arguments: &[&str]) -> Result<Vec<CaseResult>, Failed> {
    let folder = tempfile::tempdir()?;
    let mut command = common::harness();
    command.arg("check").args(arguments);
    results(command, folder.path())
}

/// Runs a check command with its report in `folder`, and returns the results of its last server.
fn results(mut command: Command, folder: &Path) -> Result<Vec<CaseResult>, Failed> {
    let output = command
        .arg("--output")
        .arg(folder.join("report"))
        .arg("--counterexamples")
        .arg(folder.join("counterexamples"))
        .output()?;
    let mut report = Report::read(&folder.join("report/report.json"))
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(report.servers.pop().ok_or("the report has no server")?.cases)
}

/// Requires that a case passed, and that none failed or is inconclusive.
fn expect_judged(results: &[CaseResult]) -> Result<(), Failed> {
    expect_a_pass(results)?;
    let others: Vec<String> = results
        .iter()
        .filter(|it| matches!(it.found(), Kind::Fail | Kind::Inconclusive))
        .map(|it| format!("{} {}: {}", it.label(), it.name, it.observed))
        .collect();
    if others.is_empty() { Ok(()) } else { Err(others.join("\n").into()) }
}

fn expect_a_pass(results: &[CaseResult]) -> Result<(), Failed> {
    match results.iter().any(|it| it.found() == Kind::Pass) {
        true => Ok(()),
        false => Err("no case passed".into()),
    }
}

fn a_late_slot_is_waited_for(arguments: &str, checks: usize) -> Result<(), Failed> {
    let command = format!("python3 -S -E {} {{host}} {{port}} {arguments}", path("late_slot.py"));
    let server = ["--cmd", &command, "--service", "echo"];
    let flags = [&server[..], &named(CASES_AFTER_ANOTHER_CLIENT)].concat();
    for _ in 0..checks {
        expect_judged(&check(&flags)?)?;
    }
    Ok(())
}

/// Time limit of a check of a server that takes the CPUs from the harness.
const MAX_CHECK_TIME: Duration = Duration::from_secs(240);

/// Number of processes that use the CPUs without pause.
const SPINNING_PROCESSES: &str = "64";

/// Cases with many clients and waits. The first few are representative; the first one waits for
/// half the timeout if the server spins.
const CASES_UNDER_LOAD: &[&str] = &[
    "idle/no-client",
    "disconnects/half-close",
    "startup/listens-in-time",
    "leaks/",
    "disconnects/",
    "framing/",
    "startup/",
];

const FEW_CASES: usize = 3;

/// Processes that use the CPUs without pause until the value is dropped.
struct SpinningProcesses(Child);

impl SpinningProcesses {
    fn start() -> Result<SpinningProcesses, Failed> {
        let mut command = Command::new("python3");
        command.args(["-S", "-E", &path("spinning.py"), SPINNING_PROCESSES]);
        Ok(SpinningProcesses(command.stdin(Stdio::piped()).spawn()?))
    }
}

impl Drop for SpinningProcesses {
    fn drop(&mut self) {
        // The program ends the others at the end of its input. They also end when it is killed.
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

fn a_correct_server_beside_spinning_processes_does_not_fail() -> Result<(), Failed> {
    let _spinning = SpinningProcesses::start()?;
    let correct = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/causes/correct.py");
    let command = format!("python3 -S -E {} {{host}} {{port}}", correct.display());
    let began = Instant::now();
    let server = ["--cmd", &command, "--service", "echo", "--shutdown", "abort"];
    let results = check(&[&server[..], &named(CASES_UNDER_LOAD)].concat())?;
    expect_in_time(began)?;
    let failed: Vec<&CaseResult> = results.iter().filter(|it| it.found() == Kind::Fail).collect();
    match failed[..] {
        [] => Ok(()),
        [first, ..] => Err(format!("{}: {}", first.name, first.observed).into()),
    }
}

fn spinning_server() -> String {
    format!("python3 -S -E {} {SPINNING_PROCESSES} {{host}} {{port}}", path("spinning.py"))
}

/// A control group of the CPU controller with a quota. It is removed when the value is dropped.
struct ControlGroup(PathBuf);

impl ControlGroup {
    /// Creates a group whose processes may use a fifth of a CPU, in version 1 or 2 of the hierarchy.
    ///
    /// # Errors
    /// This machine does not permit it.
    fn with_quota() -> std::io::Result<ControlGroup> {
        let name = format!("harness-test-{}", std::process::id());
        let version_1 = Path::new("/sys/fs/cgroup/cpu");
        let (parent, file, quota) = match version_1.exists() {
            true => (version_1, "cpu.cfs_quota_us", "20000"),
            false => (Path::new("/sys/fs/cgroup"), "cpu.max", "20000 100000"),
        };
        let path = parent.join(name);
        fs::create_dir(&path)?;
        let group = ControlGroup(path);
        // Without the CPU controller, the directory has no such file.
        OpenOptions::new().write(true).open(group.0.join(file))?.write_all(quota.as_bytes())?;
        Ok(group)
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // Its processes have ended with the check, but may need a moment to leave.
        common::wait_until("the control group is empty", || fs::remove_dir(&self.0).is_ok());
    }
}

/// /proc/loadavg does not count threads that wait for their quota.
fn a_server_that_spins_with_a_quota_is_killed() -> Result<Completion, Failed> {
    let group = match ControlGroup::with_quota() {
        Ok(group) => group,
        Err(error) => {
            return Ok(Completion::ignored_with(format!("not run: no control group: {error}")));
        }
    };
    let processes = group.0.join("cgroup.procs");
    let join_group = format!("echo $$ > {}; exec \"$@\"", processes.display());
    let command = format!("sh -c '{join_group}' sh {}", spinning_server());
    // With its quota, the server takes long to start all its processes.
    let server = ["--cmd", &command, "--service", "echo", "--timeout", "60s"];
    let patient = ["--start-timeout", "60s", "--case", "idle/no-client"];
    expect_a_spin_limit(&check(&[&server[..], &patient].concat())?)?;
    Ok(Completion::Completed)
}

fn expect_a_spin_limit(results: &[CaseResult]) -> Result<(), Failed> {
    match results.iter().any(|it| it.found() == Kind::Fail && it.fault == Fault::SpinLimit) {
        true => Ok(()),
        false => {
            let results: Vec<String> = results
                .iter()
                .map(|it| format!("{} {:?} {}", it.name, it.found(), it.observed))
                .collect();
            Err(format!("no failure names the cause: {}", results.join("; ")).into())
        }
    }
}

fn a_server_that_spins_is_killed(cases: &[&str]) -> Result<(), Failed> {
    let command = spinning_server();
    let began = Instant::now();
    // Half the timeout is longer than the time for which a server may spin.
    let server = ["--cmd", &command, "--service", "echo", "--timeout", "30s"];
    let results = check(&[&server[..], &named(cases)].concat())?;
    expect_in_time(began)?;
    expect_a_spin_limit(&results)
}

fn expect_in_time(began: Instant) -> Result<(), Failed> {
    match began.elapsed() {
        took if took > MAX_CHECK_TIME => Err(format!("the check took {took:?}").into()),
        _ => Ok(()),
    }
}

/// Delay of a packet to or from the far server, in ms.
const FAR: &str = "75";

/// Exit status of `delay_line.py` if this machine does not permit it.
const NOT_RUN: i32 = 77;

/// Cases that find limits, or need many round trips.
const CASES_AT_A_DISTANCE: &[&str] = &[
    "back-pressure/",
    "contract/",
    "disconnects/half-close",
    "framing/one-line",
    "framing/pipelined",
    "isolation/churn",
];

/// Time limit of a check of a server at this distance, with all cases.
const MAX_TIME_AT_A_DISTANCE: Duration = Duration::from_secs(180);

/// Checks a server behind a delay line. Returns the reason if this machine does not permit it.
fn check_at_a_distance(
    delay: &str,
    cases: &[&str],
) -> Result<Result<ServerResult, String>, Failed> {
    let folder = tempfile::tempdir()?;
    let correct = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/causes/correct.py");
    let check = format!(
        "{} check --connect 10.9.0.1:7000 --service echo --seed 1 --output {report} \
         --counterexamples {report}/counterexamples {}",
        env!("CARGO_BIN_EXE_harness"),
        cases.iter().map(|case| format!("--case {case} ")).collect::<String>(),
        report = folder.path().join("report").display(),
    );
    let output = Command::new("python3")
        .args(["-S", "-E", &path("delay_line.py"), delay])
        .arg(format!("python3 -S -E {} 10.9.0.1 7000", correct.display()))
        .arg(check)
        .env_remove("GITHUB_STEP_SUMMARY")
        .env_remove("GITHUB_ACTIONS")
        .output()?;
    if output.status.code() == Some(NOT_RUN) {
        return Ok(Err(String::from_utf8_lossy(&output.stdout).trim().to_owned()));
    }
    let report = Report::read(&folder.path().join("report/report.json"))
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    Ok(Ok(report.servers.into_iter().next().ok_or("the report has no server")?))
}

fn a_far_server_gets_the_verdicts_of_a_near_one(cases: &[&str]) -> Result<Completion, Failed> {
    let near = match check_at_a_distance("0", cases)? {
        Ok(near) => near,
        Err(reason) => return Ok(Completion::ignored_with(reason)),
    };
    let began = Instant::now();
    let far = check_at_a_distance(FAR, cases)?.map_err(|reason| format!("only near: {reason}"))?;
    if began.elapsed() > MAX_TIME_AT_A_DISTANCE {
        return Err(format!("the check took {:?}", began.elapsed()).into());
    }
    let round_trip = far.round_trip_us.ok_or("the round-trip time is not reported")?;
    if round_trip < 2 * 75_000 {
        return Err(format!("the round-trip time is {round_trip} µs").into());
    }
    expect_judged(&near.cases)?;
    expect_a_pass(&far.cases)?;
    if near.cases.len() != far.cases.len() {
        return Err(format!("{} cases near, {} far", near.cases.len(), far.cases.len()).into());
    }
    let advice =
        |result: &CaseResult| result.discovery.as_ref().map(|discovery| discovery.declares.flags());
    for (near, far) in near.cases.iter().zip(&far.cases) {
        let is_too_far = matches!(far.obstacle, Some(Obstacle::Distance { .. }));
        let is_same = far.found() == near.found() && advice(far) == advice(near);
        if far.name != near.name || !is_same && !is_too_far {
            let text = format!(
                "{}: near {}: {}; far {}: {}",
                near.name,
                near.label(),
                near.observed,
                far.label(),
                far.observed
            );
            return Err(text.into());
        }
    }
    Ok(Completion::Completed)
}
