//! `harness check`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::address::{Address, address};
use super::value_enum::Named;
use super::{DeclaredFlags, EXIT_CODES, ExitPolicy, StartArgs, TerminalArgs};
use crate::report::Evidence;
use crate::units::duration;

/// Default of `--timeout`, in the format of the flag.
pub const DEFAULT_TIMEOUT: &str = "5s";

/// Default name of the directory for counterexamples.
pub const COUNTEREXAMPLES: &str = "counterexamples";

/// Arguments of `harness check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("external_server").args(["cmd", "connect"]))]
pub struct Check {
    /// Names of built-in servers, or of servers in the --manifest file (default: all).
    #[arg(value_name = "SERVER", conflicts_with = "external_server")]
    pub servers: Vec<String>,
    /// Command that starts the server to test, such as "python3 my.py {host} {port}".
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Address of a running server to test. The harness launches nothing; cases that inspect the
    /// server's processes do not apply.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<Address>,
    /// With --connect: wait up to TIME until a server listens at the address (default: do not
    /// wait).
    #[arg(long, value_name = "TIME", value_parser = duration, requires = "connect")]
    pub wait: Option<Duration>,
    /// Flags for the start of servers.
    #[command(flatten)]
    pub start: StartArgs,
    /// TOML file that describes servers (a manifest).
    #[arg(long, value_name = "FILE", conflicts_with = "external_server")]
    pub manifest: Option<PathBuf>,
    /// Confine the servers: limit their memory, processes, file sizes and run time. Where the
    /// kernel permits it, also isolate their network and make the file system read-only.
    #[arg(long, conflicts_with = "connect")]
    pub confine: bool,
    /// Time limit for all cases of one server (default: 10min, or 120 times --timeout if that is
    /// longer).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub within: Option<Duration>,
    /// Run only cases whose name begins with PREFIX, such as `refusal/` or `framing/pipelined`
    /// (default: all). May be repeated.
    #[arg(long = "case", value_name = "PREFIX")]
    pub cases: Vec<String>,
    /// Also write a report into the directory DIR.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Evidence that the report of --output keeps (transcript, output and resources of a case).
    #[arg(
        long,
        value_parser = Named::<Evidence>::new(),
        value_name = "WHICH",
        default_value = "failures",
        requires = "output"
    )]
    pub evidence: Evidence,
    /// Also write the verdicts to FILE as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Directory for counterexamples, which `harness replay` re-runs. With --output, they are
    /// written to the subdirectory `counterexamples` of the report instead.
    #[arg(long, value_name = "DIR", default_value = COUNTEREXAMPLES)]
    pub counterexamples: PathBuf,
    /// Print one JSON document, and nothing else, to standard output: an object for one server, an
    /// array for several.
    #[arg(long)]
    pub json: bool,
    /// Random seed; use the seed of an earlier check to repeat it (default: random).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Timeout for each expected reply or event.
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = duration)]
    pub timeout: Duration,
    /// Number of cases to run in parallel, from 1 to 64 (always 1 with --connect).
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
    /// Flags that determine the exit code.
    #[command(flatten)]
    pub exit_policy: ExitPolicy,
    /// Declared properties of the server.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}
