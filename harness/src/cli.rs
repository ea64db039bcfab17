//! The command line: every flag, parsed once.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::error::ErrorKind;
use clap::{
    Arg, ArgAction, ArgGroup, ArgMatches, Args, FromArgMatches, Parser, Subcommand, ValueEnum,
};
use servers::{Limits, Server, Service};

use crate::contract::{Declared, PROPERTIES, Property, service, wire};
use crate::load::Arrivals;
use crate::load::interleaved::InterleavedComparison;
use crate::load::placement::Pin;
use crate::report::FailOn;
use crate::selftest::answer::Answer;
use crate::server::proc;
use crate::stats::LEAST_LAUNCHES;
use crate::stdio;
use crate::units::{duration, duration_or_none, percent, positive, rate, size};
use crate::wire::Wire;

const EXIT_CODES: &str = "\
Exit codes: 0 all passed, 1 a verdict or a measurement failed (--fail-on), 2 bad usage, 3 the \
harness could not do its work, or its output could not be written. A reader that closes the pipe, \
as `head` does, changes no exit code.";

/// Judges and measures socket servers, and writes the comparison.
#[derive(Debug, Parser)]
#[command(name = "harness", version, after_help = EXIT_CODES, args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: Run,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Launch, judge and measure servers, and write the report (the default).
    Run(Run),
    /// Judge servers: the built-in ones by name, or any command.
    Check(Box<Check>),
    /// Meet a server that nobody described: work out how it speaks, what it keeps to and how it is
    /// built, and write the entry of a manifest to standard output.
    Probe(Probe),
    /// Try again what a server failed at: a counterexample that was found before.
    Replay(Replay),
    /// Load whoever listens somewhere, and print what that gave.
    Load(Load),
    /// Launch servers and measure them under the workloads.
    Bench(Bench),
    /// Let the load engine prove itself on servers whose right figures are known beforehand.
    Selftest(Selftest),
    /// Compare the load engine with others that are installed.
    Calibrate(Calibrate),
    /// Run one server in the foreground, until Ctrl-C.
    Serve(Serve),
    /// Talk to a server: a line in, a line out.
    Client(Client),
    /// What there is.
    List(List),
    /// Own a server on behalf of the harness (for its own use).
    #[command(hide = true)]
    Supervise(Supervise),
    /// Be a server of which it is known what the load engine must find.
    #[command(hide = true)]
    Known(Known),
}

/// What to run.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub struct Run {
    /// Which servers: select-echo, select (with calc), server1 … server4. All, if none is named.
    #[arg(value_name = "SERVER", value_parser = server)]
    pub servers: Vec<Server>,
    /// Judge and measure every pattern with both services, calc and echo (default: one row per
    /// pattern, judged as calc and measured as echo).
    #[arg(long, conflicts_with = "servers")]
    pub all: bool,
    /// How long to measure.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// Where the report goes.
    #[arg(long, value_name = "DIR", default_value = "reports/latest")]
    pub output: PathBuf,
    /// Repeats the chances of an earlier run.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What fails the run.
    #[command(flatten)]
    pub gate: Gate,
}

/// What fails a run, for CI.
#[derive(Debug, Args)]
pub struct Gate {
    /// What makes the exit code 1, separated by commas.
    #[arg(
        long,
        value_enum,
        value_name = "KINDS",
        value_delimiter = ',',
        default_value = "fail,undecided"
    )]
    pub fail_on: Vec<FailOn>,
    /// A TOML file of known failures, each with a reason: they do not fail the run, until they pass.
    #[arg(long, value_name = "FILE")]
    pub expected: Option<PathBuf>,
}

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PlanName {
    /// 100 ms per workload: enough to see that everything works.
    Quick,
    /// 250 ms per workload: a first look at all servers in less than two minutes.
    Standard,
    /// 10 s per workload, all workloads, each on a freshly launched server: for figures to be quoted.
    Thorough,
}

/// Makes values of a type that knows nothing of clap into values of a flag, with their help.
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
    Poisson => "Exponentially distributed intervals, as of many independent clients",
});

value_enum!(Pin {
    Apart => "The load on the last CPUs, one for each of its threads; the server on all others",
    Together => "Both on the first CPU",
    None => "Wherever the kernel puts them",
});

value_enum!(FailOn {
    Fail => "A verdict or a measurement failed, or a known failure now passes",
    Undecided => "A case was inconclusive",
    Loose => "A server works, but not as the strict wording asks",
    NotApplicable => "A case is ruled out by the contract",
    None => "Nothing",
});

/// How long to wait for what should come, unless told otherwise.
pub const DEFAULT_TIMEOUT: &str = "5s";

/// Whom to judge, and by what.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES, group = ArgGroup::new("own").args(["cmd", "connect"]))]
pub struct Check {
    /// Built-in servers, or with --manifest those of the file. All, if none is named.
    #[arg(value_name = "SERVER", conflicts_with = "own")]
    pub servers: Vec<String>,
    /// A server of your own: the command that starts it, such as "python3 my.py {host} {port}".
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// A server that runs already: nothing is launched, and what needs its processes is left out.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<SocketAddr>,
    /// Servers that a TOML file describes.
    #[arg(long, value_name = "FILE", conflicts_with = "own")]
    pub manifest: Option<PathBuf>,
    /// Keep the servers from harm: memory, processes, files and time are limited, and where the
    /// kernel permits it the network is their own and the file system read-only.
    #[arg(long, conflicts_with = "connect")]
    pub confine: bool,
    /// How long the judgement of one server may take.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub within: Option<Duration>,
    /// Run only cases whose name begins with PREFIX, such as `refusal/` or `framing/pipelined`. May
    /// be repeated.
    #[arg(long = "case", value_name = "PREFIX")]
    pub cases: Vec<String>,
    /// Also write a report into this folder.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Also write the verdicts as JUnit XML into this file.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Where counterexamples go, for `harness replay`; with --output, into its folder.
    #[arg(long, value_name = "DIR", default_value = REPLAYS)]
    pub replays: PathBuf,
    /// Print one JSON document, and nothing else, to standard output: an object for one server, a
    /// list for several.
    #[arg(long)]
    pub json: bool,
    /// Repeats the chances of an earlier check.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How long to wait for what should come.
    #[arg(long, value_name = "TIME", default_value = DEFAULT_TIMEOUT, value_parser = duration)]
    pub timeout: Duration,
    /// Cases at a time; one, of a server that runs already.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// What fails the run.
    #[command(flatten)]
    pub gate: Gate,
    /// What the server declares.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}

const PROBE_EXIT_CODES: &str = "\
Exit codes: 0 it is described, 1 it does not answer as a calculator or an echo, 2 bad usage, 3 there is no server to talk to.";

/// Whom to meet.
#[derive(Debug, Args)]
#[command(after_help = PROBE_EXIT_CODES, group = ArgGroup::new("met").args(["cmd", "connect"]).required(true))]
pub struct Probe {
    /// The command that starts it. Without {port} in it the server is tried with a port of its own,
    /// and then with one on standard input.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Where it runs already.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub connect: Option<SocketAddr>,
    /// Its name in the manifest.
    #[arg(long, value_name = "NAME", requires = "cmd")]
    pub name: Option<String>,
    /// Add the entry to this file, in place of standard output.
    #[arg(long, value_name = "FILE", requires = "cmd")]
    pub output: Option<PathBuf>,
}

/// The name of the folder of counterexamples.
pub const REPLAYS: &str = "replays";

const REPLAY_EXIT_CODES: &str = "\
Exit codes: 0 it is as required now, 1 it still is not, 2 bad usage or a file that cannot be \
replayed, 3 the harness could not do its work.";

/// What to try again, and on whom.
#[derive(Debug, Args)]
#[command(after_help = REPLAY_EXIT_CODES, group = ArgGroup::new("own").args(["cmd"]))]
pub struct Replay {
    /// A file that `harness check` or `harness run` has written.
    pub file: PathBuf,
    /// A built-in server, in place of the one that failed.
    #[arg(value_name = "SERVER", value_parser = server, conflicts_with = "cmd")]
    pub server: Option<Server>,
    /// A server of your own, in place of the one that failed: the command that starts it.
    #[arg(long, value_name = "COMMAND")]
    pub cmd: Option<String>,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
    /// How long to wait for what should come.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// What the server declares.
    #[command(flatten)]
    pub declared: DeclaredFlags,
}

const BENCH_EXIT_CODES: &str = "\
Exit codes: 0 it was measured, 1 what --require asks for is not so or a server failed while it was \
compared, 2 bad usage or no workload applies, 3 the harness could not do its work, 130 it was interrupted, and what was \
measured until then is written.";

const LOAD_EXIT_CODES: &str = "\
Exit codes: 0 it was measured, 1 no request was answered, or what --require asks for is not so, 2 bad usage, 3 the harness could \
not do its work, 130 it was interrupted, and what was measured until then is written.";

/// How to measure.
#[derive(Clone, Debug, Args)]
pub struct Measured {
    /// Generators: each has a thread and a part of the connections.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub threads: u16,
    /// Who runs on which processors.
    #[arg(long, value_enum, default_value_t)]
    pub pin: Pin,
    /// Measure until the p99 is known to so many percent to either side.
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub precision: Option<f64>,
    /// How many times the duration a run may become for that.
    #[arg(long, value_name = "TIMES", default_value_t = 8, requires = "precision", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub extend: u32,
    /// Repeats the chances of an earlier run.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// What must be so for the exit code 0.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub require: Option<Require>,
}

/// What a measurement must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Require {
    /// Its figures are to be believed.
    Valid,
    /// Every comparison is faster, slower or equal (with --against).
    Conclusive,
    /// Every comparison shows that the server is not slower by more than --margin (with --against).
    NotSlower,
}

/// Whom to load, and how.
#[derive(Debug, Args)]
#[command(after_help = LOAD_EXIT_CODES)]
pub struct Load {
    /// Where the server listens, such as 127.0.0.1:8080; an IPv6 address stands in brackets.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub address: SocketAddr,
    /// What it answers.
    #[arg(long, value_parser = service, default_value = "echo", value_name = "calc|echo")]
    pub service: Service,
    /// How it speaks, as in the `wire` of a manifest: 'reply-end = "\\r\\n", prompt = "> "'.
    #[arg(long, value_name = "TOML", value_parser = wire)]
    pub wire: Option<Wire>,
    /// How many connections.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive)]
    pub connections: usize,
    /// Requests under way on each connection, in a closed loop.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), conflicts_with = "rate")]
    pub depth: u32,
    /// An open loop: so many requests per second in all, whether they are answered or not.
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// The distances between the requests of an open loop.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant, requires = "rate")]
    pub arrivals: Arrivals,
    /// How long to measure.
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// How long to load before that; 0s records from the start.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_none)]
    pub warm_up: Duration,
    /// Print one JSON document, and nothing else, to standard output; with =FILE, write it to that
    /// file.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Also write the latency of each interval to this file, as an HdrHistogram log (V2).
    #[arg(long, value_name = "FILE")]
    pub histogram_log: Option<PathBuf>,
    /// How to measure.
    #[command(flatten)]
    pub measured: Measured,
}

/// How to compare the load engine with others.
#[derive(Debug, Args)]
pub struct Calibrate {
    /// How often each is run, in turns.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// How long each run is.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub duration: Duration,
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}

const SELFTEST_EXIT_CODES: &str = "\
Exit codes: 0 every figure is as predicted, 1 one is not, 3 the harness could not do its work.";

/// How to prove itself.
#[derive(Debug, Args)]
#[command(after_help = SELFTEST_EXIT_CODES)]
pub struct Selftest {
    /// Print one JSON document, and nothing else, to standard output.
    #[arg(long)]
    pub json: bool,
}

/// Whom to measure, and under what.
#[derive(Debug, Args)]
#[command(after_help = BENCH_EXIT_CODES)]
pub struct Bench {
    /// Which servers, or with --manifest which of the file. All, if none is named.
    #[arg(value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Servers that a TOML file describes.
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Only workloads whose name begins so: `closed-`, `churn`. Several may be given.
    #[arg(long, value_name = "PREFIX")]
    pub workload: Vec<String>,
    /// How long to measure.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// How long to measure under each workload, in place of what the plan says; with --against how
    /// long all slices of a comparison take together (default: 6s).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// How long to load before that, likewise.
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub warm_up: Option<Duration>,
    /// Also count the system calls for each request, in closed loops, in a run that is not timed.
    #[arg(long)]
    pub syscalls: bool,
    /// Compare the servers with this one, in place of measuring them under workloads: the load
    /// alternates between the two in short slices, over several fresh launches.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["workload", "plan", "warm_up", "output", "syscalls", "precision", "threads"])]
    pub against: Option<String>,
    /// Connections of a comparison.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().connections, value_parser = positive, requires = "against")]
    pub connections: usize,
    /// Fresh launches of both servers in a comparison; an interval needs 4.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().launches, value_parser = clap::value_parser!(u32).range(LEAST_LAUNCHES as i64..=1000), requires = "against")]
    pub launches: u32,
    /// Call servers equal if their throughputs differ by less than this, to either side.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent, requires = "against")]
    pub margin: f64,
    /// Also write a report into this folder.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON document, and nothing else, to standard output: a list of servers with their
    /// measurements.
    #[arg(long)]
    pub json: bool,
    /// How to measure.
    #[command(flatten)]
    pub measured: Measured,
}

/// The flags that declare the properties of a server of the user's own, one for each of
/// [`PROPERTIES`].
#[derive(Clone, Debug, Default)]
pub struct DeclaredFlags(pub Declared);

impl DeclaredFlags {
    fn flag(property: &'static Property) -> Arg {
        let owner = if property.is_of_command { "cmd" } else { "own" };
        let flag = Arg::new(property.name)
            .long(property.name)
            .help(property.help)
            .requires(owner)
            .help_heading("What a server of your own declares (what it does not is not judged)");
        let Some(value) = property.value else { return flag.action(ArgAction::SetTrue) };
        let read =
            |text: &str| (property.read)(&mut Declared::default(), text).map(|()| text.to_owned());
        flag.value_name(value).value_parser(read)
    }
}

impl FromArgMatches for DeclaredFlags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<DeclaredFlags, clap::Error> {
        let mut flags = DeclaredFlags::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for property in PROPERTIES {
            let text = match property.value {
                Some(_) => matches.get_one::<String>(property.name).map(String::as_str),
                None => matches.get_flag(property.name).then_some(""),
            };
            if let Some(text) = text {
                (property.read)(&mut self.0, text)
                    .map_err(|words| clap::Error::raw(ErrorKind::InvalidValue, words))?;
            }
        }
        Ok(())
    }
}

impl Args for DeclaredFlags {
    fn augment_args(command: clap::Command) -> clap::Command {
        command.args(PROPERTIES.iter().map(DeclaredFlags::flag))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        DeclaredFlags::augment_args(command)
    }
}

/// Which server to run, where, and within what limits.
#[derive(Debug, Args)]
pub struct Serve {
    /// Which server: select-echo, select (with calc), server1 … server4.
    #[arg(value_parser = named_server)]
    pub server: NamedServer,
    /// Where to listen: a name or an address of this machine.
    pub host: String,
    /// On which port; 0 takes any free one.
    pub port: u16,
    /// What to answer, where the server's name leaves it open.
    #[arg(long, value_parser = service, value_name = "calc|echo")]
    pub service: Option<Service>,
    /// How many threads or processes serve, where the pattern has a fixed number.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub workers: Option<usize>,
    /// The most clients taken in at once.
    #[arg(long, value_name = "N", value_parser = positive)]
    pub max_connections: Option<usize>,
    /// The length of the accept queue to ask the kernel for (it caps it at net.core.somaxconn).
    #[arg(long, value_name = "N")]
    pub backlog: Option<u32>,
    /// Close clients that are silent for so long.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub idle_timeout: Option<Duration>,
    /// The longest request.
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub max_line: Option<usize>,
}

/// A server, and how it was named.
#[derive(Clone, Debug)]
pub struct NamedServer {
    /// As the user wrote it.
    pub name: String,
    /// Which that is.
    pub server: Server,
}

const CLIENT_EXIT_CODES: &str = "\
Exit codes: 0 every request was answered, 2 bad usage, 3 this machine's input, output or network \
failed, 4 no server is started there, 5 the server refused, 6 it did not answer in time, 7 it \
closed the connection before a reply.";

/// Whom to talk to.
#[derive(Debug, Args)]
#[command(after_help = CLIENT_EXIT_CODES)]
pub struct Client {
    /// Where the server is: a name or an address.
    pub host: String,
    /// On which port.
    #[arg(value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// How long to wait for the connection, and for each reply.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,
}

/// What to list.
#[derive(Debug, Args)]
pub struct List {
    /// Of what.
    #[arg(value_enum)]
    pub what: Listed,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Listed {
    /// The built-in servers.
    Servers,
    /// The cases that servers are judged by.
    Cases,
    /// The loads that servers are measured under.
    Workloads,
    /// The files of a report.
    Exporters,
}

/// What to own is told on standard input.
#[derive(Debug, Args)]
pub struct Supervise {}

/// Which known-answer server to be, and where.
#[derive(Debug, Args)]
#[command(after_help = Answer::help())]
pub struct Known {
    /// What it does with a line: a name, and parameters after a colon.
    pub answer: Answer,
    /// Where to listen: a name or an address of this machine.
    pub host: String,
    /// On which port; 0 takes any free one.
    pub port: u16,
}

/// The commands that become part of a server. It is started thousands of times, and the flags of all
/// other commands would take most of that.
#[derive(Parser)]
#[command(name = "harness", disable_help_flag = true, disable_help_subcommand = true)]
enum Role {
    Serve(Serve),
    Supervise(Supervise),
    Known(Known),
}

impl Role {
    /// The role that the command line names, if it is one without a fault.
    fn read() -> Option<Command> {
        let name = std::env::args_os().nth(1)?;
        if !["serve", "supervise", "known"].iter().any(|role| name == *role) {
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
    /// Reads the command line of this process. Bad usage ends it with exit code 2, `--help` with 0.
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
    /// Reads what follows `harness check`, and names one server.
    ///
    /// # Errors
    /// What is wrong with it.
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
    /// The server that was named in place of the one that failed.
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
    /// The limits asked for.
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
        let ids: Vec<&str> = servers::PATTERNS.iter().map(|pattern| pattern.id).collect();
        format!(
            "there is no such server; choose {}, each with -calc or -echo after it, or server1 to server4",
            ids.join(", ")
        )
    })
}

fn named_server(name: &str) -> Result<NamedServer, String> {
    server(name).map(|server| NamedServer { name: name.to_owned(), server })
}

/// How long one of several addresses may take to accept a connection.
const REACHED: Duration = Duration::from_millis(500);

/// Where a server listens: HOST:PORT. Of a name with several addresses, the first at which a server
/// listens.
fn address(text: &str) -> Result<SocketAddr, String> {
    if text.contains("://") {
        return Err("this is a URL: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return Err(format!("it has no port: write [ADDRESS]:PORT, such as [{text}]:8080"));
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| !text.ends_with(']')) else {
        return Err(format!("it has no port: write HOST:PORT, such as {text}:8080"));
    };
    if host.is_empty() {
        return Err("it has no host: write HOST:PORT, such as 127.0.0.1:8080".to_owned());
    }
    let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or_else(|| {
        format!("`{port}` is not a port: write a number from 1 to 65535, such as {host}:8080")
    })?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(format!("an IPv6 address stands in brackets: [{host}]:{port}"));
    }
    let all = servers::sockets::resolve(host, port)
        .map_err(|error| format!("{error}; correct the name, or write an address"))?;
    let listens = |address: &&SocketAddr| proc::accept_queue(**address).is_some();
    let answers = |address: &&SocketAddr| TcpStream::connect_timeout(address, REACHED).is_ok();
    Ok(match all.as_slice() {
        [one] => *one,
        // A connection is tried only where nothing is known of the listener: it takes a slot.
        several => *several
            .iter()
            .find(listens)
            .or_else(|| several.iter().find(answers))
            .unwrap_or(&several[0]),
    })
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
    fn a_wrong_address_is_told_what_is_wrong_with_it() {
        for (text, words) in [
            ("http://127.0.0.1:8080/", "URL"),
            ("127.0.0.1", "no port: write HOST:PORT, such as 127.0.0.1:8080"),
            ("localhost", "such as localhost:8080"),
            ("[::1]", "such as [::1]:8080"),
            ("::1", "such as [::1]:8080"),
            ("2001:db8::1:9000:x", "`x` is not a port"),
            ("fe80::1%lo:80", "in brackets"),
            (":8080", "no host"),
            ("127.0.0.1:http", "`http` is not a port"),
            ("127.0.0.1:0", "`0` is not a port"),
            ("127.0.0.1:65536", "65535"),
            ("no such host:80", "cannot resolve host `no such host`"),
        ] {
            let error = address(text).expect_err(text);
            assert!(error.contains(words), "{text}: {error}");
        }
        for text in ["127.0.0.1:80", "[::1]:80", "localhost:80"] {
            assert!(address(text).is_ok_and(|it| it.port() == 80 && it.ip().is_loopback()));
        }
    }

    #[test]
    fn of_the_addresses_of_a_name_the_one_that_is_listened_on_is_taken() {
        for host in ["127.0.0.1", "::1"] {
            // Where there is no such address, there is nothing to choose from.
            let Ok(listener) = std::net::TcpListener::bind((host, 0)) else { continue };
            let listens = listener.local_addr().expect("its address");
            let localhost = format!("localhost:{}", listens.port());
            let all = servers::sockets::resolve("localhost", listens.port()).expect("it is one");
            let count = all.iter().filter(|one| proc::accept_queue(**one).is_some()).count();
            if all.contains(&listens) && count == 1 {
                assert_eq!(address(&localhost), Ok(listens));
            }
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
