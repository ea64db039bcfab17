//! Ratio of two servers' throughputs: of patterns to minimal loops, which shows the cost of
//! framing, limits and draining, and of one pattern to another.
//!
//! It takes half a minute; with `BENCH_FULL=1` it measures three times as long.
//!
//! Both servers of a pair stay up, on one CPU. The load, on another CPU, alternates between them in
//! slices of some milliseconds, so that disturbances of the machine affect both alike. The exit
//! code is 1 if the confidence interval of a ratio is below its threshold.
//!
//! A load that does not keep the servers busy brings the ratio closer to 1. So the benchmark prints
//! the busy shares, and no threshold is met with an idle reference server. The ratio by CPU time
//! does not depend on that, nor on other processes, except for their effect on the CPU's caches. It
//! does not detect a server that sleeps when it should not.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use benches::asked;
use benches::bare::{self, BARE};
use benches::ratio::{Ratio, Verdict};
use benches::work::{Before, Work};
use criterion::{Criterion, SamplingMode};
use harness::commands::role;
use harness::contract::Contract;
use harness::load::interleaved::{InterleavedComparison, Loaded, Pair};
use harness::load::placement::{Pin, Pinned, Placement};
use harness::server::{LaunchSpec, Launcher};
use harness::stats::Median;
use servers::{Limits, Service};

/// Server, reference server, and the minimum ratio of their throughputs.
const PAIRS: &[(&str, &str, f64)] = &[
    ("epoll-level-echo", "bare-epoll", 0.9),
    ("tokio-current-thread-echo", "bare-tokio", 0.9),
    ("uring-echo", "epoll-level-echo", 0.95),
];

/// Duration of each measurement, and duration in a long study.
const TIME: Duration = Duration::from_secs(6);
const FULL_TIME: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // The servers are this same program, started again.
    bare::take().expect("a bare loop serves");
    role::take();
    let launcher = Launcher::this_program().expect("the kernel knows which program this is");
    let placement = Placement::find(Pin::Apart, 1).expect("the kernel knows the processors");
    if placement == Placement::OneOnly {
        eprintln!("one processor only: load and servers share it, and ratios come out nearer to 1");
    }
    let mut criterion = Criterion::default()
        .with_measurement(Ratio)
        .sample_size(100)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(if asked::is_full() { FULL_TIME } else { TIME })
        .configure_from_args();

    let mut group = criterion.benchmark_group("ratio");
    // Each sample has the same number of pairs of slices.
    group.sampling_mode(SamplingMode::Flat);
    let mut verdicts = Vec::new();
    for &(name, yardstick, threshold) in PAIRS {
        let specs = (spec(&launcher, name), spec(&launcher, yardstick));
        let (Ok(spec), Ok(yardstick_spec)) = &specs else {
            let reasons = [specs.0.err(), specs.1.err()].into_iter().flatten();
            eprintln!("{name}/{yardstick} skipped: {}", reasons.collect::<Vec<_>>().join("; "));
            continue;
        };
        // Launched on first use, so that listing the benchmarks launches nothing.
        let mut trial: Option<Trial> = None;
        group.bench_function(format!("{name}/{yardstick}"), |bencher| {
            let trial = trial.get_or_insert_with(|| {
                Trial::launch(&launcher, spec, yardstick_spec, &placement).expect("both serve")
            });
            bencher.iter_custom(|iterations| (0..iterations).map(|_| trial.ratio()).sum());
        });
        verdicts.extend(trial.and_then(|trial| trial.verdict(threshold)));
    }
    group.finish();
    criterion.final_summary();
    ExitCode::from(u8::from(verdicts.contains(&Verdict::Below)))
}

/// Returns the launch spec for a name, or the reason why there is none.
fn spec(launcher: &Launcher, name: &str) -> std::result::Result<LaunchSpec, String> {
    if BARE.iter().any(|bare| bare.name == name) {
        let command = format!("bench {name} {{host}} {{port}}");
        let mut spec = LaunchSpec::foreign(&command, Contract::undeclared(Service::Echo))
            .expect("the command says where to listen");
        spec.command[0] = launcher.program();
        spec.name = name.to_owned();
        return Ok(spec);
    }
    let server = servers::find(name).ok_or_else(|| format!("there is no server {name}"))?;
    match server.pattern.unavailable() {
        Some(reason) => Err(format!("{name}: {reason}")),
        None => {
            Ok(LaunchSpec::builtin(launcher, &server, &Limits::default()).expect("its own limits"))
        }
    }
}

/// Two servers that are loaded in turn.
struct Trial {
    pair: Pair,
    began: [Before; 2],
    ratios: Vec<f64>,
    _pinned: Pinned,
}

impl Trial {
    fn launch(
        launcher: &Launcher,
        spec: &LaunchSpec,
        yardstick: &LaunchSpec,
        placement: &Placement,
    ) -> Result<Trial> {
        let InterleavedComparison { connections, slice, .. } = InterleavedComparison::default();
        let [one, yardstick] =
            [spec, yardstick].map(|spec| Loaded::launch(launcher, spec, connections, placement));
        let pinned = placement.pin_load_thread(0)?;
        let pair = Pair::new([one?, yardstick?], slice, 0)?;
        let began = pair.servers.each_ref().map(Before::of);
        Ok(Trial { pair, began, ratios: Vec::new(), _pinned: pinned })
    }

    fn ratio(&mut self) -> f64 {
        let ratio = self.pair.ratio().expect("both servers answer rightly");
        self.ratios.push(ratio);
        ratio
    }

    /// Prints the results. There is no verdict from too few ratios, as in a trial run.
    fn verdict(&self, threshold: f64) -> Option<Verdict> {
        let median = Median::of(&self.ratios)?;
        let [one, yardstick] =
            [0, 1].map(|which| Work::since(&self.began[which], &self.pair.servers[which]));
        let names = self.pair.servers.each_ref().map(|loaded| &loaded.name);
        let verdict = Verdict::of(median, threshold, yardstick.is_busy());
        println!("{} over {}, at least {threshold:.2}×: {verdict}", names[0], names[1]);
        println!(
            "    median {:.3}×, 95 % confidence {:.3}× to {:.3}×, of {} pairs of slices",
            median.value,
            median.low,
            median.high,
            self.ratios.len()
        );
        println!("    by processor time for each request: {:.3}×", yardstick.each / one.each);
        println!("    {}: {one}", names[0]);
        println!("    {}: {yardstick}", names[1]);
        Some(verdict)
    }
}
