//! Throughput of one server over another's: of patterns over bare loops, which is what framing,
//! limits and draining cost, and of one pattern over another.
//!
//! Both servers of a pair stay up, on one processor, and the load, on another, alternates between
//! them in slices of some milliseconds, so that whatever else the machine does befalls both alike.
//! It ends with exit code 1 if a ratio is below its threshold for sure.
//!
//! A load that does not keep the servers busy measures itself, and the ratio comes out nearer to 1.
//! So it is printed how busy they were, and beside an idle yardstick nothing is said to be met. The
//! ratio by processor time does not depend on that, nor on others who take the processor, but for
//! what those leave in its caches; it knows nothing of a server that sleeps when it should not.

use std::fmt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use benches::bare::{self, BARE};
use benches::pin::{Apart, Pinned};
use benches::ratio::{Ratio, Verdict};
use criterion::{Criterion, SamplingMode};
use harness::load::{ClosedLoop, Outcome, Recorder, Until, exchanges};
use harness::role;
use harness::server::proc::{Scheduled, scheduled};
use harness::server::{Contract, Launcher, Server, Spec};
use harness::stats::Median;
use servers::{Limits, Service};

/// A server, the yardstick, and the ratio of their throughputs that is wanted at least.
const PAIRS: &[(&str, &str, f64)] = &[
    ("epoll-level-echo", "bare-epoll", 0.9),
    ("tokio-current-thread-echo", "bare-tokio", 0.9),
    ("uring-echo", "epoll-level-echo", 0.95),
];

/// Connections, each with one request under way.
const CONNECTIONS: usize = 64;

/// How long one server is loaded before it is the other's turn.
const SLICE: Duration = Duration::from_millis(25);

/// Requests before anything is measured.
const WARM_UP: u64 = 2_000;

/// A server that had something to do for a smaller part of the time is not what limited the
/// throughput.
const BUSY: f64 = 0.9;

/// A server that waited for a processor for a larger part of the time did not have one to itself.
const TAKEN: f64 = 0.1;

fn main() -> ExitCode {
    // The servers are this very program, started again.
    bare::take().expect("a bare loop serves");
    role::take();
    let launcher = Launcher::this_program().expect("the kernel knows which program this is");
    let apart = Apart::find().expect("the kernel knows which processors there are");
    if apart.is_none() {
        eprintln!("one processor only: load and servers share it, and ratios come out nearer to 1");
    }
    let mut criterion = Criterion::default()
        .with_measurement(Ratio)
        .sample_size(100)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(20))
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
        let mut pair: Option<Pair> = None;
        group.bench_function(format!("{name}/{yardstick}"), |bencher| {
            let pair =
                pair.get_or_insert_with(|| Pair::launch(&launcher, spec, yardstick_spec, apart));
            bencher.iter_custom(|iterations| (0..iterations).map(|_| pair.ratio()).sum());
        });
        verdicts.extend(pair.and_then(|pair| pair.verdict(threshold)));
    }
    group.finish();
    criterion.final_summary();
    ExitCode::from(u8::from(verdicts.contains(&Verdict::Below)))
}

/// What to launch by that name, or why there is nothing to launch.
fn spec(launcher: &Launcher, name: &str) -> Result<Spec, String> {
    if BARE.iter().any(|bare| bare.name == name) {
        let command = format!("bench {name} {{host}} {{port}}");
        let mut spec = Spec::foreign(&command, Contract::undeclared(Service::Echo))
            .expect("the command says where to listen");
        spec.command[0] = launcher.program();
        spec.name = name.to_owned();
        return Ok(spec);
    }
    let server = servers::find(name).ok_or_else(|| format!("there is no server {name}"))?;
    match server.pattern.unavailable() {
        Some(reason) => Err(format!("{name}: {reason}")),
        None => Ok(Spec::builtin(launcher, &server, &Limits::default()).expect("its own limits")),
    }
}

/// Two servers that are loaded in turns.
struct Pair {
    one: Loaded,
    yardstick: Loaded,
    /// Requests in a slice.
    requests: u64,
    ratios: Vec<f64>,
    _pinned: Option<Pinned>,
}

/// A server, and the connections to it.
struct Loaded {
    name: String,
    load: ClosedLoop,
    running: Server,
    recorder: Recorder,
    /// Requests in all.
    asked: u64,
    /// What had been so before it counted.
    asked_before: u64,
    before: Scheduled,
    /// How long it has been loaded.
    time: Duration,
}

/// What a server did with the time in which it was loaded.
struct Work {
    /// The part in which it ran.
    ran: f64,
    /// The part in which it would have run if others had not.
    waited: f64,
    /// How long it ran for each request, in seconds.
    each: f64,
}

impl Pair {
    fn launch(launcher: &Launcher, spec: &Spec, yardstick: &Spec, apart: Option<Apart>) -> Pair {
        let mut one = Loaded::launch(launcher, spec, apart);
        let mut yardstick = Loaded::launch(launcher, yardstick, apart);
        let pinned = apart.map(|apart| apart.pin_this_thread().expect("a processor to run on"));
        let mut rate: f64 = 0.0;
        for loaded in [&mut one, &mut yardstick] {
            loaded.slice(WARM_UP);
            rate = rate.max(WARM_UP as f64 / loaded.slice(WARM_UP).as_secs_f64());
            loaded.begin();
        }
        let requests = (rate * SLICE.as_secs_f64()) as u64;
        Pair { one, yardstick, requests, ratios: Vec::new(), _pinned: pinned }
    }

    /// The ratio of the throughputs, over two slices each in such an order that a machine that
    /// becomes slower or faster meanwhile makes no difference.
    fn ratio(&mut self) -> f64 {
        let mut one = self.one.slice(self.requests);
        let yardstick = self.yardstick.slice(self.requests) + self.yardstick.slice(self.requests);
        one += self.one.slice(self.requests);
        let ratio = yardstick.as_secs_f64() / one.as_secs_f64();
        self.ratios.push(ratio);
        ratio
    }

    /// Says what came out. There is no verdict from too few ratios, as of a trial run.
    fn verdict(&self, threshold: f64) -> Option<Verdict> {
        let median = Median::of(&self.ratios)?;
        let [one, yardstick] = [self.one.work(), self.yardstick.work()];
        let verdict = Verdict::of(median, threshold, yardstick.is_busy());
        println!(
            "{} over {}, at least {threshold:.2}×: {verdict}",
            self.one.name, self.yardstick.name
        );
        println!(
            "    median {:.3}×, 95 % confidence {:.3}× to {:.3}×, of {} pairs of slices",
            median.value,
            median.low,
            median.high,
            self.ratios.len()
        );
        println!("    by processor time for each request: {:.3}×", yardstick.each / one.each);
        println!("    {}: {one}", self.one.name);
        println!("    {}: {yardstick}", self.yardstick.name);
        Some(verdict)
    }
}

impl Loaded {
    fn launch(launcher: &Launcher, spec: &Spec, apart: Option<Apart>) -> Loaded {
        let running = launcher.launch(spec).expect("it listens");
        if let Some(apart) = apart {
            apart.pin(&running).expect("a processor to run on");
        }
        let load = ClosedLoop::connect(running.address, exchanges(Service::Echo), CONNECTIONS)
            .expect("the generator connects");
        Loaded {
            name: spec.name.clone(),
            load,
            running,
            recorder: Recorder::new(),
            asked: 0,
            asked_before: 0,
            time: Duration::ZERO,
            before: Scheduled::default(),
        }
    }

    /// From here on it counts how busy the server is.
    fn begin(&mut self) {
        self.time = Duration::ZERO;
        self.asked_before = self.asked;
        self.before = scheduled(&self.running.process.tree());
    }

    /// How long so many requests take.
    fn slice(&mut self, requests: u64) -> Duration {
        let began = Instant::now();
        self.load.run(Until::Sent(requests), &mut self.recorder).expect("the generator runs");
        let elapsed = began.elapsed();
        self.time += elapsed;
        self.asked += requests;
        let outcomes = &self.recorder.outcomes;
        assert_eq!(outcomes.get(Outcome::Answered), self.asked, "{}: {outcomes:?}", self.name);
        elapsed
    }

    fn work(&self) -> Work {
        let now = scheduled(&self.running.process.tree());
        let part = |now: Duration, before: Duration| {
            now.saturating_sub(before).as_secs_f64() / self.time.as_secs_f64()
        };
        let (ran, waited) = (part(now.ran, self.before.ran), part(now.waited, self.before.waited));
        let asked = (self.asked - self.asked_before) as f64;
        Work { ran, waited, each: ran * self.time.as_secs_f64() / asked }
    }
}

impl Work {
    fn is_busy(&self) -> bool {
        self.ran + self.waited >= BUSY
    }
}

impl fmt::Display for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Work { ran, waited, each } = self;
        write!(
            formatter,
            "ran {:.0} % of the time and waited for a processor {:.0} %, {:.2} µs for each request",
            100.0 * ran,
            100.0 * waited,
            1e6 * each
        )?;
        if !self.is_busy() {
            write!(formatter, "; it was the load that limited the throughput")?;
        }
        if *waited > TAKEN {
            write!(formatter, "; others took its processor")?;
        }
        Ok(())
    }
}
