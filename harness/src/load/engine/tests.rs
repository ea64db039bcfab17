//! Tests of whole runs, on small servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use servers::Service;

use super::*;
use crate::load::{Outcome, exchanges};

const MS: Duration = Duration::from_millis(1);

fn group(connections: usize, pace: ArrivalProcess) -> Group {
    Group { exchanges: exchanges(Service::Echo), connections, pace }
}

fn course(warm_up: Duration, duration: Duration, threads: usize) -> Course {
    Course { warm_up, duration, at_most: duration, intervals: 10, threads }
}

fn ran(demand: &LoadSpec, course: Course, watch: &mut dyn Watch) -> Ran {
    run(demand, course, |_| Ok(()), watch, &AtomicBool::new(false)).expect("a run")
}

/// Echoes the lines of this many clients, and returns the number of lines of each.
fn echo(clients: usize) -> (SocketAddr, thread::JoinHandle<Vec<usize>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let serve = move || {
        let (mut stream, _) = listener.accept().expect("a client");
        thread::spawn(move || {
            let lines = BufReader::new(stream.try_clone().expect("a clone"));
            let answer = |line: String| stream.write_all((line + "\n").as_bytes());
            lines.lines().map_while(Result::ok).map(answer).count()
        })
    };
    let server = thread::spawn(move || {
        let all: Vec<_> = (0..clients).map(|_| serve()).collect();
        let mut lines: Vec<_> = all.into_iter().map(|it| it.join().expect("it ends")).collect();
        lines.sort_unstable();
        lines
    });
    (address, server)
}

#[test]
fn no_interval_is_told_of_the_wait_for_what_does_not_come() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut demand = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    demand.patience = 500 * MS;
    let ran = ran(&demand, course(MS, 20 * MS, 1), &mut ());
    assert!(ran.intervals.len() <= 11, "{}", ran.intervals.len());
}

#[test]
fn silent_clients_ask_once_and_what_became_of_that_is_told() {
    let (address, server) = echo(4);
    let mut demand = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    demand.groups.push(group(3, ArrivalProcess::Idle));
    let ran = ran(&demand, course(MS, 50 * MS, 1), &mut ());
    assert_eq!(ran.beside[0].outcomes, [Outcome::Answered; 3].into_iter().collect());
    assert_eq!(server.join().expect("it ends")[..3], [1, 1, 1]);
}

/// Observer that takes this long to begin, and counts the calls of `is_enough`.
struct Slow(Duration, usize);

impl Watch for Slow {
    fn begins(&mut self) {
        let until = Instant::now() + self.0;
        while Instant::now() < until {
            std::hint::spin_loop();
        }
    }

    fn is_enough(&mut self, _: &[Interval]) -> bool {
        self.1 += 1;
        false
    }
}

#[test]
fn a_run_is_warmed_up_however_long_it_takes_whoever_watches_to_begin() {
    let (address, server) = echo(1);
    let demand = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    let ran = ran(&demand, course(50 * MS, 50 * MS, 1), &mut Slow(60 * MS, 0));
    assert!(ran.answered_in_all > ran.total().outcomes.get(Outcome::Answered));
    server.join().expect("it ends");
}

#[test]
fn it_is_asked_once_in_a_duration_whether_a_run_is_precise_enough() {
    let (address, server) = echo(1);
    let demand = LoadSpec::new(address, group(1, ArrivalProcess::Closed { depth: 1 }), 1);
    let mut watch = Slow(Duration::ZERO, 0);
    let course = Course { at_most: 150 * MS, ..course(MS, 50 * MS, 1) };
    ran(&demand, course, &mut watch);
    assert!(watch.1 <= 3, "{}", watch.1);
    server.join().expect("it ends");
}

#[test]
fn there_are_no_more_generators_than_connections() {
    let (address, server) = echo(2);
    let demand = LoadSpec::new(address, group(2, ArrivalProcess::Closed { depth: 1 }), 1);
    assert_eq!(ran(&demand, course(MS, 20 * MS, 8), &mut ()).threads, 2);
    server.join().expect("it ends");
}

#[test]
fn intervals_of_several_generators_are_those_of_the_same_time() {
    let interval = |start_ns, duration_ns, replies| Interval {
        duration_ns,
        replies,
        ..Interval::new(start_ns)
    };
    let (one, of_one) = channel();
    let (other, of_other) = channel();
    for start in [1000, 2010, 3005] {
        one.send(interval(start, 1000, 1)).expect("it is taken");
    }
    // This generator was stopped for a while.
    for (start, duration) in [(1000, 2020), (3020, 980)] {
        other.send(interval(start, duration, 10)).expect("it is taken");
    }
    drop((one, other));
    let course = Course { intervals: 3, ..course(MS, Duration::from_nanos(3000), 2) };
    let (end, never) = (AtomicU64::new(4000), AtomicBool::new(false));
    let told = [of_one, of_other];
    let intervals = control(&told, course, (1000, &end), &mut (), &never);
    let replies: Vec<u64> = intervals.iter().map(|it| it.replies).collect();
    assert_eq!(replies, [11, 1, 11]);
}
