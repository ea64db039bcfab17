//! Comparison of epoll and io_uring as the loop of the load generator.
//!
//! Three closed loops send to the same server, each on separate connections, in short alternating
//! slices: the load generator, a minimal loop with epoll, and a minimal loop with io_uring. The
//! generator records more than the minimal loops. So the ratio of the minimal loops shows the
//! effect of the mechanism, and the ratio of the io_uring loop to the generator shows the maximum
//! gain.
//!
//! If the server limits the throughput, a faster generator does not increase the throughput. So the
//! benchmark also prints the busy share of the server and the CPU time of the loop per request.
//! There is no threshold. The benchmark takes a minute; with `BENCH_FULL=1`, it has more and longer
//! launches.

#[path = "loops/ring.rs"]
mod ring;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use benches::bench_mode::{self, BenchMode};
use benches::work::Work;
use harness::commands::role;
use harness::load::placement::{Pin, Placement};
use harness::load::{
    ArrivalProcess, ConnectionGroup, Generator, Interval, LoadSpec, Recorder, Until, exchanges,
};
use harness::results::Outcome;
use harness::server::proc::{Pid, SchedStats, sched_stats};
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

/// Sends a number of requests, evenly distributed over the connections, and waits for the replies.
type SendRequests = Box<dyn FnMut(u64) -> Result<()>>;

/// Connects a loop: address, number of connections, requests in flight on each connection.
type Connect = fn(SocketAddr, usize, u32) -> Result<SendRequests>;

/// The loops, with their names.
const LOOPS: [(&str, Connect); 3] =
    [("generator", load_generator_loop), ("bare-epoll", epoll_loop), ("bare-ring", ring_loop)];

/// Pairs of loops to compare, by index.
const PAIRS: [(usize, usize); 3] = [(2, 1), (2, 0), (1, 0)];

/// Number of connections, requests in flight on each connection, and duration of a slice. At the
/// start and the end of a slice, few requests are in flight. With more connections, these phases
/// are longer, so the slice is also longer.
const SETTINGS: [(usize, u32, Duration); 3] = [
    (50, 1, Duration::from_millis(25)),
    (1000, 1, Duration::from_millis(100)),
    (50, 16, Duration::from_millis(25)),
];

/// Number of launches per setting, and duration of each launch.
const LAUNCHES: (usize, Duration) = (5, Duration::from_millis(2_600));

/// Number and duration of launches in a long study.
const FULL_LAUNCHES: (usize, Duration) = (12, Duration::from_secs(4));

/// Timeout of each wait.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Number of batches on each connection in the warm-up.
const WARM_UP: u64 = 20;

/// Size of the receive buffer, in bytes.
const BUFFER: usize = 4096;

/// Maximum number of events per wait.
const EVENTS: usize = 256;

fn main() -> Result<()> {
    // A process that was started as a server serves here and does not return.
    role::take();
    let default_launches = if bench_mode::is_full() { FULL_LAUNCHES } else { LAUNCHES };
    let (launches, time) = match BenchMode::of("loops") {
        BenchMode::Skip => return Ok(()),
        BenchMode::Test => (2, Duration::ZERO),
        BenchMode::Measure => default_launches,
    };
    if let Some(reason) = servers::io_uring::unavailable() {
        println!("nothing to compare: {reason}");
        return Ok(());
    }
    let launcher = Launcher::this_program()?;
    let server = servers::find(SERVER).with_context(|| format!("unknown server {SERVER}"))?;
    let spec = LaunchSpec::builtin(&launcher, &server, &Limits::default())?;
    let placement = Placement::find(Pin::Apart, 1)?;
    println!("{SERVER} loaded by three loops in turn; {}", placement.description());
    for (connections, depth, slice) in SETTINGS {
        let mut found = SettingResult::default();
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
                batch_requests: connections as u64 * u64::from(depth),
                first: launch % LOOPS.len(),
            };
            found.add(&mut trial, slice, time)?;
        }
        println!("{connections} connections, {depth} requests in flight on each");
        found.print();
    }
    Ok(())
}

/// Returns the loop of the load generator.
fn load_generator_loop(
    address: SocketAddr,
    connections: usize,
    depth: u32,
) -> Result<SendRequests> {
    let arrival_process = ArrivalProcess::Closed { depth };
    let group =
        ConnectionGroup { requests: exchanges(Service::Echo), connections, arrival_process };
    let mut recorders = [Recorder::new()];
    let mut generator = Generator::connect(&LoadSpec::new(address, group, 0), &mut recorders)?;
    let mut requested = 0;
    Ok(Box::new(move |requests| {
        generator.run(Until::Sent(requests), &mut recorders)?;
        requested += requests;
        let outcomes = &recorders[0].current().outcomes;
        let answered = outcomes.get(Outcome::Answered);
        ensure!(answered == requested, "of {requested} requests: {outcomes:?}");
        Ok(())
    }))
}

/// Returns a minimal loop with epoll.
fn epoll_loop(address: SocketAddr, connections: usize, depth: u32) -> Result<SendRequests> {
    let streams = connect(address, connections)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (index, stream) in streams.iter().enumerate() {
        stream.set_nonblocking(true)?;
        let events = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(stream, EpollEvent::new(events, index as u64))?;
    }
    let mut batches = Batches::new(connections, depth);
    let timeout = EpollTimeout::try_from(TIMEOUT)?;
    let (mut events, mut buffer) = ([EpollEvent::empty(); EVENTS], [0; BUFFER]);
    Ok(Box::new(move |requests| {
        for (index, bytes) in batches.begin(requests) {
            send(&streams[index], bytes)?;
        }
        while batches.in_flight > 0 {
            let count = match epoll.wait(&mut events, timeout) {
                Err(Errno::EINTR) => continue,
                other => other?,
            };
            ensure!(count > 0, "the server does not reply in time");
            for event in &events[..count] {
                let index = event.data() as usize;
                // A batch is shorter than the buffer, so one read empties the socket.
                let count = match (&streams[index]).read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                    other => other?,
                };
                if let Some(bytes) = batches.handle_bytes(index, &buffer[..count])? {
                    send(&streams[index], bytes)?;
                }
            }
        }
        batches.check()
    }))
}

fn send(mut stream: &TcpStream, bytes: &[u8]) -> Result<()> {
    ensure!(stream.write(bytes)? == bytes.len(), "the server reads nothing");
    Ok(())
}

/// Returns a minimal loop with io_uring.
fn ring_loop(address: SocketAddr, connections: usize, depth: u32) -> Result<SendRequests> {
    let mut ring = Ring::new(connect(address, connections)?)?;
    let mut batches = Batches::new(connections, depth);
    Ok(Box::new(move |requests| {
        for (index, bytes) in batches.begin(requests) {
            ring.send(index, bytes);
        }
        while batches.in_flight > 0 {
            ring.turn(|index, bytes| batches.handle_bytes(index, bytes))?;
        }
        batches.check()
    }))
}

fn connect(address: SocketAddr, connections: usize) -> Result<Vec<TcpStream>> {
    let connect = |_| {
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_nodelay(true)?;
        // Closing resets the connection, so that no port stays in TIME_WAIT for a minute.
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        Ok(stream)
    };
    (0..connections).map(connect).collect()
}

/// Common part of both minimal loops: the batches of requests to send, and the check of the
/// replies.
struct Batches {
    /// All requests, followed by a copy of the first requests, so that every batch is contiguous.
    /// The replies are the same bytes.
    lines: &'static [u8],
    /// Length of all requests, in bytes.
    round: usize,
    /// Length of a batch, in bytes.
    batch: usize,
    /// Number of requests in a batch.
    depth: u64,
    clients: Vec<Client>,
    /// Number of batches to send.
    left: u64,
    /// Number of batches in flight.
    in_flight: u64,
    /// Number of requests so far.
    requested: u64,
    record: Interval,
}

/// State of one connection.
struct Client {
    /// Start of the current batch in `Batches::lines`.
    at: usize,
    /// Number of bytes received of the reply to the current batch.
    received: usize,
    /// Time at which the current batch was sent.
    sent: Instant,
}

impl Batches {
    fn new(connections: usize, depth: u32) -> Batches {
        let requests = exchanges(Service::Echo).into_iter().map(|exchange| exchange.request);
        let requests: Vec<Vec<u8>> = requests.collect();
        // All requests have the same length.
        let (line, mut lines) = (requests[0].len(), requests.concat());
        let (round, batch) = (lines.len(), line * depth as usize);
        lines.extend_from_within(..batch);
        let client = |index| Client { at: index * line % round, received: 0, sent: Instant::now() };
        let clients = (0..connections).map(client).collect();
        let (lines, depth, record) = (lines.leak(), depth.into(), Interval::new(0));
        Batches { lines, round, batch, depth, clients, left: 0, in_flight: 0, requested: 0, record }
    }

    /// Starts a slice of `requests` requests, and returns the first batch of each client.
    fn begin(&mut self, requests: u64) -> Vec<(usize, &'static [u8])> {
        self.left = requests / self.depth;
        self.requested += requests;
        let now = Instant::now();
        (0..self.clients.len()).filter_map(|index| Some((index, self.next(index, now)?))).collect()
    }

    /// Returns the next batch of a client, if any batches are left.
    fn next(&mut self, index: usize, now: Instant) -> Option<&'static [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.in_flight += 1;
        let client = &mut self.clients[index];
        client.sent = now;
        Some(&self.lines[client.at..][..self.batch])
    }

    /// Handles received bytes. Returns the client's next batch when the current one is complete.
    fn handle_bytes(&mut self, index: usize, bytes: &[u8]) -> Result<Option<&'static [u8]>> {
        let now = Instant::now();
        let client = &mut self.clients[index];
        let expected = &self.lines[client.at + client.received..client.at + self.batch];
        ensure!(!bytes.is_empty() && expected.starts_with(bytes), "the server does not echo");
        client.received += bytes.len();
        if client.received < self.batch {
            return Ok(None);
        }
        let latency = now.duration_since(client.sent).as_nanos() as u64;
        self.record.sent.saturating_record_n(latency, self.depth);
        client.at = (client.at + self.batch) % self.round;
        client.received = 0;
        self.in_flight -= 1;
        Ok(self.next(index, now))
    }

    fn check(&self) -> Result<()> {
        let answered = self.record.sent.len();
        ensure!(
            answered == self.requested,
            "{answered} of {} requests were answered",
            self.requested
        );
        Ok(())
    }
}

/// One launch of the server, with the loops that send to it in turn.
struct Trial {
    loops: Vec<SendRequests>,
    server: Vec<Pid>,
    /// Number of requests in one batch on each connection.
    batch_requests: u64,
    /// Index of the loop that sends first.
    first: usize,
}

impl Trial {
    /// Runs one loop for one slice: `batches` batches on each connection.
    fn slice(&mut self, which: usize, batches: u64) -> Result<Cost> {
        let cpu = || ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from);
        let requests = batches * self.batch_requests;
        let (before, cpu_before, began) = (sched_stats(&self.server), cpu()?, Instant::now());
        self.loops[which](requests)?;
        let (time, cpu, after) = (began.elapsed(), cpu()? - cpu_before, sched_stats(&self.server));
        let server =
            SchedStats { ran: after.ran - before.ran, waited: after.waited - before.waited };
        Ok(Cost { requests, time, cpu, server })
    }

    /// Runs all loops in turn, once in forward order and once in reverse order, so that a steady
    /// drift of the machine's speed cancels out.
    fn round(&mut self, batches: u64) -> Result<[Cost; LOOPS.len()]> {
        let mut cost = [Cost::default(); LOOPS.len()];
        let first = self.first;
        let forward = (0..LOOPS.len()).map(|step| (first + step) % LOOPS.len());
        for which in forward.clone().chain(forward.rev()) {
            let slice = self.slice(which, batches)?;
            cost[which].add(&slice);
        }
        Ok(cost)
    }
}

/// Cost of some slices of a loop.
#[derive(Clone, Copy, Default)]
struct Cost {
    requests: u64,
    time: Duration,
    /// CPU time of the loop.
    cpu: Duration,
    server: SchedStats,
}

impl Cost {
    fn add(&mut self, other: &Cost) {
        self.requests += other.requests;
        self.time += other.time;
        self.cpu += other.cpu;
        self.server.ran += other.server.ran;
        self.server.waited += other.server.waited;
    }
}

/// Results of a setting.
#[derive(Default)]
struct SettingResult {
    /// Total cost of each loop.
    total: [Cost; LOOPS.len()],
    /// Rounds of each launch, with the cost of each loop.
    launches: Vec<Vec<[Cost; LOOPS.len()]>>,
}

impl SettingResult {
    fn add(&mut self, trial: &mut Trial, slice: Duration, time: Duration) -> Result<()> {
        trial.round(WARM_UP)?;
        let fastest = trial.round(WARM_UP)?.map(|cost| cost.time).into_iter().min();
        let batch = fastest.unwrap_or_default().as_secs_f64() / (2 * WARM_UP) as f64;
        let batches = (slice.as_secs_f64() / batch).max(1.0) as u64;
        let (began, mut rounds) = (Instant::now(), Vec::new());
        while rounds.is_empty() || began.elapsed() < time {
            let round = trial.round(batches)?;
            self.total.iter_mut().zip(&round).for_each(|(total, cost)| total.add(cost));
            rounds.push(round);
        }
        self.launches.push(rounds);
        Ok(())
    }

    fn print(&self) {
        for ((name, _), cost) in LOOPS.iter().zip(&self.total) {
            let requests = cost.requests as f64;
            let [time, cpu, ran, waited] =
                [cost.time, cost.cpu, cost.server.ran, cost.server.waited]
                    .map(|it| it.as_secs_f64());
            let server =
                Work { ran: ran / time, waited: waited / time, cpu_per_request: ran / requests };
            println!(
                "    {name}: {:.0} requests/s, ran {:.0} % of the time, {:.2} µs per request",
                requests / time,
                100.0 * cpu / time,
                1e6 * cpu / requests
            );
            println!("        server: {server}");
        }
        for (one, other) in PAIRS {
            println!("    {} over {}", LOOPS[one].0, LOOPS[other].0);
            let seconds = |time: Duration| time.as_secs_f64();
            self.compare("requests/s", |round| {
                seconds(round[other].time) / seconds(round[one].time)
            });
            self.compare("CPU time per request", |round| {
                seconds(round[one].cpu) / seconds(round[other].cpu)
            });
        }
    }

    fn compare(&self, what: &str, ratio: impl Fn(&[Cost; LOOPS.len()]) -> f64) {
        let of_launch = |rounds: &Vec<_>| rounds.iter().map(&ratio).collect();
        let ratios: Vec<Vec<f64>> = self.launches.iter().map(of_launch).collect();
        match Comparison::of(&ratios) {
            Ok(found) => {
                let ([ratio, low, high], Comparison { launches, pairs, .. }) =
                    (found.figures(), found);
                println!(
                    "        {what}: {ratio}×, 95 % confidence {low}× to {high}×, of {pairs} \
                     rounds \
                     in {launches} launches"
                );
            }
            Err(reason) => println!("        {what}: no interval: {reason}"),
        }
    }
}
