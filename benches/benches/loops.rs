//! Comparison of epoll and io_uring as the loop of the load generator.
//!
//! Three closed loops send to the same server, each on its own connections, in short alternating
//! slices. They are the load generator, a minimal loop with epoll, and a minimal loop with
//! io_uring. The generator records more than the other two. So the ratio of the minimal loops shows
//! the effect of the mechanism, and the ratio to the generator shows the maximum gain.
//!
//! If the server limits the throughput, a faster generator does not increase it. So the benchmark
//! also prints the busy share of the server, and the generator's CPU time per request, which always
//! matters. There is no threshold. It takes a minute; `BENCH_FULL=1` has more and longer launches.

#[path = "loops/ring.rs"]
mod ring;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::asked::{self, Asked};
use benches::work::Work;
use harness::commands::role;
use harness::load::placement::{Pin, Placement};
use harness::load::{
    ArrivalProcess, Generator, Group, Interval, LoadSpec, Outcome, Recorder, Until, exchanges,
};
use harness::server::proc::{Pid, Scheduled, scheduled};
use harness::server::{LaunchSpec, Launcher};
use harness::stats::Comparison;
use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{setsockopt, sockopt};
use nix::time::ClockId;
use ring::Ring;
use servers::{Limits, Service};

/// Server for all loops.
const SERVER: &str = "epoll-level-echo";

/// Sends this many requests, the same number on every connection, and waits for the replies.
type Ask = Box<dyn FnMut(u64) -> Result<()>>;

/// Connects a loop.
type Connect = fn(SocketAddr, usize, u32) -> Result<Ask>;

/// The loops, with their names.
const LOOPS: [(&str, Connect); 3] =
    [("engine", by_engine), ("bare-epoll", by_epoll), ("bare-ring", by_ring)];

/// Pairs of loops to compare, by index.
const PAIRS: [(usize, usize); 3] = [(2, 1), (2, 0), (1, 0)];

/// Connections, requests in flight on each, and length of a slice. No requests are in flight at the
/// start and the end of a slice, and more connections need a longer slice.
const SETTINGS: [(usize, u32, Duration); 3] = [
    (50, 1, Duration::from_millis(25)),
    (1000, 1, Duration::from_millis(100)),
    (50, 16, Duration::from_millis(25)),
];

/// Number of launches per setting, and duration of each; the second line is for a long study.
const LAUNCHES: (usize, Duration) = (5, Duration::from_millis(2_600));
const FULL_LAUNCHES: (usize, Duration) = (12, Duration::from_secs(4));

/// Timeout for every wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Warm-up, in batches on every connection.
const WARM_UP: u64 = 20;

/// Size of the receive buffer in bytes, and maximum number of events per wait.
const BUFFER: usize = 4096;
const EVENTS: usize = 256;

fn main() -> Result<()> {
    // The servers are this same program, started again.
    role::take();
    let usual = if asked::is_full() { FULL_LAUNCHES } else { LAUNCHES };
    let (launches, time) = match Asked::of("loops") {
        Asked::Nothing => return Ok(()),
        Asked::Try => (2, Duration::ZERO),
        Asked::Measure => usual,
    };
    if let Some(reason) = servers::io_uring::unavailable() {
        println!("nothing to compare: {reason}");
        return Ok(());
    }
    let launcher = Launcher::this_program()?;
    let server = servers::find(SERVER).context("there is such a server")?;
    let spec = LaunchSpec::builtin(&launcher, &server, &Limits::default())?;
    let placement = Placement::find(Pin::Apart, 1)?;
    println!("{SERVER} asked by three loops in turns; {}", placement.words());
    for (connections, depth, slice) in SETTINGS {
        let mut found = Found::default();
        for launch in 0..launches {
            let server = placement.launcher(&launcher).launch(&spec)?;
            let _pinned = placement.pin_load_thread(0)?;
            let mut loops = Vec::new();
            for (_, connect) in LOOPS {
                loops.push(connect(server.address, connections, depth)?);
            }
            let mut trial = Trial {
                loops,
                server: server.process.tree(),
                least: connections as u64 * u64::from(depth),
                first: launch % LOOPS.len(),
            };
            found.add(&mut trial, slice, time)?;
        }
        println!("{connections} connections, {depth} under way on each");
        found.tell();
    }
    Ok(())
}

/// Returns the loop of the load generator.
fn by_engine(address: SocketAddr, connections: usize, depth: u32) -> Result<Ask> {
    let pace = ArrivalProcess::Closed { depth };
    let group = Group { exchanges: exchanges(Service::Echo), connections, pace };
    let mut recorders = [Recorder::new()];
    let mut generator = Generator::connect(&LoadSpec::new(address, group, 0), &mut recorders)?;
    let mut asked = 0;
    Ok(Box::new(move |requests| {
        generator.run(Until::Sent(requests), &mut recorders)?;
        asked += requests;
        let outcomes = &recorders[0].current().outcomes;
        ensure!(outcomes.get(Outcome::Answered) == asked, "not all answered: {outcomes:?}");
        Ok(())
    }))
}

/// Returns a minimal loop with epoll.
fn by_epoll(address: SocketAddr, connections: usize, depth: u32) -> Result<Ask> {
    let streams = connect(address, connections)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(stream, EpollEvent::new(events, index as u64))?;
    }
    let mut batches = Batches::new(connections, depth);
    let patience = EpollTimeout::try_from(PATIENCE)?;
    let (mut events, mut buffer) = ([EpollEvent::empty(); EVENTS], [0; BUFFER]);
    Ok(Box::new(move |requests| {
        for (index, bytes) in batches.begin(requests) {
            send(&streams[index], bytes)?;
        }
        while batches.under_way > 0 {
            let count = match epoll.wait(&mut events, patience) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            ensure!(count > 0, "the server does not reply in time");
            for event in &events[..count] {
                let index = event.data() as usize;
                // A batch is shorter than the buffer, so one read empties the socket.
                let came = match (&streams[index]).read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    other => other?,
                };
                if let Some(bytes) = batches.came(index, &buffer[..came])? {
                    send(&streams[index], bytes)?;
                }
            }
        }
        batches.check()
    }))
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    ensure!(stream.write(bytes)? == bytes.len(), "the server takes in nothing");
    Ok(())
}

/// Returns a minimal loop with io_uring.
fn by_ring(address: SocketAddr, connections: usize, depth: u32) -> Result<Ask> {
    let mut ring = Ring::new(connect(address, connections)?)?;
    let mut batches = Batches::new(connections, depth);
    Ok(Box::new(move |requests| {
        for (index, bytes) in batches.begin(requests) {
            ring.send(index, bytes);
        }
        while batches.under_way > 0 {
            ring.turn(|index, bytes| batches.came(index, bytes))?;
        }
        batches.check()
    }))
}

fn connect(address: SocketAddr, connections: usize) -> Result<Vec<TcpStream>> {
    let connect = |_| {
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        // Closing resets the connection, so that no port stays in TIME_WAIT for a minute.
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        Ok(stream)
    };
    (0..connections).map(connect).collect()
}

/// Common part of both minimal loops: which connection sends what, and the check of the replies.
struct Batches {
    /// All requests, and the first ones again, so that a batch is contiguous wherever it starts.
    /// The replies are the same bytes.
    lines: &'static [u8],
    /// Bytes of all requests, and of a batch.
    round: usize,
    batch: usize,
    depth: u64,
    clients: Vec<Client>,
    /// Batches still to send, and batches in flight.
    left: u64,
    under_way: u64,
    asked: u64,
    record: Interval,
}

/// Start of its batch, received bytes of the reply, and time of sending.
struct Client {
    at: usize,
    came: usize,
    sent: Instant,
}

impl Batches {
    fn new(connections: usize, depth: u32) -> Batches {
        let requests = exchanges(Service::Echo).into_iter().map(|one| one.request);
        let requests: Vec<Vec<u8>> = requests.collect();
        // All requests have the same length.
        let (line, mut lines) = (requests[0].len(), requests.concat());
        let (round, batch) = (lines.len(), line * depth as usize);
        lines.extend_from_within(..batch);
        let client = |index| Client { at: index * line % round, came: 0, sent: Instant::now() };
        let clients = (0..connections).map(client).collect();
        let (lines, depth, record) = (lines.leak(), depth.into(), Interval::new(0));
        Batches { lines, round, batch, depth, clients, left: 0, under_way: 0, asked: 0, record }
    }

    /// Starts `requests` requests, and returns the first batch of each client.
    fn begin(&mut self, requests: u64) -> Vec<(usize, &'static [u8])> {
        self.left = requests / self.depth;
        self.asked += requests;
        let now = Instant::now();
        (0..self.clients.len()).filter_map(|of| Some((of, self.next(of, now)?))).collect()
    }

    /// Returns the next batch of a client, if any are left.
    fn next(&mut self, of: usize, now: Instant) -> Option<&'static [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.under_way += 1;
        let client = &mut self.clients[of];
        client.sent = now;
        Some(&self.lines[client.at..][..self.batch])
    }

    /// Handles received bytes. Returns the client's next batch when the current one is complete.
    fn came(&mut self, of: usize, bytes: &[u8]) -> Result<Option<&'static [u8]>> {
        let now = Instant::now();
        let client = &mut self.clients[of];
        let due = &self.lines[client.at + client.came..client.at + self.batch];
        ensure!(!bytes.is_empty() && due.starts_with(bytes), "the server does not echo");
        client.came += bytes.len();
        if client.came < self.batch {
            return Ok(None);
        }
        let latency = now.duration_since(client.sent).as_nanos() as u64;
        self.record.sent.saturating_record_n(latency, self.depth);
        client.at = (client.at + self.batch) % self.round;
        client.came = 0;
        self.under_way -= 1;
        Ok(self.next(of, now))
    }

    fn check(&self) -> Result<()> {
        let answered = self.record.sent.len();
        ensure!(answered == self.asked, "of {} requests {answered} were answered", self.asked);
        Ok(())
    }
}

/// Loops that send to one server in turn.
struct Trial {
    loops: Vec<Ask>,
    server: Vec<Pid>,
    /// Requests of one batch on every connection.
    least: u64,
    /// Index of the loop whose turn is first.
    first: usize,
}

impl Trial {
    /// Lets one loop send this many batches on every connection.
    fn slice(&mut self, which: usize, batches: u64) -> Result<Took> {
        let cpu = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
        let requests = batches * self.least;
        let (before, cpu_before, began) = (scheduled(&self.server), cpu()?, Instant::now());
        self.loops[which](requests)?;
        let (time, cpu, after) = (began.elapsed(), cpu()? - cpu_before, scheduled(&self.server));
        let server =
            Scheduled { ran: after.ran - before.ran, waited: after.waited - before.waited };
        Ok(Took { requests, time, cpu, server })
    }

    /// Lets all loops send in turn, forward and back, so that a steady drift of the machine's speed
    /// cancels out.
    fn round(&mut self, batches: u64) -> Result<[Took; LOOPS.len()]> {
        let mut took = [Took::default(); LOOPS.len()];
        let first = self.first;
        let there = (0..LOOPS.len()).map(|step| (first + step) % LOOPS.len());
        for which in there.clone().chain(there.rev()) {
            let slice = self.slice(which, batches)?;
            took[which].add(&slice);
        }
        Ok(took)
    }
}

/// Cost of some slices: time, and CPU time of the generator and the server.
#[derive(Clone, Copy, Default)]
struct Took {
    requests: u64,
    time: Duration,
    cpu: Duration,
    server: Scheduled,
}

impl Took {
    fn add(&mut self, other: &Took) {
        self.requests += other.requests;
        self.time += other.time;
        self.cpu += other.cpu;
        self.server.ran += other.server.ran;
        self.server.waited += other.server.waited;
    }
}

/// Results of a setting: totals of each loop, and the rounds of each launch.
#[derive(Default)]
struct Found {
    total: [Took; LOOPS.len()],
    launches: Vec<Vec<[Took; LOOPS.len()]>>,
}

impl Found {
    fn add(&mut self, trial: &mut Trial, slice: Duration, time: Duration) -> Result<()> {
        trial.round(WARM_UP)?;
        let fastest = trial.round(WARM_UP)?.map(|took| took.time).into_iter().min();
        let batch = fastest.unwrap_or_default().as_secs_f64() / (2 * WARM_UP) as f64;
        let batches = (slice.as_secs_f64() / batch).max(1.0) as u64;
        let (began, mut rounds) = (Instant::now(), Vec::new());
        while rounds.is_empty() || began.elapsed() < time {
            let round = trial.round(batches)?;
            self.total.iter_mut().zip(&round).for_each(|(total, took)| total.add(took));
            rounds.push(round);
        }
        self.launches.push(rounds);
        Ok(())
    }

    fn tell(&self) {
        for ((name, _), took) in LOOPS.iter().zip(&self.total) {
            let requests = took.requests as f64;
            let [time, cpu, ran, waited] =
                [took.time, took.cpu, took.server.ran, took.server.waited]
                    .map(|it| it.as_secs_f64());
            let server = Work { ran: ran / time, waited: waited / time, each: ran / requests };
            println!(
                "    {name}: {:.0} requests/s, ran {:.0} % of the time, {:.2} µs for each request",
                requests / time,
                100.0 * cpu / time,
                1e6 * cpu / requests
            );
            println!("        its server: {server}");
        }
        for (one, other) in PAIRS {
            println!("    {} over {}", LOOPS[one].0, LOOPS[other].0);
            let seconds = |time: Duration| time.as_secs_f64();
            self.compare("requests/s", |round| {
                seconds(round[other].time) / seconds(round[one].time)
            });
            self.compare("processor time for each request", |round| {
                seconds(round[one].cpu) / seconds(round[other].cpu)
            });
        }
    }

    fn compare(&self, what: &str, ratio: impl Fn(&[Took; LOOPS.len()]) -> f64) {
        let of_launch = |rounds: &Vec<_>| rounds.iter().map(&ratio).collect();
        let ratios: Vec<Vec<f64>> = self.launches.iter().map(of_launch).collect();
        match Comparison::of(&ratios) {
            Ok(found) => {
                let ([ratio, low, high], Comparison { launches, pairs, .. }) =
                    (found.figures(), found);
                println!(
                    "        {what}: {ratio}×, 95 % confidence {low}× to {high}×, of {pairs} rounds \
                     in {launches} launches"
                );
            }
            Err(reason) => println!("        {what}: no interval: {reason}"),
        }
    }
}
