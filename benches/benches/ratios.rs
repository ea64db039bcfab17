//! Ratio of the throughputs of two servers. The ratios of patterns to minimal loops show the cost
//! of framing, limits and draining. The ratio of one pattern to another compares epoll and
//! io_uring.
//!
//! The benchmark takes half a minute; with `BENCH_FULL=1`, each measurement takes three times as
//! long.
//!
//! Both servers of a pair run at the same time, on one CPU. The load, on another CPU, alternates
//! between the servers in slices of some milliseconds, so that disturbances of the machine affect
//! both alike. The exit code is 1 if the confidence interval of a ratio is below its threshold.
//!
//! If the load does not keep the servers busy, the ratio is closer to 1. So the benchmark prints
//! the busy shares, and a threshold is met only with a busy reference server. The ratio of the CPU
//! times does not have this limitation, and other processes affect it only through the CPU's
//! caches. But it does not detect a server that sleeps when it should not.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use benches::bare_loops::{self, BARE_LOOPS};
use benches::bench_mode;
use benches::ratio::RatioVerdict;
use benches::work::{Work, WorkStart};
use criterion::measurement::{Measurement, ValueFormatter};
use criterion::{Criterion, SamplingMode, Throughput};
use harness::commands::role;
use harness::contract::Contract;
use harness::load::interleaved::{InterleavedComparison, LoadedServer, Pair};
use harness::load::placement::{Pin, Pinned, Placement};
use harness::server::{LaunchSpec, Launcher};
use harness::stats::Median;
use servers::{Limits, Service};

/// Server, reference server, and minimum ratio of their throughputs.
const PAIRS: &[(&str, &str, f64)] = &[
    ("epoll-level-echo", "bare-epoll", 0.9),
    ("tokio-current-thread-echo", "bare-tokio", 0.9),
    ("uring-echo", "epoll-level-echo", 0.95),
];

/// Duration of each measurement.
const TIME: Duration = Duration::from_secs(6);

/// Duration of each measurement in a long study.
const FULL_TIME: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // A process that was started as a server serves here and does not return.
    bare_loops::serve_if_requested().expect("the minimal loop failed");
    role::take();
    let launcher = Launcher::this_program().expect("the path of this program");
    let placement = Placement::find(Pin::Apart, 1).expect("the usable CPUs");
    if placement == Placement::OneOnly {
        eprintln!(
            "the load and the servers share the only CPU, so the ratios understate the differences"
        );
    }
    let mut criterion = Criterion::default()
        .with_measurement(Ratio)
        .sample_size(100)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(if bench_mode::is_full() { FULL_TIME } else { TIME })
        .configure_from_args();

    let mut group = criterion.benchmark_group("ratio");
    // Each sample has the same number of pairs of slices.
    group.sampling_mode(SamplingMode::Flat);
    let mut verdicts = Vec::new();
    for &(name, reference, threshold) in PAIRS {
        let specs = (spec(&launcher, name), spec(&launcher, reference));
        let (Ok(spec), Ok(reference_spec)) = &specs else {
            let reasons = [specs.0.err(), specs.1.err()].into_iter().flatten();
            eprintln!("{name}/{reference} skipped: {}", reasons.collect::<Vec<_>>().join("; "));
            continue;
        };
        // Launched on first use, because a list of the benchmarks needs no server.
        let mut trial: Option<Trial> = None;
        group.bench_function(format!("{name}/{reference}"), |bencher| {
            let trial = trial.get_or_insert_with(|| {
                Trial::launch(&launcher, spec, reference_spec, &placement)
                    .expect("two servers that answer")
            });
            bencher.iter_custom(|iterations| (0..iterations).map(|_| trial.ratio()).sum());
        });
        verdicts.extend(trial.and_then(|trial| trial.verdict(threshold)));
    }
    group.finish();
    criterion.final_summary();
    ExitCode::from(u8::from(verdicts.contains(&RatioVerdict::Below)))
}

/// Returns the launch spec for a name, or the reason why there is none.
fn spec(launcher: &Launcher, name: &str) -> std::result::Result<LaunchSpec, String> {
    if BARE_LOOPS.iter().any(|bare| bare.name == name) {
        let command = format!("bench {name} {{host}} {{port}}");
        let mut spec = LaunchSpec::external(&command, Contract::undeclared(Service::Echo))
            .expect("a command with {host} and {port}");
        spec.command[0] = launcher.program();
        spec.name = name.to_owned();
        return Ok(spec);
    }
    let server = servers::find(name).ok_or_else(|| format!("unknown server {name}"))?;
    match server.pattern.unavailable() {
        Some(reason) => Err(format!("{name}: {reason}")),
        None => Ok(LaunchSpec::builtin(launcher, &server, &Limits::default())
            .expect("valid default limits")),
    }
}

/// Two servers that are loaded in turn.
struct Trial {
    pair: Pair,
    before: [WorkStart; 2],
    ratios: Vec<f64>,
    _pinned: Pinned,
}

impl Trial {
    fn launch(
        launcher: &Launcher,
        spec: &LaunchSpec,
        reference: &LaunchSpec,
        placement: &Placement,
    ) -> Result<Trial> {
        let InterleavedComparison { connections, slice, timeout, .. } =
            InterleavedComparison::default();
        let [server, reference] = [spec, reference]
            .map(|spec| LoadedServer::launch(launcher, spec, (connections, timeout), placement));
        let pinned = placement.pin_load_thread(0)?;
        let pair = Pair::new([server?, reference?], slice, 0)?;
        let before = pair.servers.each_ref().map(WorkStart::of);
        Ok(Trial { pair, before, ratios: Vec::new(), _pinned: pinned })
    }

    fn ratio(&mut self) -> f64 {
        let ratio = self.pair.ratio().expect("correct replies from both servers");
        self.ratios.push(ratio);
        ratio
    }

    /// Prints the results and returns the verdict; `None` with too few ratios, as in a trial run.
    fn verdict(&self, threshold: f64) -> Option<RatioVerdict> {
        let median = Median::of(&self.ratios)?;
        let [server, reference] =
            [0, 1].map(|which| Work::since(&self.before[which], &self.pair.servers[which]));
        let names = self.pair.servers.each_ref().map(|loaded| &loaded.name);
        let verdict = RatioVerdict::of(median, threshold, reference.is_busy());
        println!("{} over {}, at least {threshold:.2}×: {verdict}", names[0], names[1]);
        println!(
            "    median {:.3}×, 95 % confidence {:.3}× to {:.3}×, of {} pairs of slices",
            median.value,
            median.low,
            median.high,
            self.ratios.len()
        );
        println!(
            "    ratio of CPU time per request: {:.3}×",
            reference.cpu_per_request / server.cpu_per_request
        );
        println!("    {}: {server}", names[0]);
        println!("    {}: {reference}", names[1]);
        Some(verdict)
    }
}

/// Ratio of two throughputs. Each iteration measures one ratio, so Criterion reads no clock.
#[derive(Clone, Copy, Debug)]
struct Ratio;

impl Measurement for Ratio {
    type Intermediate = ();
    type Value = f64;

    fn start(&self) {}

    fn end(&self, (): ()) -> f64 {
        unreachable!("iter_custom returns the ratios")
    }

    fn add(&self, sum: &f64, ratio: &f64) -> f64 {
        sum + ratio
    }

    fn zero(&self) -> f64 {
        0.0
    }

    fn to_f64(&self, value: &f64) -> f64 {
        *value
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        self
    }
}

impl ValueFormatter for Ratio {
    fn format_value(&self, value: f64) -> String {
        format!("{value:.3}×")
    }

    fn scale_values(&self, _: f64, _: &mut [f64]) -> &'static str {
        "×"
    }

    fn scale_throughputs(&self, _: f64, _: &Throughput, _: &mut [f64]) -> &'static str {
        "×"
    }

    fn scale_for_machines(&self, _: &mut [f64]) -> &'static str {
        "×"
    }
}
