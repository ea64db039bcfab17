//! Accuracy of interleaved comparisons at the default settings of `harness bench --against`, on
//! servers with known differences.
//!
//! With 95 % confidence, a server compared with itself is called different in at most 5 % of the
//! comparisons. Servers that need 3 % and 5 % more CPU time should be detected. The benchmark
//! prints the frequency of each verdict with its confidence interval.
//!
//! The exit code is 1 if the frequencies are not due to chance: a server is called different from
//! itself too often, or the server that needs 5 % more CPU time is detected too rarely.
//!
//! `VERSUS_TRIALS=100 cargo bench --bench versus` sets the number of comparisons. `BENCH_FULL=1`
//! sets it to 20. For a study that can be interrupted and continued, see
//! `benches/studies/comparison`.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::bench_mode::{self, BenchMode};
use benches::proportion::Proportion;
use benches::work::{Work, WorkStart};
use harness::commands::role;
use harness::load::interleaved::{InterleavedComparison, LoadedServer, compare};
use harness::load::placement::{Pin, Placement};
use harness::selftest::known;
use harness::server::{LaunchSpec, Launcher};
use harness::stats::{ComparisonVerdict, Median};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Number of comparisons for each pair of servers.
const TRIALS: u64 = 2;

/// Number of comparisons for each pair of servers in a long study.
const FULL_TRIALS: u64 = 20;

/// Default margin of `harness bench --against`.
const MARGIN: f64 = 0.05;

/// Maximum probability that a server is called different from itself.
const MAX_FALSE_ALARMS: f64 = 0.05;

/// Minimum probability that a server that needs 5 % more CPU time is called slower.
const MIN_DETECTED: f64 = 0.8;

/// Time for which a server is loaded to measure its busy share.
const WORK_TIME: Duration = Duration::from_millis(500);

fn main() -> Result<ExitCode> {
    // A process that was started as a server serves here and does not return.
    role::take();
    let mode = BenchMode::of("versus");
    let default_trials = if bench_mode::is_full() { FULL_TRIALS } else { TRIALS };
    let trials = bench_mode::trials("VERSUS_TRIALS").unwrap_or(default_trials);
    let (trials, comparison) = match mode {
        BenchMode::Skip => return Ok(ExitCode::SUCCESS),
        BenchMode::Test => {
            let time = Duration::from_millis(100);
            (1, InterleavedComparison { launches: 4, time, ..InterleavedComparison::default() })
        }
        BenchMode::Measure => (trials, InterleavedComparison::default()),
    };
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::Apart, 1)?;
    let [plain, three, five] =
        ["slower:0", "slower:3", "slower:5"].map(|answer| known::spec(&launcher, answer));
    let versus = Versus { launcher, placement, comparison, trials };
    println!("{}; {comparison:?}", versus.placement.description());
    println!("{}: {}", plain.name, versus.work(&plain)?);

    let itself = versus.compare(&plain, &plain)?;
    versus.compare(&three, &plain)?;
    let slower = versus.compare(&five, &plain)?;
    if mode == BenchMode::Test {
        println!("a trial run: no verdict");
        return Ok(ExitCode::SUCCESS);
    }
    // By chance, at most 1 of 100 runs exceeds each of these limits.
    let max_false = Binomial::new(MAX_FALSE_ALARMS, trials)?.inverse_cdf(0.99);
    let min_detected = Binomial::new(MIN_DETECTED, trials)?.inverse_cdf(0.01);
    let is_accurate = itself.count(ComparisonVerdict::Faster)
        + itself.count(ComparisonVerdict::Slower)
        <= max_false;
    let is_sensitive = slower.count(ComparisonVerdict::Slower) >= min_detected;
    println!(
        "a server differs from itself in at most {max_false} of {trials} comparisons: {}",
        met(is_accurate)
    );
    println!(
        "a difference of 5 % is detected in at least {min_detected} of {trials} comparisons: {}",
        met(is_sensitive)
    );
    Ok(ExitCode::from(u8::from(!is_accurate || !is_sensitive)))
}

/// Settings of the comparisons.
struct Versus {
    launcher: Launcher,
    placement: Placement,
    comparison: InterleavedComparison,
    trials: u64,
}

/// Verdicts of the comparisons of one pair of servers.
struct Verdicts(Vec<ComparisonVerdict>);

impl Verdicts {
    fn count(&self, verdict: ComparisonVerdict) -> u64 {
        self.0.iter().filter(|it| **it == verdict).count() as u64
    }
}

impl Versus {
    /// Returns the busy share of a server under the load of the comparisons.
    fn work(&self, spec: &LaunchSpec) -> Result<Work> {
        let connections = self.comparison.connections;
        let mut loaded = LoadedServer::launch(
            &self.launcher,
            spec,
            (connections, self.comparison.timeout),
            &self.placement,
        )?;
        let _pinned = self.placement.pin_load_thread(0)?;
        loaded.slice(WORK_TIME / 10)?;
        let before = WorkStart::of(&loaded);
        loaded.slice(WORK_TIME)?;
        Ok(Work::since(&before, &loaded))
    }

    /// Compares two servers repeatedly, and prints the verdicts.
    fn compare(&self, server: &LaunchSpec, reference: &LaunchSpec) -> Result<Verdicts> {
        let (began, never) = (Instant::now(), AtomicBool::new(false));
        let (mut verdicts, mut half_widths) = (Vec::new(), Vec::new());
        for seed in 1..=self.trials {
            let comparison = InterleavedComparison { seed, ..self.comparison };
            let specs = [server, reference];
            let found = compare(&self.launcher, specs, comparison, &self.placement, &never)?;
            let (verdict, reason) = found.verdict(MARGIN);
            verdicts.push(verdict);
            let reason = reason.map(|text| format!(" ({text})")).unwrap_or_default();
            match found.comparison {
                Ok(comparison) => {
                    let [ratio, low, high] = comparison.figures();
                    println!("    {ratio}, {low} to {high}: {}{reason}", verdict.description());
                    half_widths.push(100.0 * comparison.half_width());
                }
                Err(_) => println!("    {}{reason}", verdict.description()),
            }
        }
        let verdicts = Verdicts(verdicts);
        println!("{} over {}:", server.name, reference.name);
        for verdict in [
            ComparisonVerdict::Faster,
            ComparisonVerdict::Slower,
            ComparisonVerdict::Equal,
            ComparisonVerdict::Inconclusive,
        ] {
            let proportion = Proportion::of(verdicts.count(verdict), self.trials);
            println!("    {:12} {proportion}", verdict.description());
        }
        // Wide intervals avoid wrong verdicts but are of little use, so the width is also printed.
        if let Some(Median { value, .. }) = Median::of(&half_widths) {
            println!("    half of the intervals are wider than ±{value:.1} %");
        }
        let each = began.elapsed().as_secs_f64() / self.trials as f64;
        println!("    {each:.1} s per comparison");
        Ok(verdicts)
    }
}

fn met(is_met: bool) -> &'static str {
    if is_met { "met" } else { "missed" }
}
