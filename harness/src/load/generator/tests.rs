//! Tests of a generator, on small servers.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use servers::Service;

use super::super::clock::thread_cpu_ns;
use super::*;
use crate::load::{Arrivals, ConnectionGroup, LoadSpec, exchanges};
use crate::server::proc;

fn load_spec(address: SocketAddr, connections: usize, arrival_process: ArrivalProcess) -> LoadSpec {
    let exchanges = exchanges(Service::Echo);
    LoadSpec::new(address, ConnectionGroup { requests: exchanges, connections, arrival_process }, 1)
}

/// Sends this number of requests on one connection. `answer` gets the number and the text of each
/// line. The server sends its result byte by byte, or closes on `None`.
fn run_on_server(
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
    let load_spec = load_spec(address, 1, ArrivalProcess::Closed { depth });
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    load.run(Until::Sent(requests), &mut recorders).expect("a run");
    let connections = load.connection_outcomes(0);
    drop(load);
    server.join().expect("no panic in the thread");
    let [recorder] = recorders;
    (recorder, connections)
}

fn counts(recorder: &Recorder, outcome: Outcome) -> (u64, u64) {
    (recorder.current().outcomes.get(outcome), recorder.current().sent.len())
}

#[test]
fn every_correct_reply_is_a_latency_at_any_depth() {
    for depth in [1, 2, 7] {
        let (recorder, connections) = run_on_server(|_, line| Some(line), 21, depth);
        assert_eq!(counts(&recorder, Outcome::Answered), (21, 21));
        assert_eq!(connections.get(Outcome::Answered), 1);
    }
}

#[test]
fn a_wrong_reply_is_an_outcome_but_not_a_latency() {
    let one_wrong = |number, line| Some(if number == 5 { b"wrong\n".to_vec() } else { line });
    for depth in [1, 4] {
        let (recorder, connections) = run_on_server(one_wrong, 20, depth);
        assert_eq!(counts(&recorder, Outcome::Answered), (19, 19));
        assert_eq!(counts(&recorder, Outcome::WrongReply), (1, 19));
        assert_eq!(connections.get(Outcome::Answered), 1);
    }
}

#[test]
fn a_connection_is_abandoned_when_its_replies_are_out_of_sync() {
    // One reply is sent twice, so each later reply belongs to the previous request.
    let twice = |number, line: Vec<u8>| Some(if number == 5 { line.repeat(2) } else { line });
    let (recorder, connections) = run_on_server(twice, 20, 4);
    assert_eq!(counts(&recorder, Outcome::Answered), (6, 6));
    assert_eq!(connections.get(Outcome::WrongReply), 1);
}

#[test]
fn a_lost_reply_and_a_busy_line_are_outcomes_but_not_latencies() {
    let (recorder, _) = run_on_server(|number, line| (number < 3).then_some(line), 20, 1);
    let (answered, latencies) = counts(&recorder, Outcome::Answered);
    let lost = counts(&recorder, Outcome::Closed).0 + counts(&recorder, Outcome::Reset).0;
    assert_eq!((answered, lost, latencies), (3, 1, 3));

    let (recorder, connections) =
        run_on_server(|number, _| (number == 0).then(|| b"error: busy, later\n".to_vec()), 1, 1);
    assert_eq!(counts(&recorder, Outcome::Busy), (1, 0));
    assert_eq!(connections.sum(), 1);
}

#[test]
fn an_open_loop_sends_exactly_the_requests_due_before_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the generator");
        let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
    });
    let arrival_process = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 5_000.0 };
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&load_spec(address, 1, arrival_process), &mut recorders)
        .expect("the generator connects");
    load.run(Until::Elapsed(Duration::from_millis(100)), &mut recorders).expect("a run");
    drop(load);
    server.join().expect("no panic in the thread");
    // The first request is due after one interarrival time, and the 500th at the end.
    assert_eq!(recorders[0].current().requests, 499);
    assert_eq!(counts(&recorders[0], Outcome::Answered), (499, 499));
}

#[test]
fn a_refused_connection_is_an_outcome() {
    let port = crate::server::PortLease::take([127, 0, 0, 1].into()).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut recorders = [Recorder::new()];
    let load_spec = load_spec(address, 3, ArrivalProcess::Closed { depth: 1 });
    let mut load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    load.run(Until::Sent(10), &mut recorders).expect("a run");
    assert_eq!(load.connection_outcomes(0).get(Outcome::Refused), 3);
    assert_eq!(recorders[0].current().outcomes, Outcomes::default());
}

#[test]
fn a_server_with_a_short_backlog_gets_one_connection_at_a_time() {
    const CONNECTIONS: usize = 40;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    // The accept queue has room for two connections.
    socket2::SockRef::from(&listener).listen(1).expect("a listening socket");
    let address = listener.local_addr().expect("an address");
    let server = thread::spawn(move || {
        let accept = |_| {
            // Without this delay, the server might accept faster than the clients connect. A panic
            // closes the listening socket, so that the generator does not wait.
            let began = std::time::Instant::now();
            while began.elapsed() < Duration::from_millis(5) {
                let waiting = proc::accept_queue(address).expect("the queue of a listener");
                assert!(waiting <= 1, "two connections at once");
            }
            listener.accept().expect("the generator").0
        };
        (0..CONNECTIONS).map(accept).collect::<Vec<_>>()
    });
    let mut recorders = [Recorder::new()];
    let mut load_spec = load_spec(address, CONNECTIONS, ArrivalProcess::Closed { depth: 1 });
    load_spec.reply_timeout = 5 * DEADLINE;
    let load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    assert_eq!(server.join().expect("no panic in the thread").len(), CONNECTIONS);
    assert_eq!(load.connection_outcomes(0), Outcomes::default(), "all are open and unused");
}

#[test]
fn a_server_that_accepts_no_more_connections_does_not_delay_each_of_them() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let mut recorders = [Recorder::new()];
    let load_spec = load_spec(address, 40, ArrivalProcess::Closed { depth: 1 });
    let began = std::time::Instant::now();
    let load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    assert_eq!(load.connection_outcomes(0), Outcomes::default(), "all are open and unused");
    // One wait of 1 s, not 39.
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
}

/// Timeout for expected events.
const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_churning_client_reconnects_if_its_request_cannot_be_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let load_spec = load_spec(listener.local_addr().expect("an address"), 1, ArrivalProcess::Churn);
    let mut recorders = [Recorder::new()];
    let mut load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    load.connect_again(0, &mut recorders).expect("a connect");
    let event = loop {
        if let Some(event) = load.next_event(MAX_WAIT_MS).expect("a wait") {
            break event;
        }
    };
    load.connections
        .stream(0)
        .expect("an open connection")
        .shutdown(Shutdown::Write)
        .expect("an open connection");
    let mut quota = Quota::new(Until::Elapsed(DEADLINE), load.now());
    load.handle(event, Some(&mut quota), &mut recorders).expect("a handled event");
    assert!(load.connections.is_free(0));
    assert_eq!(load.groups[0].to_reconnect, [0]);
}

#[test]
fn an_open_loop_behind_schedule_still_receives_replies_reports_intervals_and_stops() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the generator");
        let _ = std::io::copy(&mut stream.try_clone().expect("a clone"), &mut stream);
    });
    let (interval_tx, interval_rx) = channel();
    let (end_tx, end_rx) = channel();
    let end: &AtomicU64 = Box::leak(Box::new(AtomicU64::new(u64::MAX)));
    thread::spawn(move || {
        let arrival_process = ArrivalProcess::Open { arrivals: Arrivals::Constant, per_s: 1e8 };
        let load_spec = load_spec(address, 1, arrival_process);
        let mut load =
            Generator::connect(&load_spec, &mut [Recorder::new()]).expect("the generator connects");
        let every = Duration::from_millis(10);
        let mut recorders = [Recorder::reporting_to(interval_tx, every, load.now())];
        load.run(Until::ClockReaches(end), &mut recorders).expect("a run");
        let _ = end_tx.send(());
    });
    while interval_rx.recv_timeout(DEADLINE).expect("an interval").replies == 0 {}
    end.store(0, Relaxed);
    end_rx.recv_timeout(DEADLINE).expect("the end of the run");
}

#[test]
fn a_generator_sleeps_while_it_waits_to_reconnect_clients() {
    let port = crate::server::PortLease::take([127, 0, 0, 1].into()).expect("a port");
    let address = SocketAddr::from(([127, 0, 0, 1], port.number()));
    let mut recorders = [Recorder::new()];
    let load_spec = load_spec(address, 1, ArrivalProcess::Churn);
    let mut load = Generator::connect(&load_spec, &mut recorders).expect("the generator connects");
    let (time, before) = (Duration::from_millis(300), thread_cpu_ns());
    load.run(Until::Elapsed(time), &mut recorders).expect("a run");
    let worked = Duration::from_nanos(thread_cpu_ns() - before);
    assert!(worked < time / 2, "{worked:?}");
    assert!(load.connection_outcomes(0).get(Outcome::Refused) > 1);
}
