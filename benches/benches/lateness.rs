//! Send lateness of the load generator's open loop, compared with the best that this machine
//! permits. The reference is a bare sender, which only polls the clock until the next due time.
//!
//! Both send to the same server from the same CPU, in alternating slices of some tenths of a
//! second, so that stolen time delays both. It comes in bursts, and a single burst may make up all
//! values above the 99.9th percentile of one side. So the values of all slices together are
//! compared, and in addition the ratios of the single pairs of slices.
//!
//! It takes half a minute; with `BENCH_FULL=1` there are 30 pairs of slices for each rate.
//!
//! The exit code is 1 if the generator misses one of these limits:
//!
//! - Its median lateness is below a microsecond.
//! - Its p99 and p99.9 are at most 1.5 times the bare sender's, by one of the two methods.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use benches::asked::{self, Asked};
use harness::commands::role;
use harness::load::placement::{Pin, Placement};
use harness::load::{
    ArrivalProcess, Arrivals, Course, Group, Interval, LoadSpec, Outcome, exchanges, run,
};
use harness::selftest::known;
use harness::server::{Launcher, Server};
use harness::stats::{Median, Quantiles};
use servers::Service;

/// Offered rates, in requests per second.
const RATES: [u32; 2] = [10_000, 50_000];

/// Connections of the generator. The bare sender has one.
const CONNECTIONS: usize = 8;

/// Warm-up before each slice is recorded.
const WARM_UP: Duration = Duration::from_millis(20);

/// Limit of the generator's median lateness, in nanoseconds.
const LATE: u64 = 1_000;

/// Maximum ratio of the generator's lateness to the bare sender's.
const TIMES: f64 = 1.5;

/// Quantiles to compare.
const COMPARED: [(&str, f64); 2] = [("p99", 0.99), ("p99.9", 0.999)];

/// Time for the missing replies after the bare sender has sent all requests.
const PATIENCE: Duration = Duration::from_secs(5);

fn main() -> Result<ExitCode> {
    // The server is this same program, started again.
    role::take();
    let is_full = asked::is_full();
    let (pairs, slice) = match Asked::of("lateness") {
        Asked::Nothing => return Ok(ExitCode::SUCCESS),
        Asked::Try => (2, Duration::from_millis(50)),
        Asked::Measure => (if is_full { 30 } else { 12 }, Duration::from_millis(400)),
    };
    let launcher = Launcher::this_program()?;
    let placement = Placement::find(Pin::Apart, 1)?;
    println!("lateness of sending, {pairs} pairs of slices of {slice:?}; {}", placement.words());
    let server = placement.launcher(&launcher).launch(&known::spec(&launcher, "echo"))?;
    let mut are_met = true;
    for per_s in RATES {
        let sending = Sending { server: &server, placement: &placement, per_s, slice };
        let found = Found::of(&sending, pairs)?;
        are_met &= found.tell(per_s);
    }
    Ok(ExitCode::from(u8::from(!are_met)))
}

/// Settings of both sides.
struct Sending<'s> {
    server: &'s Server,
    placement: &'s Placement,
    per_s: u32,
    slice: Duration,
}

impl Sending<'_> {
    /// Runs one slice of the load generator.
    fn by_engine(&self) -> Result<Interval> {
        let pace = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: self.per_s.into() };
        let exchanges = exchanges(Service::Echo);
        let group = Group { exchanges, connections: CONNECTIONS, pace };
        let course = Course {
            warm_up: WARM_UP,
            duration: self.slice,
            at_most: self.slice,
            intervals: 1,
            threads: 1,
        };
        let pin = |number| {
            // The thread ends with the run, so the pinning need not be undone.
            std::mem::forget(self.placement.pin_load_thread(number)?);
            Ok(())
        };
        let demand = LoadSpec::new(self.server.address, group, 0);
        let total = run(&demand, course, pin, &mut (), &AtomicBool::new(false))?.total();
        let answered = total.outcomes.get(Outcome::Answered);
        ensure!(answered == total.asked, "of {} requests: {:?}", total.asked, total.outcomes);
        Ok(total)
    }

    /// Runs one slice of the bare sender, in the calling thread.
    fn by_bare_sender(&self) -> Result<Interval> {
        let _pinned = self.placement.pin_load_thread(0)?;
        let mut bare = Bare::connect(self.server.address)?;
        let gap = Duration::from_secs(1) / self.per_s;
        let began = Instant::now();
        let mut interval = Interval::new(0);
        let mut due = gap;
        while due < WARM_UP + self.slice {
            let now = wait_until(began, due);
            bare.ask()?;
            if due >= WARM_UP {
                interval.asked += 1;
                interval.lateness.saturating_record((now - due).as_nanos() as u64);
            }
            due += gap;
        }
        bare.take_in_the_rest()?;
        Ok(interval)
    }
}

/// Polls the clock until the due time, and returns the time since the start.
fn wait_until(began: Instant, due: Duration) -> Duration {
    loop {
        let now = began.elapsed();
        if now >= due {
            return now;
        }
        std::hint::spin_loop();
    }
}

/// A connection that sends requests and discards the replies.
struct Bare {
    stream: TcpStream,
    /// Bytes of replies still missing.
    to_come: usize,
    buffer: [u8; 4096],
}

impl Bare {
    /// As long as the generator's requests.
    const REQUEST: &[u8] = b"1000000\n";

    fn connect(address: SocketAddr) -> Result<Bare> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Bare { stream, to_come: 0, buffer: [0; 4096] })
    }

    fn ask(&mut self) -> Result<()> {
        // The kernel accepts such a short request whole, or not at all if the server does not read.
        self.to_come += self.stream.write(Bare::REQUEST)?;
        self.take_in()
    }

    fn take_in(&mut self) -> Result<()> {
        match self.stream.read(&mut self.buffer) {
            Ok(count) => {
                ensure!(0 < count && count <= self.to_come, "the server does not echo");
                self.to_come -= count;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    fn take_in_the_rest(mut self) -> Result<()> {
        self.stream.set_nonblocking(false)?;
        self.stream.set_read_timeout(Some(PATIENCE))?;
        while self.to_come > 0 {
            let before = self.to_come;
            self.take_in()?;
            ensure!(self.to_come < before, "{before} bytes did not come");
        }
        Ok(())
    }
}

/// Results of both sides at one rate.
struct Found {
    bare: Interval,
    engine: Interval,
    /// Ratios of the generator's lateness to the bare sender's in each pair of slices, by quantile.
    ratios: [Vec<f64>; COMPARED.len()],
}

impl Found {
    fn of(sending: &Sending<'_>, pairs: usize) -> Result<Found> {
        let (bare, engine) = (Interval::new(0), Interval::new(0));
        let mut found = Found { bare, engine, ratios: Default::default() };
        for pair in 0..pairs {
            // Alternates the order, so that the advantage of being first cancels out.
            let (bare, engine) = if pair % 2 == 0 {
                let bare = sending.by_bare_sender()?;
                (bare, sending.by_engine()?)
            } else {
                let engine = sending.by_engine()?;
                (sending.by_bare_sender()?, engine)
            };
            for (ratios, (_, quantile)) in found.ratios.iter_mut().zip(COMPARED) {
                ratios.push(ratio(&engine, &bare, quantile));
            }
            found.bare.add(&bare);
            found.engine.add(&engine);
        }
        Ok(found)
    }

    /// Prints the results, and returns whether the generator meets the limits.
    fn tell(&self, per_s: u32) -> bool {
        println!("{per_s} requests/s");
        for (name, side) in [("bare sender", &self.bare), ("engine", &self.engine)] {
            let Quantiles { p50, p99, p999, max, count, .. } = Quantiles::of(&side.lateness);
            let [p50, p99, p999, max] = [p50, p99, p999, max].map(|time| match time {
                Some(ns) => format!("{:.2} µs", ns as f64 / 1e3),
                // Too few requests for this quantile.
                None => "-".to_owned(),
            });
            println!("    {name:11} p50 {p50}, p99 {p99}, p99.9 {p999}, max {max}, of {count}");
        }
        let mut is_met = true;
        for (ratios, (name, quantile)) in self.ratios.iter().zip(COMPARED) {
            let merged = ratio(&self.engine, &self.bare, quantile);
            match Median::of(ratios) {
                None => println!("    {name}: {merged:.2}×; no verdict from so few pairs"),
                Some(of_pairs) => is_met &= tell_ratio(name, merged, of_pairs),
            }
        }
        let p50 = self.engine.lateness.value_at_quantile(0.5);
        if p50 >= LATE {
            println!("    p50 below 1 µs: missed");
        }
        // A trial run has no verdict.
        Median::of(&self.ratios[0]).is_none() || is_met && p50 < LATE
    }
}

/// Returns the ratio of the generator's lateness to the bare sender's.
fn ratio(engine: &Interval, bare: &Interval, quantile: f64) -> f64 {
    let [engine, bare] =
        [engine, bare].map(|side| side.lateness.value_at_quantile(quantile).max(1) as f64);
    engine / bare
}

fn tell_ratio(name: &str, merged: f64, of_pairs: Median) -> bool {
    let Median { value, low, high } = of_pairs;
    let in_all = if merged <= TIMES { "met" } else { "missed" };
    let by_pairs = match (low > TIMES, high > TIMES) {
        (true, _) => "missed",
        (false, true) => "not shown",
        (false, false) => "met",
    };
    println!(
        "    {name}, engine over bare sender: {merged:.2}× in all; median of the pairs {value:.2}×, \
         95 % confidence {low:.2}× to {high:.2}×; at most {TIMES}×: {in_all} in all, {by_pairs} by \
         the pairs"
    );
    merged <= TIMES || low <= TIMES
}
