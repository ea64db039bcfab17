//! Command-line parser. Its doc comments are the `--help` texts of all commands.

mod address;
mod declared_flags;

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};
use servers::{Limits, Server, Service};

use crate::contract::{service, wire};
use crate::load::Arrivals;
use crate::load::interleaved::InterleavedComparison;
use crate::load::placement::Pin;
use crate::report::FailOn;
use crate::selftest::answer::Answer;
use crate::stats::LEAST_LAUNCHES;
use crate::stdio;
use crate::units::{duration, duration_or_none, percent, positive, rate, size};
use crate::wire::Wire;
use address::address;

pub use declared_flags::DeclaredFlags;

const EXIT_CODES: &str = "\
Exit codes: 0 all passed, 1 a verdict or a measurement failed (--fail-on), 2 bad usage, 3 the \
harness could not do its work, or its output could not be written. A reader that closes the pipe, \
as `head` does, changes no exit code.";

/// Test and benchmark TCP socket servers and generate a comparison report.
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
    /// Test servers: built-in ones by name, or any command.
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
    /// Validate the load engine against reference servers with known results.
    Selftest(Selftest),
    /// Compare the load engine with installed reference load generators (wrk, redis-benchmark).
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
    /// Run a known-answer server, which validates the load engine (internal).
    #[command(hide = true)]
    Known(Known),
}

/// Arguments of `harness run`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// Built-in servers, such as select-echo, select (with calc) or server1 … server4 (default:
    /// all).
    #[arg(value_name = "SERVER", value_parser = server)]
    pub servers: Vec<Server>,
    /// Test and benchmark every pattern with both services, calc and echo (default: one row per
    /// pattern, tested with calc and benchmarked with echo).
    #[arg(long, conflicts_with = "servers")]
    pub all: bool,
    /// Benchmark plan: duration per workload, and selection of workloads.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// Directory for the report.
    #[arg(long, value_name = "DIR", default_value = "reports/latest")]
    pub output: PathBuf,
    /// Random seed; use the seed of an earlier run to repeat it (default: random).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Failure criteria.
    #[command(flatten)]
    pub gate: Gate,
}

/// Failure criteria of a run, for CI.
#[derive(Debug, Args)]
pub struct Gate {
    /// Results that make the exit code 1, separated by commas; `none` only alone.
    #[arg(
        long,
        value_enum,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = "fail,undecided"
    )]
    pub fail_on: Vec<FailOn>,
    /// TOML file of known failures, each with a reason: they do not fail the run until they pass.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
}

/// A benchmark plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanName {
    /// 100 ms per workload: a smoke test.
    Quick,
    /// 250 ms per workload: a first comparison of all servers in less than 2 minutes.
    Standard,
    /// 10 s per workload, all workloads, each on a freshly launched server: for published results.
    Thorough,
}

/// Implements [`ValueEnum`], with help texts, for a type of a module that does not depend on clap.
macro_rules! value_enum {
    ($type:ident { $($variant:ident => $help:literal,)+ }) => {
        impl ValueEnum for $type {
            fn value_variants<'a>() -> &'a [$type] {
                $type::ALL
            }

            fn to_possible_value(&self) -> Option<PossibleValue> {
                let help = match self {
                    $($type::$variant => $help,)+
                };
                Some(PossibleValue::new(self.name()).help(help))
            }
        }
    };
}

value_enum!(Arrivals {
    Constant => "Equal intervals",
    Poisson => "Exponentially distributed intervals (many independent clients)",
});

value_enum!(Pin {
    Apart => "Pin the load to the last CPUs, one per generator thread, and the server to all others",
    Together => "Pin both to the first CPU",
    None => "Do not pin: leave the choice to the kernel",
});

value_enum!(FailOn {
    Fail => "A verdict or a measurement failed, or a known failure now passes",
    Undecided => "A case was inconclusive",
    Loose => "A server works, but not as the strict wording asks",
    NotApplicable => "A case is ruled out by the contract",
    None => "Nothing",
});

/// Default of `--timeout`, as written on the command line.
pub const DEFAULT_TIMEOUT: &str = "5s";

/// Arguments of `harness check`.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("own").args(["cmd", "connect"]))]
pub struct Check {
    /// Names of built-in servers, or of servers in the --manifest file (default: all).
    #[arg(value_name = "SERVER", conflicts_with = "own")]
    pub servers: Vec<String>,
    /// Command that starts the server to test, such as "python3 my.py {host} {port}".
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Address of a running server to test. Nothing is launched, and cases that need its processes
    /// do not apply.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<SocketAddr>,
    /// TOML file that describes servers (a manifest).
    #[arg(long, value_name = "FILE", conflicts_with = "own")]
    pub manifest: Option<PathBuf>,
    /// Confine the servers: limit their memory, processes, file sizes and run time. Where the
    /// kernel permits it, also isolate their network and make the file system read-only.
    #[arg(long, conflicts_with = "connect")]
    pub confine: bool,
    /// Time limit for all cases of one server (default: none).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub within: Option<Duration>,
    /// Run only cases whose name begins with PREFIX, such as `refusal/` or `framing/pipelined`
    /// (default: all). May be repeated.
    #[arg(long = "case", value_name = "PREFIX")]
    pub cases: Vec<String>,
    /// Also write a report into the directory DIR.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Also write the verdicts to FILE, as JUnit XML.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Directory for counterexamples, which `harness replay` re-runs. With --output, a
    /// subdirectory of the report is used instead.
    #[arg(long, value_name = "DIR", default_value = REPLAYS)]
    pub replays: PathBuf,
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
    /// Failure criteria.
    #[command(flatten)]
    pub gate: Gate,
    /// Declared properties of the server.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}

const PROBE_EXIT_CODES: &str = "\
Exit codes: 0 the server was described, 1 it does not answer as a calculator or an echo server, \
2 bad usage, 3 there is no server to connect to.";

/// Arguments of `harness probe`.
#[derive(Debug, Args)]
#[command(after_help = PROBE_EXIT_CODES, group = ArgGroup::new("met").args(["cmd", "connect"]).required(true))]
pub struct Probe {
    /// Command that starts the server. Without {port} in it, probe first assumes a fixed port, and
    /// then writes a port to the server's standard input.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Address of a running server to probe.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<SocketAddr>,
    /// Name of the server in the manifest (default: derived from the program's file name).
    #[arg(long, value_name = "NAME", requires = "cmd")]
    pub name: Option<String>,
    /// Append the entry to the manifest FILE instead of printing it.
    #[arg(long, value_name = "FILE", requires = "cmd")]
    pub output: Option<PathBuf>,
}

/// Name of the directory of counterexamples.
pub const REPLAYS: &str = "replays";

const REPLAY_EXIT_CODES: &str = "\
Exit codes: 0 the requirement is met now, 1 it is still not met, 2 bad usage or a file that cannot \
be replayed, 3 the harness could not do its work.";

/// Arguments of `harness replay`.
#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXIT_CODES, group = ArgGroup::new("own").args(["cmd"]))]
pub struct Replay {
    /// Counterexample file, written by `harness check` or `harness run`.
    pub file: PathBuf,
    /// Built-in server to test instead of the recorded one.
    #[arg(value_name = "SERVER", value_parser = server, conflicts_with = "cmd")]
    pub server: Option<Server>,
    /// Command that starts the server to test instead of the recorded one.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
    /// Timeout for each expected reply or event (default: as recorded; 5s for another server).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Declared properties of the server.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}

const BENCH_EXIT_CODES: &str = "\
Exit codes: 0 measured, 1 --require is not met or a server failed, 2 bad usage or no workload \
applies, 3 the harness could not do its work, 130 interrupted (the results so far are written).";

const LOAD_EXIT_CODES: &str = "\
Exit codes: 0 measured, 1 no request was answered or --require is not met, 2 bad usage, 3 the \
harness could not do its work, 130 interrupted (the results so far are written).";

/// Measurement settings of `harness load` and `harness bench`.
#[derive(Clone, Debug, Args)]
pub struct Measured {
    /// Number of load generator threads, which share the connections; from 1 to 64.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// CPU affinity of the load generator, and of the server if the harness launches it.
    #[arg(long, value_enum, default_value_t)]
    pub pin: Pin,
    /// Extend the run until the 95 % confidence interval of the p99 latency is within ±PERCENT.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub precision: Option<f64>,
    /// Maximum length of an extended run, as a multiple of its duration; from 1 to 1000.
    #[arg(long, value_name = "TIMES", default_value_t = 8, requires = "precision", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub extend: u32,
    /// Random seed; use the seed of an earlier run to repeat it (default: random).
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// Additional condition for the exit code 0 (default: none).
    #[arg(long, value_enum, value_name = "WHAT")]
    pub require: Option<Require>,
}

/// A condition that results must meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Require {
    /// Every measurement is rated valid.
    Valid,
    /// Every comparison is conclusive: faster, slower or equal (with --against).
    Conclusive,
    /// Every comparison shows that the server is at most --margin slower (with --against).
    NotSlower,
}

/// Arguments of `harness load`.
#[derive(Debug, Args)]
#[command(after_help = LOAD_EXIT_CODES)]
pub struct Load {
    /// Address of the server, such as 127.0.0.1:8080, or `[::1]:8080` for IPv6.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub address: SocketAddr,
    /// Service of the server: determines the requests and the expected replies.
    #[arg(long, value_parser = service, default_value = "echo", value_name = "calc|echo")]
    pub service: Service,
    /// Protocol, as in the `wire` table of a manifest: 'reply-end = "\\r\\n", prompt = "> "'
    /// (default: a request is a line, and so is a reply).
    #[arg(long, value_name = "TOML", value_parser = wire)]
    pub wire: Option<Wire>,
    /// Number of concurrent connections.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive)]
    pub connections: usize,
    /// Requests in flight on each connection, in a closed loop; from 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), conflicts_with = "rate")]
    pub depth: u32,
    /// Open loop: send requests at this total rate, whether earlier ones are answered or not
    /// (default: closed loop).
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Distribution of the intervals between requests, in an open loop.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant, requires = "rate")]
    pub arrivals: Arrivals,
    /// Duration of the measurement.
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// Duration of the warm-up before the measurement; 0s records from the start.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_none)]
    pub warm_up: Duration,
    /// Print one JSON document, and nothing else, to standard output; with =FILE, write it to FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Also write the latency of each interval to FILE, as an HdrHistogram log (V2).
    #[arg(long, value_name = "FILE")]
    pub histogram_log: Option<PathBuf>,
    /// Measurement settings.
    #[command(flatten)]
    pub measured: Measured,
}

/// Arguments of `harness calibrate`.
#[derive(Debug, Args)]
#[command(after_help = CALIBRATE_EXIT_CODES)]
pub struct Calibrate {
    /// Number of rounds, from 1 to 1000; each runs the load engine and a reference load generator.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Duration of each run.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}

const SELFTEST_EXIT_CODES: &str = "\
Exit codes: 0 every result is as predicted, 1 a result is not, 3 the harness could not do its work, \
130 it was interrupted.";

const CALIBRATE_EXIT_CODES: &str = "\
Exit codes: 0 it was compared, 3 the harness could not do its work, 130 it was interrupted.";

/// Arguments of `harness selftest`.
#[derive(Debug, Args)]
#[command(after_help = SELFTEST_EXIT_CODES)]
pub struct Selftest {
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `harness bench`.
#[derive(Debug, Args)]
#[command(after_help = BENCH_EXIT_CODES)]
pub struct Bench {
    /// Names of built-in servers, or of servers in the --manifest file (default: all).
    #[arg(value_name = "SERVER")]
    pub servers: Vec<String>,
    /// TOML file that describes servers (a manifest).
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Run only workloads whose name begins with PREFIX, such as `closed-` or `churn` (default:
    /// all). May be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub workload: Vec<String>,
    /// Benchmark plan: duration per workload, and selection of workloads.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// Duration of each measurement (default: that of the plan). With --against, total duration of
    /// all slices of a comparison (default: 6s).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Duration of the warm-up before each measurement; 0s records from the start (default: that of
    /// the plan).
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub warm_up: Option<Duration>,
    /// Also count the system calls per request of closed loops, in a separate run without timing.
    #[arg(long)]
    pub syscalls: bool,
    /// Compare the servers with SERVER instead of running workloads: the load alternates between
    /// the two in short slices, over several fresh launches.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["workload", "plan", "warm_up", "output", "syscalls", "precision", "threads"])]
    pub against: Option<String>,
    /// Number of concurrent connections of a comparison.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().connections, value_parser = positive, requires = "against")]
    pub connections: usize,
    /// Fresh launches of both servers in a comparison; at least 4, for a confidence interval.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().launches, value_parser = clap::value_parser!(u32).range(LEAST_LAUNCHES as i64..=1000), requires = "against")]
    pub launches: u32,
    /// Rate servers as equal if their throughputs differ by less than PERCENT, in either direction.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent, requires = "against")]
    pub margin: f64,
    /// Also write a report into the directory DIR.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON document, and nothing else, to standard output: an array of servers with
    /// their measurements.
    #[arg(long)]
    pub json: bool,
    /// Measurement settings.
    #[command(flatten)]
    pub measured: Measured,
}

/// Arguments of `harness serve`.
#[derive(Debug, Args)]
pub struct Serve {
    /// Built-in server, such as select-echo, select (with calc) or server1 … server4.
    #[arg(value_parser = named_server)]
    pub server: NamedServer,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 selects a free one.
    pub port: u16,
    /// Service to run, if the name of the server does not determine it (default: calc).
    #[arg(long, value_parser = service, value_name = "calc|echo")]
    pub service: Option<Service>,
    /// Number of worker threads or processes, where the pattern has a fixed number (default: that
    /// of the pattern).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub workers: Option<usize>,
    /// Maximum number of connections, including those that wait for a worker (default: that of the
    /// pattern).
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_connections: Option<usize>,
    /// Length of the accept queue; the kernel caps it at net.core.somaxconn (default: that of the
    /// pattern).
    #[arg(long, value_name = "N")]
    pub backlog: Option<u32>,
    /// Close connections idle for longer than TIME (default: never).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,
    /// Maximum length of a request, such as 4096 or 64KiB, without its line end (default: 4KiB).
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub max_line: Option<usize>,
}

/// A built-in server, and the name that the user wrote.
#[derive(Clone, Debug)]
pub struct NamedServer {
    /// Name, as the user wrote it.
    pub name: String,
    /// The server of that name.
    pub server: Server,
}

const CLIENT_EXIT_CODES: &str = "\
Exit codes: 0 every request was answered, 2 bad usage, 3 this machine's input, output or network \
failed, 4 no server is started there, 5 the server refused the connection, 6 the server did not \
answer in time, 7 the server closed the connection before a reply.";

/// Arguments of `harness client`.
#[derive(Debug, Args)]
#[command(after_help = CLIENT_EXIT_CODES)]
pub struct Client {
    /// Address or host name of the server.
    pub host: String,
    /// Port of the server, from 1 to 65535.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Timeout for the connection and for each reply.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
}

/// Arguments of `harness list`.
#[derive(Debug, Args)]
pub struct List {
    /// Table to list.
    #[arg(value_enum)]
    pub what: Listed,
    /// Print one JSON document: an array of objects.
    #[arg(long)]
    pub json: bool,
}

/// A table of the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// Built-in servers.
    Servers,
    /// Test cases.
    Cases,
    /// Workloads of the benchmarks.
    Workloads,
    /// Files of a report, one per format.
    Exporters,
}

/// Arguments of `harness supervise`: none, as the launch request is read from standard input.
#[derive(Debug, Args)]
pub struct Supervise {}

/// Arguments of `harness known`.
#[derive(Debug, Args)]
#[command(after_help = Answer::help())]
pub struct Known {
    /// Behaviour: a name, and parameters after a colon.
    pub answer: Answer,
    /// Address or host name to listen on.
    pub host: String,
    /// Port to listen on; 0 selects a free one.
    pub port: u16,
}

/// The commands that run as server or supervisor processes. Such processes start thousands of
/// times, and building the flags of all other commands would take most of their start-up time.
#[derive(Parser)]
#[command(name = "harness", disable_help_flag = true, disable_help_subcommand = true)]
enum Role {
    Serve(Serve),
    Supervise(Supervise),
    Known(Known),
}

/// Returns whether the command line names a role.
pub(crate) fn is_role() -> bool {
    std::env::args().nth(1).is_some_and(|name| Role::has_subcommand(&name))
}

impl Role {
    /// Parses the command line as a role. Returns `None` for other commands and for bad usage,
    /// which the full parser reports.
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

impl Cli {
    /// Parses the command line of this process. Exits with code 2 on bad usage, with 0 on `--help`.
    pub fn read() -> Command {
        if let Some(role) = Role::read() {
            return role;
        }
        let cli = Cli::try_parse().unwrap_or_else(|error| {
            let written = error.print();
            if !error.use_stderr() {
                stdio::record(written);
            }
            stdio::exit(u8::try_from(error.exit_code()).unwrap_or(2))
        });
        cli.command.unwrap_or(Command::Run(cli.run))
    }
}

impl Check {
    /// Parses arguments of `harness check` that select exactly one server.
    ///
    /// # Errors
    /// The arguments are bad usage, or select no server or several.
    pub fn of_words(words: &str) -> Result<Check, String> {
        let words = shlex::split(words).ok_or("a quote is open")?;
        let line = ["harness", "check"].map(str::to_owned).into_iter().chain(words);
        let cli = Cli::try_parse_from(line)
            .map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
        match cli.command {
            Some(Command::Check(check))
                if check.cmd.is_some() || check.connect.is_some() || check.servers.len() == 1 =>
            {
                if check.manifest.is_none() {
                    let known = |name| server(name).map_err(|words| format!("`{name}`: {words}"));
                    check.servers.iter().try_for_each(|name| known(name).map(drop))?;
                }
                Ok(*check)
            }
            _ => Err("it names no server, or several".to_owned()),
        }
    }
}

impl Replay {
    /// Returns a check of the server that replaces the recorded one, if any.
    pub fn elsewhere(&self) -> Option<Check> {
        if self.server.is_none() && self.cmd.is_none() {
            return None;
        }
        let mut check = Check::of_words("select").expect("the name of a built-in server");
        check.servers = self.server.iter().map(Server::name).collect();
        check.cmd.clone_from(&self.cmd);
        check.declared = self.declared.clone();
        Some(check)
    }
}

impl Serve {
    /// Returns the limits that the user set.
    pub fn limits(&self) -> Limits {
        Limits {
            workers: self.workers,
            max_connections: self.max_connections,
            backlog: self.backlog,
            idle_timeout: self.idle_timeout,
            max_line: self.max_line,
        }
    }
}

pub(crate) fn server(name: &str) -> Result<Server, String> {
    servers::find(name).ok_or_else(|| {
        if Path::new(name).is_file() {
            return format!(
                "`{name}` is a file, and not a built-in server: judge it by the command that starts it, \
                 as in harness check --cmd \"{} {{host}} {{port}}\"",
                started_by(name)
            );
        }
        let ids: Vec<&str> = servers::PATTERNS.iter().map(|pattern| pattern.id).collect();
        format!(
            "there is no such server; choose {}, each with -calc or -echo after it, or server1 to server4",
            ids.join(", ")
        )
    })
}

/// Returns the beginning of a command that runs a program.
fn started_by(file: &str) -> String {
    let interpreter = match Path::new(file).extension().and_then(OsStr::to_str) {
        Some("py") => "python3 ",
        Some("js" | "mjs") => "node ",
        Some("rb") => "ruby ",
        Some("pl") => "perl ",
        _ if file.contains('/') => "",
        _ => "./",
    };
    format!("{interpreter}{file}")
}

fn named_server(name: &str) -> Result<NamedServer, String> {
    server(name).map(|server| NamedServer { name: name.to_owned(), server })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_flag_with_an_optional_value_takes_no_argument_that_follows_it() {
        fn check(command: &clap::Command) {
            for flag in command.get_arguments().filter(|it| !it.is_positional()) {
                let values = flag.get_num_args().expect("the command is built");
                let is_optional = values.min_values() == 0 && values.max_values() > 0;
                let (of, flag_name) = (command.get_name(), flag.get_id());
                assert!(values.max_values() <= 1, "{of} --{flag_name}");
                assert!(!is_optional || flag.is_require_equals_set(), "{of} --{flag_name}");
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Cli::command();
        command.build();
        check(&command);
        for line in [["--json", "127.0.0.1:9000"], ["127.0.0.1:9000", "--json"]] {
            let line = ["harness", "load"].into_iter().chain(line);
            let Some(Command::Load(load)) = Cli::parse_from(line).command else {
                panic!("it is a load")
            };
            assert_eq!(load.json.as_deref(), Some(std::path::Path::new("-")));
        }
    }

    #[test]
    fn what_was_declared_can_be_written_down_again() {
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
            "--ending",
            "drain",
            "--ipv6",
            "--wire",
            "prompt = \"> \", request = \"{}\\r\\n\"",
            "--expect",
            "threads",
            "--port",
            "5000",
            "--input",
            "{port}\\n",
        ];
        let line = ["harness", "check", "--cmd", "x {port}"].iter().chain(&flags);
        let Some(Command::Check(check)) = Cli::parse_from(line).command else {
            panic!("it is a check")
        };
        assert_eq!(check.declared.0.flags(), flags);
    }
}
