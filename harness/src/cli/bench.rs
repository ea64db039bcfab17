//! `harness bench`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use servers::Service;

use super::{MeasurementArgs, PlanName, StartArgs, TerminalArgs};
use crate::contract::{service, wire};
use crate::load::interleaved::InterleavedComparison;
use crate::stats::MIN_LAUNCHES;
use crate::units::{duration, duration_or_none, percent, positive};
use crate::wire::Wire;

const BENCH_EXIT_CODES: &str = "\
Exit codes: 0 the benchmark was run, 1 --require or a --threshold is not met, or a server failed (a measurement is \
faulty: a request got no correct reply, or a connection was lost), 2 bad \
usage or no workload applies, 3 the harness itself failed (for example, no descriptor was left), 130 or 143 \
interrupted by SIGINT or SIGTERM (the results so far are written).";

/// Arguments of `harness bench`.
#[derive(Debug, Args)]
#[command(
    after_help = BENCH_EXIT_CODES,
    group = ArgGroup::new("baseline").args(["against", "against_cmd"]),
    group = ArgGroup::new("commands").args(["cmd", "against_cmd"]).multiple(true),
)]
pub struct Bench {
    /// Names of built-in servers, or of servers in the --manifest file (default: all).
    #[arg(value_name = "SERVER")]
    pub servers: Vec<String>,
    /// Command that starts the server to benchmark, such as "python3 my.py {host} {port}".
    #[arg(long, value_name = "COMMAND", conflicts_with = "servers")]
    pub cmd: Option<String>,
    /// Service of the servers of --cmd and --against-cmd: determines the requests and the expected
    /// replies.
    #[arg(long, value_parser = service, default_value = "echo", value_name = "calc|echo", requires = "commands")]
    pub service: Service,
    /// Wire protocol of the servers of --cmd and --against-cmd, as in the `wire` table of a
    /// manifest (default: each request and each reply is a line).
    #[arg(long, value_name = "TOML", value_parser = wire, requires = "commands")]
    pub wire: Option<Wire>,
    /// TOML file that describes servers (a manifest).
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<PathBuf>,
    /// Run only workloads whose name begins with PREFIX, such as `closed-` or `churn` (default:
    /// all). May be repeated.
    #[arg(long, value_name = "PREFIX")]
    pub workload: Vec<String>,
    /// Benchmark plan: duration of each workload, and number of idle connections.
    #[arg(long, value_enum, default_value_t = PlanName::Standard)]
    pub plan: PlanName,
    /// Duration of each measurement (default: set by the plan). With --against, total duration of
    /// all slices of a comparison (default: 6s).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Duration of the warm-up before each measurement; 0s records from the start (default: set by
    /// the plan).
    #[arg(long, value_name = "TIME", value_parser = duration_or_none)]
    pub warm_up: Option<Duration>,
    /// Also count the server's system calls per request, for closed-loop workloads, in a separate
    /// run whose timing is not reported.
    #[arg(long)]
    pub syscalls: bool,
    /// Compare the servers with the baseline SERVER, a built-in server or a server of the
    /// --manifest file, instead of running workloads. The load alternates between the two servers
    /// in short slices, over several launches.
    #[arg(long, value_name = "SERVER", conflicts_with_all = ["workload", "plan", "warm_up", "output", "syscalls", "precision", "threads", "threshold"])]
    pub against: Option<String>,
    /// As --against, with the command that starts the baseline: compare two builds of a server with
    /// --cmd "./new {host} {port}" --against-cmd "./old {host} {port}".
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["workload", "plan", "warm_up", "output", "syscalls", "precision", "threads", "threshold"])]
    pub against_cmd: Option<String>,
    /// Number of concurrent connections to each server in a comparison.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().connections, value_parser = positive, requires = "baseline")]
    pub connections: usize,
    /// Number of launches of both servers in a comparison, from 4 (the minimum for a confidence
    /// interval) to 1000.
    #[arg(long, value_name = "N", default_value_t = InterleavedComparison::default().launches, value_parser = clap::value_parser!(u32).range(MIN_LAUNCHES as i64..=1000), requires = "baseline")]
    pub launches: u32,
    /// Equivalence margin: the result is `equal` if the 95 % confidence interval of the throughput
    /// ratio contains 1 and lies between 1/(1+m) and 1+m, with m = PERCENT/100.
    #[arg(long, value_name = "PERCENT", default_value = "5", value_parser = percent, requires = "baseline")]
    pub margin: f64,
    /// Also write a report into the directory DIR.
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Print one JSON document, and nothing else, to standard output: an array of servers with
    /// their measurements.
    #[arg(long)]
    pub json: bool,
    /// Flags for the start of servers.
    #[command(flatten)]
    pub start: StartArgs,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
    /// Stop after the first server that failed, and the first measurement or comparison that makes
    /// the exit code 1. A report is incomplete.
    #[arg(long)]
    pub fail_fast: bool,
    /// Measurement settings.
    #[command(flatten)]
    pub measurement: MeasurementArgs,
}
