//! Throughput of one server over another's: of patterns over bare loops, which is what framing,
//! limits and draining cost, and of one pattern over another.
//!
//! It takes half a minute; with `BENCH_FULL=1` it measures three times as long.
//!
//! Both servers of a pair stay up, on one processor, and the load, on another, alternates between
//! them in slices of some milliseconds, so that whatever else the machine does befalls both alike.
//! It ends with exit code 1 if a ratio is below its threshold for sure.
//!
//! A load that does not keep the servers busy measures itself, and the ratio comes out nearer to 1.
//! So it is printed how busy they were, and beside an idle yardstick nothing is said to be met. The
//! ratio by processor time does not depend on that, nor on others who take the processor, but for
//! what those leave in its caches; it knows nothing of a server that sleeps when it should not.

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

/// A server, the yardstick, and the ratio of their throughputs that is wanted at least.
const PAIRS: &[(&str, &str, f64)] = &[
    ("epoll-level-echo", "bare-epoll", 0.9),
    ("tokio-current-thread-echo", "bare-tokio", 0.9),
    ("uring-echo", "epoll-level-echo", 0.95),
];

/// How long each ratio is measured, and how long in a long study.
const TIME: Duration = Duration::from_secs(6);
const FULL_TIME: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    // The servers are this very program, started again.
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
    // A sample is a number of pairs of slices; the same number each time.
    group.sampling_mode(SamplingMode::Flat);
    let mut verdicts = Vec::new();
    for &(name, yardstick, threshold) in PAIRS {
        let specs = (spec(&launcher, name), spec(&launcher, yardstick));
        let (Ok(spec), Ok(yardstick_spec)) = &specs else {
            let reasons = [specs.0.err(), specs.1.err()].into_iter().flatten();
            eprintln!("{name}/{yardstick} skipped: {}", reasons.collect::<Vec<_>>().join("; "));
            continue;
        };
        // Launched when it is first asked, so that listing launches nothing.
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

/// What to launch by that name, or why there is nothing to launch.
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

/// Two servers that are loaded in turns.
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

    /// Says what came out. There is no verdict from too few ratios, as of a trial run.
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
