//! The command-line program. Without a subcommand, it launches every built-in server, runs the
//! tests and measurements, and writes a report.

use std::process::ExitCode;

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use harness::cli::{Cli, Command};
    use harness::commands::{
        bench, calibrate, check, compare, history, list, load, probe, replay, report, role, run,
        selftest,
    };
    use harness::usage_error::exit_code_of;
    use harness::{init, stdio};

    if init::is_first() {
        return init::run().unwrap_or_else(|error| {
            stdio::error_line(format_args!("harness: {error}"));
            ExitCode::from(3)
        });
    }
    init::unblock_signals();
    // On failure, exit statuses of children may be missing, which is reported where they are
    // needed.
    let _ = harness::server::supervise::report_exits_of_children();
    let result = match Cli::read() {
        Command::Serve(arguments) => role::serve(&arguments),
        Command::Supervise(arguments) => role::supervise(&arguments),
        Command::Known(arguments) => role::known(&arguments),
        Command::Client(arguments) => role::client(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Load(arguments) => load::load(&arguments),
        Command::Bench(arguments) => bench::bench(&arguments),
        Command::Compare(arguments) => compare::compare(&arguments),
        Command::Report(arguments) => report::report(&arguments),
        Command::History(arguments) => history::history(&arguments),
        Command::Calibrate(arguments) => calibrate::calibrate(&arguments),
        Command::Selftest(arguments) => selftest::selftest(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::Probe(arguments) => probe::probe(&arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::List(arguments) => list::list(&arguments),
    };
    stdio::exit_code(result.unwrap_or_else(|error| {
        stdio::error_line(format_args!("harness: {error:#}"));
        ExitCode::from(exit_code_of(&error))
    }))
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!(
        "harness: only Linux is supported, because of /proc, epoll, subreapers and pdeathsig"
    );
    ExitCode::from(3)
}
