//! Tests of a generator, on small servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::mpsc::channel;
use std::thread;

use servers::Service;

use super::super::recorder::thread_cpu_ns;
use super::*;
use crate::load::{Arrivals, Group, exchanges};

fn demand(address: SocketAddr, connections: usize, pace: ArrivalProcess) -> LoadSpec {
    let exchanges = exchanges(Service::Echo);
    LoadSpec::new(address, Group { exchanges, connections, pace }, 1)
}

/// Runs this many requests on one connection. The server sends `answer` of each line's number and
/// text byte by byte, and closes when that is `None`.
fn loaded(
    answer: fn(usize, Vec<u8>) -> Option<Vec<u8>>,
    requests: u64,
    depth: u32,
) -> (Recorder, Outcomes) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the generator");
        let mut lines = BufReader::new(stream.try_clone().expect("a clone"));
        for number in 0.. {
            let mut line = Vec::new();
            if lines.read_until(b'\n', &mut line).unwrap_or(0) == 0 {
                break;
            }
            let Some(reply) = answer(number, line) else { break };
            for byte in reply {
                let _ = (&stream).write_all(&[byte]);
            }
        }
    });
    let demand = demand(address, 1, ArrivalProcess::Closed { depth });
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&demand, &mut recorders).expect("it");
    load.run(Until::Sent(requests), &mut recorders).expect("a run");
    let connections = load.connection_outcomes(0);
    drop(load);
    server.join().expect("the server ends");
    let [recorder] = recorders;
    (recorder, connections)
}

fn counts(recorder: &Recorder, outcome: Outcome) -> (u64, u64) {
    (recorder.current().outcomes.get(outcome), recorder.current().sent.len())
}

#[test]
fn every_right_reply_is_a_latency_at_any_depth() {
    for depth in [1, 2, 7] {
        let (recorder, connections) = loaded(|_, line| Some(line), 21, depth);
        assert_eq!(counts(&recorder, Outcome::Answered), (21, 21));
        assert_eq!(connections.get(Outcome::Answered), 1);
    }
}

#[test]
fn a_wrong_reply_is_an_outcome_and_no_latency() {
    let one_wrong = |number, line| Some(if number == 5 { b"wrong\n".to_vec() } else { line });
    for depth in [1, 4] {
        let (recorder, connections) = loaded(one_wrong, 20, depth);
        assert_eq!(counts(&recorder, Outcome::Answered), (19, 19));
        assert_eq!(counts(&recorder, Outcome::WrongReply), (1, 19));
        assert_eq!(connections.get(Outcome::Answered), 1);
    }
}

#[test]
fn a_connection_is_given_up_when_its_replies_are_out_of_step() {
    // One reply is sent twice, so all later ones belong to the previous request.
    let twice = |number, line: Vec<u8>| Some(if number == 5 { line.repeat(2) } else { line });
    let (recorder, connections) = loaded(twice, 20, 4);
    assert_eq!(counts(&recorder, Outcome::Answered), (6, 6));
    assert_eq!(connections.get(Outcome::WrongReply), 1);
}

#[test]
fn a_lost_reply_and_a_busy_line_are_outcomes_and_no_latencies() {
    let (recorder, _) = loaded(|number, line| (number < 3).then_some(line), 20, 1);
    let (answered, latencies) = counts(&recorder, Outcome::Answered);
    let lost = counts(&recorder, Outcome::Closed).0 + counts(&recorder, Outcome::Reset).0;
    assert_eq!((answered, lost, latencies), (3, 1, 3));

    let (recorder, connections) =
        loaded(|number, _| (number == 0).then(|| b"error: busy, later\n".to_vec()), 1, 1);
    assert_eq!(counts(&recorder, Outcome::Busy), (1, 0));
    assert_eq!(connections.sum(), 1);
}

#[test]
fn an_open_loop_asks_all_that_is_due_before_its_end_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the generator");
        let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
    });
    let pace = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 5_000.0 };
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&demand(address, 1, pace), &mut recorders).expect("it");
    load.run(Until::Past(Duration::from_millis(100)), &mut recorders).expect("a run");
    drop(load);
    server.join().expect("the server ends");
    // The first request is due after one interarrival time, and the 500th at the end.
    assert_eq!(recorders[0].current().asked, 499);
    assert_eq!(counts(&recorders[0], Outcome::Answered), (499, 499));
}

#[test]
fn a_connection_that_is_refused_is_an_outcome() {
    let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut recorders = [Recorder::new()];
    let demand = demand(address, 3, ArrivalProcess::Closed { depth: 1 });
    let mut load = Generator::connect(&demand, &mut recorders).expect("it");
    load.run(Until::Sent(10), &mut recorders).expect("a run");
    assert_eq!(load.connection_outcomes(0).get(Outcome::Refused), 3);
    assert_eq!(recorders[0].current().outcomes, Outcomes::default());
}

/// Timeout for expected events.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_client_that_comes_again_and_again_does_so_when_its_request_could_not_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let demand = demand(listener.local_addr().expect("an address"), 1, ArrivalProcess::Churn);
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&demand, &mut recorders).expect("it");
    load.connect_again(0, &mut recorders).expect("it may");
    let event = loop {
        if let Some(event) = load.next_event(LOOK_EVERY_MS).expect("it may") {
            break event;
        }
    };
    load.connections.stream(0).expect("it").shutdown(Shutdown::Write).expect("it can be");
    let mut quota = Quota::new(Until::Past(DEADLINE), load.now());
    load.take(event, Some(&mut quota), &mut recorders).expect("it may");
    assert!(load.connections.is_free(0));
    assert_eq!(load.groups[0].gone, [0]);
}

#[test]
fn an_open_loop_that_is_behind_reads_and_tells_its_intervals_and_can_be_ended() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the generator");
        let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
    });
    let (tells, told) = channel();
    let (over, is_over) = channel();
    let end: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(u64::MAX)));
    thread::spawn(move || {
        let pace = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 1e8 };
        let demand = demand(address, 1, pace);
        let mut load = Generator::connect(&demand, &mut [Recorder::new()]).expect("it");
        let every = Duration::from_millis(10);
        let mut recorders = [Recorder::telling(tells, every, load.now())];
        load.run(Until::Told(end), &mut recorders).expect("a run");
        let _ = over.send(());
    });
    while told.recv_timeout(DEADLINE).expect("an interval").replies == 0 {}
    end.store(0, Relaxed);
    is_over.recv_timeout(DEADLINE).expect("it ends");
}

#[test]
fn a_generator_that_waits_for_clients_to_come_again_sleeps() {
    let port = crate::server::Port::take([127, 0, 0, 1].into()).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut recorders = [Recorder::new()];
    let demand = demand(address, 1, ArrivalProcess::Churn);
    let mut load = Generator::connect(&demand, &mut recorders).expect("it");
    let (time, before) = (Duration::from_millis(300), thread_cpu_ns());
    load.run(Until::Past(time), &mut recorders).expect("a run");
    let worked = Duration::from_nanos(thread_cpu_ns() - before);
    assert!(worked < time / 2, "{worked:?}");
    assert!(load.connection_outcomes(0).get(Outcome::Refused) > 1);
}
