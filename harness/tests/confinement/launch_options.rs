//! Launch options: standard input, working directory and environment of a server.

use super::*;

pub(super) fn standard_input_is_passed_to_the_server_and_reaches_eof() -> Result<(), Failed> {
    let input = Some("{port}\n{host}\n".to_owned());
    let report =
        run(&spec(&["prints-environment"], LaunchOptions { input, ..LaunchOptions::default() }))?;
    ensure(report.exit == Some(Exit::Code(0)), &report)?;
    ensure(report.log.contains(r#"input "7\n127.0.0.1\n""#), &report)?;
    let largest_input = Some("x".repeat(harness::server::MAX_INPUT));
    let report = run(&spec(
        &["prints-environment"],
        LaunchOptions { input: largest_input, ..LaunchOptions::default() },
    ))?;
    ensure(report.log.ends_with("xxxx\""), report.exit)
}

pub(super) fn unread_standard_input_does_not_block_the_harness() -> Result<(), Failed> {
    let input = Some("x".repeat(harness::server::MAX_INPUT));
    let process = start(&spec(&["sleeps"], LaunchOptions { input, ..LaunchOptions::default() }))?;
    let report = process.end();
    ensure(report.exit.is_none() && report.log.is_empty(), &report)
}

pub(super) fn standard_input_is_empty_by_default() -> Result<(), Failed> {
    let report = run(&spec(&["prints-environment"], LaunchOptions::default()))?;
    ensure(report.log.contains(r#"input """#), &report)
}

pub(super) fn a_server_inherits_only_the_standard_descriptors() -> Result<(), Failed> {
    // The supervisor and the server would inherit this descriptor.
    let null = fs::File::open("/dev/null")?;
    fcntl(&null, FcntlArg::F_SETFD(FdFlag::empty()))?;
    let report = run(&spec(&["prints-descriptors"], LaunchOptions::default()))?;
    ensure(report.log == "descriptors 0 1 2", &report)
}

pub(super) fn the_working_directory_and_the_environment_reach_the_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let variables = [("TEST_PORT", "p{port}"), ("TEST_HOST", "{host}"), ("TEST", "no")];
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let report = run(&spec(
        &["prints-environment"],
        LaunchOptions {
            folder: Some(folder.path().to_path_buf()),
            environment: variables.map(owned).to_vec(),
            ..LaunchOptions::default()
        },
    ))?;
    let path = folder.path().canonicalize()?;
    ensure(report.log.contains(&format!("folder {}\n", path.display())), &report)?;
    ensure(report.log.contains(r#""TEST_PORT": "p7""#), &report)?;
    ensure(report.log.contains(r#""TEST_HOST": "127.0.0.1""#), &report)
}

pub(super) fn a_missing_directory_or_program_is_reported() -> Result<(), Failed> {
    let nowhere = Path::new("/no/such/folder").to_path_buf();
    let reports = |result: Result<Process, LaunchError>, text: &str| match result {
        Err(LaunchError::NotRun(message)) => ensure(message.contains(text), message),
        other => Err(format!("{other:?}").into()),
    };
    let options = LaunchOptions { folder: Some(nowhere), ..LaunchOptions::default() };
    reports(start(&spec(&["prints-environment"], options)), "the directory does not exist")?;
    let mut spec = spec(&["prints-environment"], LaunchOptions::default());
    spec.command[0] = "no-such-program".to_owned();
    reports(start(&spec), "check that `no-such-program` is installed")?;
    spec.folder = Some("/".into());
    spec.command[0] = "./etc/passwd".to_owned();
    reports(start(&spec), "chmod +x")
}

pub(super) fn a_relative_program_path_is_resolved_in_the_working_directory() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(std::env::current_exe()?, folder.path().join("server"))?;
    let mut spec = spec(
        &["prints-environment"],
        LaunchOptions { folder: Some(folder.path().to_path_buf()), ..LaunchOptions::default() },
    );
    spec.command[0] = "./server".to_owned();
    let report = run(&spec)?;
    ensure(report.exit == Some(Exit::Code(0)), &report)
}
