//! `harness load`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use servers::Service;

use super::address::{Address, address};
use super::{MeasurementArgs, TerminalArgs};
use crate::contract::{service, wire};
use crate::load::Arrivals;
use crate::units::{duration, duration_or_none, positive, rate};
use crate::wire::Wire;

const LOAD_EXIT_CODES: &str = "\
Exit codes: 0 the load test was run, 1 no request was answered, or --require or a --threshold \
is not met, 2 bad usage, 3 the harness itself failed (for example, no descriptor was left), 130 or 143 interrupted \
by SIGINT or SIGTERM (the results so far are written).";

/// Arguments of `harness load`.
#[derive(Debug, Args)]
#[command(after_help = LOAD_EXIT_CODES)]
pub struct Load {
    /// Address of the server, such as 127.0.0.1:8080 or `[::1]:8080`.
    #[arg(value_name = "HOST:PORT", value_parser = address)]
    pub address: Address,
    /// Wait up to TIME until a server listens at the address (default: do not wait).
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub wait: Option<Duration>,
    /// Service of the server: determines the requests and the expected replies.
    #[arg(long, value_parser = service, default_value = "echo", value_name = "calc|echo")]
    pub service: Service,
    /// Wire protocol, as in the `wire` table of a manifest: 'reply-end = "\r\n", prompt = "> "'
    /// (default: each request and each reply is a line).
    #[arg(long, value_name = "TOML", value_parser = wire)]
    pub wire: Option<Wire>,
    /// Number of concurrent connections.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = positive)]
    pub connections: usize,
    /// Number of requests in flight on each connection, in a closed loop; from 1 to 256.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=256), conflicts_with = "rate")]
    pub depth: u32,
    /// Open loop: send requests at this total rate without waiting for replies (default: closed
    /// loop).
    #[arg(long, value_name = "PER SECOND", value_parser = rate)]
    pub rate: Option<f64>,
    /// Distribution of the interarrival times, in an open loop.
    #[arg(long, value_enum, default_value_t = Arrivals::Constant, requires = "rate")]
    pub arrivals: Arrivals,
    /// Duration of the measurement.
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = duration)]
    pub duration: Duration,
    /// Duration of the warm-up before the measurement; 0s records from the start.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration_or_none)]
    pub warm_up: Duration,
    /// Connect again when the server closes a connection or does not accept it, and report how long
    /// the outages lasted (default: a closed connection stays closed). With --wire
    /// 'requests-per-connection = N', send N requests on each connection.
    #[arg(long)]
    pub reconnect: bool,
    /// Print one JSON document, and nothing else, to standard output; with =FILE, write it to FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub json: Option<PathBuf>,
    /// Also write a latency histogram for each tenth of the measurement to FILE, as an HdrHistogram
    /// log (V2).
    #[arg(long, value_name = "FILE")]
    pub histogram_log: Option<PathBuf>,
    /// Flags for the output.
    #[command(flatten)]
    pub terminal: TerminalArgs,
    /// Measurement settings.
    #[command(flatten)]
    pub measurement: MeasurementArgs,
}
