//! The harness: `cargo run --release` launches every server, judges, measures, and writes the
//! report.

use std::process::ExitCode;

use harness::cli::{Cli, Command};
use harness::{check, list, role, run};

fn main() -> ExitCode {
    let done = match Cli::read() {
        // Roles first: no thread may exist when a server begins.
        Command::Serve(arguments) => role::serve(&arguments),
        Command::Supervise(arguments) => role::supervise(&arguments),
        Command::Client(arguments) => role::client(&arguments),
        Command::Run(arguments) => run::run(&arguments),
        Command::Check(arguments) => check::check(&arguments),
        Command::List(arguments) => list::list(&arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("harness: {error:#}");
        ExitCode::from(role::exit_code_of(&error))
    })
}
