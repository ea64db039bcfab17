//! Limits of memory, CPU time, file size, tasks, lifetime and output.

use super::*;

pub(super) fn a_memory_limit_makes_an_allocation_fail() -> Result<(), Failed> {
    let bytes = (1u64 << 30).to_string();
    let memory_bytes = Some(512 << 20);
    let limits = Confinement { memory_bytes, ..Confinement::default() };
    let report = run(&limited(&["allocates", &bytes], limits))?;
    ensure(report.log.contains("refused"), &report)?;
    let report = run(&limited(&["allocates", &bytes], Confinement::default()))?;
    ensure(report.log.contains("allocated"), &report)
}

pub(super) fn cpu_time_is_limited() -> Result<(), Failed> {
    let limits = Confinement { cpu_seconds: Some(1), ..Confinement::default() };
    let report = run(&limited(&["spins"], limits))?;
    ensure(report.exit == Some(Exit::Signal(Signal::SIGXCPU as i32)), &report)
}

pub(super) fn file_size_is_limited() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    let limits = Confinement { file_bytes: Some(500), ..Confinement::default() };
    let report = run(&limited(&["writes", &path.to_string_lossy()], limits))?;
    ensure(report.exit == Some(Exit::Signal(Signal::SIGXFSZ as i32)), &report)?;
    ensure(fs::metadata(&path)?.len() <= 500, "the file is larger")
}

/// Waits until the supervisor has killed the process tree. Checks that no descendant is left.
fn killed_report(process: Process) -> Result<ExitReport, Failed> {
    wait_until("the process tree has exited", || process.tree().is_empty());
    let report = process.end();
    ensure(report.exit == Some(Exit::Signal(Signal::SIGKILL as i32)), &report)?;
    ensure(report.survivors.is_empty(), &report)?;
    Ok(report)
}

pub(super) fn too_many_tasks_kill_the_process_tree() -> Result<(), Failed> {
    let limits = Confinement { tasks: Some(20), ..Confinement::default() };
    let few = start(&limited(&["forks", "8"], limits.clone()))?;
    wait_until("all children have started", || few.tree().len() >= 9);
    let report = killed_report(start(&limited(&["forks", "40"], limits))?)?;
    ensure(report.exceeded_tasks && !report.exceeded_lifetime, &report)?;
    let many = start(&limited(
        &["forks", "40"],
        Confinement { tasks: Some(20), ..Confinement::default() },
    ))?;
    let error = many.wait_until_listening(DEADLINE).expect_err("a server that is killed");
    ensure(matches!(error, LaunchError::Killed { limit: Limit::Tasks, .. }), error)?;
    let report = few.end();
    ensure(!report.exceeded_tasks && report.exit.is_none(), &report)
}

pub(super) fn a_fork_bomb_is_killed() -> Result<(), Failed> {
    let limits = Confinement { tasks: Some(50), ..Confinement::default() };
    let report = killed_report(start(&limited(&["fork-bomb"], limits))?)?;
    ensure(report.exceeded_tasks, &report)
}

pub(super) fn a_lifetime_limit_kills_the_process_tree() -> Result<(), Failed> {
    let lifetime = Some(Duration::from_millis(300));
    let limits = Confinement { lifetime, ..Confinement::default() };
    let began = Instant::now();
    let report = killed_report(start(&limited(&["forks", "8"], limits))?)?;
    ensure(report.exceeded_lifetime && !report.exceeded_tasks, &report)?;
    let process = start(&limited(&["sleeps"], Confinement { lifetime, ..Confinement::default() }))?;
    let error = process.wait_until_listening(DEADLINE).expect_err("a server that is killed");
    ensure(matches!(error, LaunchError::Killed { limit: Limit::Lifetime, .. }), error)?;
    ensure(began.elapsed() >= Duration::from_millis(300), began.elapsed())
}

pub(super) fn hundreds_of_children_are_killed_and_reaped() -> Result<(), Failed> {
    let process = start(&spec(&["forks", "200"], LaunchOptions::default()))?;
    wait_until("all processes have started", || process.tree().len() > 200);
    let (tree, supervisor) = (process.tree(), process.supervisor().expect("a launched process"));
    let report = process.end();
    let left: Vec<i32> = tree.into_iter().chain([supervisor]).filter(|&pid| exists(pid)).collect();
    ensure(left.is_empty(), (left, report))
}

pub(super) fn endless_output_is_read_at_a_limited_rate() -> Result<(), Failed> {
    // Maximum rate at which the harness reads, plus the capacity of the pipe.
    const MAX_BYTES_PER_S: f64 = 21e6;
    let mut spec = spec(&[], LaunchOptions::default());
    spec.command = vec!["yes".to_owned()];
    let (began, process) = (Instant::now(), start(&spec)?);
    let written = || {
        let counters = fs::read_to_string(format!("/proc/{}/io", process.tree()[0])).ok()?;
        counters.lines().find_map(|row| row.strip_prefix("wchar: "))?.parse::<f64>().ok()
    };
    wait_until("the server has written 10 MB", || written().is_some_and(|bytes| bytes > 10e6));
    let bytes = written().ok_or("the server has exited")?;
    let max_bytes = MAX_BYTES_PER_S * (began.elapsed().as_secs_f64() + 0.1);
    ensure(bytes <= max_bytes, format!("{bytes} bytes; expected at most {max_bytes}"))?;
    ensure(process.end().log.len() <= 16 * 1024, "the log has more than 16 KiB")
}
