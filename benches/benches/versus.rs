//! Whether a comparison by alternation says what is so, of servers of which it is known.
//!
//! A server compared with itself, again and again, must be called different in 5 % of the
//! comparisons at the most: that is what 95 % confidence means. One that is known to need 3 % more
//! processor time must be found out. It ends with exit code 1 where either is not so.
//!
//! `VERSUS_TRIALS=100 cargo bench --bench versus` compares the server with itself more often than
//! usual, and says the more.

use std::env;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use benches::asked::Asked;
use benches::work::{Before, Work};
use harness::load::alternation::{Alternation, Loaded, compare};
use harness::load::placement::{Pin, Placement};
use harness::role;
use harness::selftest::known;
use harness::server::{Launcher, Spec};
use harness::stats::{Comparison, Median, Verdict};
use statrs::distribution::{Binomial, DiscreteCDF};

/// Enough that the server always has something to do.
const CONNECTIONS: usize = 16;

/// How often a server is compared with itself, unless something else is said.
const TRIALS: u64 = 20;

/// What part of these comparisons may call it different.
const WRONG: f64 = 0.05;

/// A server compared with itself.
const SHORT: Alternation = Alternation {
    connections: CONNECTIONS,
    slice: Duration::from_millis(5),
    launches: 8,
    time: Duration::from_millis(800),
};

/// A server compared with one that is faster.
const LONG: Alternation = Alternation {
    connections: CONNECTIONS,
    slice: Duration::from_millis(10),
    launches: 32,
    time: Duration::from_secs(100),
};

/// As long as it takes to see that it works.
const TRIED: Alternation = Alternation { launches: 2, time: Duration::from_millis(50), ..SHORT };

/// Requests by which it is seen how busy the server is.
const LOOK: u64 = 50_000;

fn main() -> Result<ExitCode> {
    // The servers are this very program, started again.
    role::take();
    let asked = Asked::of("versus");
    let (trials, short, long) = match asked {
        Asked::Nothing => return Ok(ExitCode::SUCCESS),
        Asked::Try => (1, TRIED, TRIED),
        Asked::Measure => (trials()?, SHORT, LONG),
    };
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::Apart, 1)?;
    let [plain, slower] = ["slower:0", "slower:3"].map(|answer| known::spec(&launcher, answer));
    let versus = Versus { launcher, placement };
    println!("{}; {CONNECTIONS} connections", versus.placement.words());
    println!("{}: {}", plain.name, versus.work(&plain)?);

    let is_fair = versus.with_itself(&plain, short, trials)?;
    let is_sharp = versus.with_a_faster_one(&slower, &plain, long)?;
    if asked == Asked::Try {
        println!("a trial run: no verdict");
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::from(u8::from(!is_fair || !is_sharp)))
}

fn trials() -> Result<u64> {
    match env::var("VERSUS_TRIALS") {
        Ok(trials) => trials.parse().context("VERSUS_TRIALS is no number of comparisons"),
        Err(_) => Ok(TRIALS),
    }
}

/// Who compares, and where.
struct Versus {
    launcher: Launcher,
    placement: Placement,
}

impl Versus {
    /// What the server does under the load by which it is compared.
    fn work(&self, spec: &Spec) -> Result<Work> {
        let mut loaded = Loaded::launch(&self.launcher, spec, CONNECTIONS, &self.placement)?;
        let _pinned = self.placement.pin_load_thread(0)?;
        loaded.slice(LOOK / 10)?;
        let before = Before::of(&loaded);
        loaded.slice(LOOK)?;
        Ok(Work::since(&before, &loaded))
    }

    fn compare(&self, specs: [&Spec; 2], alternation: Alternation) -> Result<Comparison> {
        let never = AtomicBool::new(false);
        compare(&self.launcher, specs, alternation, &self.placement, &never)?
            .context("two launches are compared")
    }

    /// Whether a server is called different from itself no more often than it may be.
    fn with_itself(&self, spec: &Spec, alternation: Alternation, trials: u64) -> Result<bool> {
        let began = Instant::now();
        let mut found = Vec::new();
        for trial in 1..=trials {
            let one = self.compare([spec, spec], alternation)?;
            if one.verdict() != Verdict::NoDifferenceShown {
                println!("    comparison {trial}: {}", words(&one));
            }
            found.push(one);
        }
        let said = |verdict| found.iter().filter(|it| it.verdict() == verdict).count() as u64;
        let (faster, slower) = (said(Verdict::Faster), said(Verdict::Slower));
        // One run in a hundred of a comparison that is right has more.
        let most = Binomial::new(WRONG, trials)?.inverse_cdf(0.99);
        let is_fair = faster + slower <= most;
        println!(
            "{} over itself: of {trials} comparisons {faster} say faster and {slower} slower; \
             5 % are wrong, which by chance is up to {most}: {}; {:.0} s",
            spec.name,
            met(is_fair),
            began.elapsed().as_secs_f64()
        );
        // Whoever says next to nothing is not wrong either.
        let widths: Vec<f64> =
            found.iter().map(|it| 100.0 * (it.high / it.low).ln() / 2.0).collect();
        if let Some(Median { value, .. }) = Median::of(&widths) {
            println!("    half of their intervals are wider than ±{value:.1} %");
        }
        Ok(is_fair)
    }

    /// Whether a slower server is called so.
    fn with_a_faster_one(
        &self,
        slower: &Spec,
        plain: &Spec,
        alternation: Alternation,
    ) -> Result<bool> {
        let began = Instant::now();
        let found = self.compare([slower, plain], alternation)?;
        let is_sharp = found.verdict() == Verdict::Slower;
        println!(
            "{} over {}: {}, of {} pairs in {} launches: {}; {:.0} s",
            slower.name,
            plain.name,
            words(&found),
            found.pairs,
            found.launches,
            met(is_sharp),
            began.elapsed().as_secs_f64()
        );
        Ok(is_sharp)
    }
}

fn words(found: &Comparison) -> String {
    let Comparison { ratio, low, high, .. } = found;
    let verdict = found.verdict().words();
    format!("{ratio:.4}×, 95 % confidence {low:.4}× to {high:.4}×, {verdict}")
}

fn met(is_so: bool) -> &'static str {
    if is_so { "met" } else { "missed" }
}
