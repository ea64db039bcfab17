//! Accuracy of interleaved comparisons at the default settings of `harness bench --against`, on
//! servers with known differences.
//!
//! A server compared with itself may be called different in at most 5 % of the comparisons: that is
//! the meaning of 95 % confidence. Servers that need 3 % and 5 % more CPU time should be detected.
//! The frequency of each result is printed with its confidence interval.
//!
//! The exit code is 1 if chance does not explain the frequencies: a server is called different from
//! itself too often, or the one that needs 5 % more is detected too rarely.
//!
//! `VERSUS_TRIALS=100 cargo bench --bench versus` sets the number of comparisons; `BENCH_FULL=1`
//! makes 20. For a study that can be interrupted and continued, see `benches/studies/comparison`.

use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::Result;
use benches::asked::{self, Asked};
use benches::proportion::Proportion;
use benches::work::{Before, Work};
use harness::commands::role;
use harness::load::interleaved::{InterleavedComparison, Loaded, compare};
use harness::load::placement::{Pin, Placement};
use harness::selftest::known;
use harness::server::{LaunchSpec, Launcher};
use harness::stats::{Median, Verdict};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Comparisons for each server, and their number in a long study.
const TRIALS: u64 = 2;
const FULL_TRIALS: u64 = 20;

/// Default margin of `harness bench --against`.
const MARGIN: f64 = 0.05;

/// Maximum share of comparisons in which a server is called different from itself.
const WRONG: f64 = 0.05;

/// Minimum share in which a server that needs 5 % more CPU time is called slower.
const FOUND: f64 = 0.8;

/// Time for which a server is loaded to measure its busy share.
const LOOK: Duration = Duration::from_millis(500);

fn main() -> Result<ExitCode> {
    // The servers are this same program, started again.
    role::take();
    let asked = Asked::of("versus");
    let usual = if asked::is_full() { FULL_TRIALS } else { TRIALS };
    let trials = asked::trials("VERSUS_TRIALS").unwrap_or(usual);
    let (trials, alternation) = match asked {
        Asked::Nothing => return Ok(ExitCode::SUCCESS),
        Asked::Try => {
            let time = Duration::from_millis(100);
            (1, InterleavedComparison { launches: 4, time, ..InterleavedComparison::default() })
        }
        Asked::Measure => (trials, InterleavedComparison::default()),
    };
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::Apart, 1)?;
    let [plain, three, five] =
        ["slower:0", "slower:3", "slower:5"].map(|answer| known::spec(&launcher, answer));
    let versus = Versus { launcher, placement, alternation, trials };
    println!("{}; {alternation:?}", versus.placement.words());
    println!("{}: {}", plain.name, versus.work(&plain)?);

    let itself = versus.compared(&plain, &plain)?;
    versus.compared(&three, &plain)?;
    let slower = versus.compared(&five, &plain)?;
    if asked == Asked::Try {
        println!("a trial run: no verdict");
        return Ok(ExitCode::SUCCESS);
    }
    // One correct run in a hundred exceeds these limits.
    let most = Binomial::new(WRONG, trials)?.inverse_cdf(0.99);
    let least = Binomial::new(FOUND, trials)?.inverse_cdf(0.01);
    let is_fair = itself.of(Verdict::Faster) + itself.of(Verdict::Slower) <= most;
    let is_sharp = slower.of(Verdict::Slower) >= least;
    println!("called different from itself in {most} of {trials} at the most: {}", met(is_fair));
    println!("5 % found in {least} of {trials} at least: {}", met(is_sharp));
    Ok(ExitCode::from(u8::from(!is_fair || !is_sharp)))
}

/// Settings of the comparisons.
struct Versus {
    launcher: Launcher,
    placement: Placement,
    alternation: InterleavedComparison,
    trials: u64,
}

/// Verdicts of some comparisons.
struct Verdicts(Vec<Verdict>);

impl Verdicts {
    fn of(&self, verdict: Verdict) -> u64 {
        self.0.iter().filter(|it| **it == verdict).count() as u64
    }
}

impl Versus {
    /// Returns the busy share of the server, under the load of the comparisons.
    fn work(&self, spec: &LaunchSpec) -> Result<Work> {
        let connections = self.alternation.connections;
        let mut loaded = Loaded::launch(&self.launcher, spec, connections, &self.placement)?;
        let _pinned = self.placement.pin_load_thread(0)?;
        loaded.slice(LOOK / 10)?;
        let before = Before::of(&loaded);
        loaded.slice(LOOK)?;
        Ok(Work::since(&before, &loaded))
    }

    fn compared(&self, one: &LaunchSpec, other: &LaunchSpec) -> Result<Verdicts> {
        let (began, never) = (Instant::now(), AtomicBool::new(false));
        let (mut verdicts, mut half_widths) = (Vec::new(), Vec::new());
        for seed in 1..=self.trials {
            let alternation = InterleavedComparison { seed, ..self.alternation };
            let found =
                compare(&self.launcher, [one, other], alternation, &self.placement, &never)?;
            let (verdict, reason) = found.verdict(MARGIN);
            verdicts.push(verdict);
            let reason = reason.map(|words| format!(" ({words})")).unwrap_or_default();
            match found.comparison {
                Ok(comparison) => {
                    let [ratio, low, high] = comparison.figures();
                    println!("    {ratio}, {low} to {high}: {}{reason}", verdict.words());
                    half_widths.push(100.0 * comparison.half_width());
                }
                Err(_) => println!("    {}{reason}", verdict.words()),
            }
        }
        let verdicts = Verdicts(verdicts);
        println!("{} over {}:", one.name, other.name);
        for verdict in [Verdict::Faster, Verdict::Slower, Verdict::Equal, Verdict::Inconclusive] {
            let part = Proportion::of(verdicts.of(verdict), self.trials);
            println!("    {:12} {part}", verdict.words());
        }
        // Wide intervals avoid errors but say little, so their width is printed, too.
        if let Some(Median { value, .. }) = Median::of(&half_widths) {
            println!("    half of the intervals are wider than ±{value:.1} %");
        }
        let each = began.elapsed().as_secs_f64() / self.trials as f64;
        println!("    {each:.1} s for each comparison");
        Ok(verdicts)
    }
}

fn met(is_so: bool) -> &'static str {
    if is_so { "met" } else { "missed" }
}
