//! Tests of whole runs, with small servers in a thread.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use servers::Service;

use super::*;
use crate::load::exchanges;
use crate::results::Outcome;

const MS: Duration = Duration::from_millis(1);

fn group(connections: usize, arrival_process: ArrivalProcess) -> ConnectionGroup {
    ConnectionGroup { requests: exchanges(Service::Echo), connections, arrival_process }
}

fn settings(warm_up: Duration, duration: Duration, threads: usize) -> RunSettings {
    RunSettings { warm_up, duration, at_most: duration, intervals: 10, threads }
}

fn run_load(load_spec: &LoadSpec, settings: RunSettings, observer: &mut dyn Observer) -> RunResult {
    run(load_spec, settings, |_| Ok(()), observer, &AtomicBool::new(false)).expect("a run")
}

/// Starts a server that echoes the lines of `clients` clients. The thread returns the number of
/// lines of each client.
fn echo(clients: usize) -> (SocketAddr, thread::JoinHandle<Vec<usize>>) {
    let (address, _, server) = counting_echo(clients);
    (address, server)
}

/// Numbers of lines that a server has echoed, by client.
type EchoedLines = Arc<Vec<AtomicUsize>>;

/// Same as [`echo`]. Also returns the numbers of lines so far.
fn counting_echo(clients: usize) -> (SocketAddr, EchoedLines, thread::JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let echoed: EchoedLines = Arc::new((0..clients).map(|_| AtomicUsize::new(0)).collect());
    let counted = Arc::clone(&echoed);
    let serve = move |number: usize| {
        let (mut stream, _) = listener.accept().expect("a client");
        let counted = Arc::clone(&counted);
        thread::spawn(move || {
            let lines = BufReader::new(stream.try_clone().expect("a clone"));
            let answer = |line: String| {
                stream.write_all((line + "\n").as_bytes()).ok();
                counted[number].fetch_add(1, Relaxed);
            };
            lines.lines().map_while(Result::ok).map(answer).count()
        })
    };
    let server = thread::spawn(move || {
        let threads: Vec<_> = (0..clients).map(serve).collect();
        let mut lines: Vec<_> = threads
            .into_iter()
            .map(|thread| thread.join().expect("no panic in the thread"))
            .collect();
        lines.sort_unstable();
        lines
    });
    (address, echoed, server)
}

#[test]
fn waiting_for_missing_replies_is_not_reported_as_intervals() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut load_spec = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    load_spec.reply_timeout = 500 * MS;
    let ran = run_load(&load_spec, settings(MS, 20 * MS, 1), &mut ());
    assert!(ran.intervals.len() <= 11, "{}", ran.intervals.len());
}

/// Observer that ends a run when every client has received a reply. Otherwise a machine without
/// free CPU time could end the run first.
struct UntilAllAreAnswered {
    echoed: EchoedLines,
    /// Number of echoed lines when each client had one.
    all_answered_at: Option<usize>,
}

impl Observer for UntilAllAreAnswered {
    fn is_precise_enough(&mut self, _: &[Interval]) -> bool {
        let lines: Vec<usize> = self.echoed.iter().map(|it| it.load(Relaxed)).collect();
        let sum = lines.iter().sum();
        if self.all_answered_at.is_none() && lines.iter().all(|&number| number > 0) {
            self.all_answered_at = Some(sum);
        }
        // A request after the last first reply shows that the generator has polled since then.
        self.all_answered_at.is_some_and(|at| sum >= at + 2)
    }
}

#[test]
fn idle_clients_send_one_request_and_its_outcome_is_reported() {
    let (address, echoed, server) = counting_echo(4);
    let mut load_spec = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    load_spec.groups.push(group(3, ArrivalProcess::Idle));
    let settings = RunSettings { at_most: Duration::from_secs(20), ..settings(MS, 50 * MS, 1) };
    let mut observer = UntilAllAreAnswered { echoed, all_answered_at: None };
    let ran = run_load(&load_spec, settings, &mut observer);
    assert_eq!(ran.background[0].outcomes, [Outcome::Answered; 3].into_iter().collect());
    assert_eq!(server.join().expect("no panic in the thread")[..3], [1, 1, 1]);
}

/// Observer whose start takes a given time, and which counts the calls of `is_precise_enough`.
struct SlowObserver(Duration, usize);

impl Observer for SlowObserver {
    fn on_start(&mut self) {
        let until = Instant::now() + self.0;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    fn is_precise_enough(&mut self, _: &[Interval]) -> bool {
        self.1 += 1;
        false
    }
}

#[test]
fn a_run_is_warmed_up_even_if_the_observer_starts_slowly() {
    let (address, server) = echo(1);
    let load_spec = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    let ran = run_load(&load_spec, settings(50 * MS, 50 * MS, 1), &mut SlowObserver(60 * MS, 0));
    assert!(ran.answered_with_warm_up > ran.total().outcomes.get(Outcome::Answered));
    server.join().expect("no panic in the thread");
}

#[test]
fn precision_is_checked_once_per_duration() {
    let (address, server) = echo(1);
    let load_spec = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    let mut observer = SlowObserver(Duration::ZERO, 0);
    let settings = RunSettings { at_most: 150 * MS, ..settings(MS, 50 * MS, 1) };
    run_load(&load_spec, settings, &mut observer);
    assert!(observer.1 <= 3, "{}", observer.1);
    server.join().expect("no panic in the thread");
}

#[test]
fn a_run_has_at_most_one_generator_per_connection() {
    let (address, server) = echo(2);
    let load_spec = LoadSpec::new(address, group(2, ArrivalProcess::Closed { depth: 1 }), 1);
    assert_eq!(run_load(&load_spec, settings(MS, 20 * MS, 8), &mut ()).threads, 2);
    server.join().expect("no panic in the thread");
}

#[test]
fn intervals_of_several_generators_are_merged_by_time() {
    let interval = |start_ns, duration_ns, replies| Interval {
        duration_ns,
        replies,
        ..Interval::new(start_ns)
    };
    let (steady_tx, steady_rx) = channel();
    let (stopped_tx, stopped_rx) = channel();
    for start in [1000, 2010, 3005] {
        steady_tx.send(interval(start, 1000, 1)).expect("the receiver exists");
    }
    // This generator was stopped for a while.
    for (start, duration) in [(1000, 2020), (3020, 980)] {
        stopped_tx.send(interval(start, duration, 10)).expect("the receiver exists");
    }
    drop((steady_tx, stopped_tx));
    let settings = RunSettings { intervals: 3, ..settings(MS, Duration::from_nanos(3000), 2) };
    let (end, never) = (AtomicU64::new(4000), AtomicBool::new(false));
    let intervals = control(&[steady_rx, stopped_rx], settings, (1000, &end), &mut (), &never);
    let replies: Vec<u64> = intervals.iter().map(|it| it.replies).collect();
    assert_eq!(replies, [11, 1, 11]);
}

/// Observer that keeps the numbers of replies in the parts and the intervals.
#[derive(Default)]
struct PartsObserver {
    parts: Vec<u64>,
    intervals: Vec<u64>,
}

impl Observer for PartsObserver {
    fn on_interval(&mut self, interval: &Interval) {
        self.intervals.push(interval.replies);
    }

    fn report_every(&self) -> Option<Duration> {
        Some(Duration::from_nanos(500))
    }

    fn on_report(&mut self, part: &Interval) {
        self.parts.push(part.replies);
    }

    fn is_precise_enough(&mut self, _: &[Interval]) -> bool {
        true
    }
}

#[test]
fn parts_of_intervals_are_reported_and_do_not_change_the_intervals() {
    let (tx, rx) = channel();
    // Two parts for each interval. In the third interval, the generator was stopped.
    let parts = [(1000, 510, 1), (1510, 500, 2), (2010, 490, 4), (2500, 520, 8), (3020, 980, 16)];
    for (start_ns, duration_ns, replies) in parts {
        let part = Interval { duration_ns, replies, ..Interval::new(start_ns) };
        tx.send(part).expect("the receiver exists");
    }
    drop(tx);
    let settings = RunSettings { intervals: 3, ..settings(MS, Duration::from_nanos(3000), 1) };
    let (end, never) = (AtomicU64::new(4000), AtomicBool::new(false));
    let mut observer = PartsObserver::default();
    let intervals = control(&[rx], settings, (1000, &end), &mut observer, &never);
    assert_eq!(observer.parts, [1, 2, 4, 8, 16]);
    assert_eq!(observer.intervals, [3, 12, 16]);
    let times: Vec<_> = intervals.iter().map(|it| (it.start_ns, it.duration_ns)).collect();
    assert_eq!(times, [(1000, 1010), (2010, 1010), (3020, 980)]);
}
