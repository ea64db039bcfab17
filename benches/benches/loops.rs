//! Whether the load generator would be faster if its loop were io_uring's and not epoll's.
//!
//! Three closed loops ask the same server, each on connections of its own, in turns, in short
//! slices: the load engine; the least that asks and checks by epoll; and the same by io_uring. The
//! engine keeps more of a record than the other two, so what the mechanism is worth is the ratio
//! of those; what could be gained at most is the ratio to the engine.
//!
//! Where it is the server that limits the throughput, a faster generator does not show in it. So
//! it is printed how busy the server was, and what processor time the generator used for each
//! request, which counts everywhere. It says what it finds, and has no threshold. It takes a minute;
//! `BENCH_FULL=1` has more and longer launches.

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

/// The server that all ask.
const SERVER: &str = "epoll-level-echo";

/// Asks so many requests, as many on every connection, and waits for their replies.
type Ask = Box<dyn FnMut(u64) -> Result<()>>;

/// How one who asks is connected.
type Connect = fn(SocketAddr, usize, u32) -> Result<Ask>;

/// Who asks.
const LOOPS: [(&str, Connect); 3] =
    [("engine", by_engine), ("bare-epoll", by_epoll), ("bare-ring", by_ring)];

/// Who is compared with whom, by place.
const PAIRS: [(usize, usize); 3] = [(2, 1), (2, 0), (1, 0)];

/// Connections, requests under way on each, and how long one loop asks before it is the next one's
/// turn. A slice begins and ends with nothing under way, so that many connections need a longer
/// one.
const SETTINGS: [(usize, u32, Duration); 3] = [
    (50, 1, Duration::from_millis(25)),
    (1000, 1, Duration::from_millis(100)),
    (50, 16, Duration::from_millis(25)),
];

/// How often the server is launched afresh for a setting, and how long it is asked each time; and
/// the same in a long study.
const LAUNCHES: (usize, Duration) = (5, Duration::from_millis(2_600));
const FULL_LAUNCHES: (usize, Duration) = (12, Duration::from_secs(4));

/// How long anything is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// Batches of every connection before anything is measured.
const WARM_UP: u64 = 20;

/// Bytes received at once, and events taken from the kernel.
const BUFFER: usize = 4096;
const EVENTS: usize = 256;

fn main() -> Result<()> {
    // The servers are this very program, started again.
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

/// The load engine.
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

/// The least that asks by epoll.
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
                // A batch is shorter than the buffer, so that one read empties the socket.
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

/// The least that asks by io_uring.
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
        // Closing it resets the connection, so that no port waits for a minute.
        setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?;
        Ok(stream)
    };
    (0..connections).map(connect).collect()
}

/// What both bare loops do: who is to send what, and whether the replies are right.
struct Batches {
    /// All requests one after the other, and the first ones again, so that a batch is in one piece
    /// wherever it begins. The replies are the same.
    lines: &'static [u8],
    /// Bytes of all requests, and of a batch.
    round: usize,
    batch: usize,
    depth: u64,
    clients: Vec<Client>,
    /// Batches that are still to be asked, and those under way.
    left: u64,
    under_way: u64,
    asked: u64,
    record: Interval,
}

/// Where its batch begins, how much of the reply has come, and when the batch was sent.
struct Client {
    at: usize,
    came: usize,
    sent: Instant,
}

impl Batches {
    fn new(connections: usize, depth: u32) -> Batches {
        let requests = exchanges(Service::Echo).into_iter().map(|one| one.request);
        let requests: Vec<Vec<u8>> = requests.collect();
        // All are as long.
        let (line, mut lines) = (requests[0].len(), requests.concat());
        let (round, batch) = (lines.len(), line * depth as usize);
        lines.extend_from_within(..batch);
        let client = |index| Client { at: index * line % round, came: 0, sent: Instant::now() };
        let clients = (0..connections).map(client).collect();
        let (lines, depth, record) = (lines.leak(), depth.into(), Interval::new(0));
        Batches { lines, round, batch, depth, clients, left: 0, under_way: 0, asked: 0, record }
    }

    /// Lets so many requests be asked. Gives what each client begins with.
    fn begin(&mut self, requests: u64) -> Vec<(usize, &'static [u8])> {
        self.left = requests / self.depth;
        self.asked += requests;
        let now = Instant::now();
        (0..self.clients.len()).filter_map(|of| Some((of, self.next(of, now)?))).collect()
    }

    /// What a client is to send, if there is something left.
    fn next(&mut self, of: usize, now: Instant) -> Option<&'static [u8]> {
        self.left = self.left.checked_sub(1)?;
        self.under_way += 1;
        let client = &mut self.clients[of];
        client.sent = now;
        Some(&self.lines[client.at..][..self.batch])
    }

    /// A client has received something. Gives what it is to send next, if its batch is over.
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

/// Loops that ask one server in turns.
struct Trial {
    loops: Vec<Ask>,
    server: Vec<Pid>,
    /// A batch on every connection.
    least: u64,
    /// Whose turn is the first.
    first: usize,
}

impl Trial {
    /// Lets one ask so many batches on every connection.
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

    /// Lets all ask in turns, there and back, so that a machine that becomes slower or faster
    /// meanwhile makes no difference.
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

/// What some slices took: time, the generator's processor time, and the server's.
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

/// What was found in a setting: of each loop in all, and the rounds of each launch.
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
