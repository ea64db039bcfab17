//! Isolation of the file system and of other processes.

use super::*;

pub(super) fn a_read_only_server_writes_only_to_its_private_tmp() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let token = format!("/tmp/harness-test-{}", std::process::id());
    let file = home.path().join("file").display().to_string();
    let paths = ["writes", &file, &token, "/dev/shm/harness-test", "/dev/null", "/proc/self/comm"];
    // A confined server sees this directory only because it is the working directory.
    let folder = Some(home.path().to_path_buf());
    let report = run(&spec(
        &paths,
        LaunchOptions { folder, confinement: read_only(), ..LaunchOptions::default() },
    ))?;
    for (path, result) in paths[1..].iter().zip([
        "ReadOnlyFilesystem",
        "written",
        "written",
        "written",
        "ReadOnlyFilesystem",
    ]) {
        ensure(report.log.contains(&format!("{path}: {result}")), &report)?;
    }
    ensure(!Path::new(&token).exists(), "the file exists outside of the server's /tmp")?;
    fs::write(home.path().join("file"), "written by the test")?;
    Ok(())
}

pub(super) fn a_read_only_server_can_read_its_working_directory() -> Result<(), Failed> {
    let folder = tempfile::tempdir_in("/tmp")?;
    let options = LaunchOptions {
        folder: Some(folder.path().to_path_buf()),
        confinement: read_only(),
        ..LaunchOptions::default()
    };
    let mut spec = spec(&[], options);
    fs::write(folder.path().join("file"), "content of the file")?;
    spec.command = ["cat", "file", "/proc/self/mounts"].map(str::to_owned).to_vec();
    let report = run(&spec)?;
    ensure(report.log.contains("content of the file"), &report)?;
    spec.command = ["touch", "other"].map(str::to_owned).to_vec();
    let report = run(&spec)?;
    ensure(report.exit == Some(Exit::Code(1)) && report.log.contains("Read-only"), &report)
}

pub(super) fn a_confined_server_cannot_kill_the_harness() -> Result<(), Failed> {
    let mut victim = Command::new("sleep").arg("60").spawn()?;
    let report = run(&limited(&["kills", &victim.id().to_string()], read_only()));
    let still_runs = runs(victim.id() as i32);
    victim.kill()?;
    victim.wait()?;
    let report = report?;
    ensure(still_runs && report.log.contains("EPERM"), &report)
}

pub(super) fn a_confined_server_is_monitored_and_stopped_like_any_other() -> Result<(), Failed> {
    let mut spec = limited(&["fixed-port", &PORT.to_string()], Confinement::strict());
    spec.confinement.network_alone = network::available().is_ok();
    let server = launcher().launch(&spec)?;
    ask(server.address, "here")?;
    let usage = server.process.resource_usage();
    ensure(usage.processes == 1 && usage.descriptors >= 4 && usage.anonymous_bytes > 0, usage)?;
    let tree = server.process.tree();
    let undo = proc::exhaust_descriptors(&tree, proc::Shortage::AboveHighest)?;
    proc::restore_descriptors(&undo);
    let report = server.process.end();
    ensure(report.missing_isolation.is_empty() && report.exit.is_none(), &report)
}

/// The server runs every request in a shell. The case must find the file that its request creates,
/// although that file is in the private /tmp of the server.
pub(super) fn a_confined_server_that_executes_requests_fails_the_injection_case()
-> Result<(), Failed> {
    let mut spec = limited(&["shell", &PORT.to_string()], Confinement::strict());
    spec.confinement.network_alone = network::available().is_ok();
    spec.contract.service = Service::Calc;
    let injection: Vec<_> = cases().filter(|case| case.name == "malformed/injection").collect();
    let results = Runner::new(launcher(), 7).run_cases(&spec, &injection, None, |_| {});
    let result = &results[0];
    ensure(result.verdict == Some(Verdict::Fail), result)?;
    ensure(result.observed.contains("created a file"), result)
}
