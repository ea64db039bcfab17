//! The command line: parses the arguments of this process, or those of `harness check` in a
//! counterexample file.

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use super::server_name::server;
use super::suggestion::similar;
use super::{
    Bench, Calibrate, Check, Client, Compare, EXIT_CODES, History, KnownAnswer, List, Load, Probe,
    Replay, Report, Run, Selftest, Serve, Supervise,
};
use crate::contract::{ManifestTable, PROPERTIES};
use crate::{renamed, stdio};

/// Test and benchmark TCP socket servers and write a report.
#[derive(Debug, Parser)]
#[command(name = "harness", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// A command and its arguments.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Launch, test and benchmark servers, and write the report (the default).
    Run(Run),
    /// Test servers: built-in servers by name, any command, or a running server.
    Check(Box<Check>),
    /// Detect an unknown server's protocol, limits and concurrency model, and print a manifest
    /// entry.
    Probe(Probe),
    /// Re-run a saved counterexample.
    Replay(Replay),
    /// Run a load test against a listening server and print the results.
    Load(Load),
    /// Launch servers and benchmark them under the workloads.
    Bench(Bench),
    /// Compare two sets of reports: verdicts, memory and times.
    Compare(Compare),
    /// Render a report again in all formats, or merge several reports into one.
    Report(Report),
    /// Append runs to a history file, or print the trends of its runs.
    History(History),
    /// Validate the load generator against known-answer servers, whose results are predictable.
    Selftest(Selftest),
    /// Compare the built-in load generator with installed reference load generators (wrk,
    /// redis-benchmark).
    Calibrate(Calibrate),
    /// Run one built-in server in the foreground, until Ctrl-C.
    Serve(Serve),
    /// Send lines from standard input to a server and print its replies.
    Client(Client),
    /// List built-in servers, test cases, workloads or report formats.
    List(List),
    /// Supervise one server on behalf of the harness (internal).
    #[command(hide = true)]
    Supervise(Supervise),
    /// Run a known-answer server, which validates the load generator (internal).
    #[command(hide = true)]
    Known(KnownAnswer),
}

impl Cli {
    /// Returns the parser. A flag takes a negative number as its value, so that the error names the
    /// valid values.
    fn builder() -> clap::Command {
        fn allow_negative_numbers(command: clap::Command) -> clap::Command {
            let takes_value =
                |arg: &clap::Arg| !arg.is_positional() && arg.get_action().takes_values();
            command
                .mut_args(|arg| match takes_value(&arg) {
                    true => arg.allow_negative_numbers(true),
                    false => arg,
                })
                .mut_subcommands(allow_negative_numbers)
        }
        allow_negative_numbers(Cli::command())
    }

    /// Parses the command line of this process. Exits with code 2 on bad usage, with 0 on `--help`.
    pub fn read() -> Command {
        if let Some(role) = Role::read() {
            return role;
        }
        let parsed =
            Cli::builder().try_get_matches().and_then(|matches| Cli::from_arg_matches(&matches));
        let cli = parsed.unwrap_or_else(|error| {
            let words: Vec<String> = std::env::args().skip(1).collect();
            let first = words.first().map_or("", String::as_str);
            let error = with_advice(with_new_name(error, first), &words);
            let printed = error.print();
            if !error.use_stderr() {
                stdio::record(printed);
            }
            stdio::exit(u8::try_from(error.exit_code()).unwrap_or(2))
        });
        cli.command.unwrap_or(Command::Run(cli.run))
    }
}

/// If the error is about a renamed flag, returns an error with the new name, provided that the
/// subcommand has the new flag. An unknown subcommand name means `run`.
fn with_new_name(error: clap::Error, subcommand: &str) -> clap::Error {
    let flag = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) if error.kind() == ErrorKind::UnknownArgument => flag,
        _ => return error,
    };
    let old = flag.split('=').next().unwrap_or_default();
    let command = Cli::command();
    let command = command.find_subcommand(subcommand).unwrap_or(&command);
    let has_flag = |new: &str| {
        command.get_arguments().any(|it| it.get_long().is_some_and(|it| new == format!("--{it}")))
    };
    match renamed::hint(old, has_flag) {
        Some(hint) => clap::Error::raw(ErrorKind::UnknownArgument, format!("{hint}\n")),
        None => error,
    }
}

/// Replaces an error whose message does not say what to do. `words` are the arguments.
fn with_advice(error: clap::Error, words: &[String]) -> clap::Error {
    let message = match (error.kind(), words.first()) {
        (ErrorKind::ValueValidation, Some(typed)) => mistyped_command(typed),
        (ErrorKind::MissingRequiredArgument, _) => misplaced_property(words),
        _ => None,
    };
    match message {
        Some(message) => clap::Error::raw(error.kind(), format!("{message}\n")),
        None => error,
    }
}

/// Returns the message for a mistyped command, which is parsed as the name of a server.
fn mistyped_command(typed: &str) -> Option<String> {
    let command = Cli::command();
    let names = command.get_subcommands().filter(|it| !it.is_hide_set()).map(|it| it.get_name());
    let name = similar(typed, names).filter(|name| *name != typed)?;
    server(typed).is_err().then(|| {
        format!(
            "`{typed}` is neither a command nor a built-in server; did you mean `harness {name}`?"
        )
    })
}

/// Returns the message for a property that is declared for a server which has its own declaration.
fn misplaced_property(words: &[String]) -> Option<String> {
    let has = |flag: &str| {
        let with_value = format!("{flag}=");
        words.iter().any(|word| word == flag || word.starts_with(&with_value))
    };
    let property = PROPERTIES.iter().find(|property| has(&format!("--{}", property.name)))?;
    if has("--cmd") || has("--connect") {
        return None;
    }
    let name = property.name;
    let table = match property.table {
        ManifestTable::Server => "[[server]]",
        ManifestTable::Contract => "[server.contract]",
        ManifestTable::Dialect => "[server.dialect]",
    };
    Some(match has("--manifest") {
        true => format!(
            "--{name} declares a property of the server of --cmd or --connect; in a manifest, write \
             `{name}` into the table {table} of the server"
        ),
        false => format!(
            "--{name} declares a property of an external server: add --cmd COMMAND or --connect \
             HOST:PORT"
        ),
    })
}

impl Check {
    /// Parses shell-quoted arguments of `harness check` that select exactly one server.
    ///
    /// # Errors
    /// The arguments are invalid, or do not select exactly one server.
    pub fn parse(arguments: &str) -> Result<Check, String> {
        let arguments = shlex::split(arguments).ok_or("a quote is not closed")?;
        let line = ["harness", "check"].map(str::to_owned).into_iter().chain(arguments);
        let cli = Cli::try_parse_from(line).map_err(|error| {
            with_new_name(error, "check").to_string().lines().next().unwrap_or_default().to_owned()
        })?;
        match cli.command {
            Some(Command::Check(check))
                if check.cmd.is_some() || check.connect.is_some() || check.servers.len() == 1 =>
            {
                if check.manifest.is_none() {
                    let find = |name| server(name).map_err(|error| format!("`{name}`: {error}"));
                    check.servers.iter().try_for_each(|name| find(name).map(drop))?;
                }
                Ok(*check)
            }
            _ => Err("the arguments must name exactly one server".to_owned()),
        }
    }
}

/// The commands that run as server or supervisor processes. The harness starts thousands of them;
/// building the flags of all other commands would take most of their start-up time.
#[derive(Parser)]
#[command(name = "harness", disable_help_flag = true, disable_help_subcommand = true)]
enum Role {
    Serve(Serve),
    Supervise(Supervise),
    Known(KnownAnswer),
}

/// Returns whether the command line names a role.
pub(crate) fn is_role() -> bool {
    std::env::args().nth(1).is_some_and(|name| Role::has_subcommand(&name))
}

impl Role {
    /// Parses the command line as a role. Returns `None` for other commands, and for bad usage,
    /// so that the full parser reports the error.
    fn read() -> Option<Command> {
        if !is_role() {
            return None;
        }
        Some(match Role::try_parse().ok()? {
            Role::Serve(arguments) => Command::Serve(arguments),
            Role::Supervise(arguments) => Command::Supervise(arguments),
            Role::Known(arguments) => Command::Known(arguments),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_renamed_flag_and_case_exists_under_its_new_name_only() {
        let command = Cli::command();
        let flags: Vec<String> = command
            .get_subcommands()
            .flat_map(|command| command.get_arguments())
            .filter_map(|flag| Some(format!("--{}", flag.get_long()?)))
            .collect();
        let has = |name: &str| match name.starts_with("--") {
            true => flags.iter().any(|flag| flag == name),
            false => crate::conformance::cases().any(|case| case.name == name),
        };
        let renamed = renamed::RENAMED.iter();
        for (old, new) in renamed.filter(|(old, _)| old.starts_with("--") || old.contains('/')) {
            assert!(has(new) && !has(old), "{old} and {new}");
        }
    }

    #[test]
    fn commands_that_run_for_longer_share_the_flags_for_output_and_roles_do_not_build_them() {
        fn flags(command: &clap::Command, name: &str) -> Vec<String> {
            let command = command.find_subcommand(name).expect(name);
            command.get_arguments().filter_map(|it| it.get_long().map(str::to_owned)).collect()
        }
        let has = |flags: &[String], name: &str| flags.iter().any(|flag| flag == name);
        for name in ["run", "check", "replay", "probe", "load", "bench", "selftest"] {
            let flags = flags(&Cli::command(), name);
            assert!(has(&flags, "color") && has(&flags, "quiet"), "{name}: {flags:?}");
        }
        for name in ["run", "check", "bench", "selftest"] {
            assert!(has(&flags(&Cli::command(), name), "fail-fast"), "{name}");
        }
        for name in ["serve", "supervise", "known"] {
            let flags = flags(&Role::command(), name);
            assert!(!has(&flags, "color") && !has(&flags, "quiet"), "{name}: {flags:?}");
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_with_an_optional_value_does_not_take_the_next_argument() {
        fn check(command: &clap::Command) {
            for flag in command.get_arguments().filter(|it| !it.is_positional()) {
                let values = flag.get_num_args().expect("the command is built");
                let is_optional = values.min_values() == 0 && values.max_values() > 0;
                let (command, flag_name) = (command.get_name(), flag.get_id());
                // `compare OLD... --with NEW...` takes a list on purpose.
                let is_list = (command, flag_name.as_str()) == ("compare", "new");
                assert!(values.max_values() <= 1 || is_list, "{command} --{flag_name}");
                assert!(!is_optional || flag.is_require_equals_set(), "{command} --{flag_name}");
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
        for line in [["--json", "127.0.0.1:9000"], ["127.0.0.1:9000", "--json"]] {
            let line = ["harness", "load"].into_iter().chain(line);
            let Some(Command::Load(load)) = Cli::parse_from(line).command else {
                panic!("not parsed as `harness load`")
            };
            assert_eq!(load.json.as_deref(), Some(std::path::Path::new("-")));
        }
    }

    #[test]
    fn declared_properties_round_trip_through_flags() {
        let flags = [
            "--service",
            "echo",
            "--capacity",
            "3",
            "--queue",
            "0",
            "--when-full",
            "busy",
            "--division",
            "exact",
            "--overflow",
            "--error-prefix=-oops ",
            "--busy-prefix",
            "go away",
            "--max-line",
            "100",
            "--idle-timeout",
            "1s250ms",
            "--idle-tolerance",
            "50ms",
            "--shutdown",
            "drain",
            "--ipv6",
            "--wire",
            "prompt = \"> \", request = \"{}\\r\\n\"",
            "--concurrency-model",
            "threads",
            "--port",
            "5000",
            "--input",
            "{port}\\n",
        ];
        let line = ["harness", "check", "--cmd", "x {port}"].iter().chain(&flags);
        let Some(Command::Check(check)) = Cli::parse_from(line).command else {
            panic!("not parsed as `harness check`")
        };
        assert_eq!(check.declared.0.flags(), flags);
    }
}
