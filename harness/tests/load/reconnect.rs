//! `harness load --reconnect` and `--timeout`.

use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;

use super::*;

/// Echo server that can be stopped and started again on the same port.
struct Restarting {
    address: SocketAddr,
    clients: Arc<Mutex<Vec<TcpStream>>>,
    stopped: Arc<AtomicBool>,
}

impl Restarting {
    fn listen(address: SocketAddr) -> Restarting {
        // The standard library sets SO_REUSEADDR.
        let listener = TcpListener::bind(address).expect("the port");
        let address = listener.local_addr().expect("an address");
        let (clients, stopped) = (Arc::default(), Arc::default());
        let server = Restarting { address, clients, stopped };
        let (clients, stopped) = (Arc::clone(&server.clients), Arc::clone(&server.stopped));
        thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                if stopped.load(Relaxed) {
                    return;
                }
                clients.lock().expect("no panic").push(client.try_clone().expect("a clone"));
                thread::spawn(move || {
                    let requests = BufReader::new(client.try_clone().expect("a clone")).lines();
                    for line in requests.map_while(Result::ok) {
                        let _ = client.write_all((line + "\n").as_bytes());
                    }
                });
            }
        });
        server
    }

    /// Closes the listener and all connections.
    fn stop(self) -> SocketAddr {
        self.stopped.store(true, Relaxed);
        // Wakes the accept loop, which then drops the listener.
        let _ = TcpStream::connect(self.address);
        wait_until("the listener is closed", || TcpStream::connect(self.address).is_err());
        for client in self.clients.lock().expect("no panic").iter() {
            let _ = client.shutdown(Shutdown::Both);
        }
        self.address
    }
}

/// Loads a server that is away for `outage` during the run.
fn restarted(flags: &[&str], outage: Duration) -> Value {
    let server = Restarting::listen("127.0.0.1:0".parse().expect("an address"));
    let address = server.address;
    let restart = thread::spawn(move || {
        let clients = Arc::clone(&server.clients);
        wait_until("the clients are connected", || clients.lock().expect("no panic").len() == 4);
        thread::sleep(Duration::from_millis(300));
        let address = server.stop();
        thread::sleep(outage);
        Restarting::listen(address)
    });
    let flags = [&["--connections", "4", "--duration", "3s", "--reconnect"], flags].concat();
    let one = loaded(address, &flags);
    drop(restart.join().expect("the server starts again"));
    one
}

pub(super) fn a_restart_of_the_server_is_an_outage_in_an_open_loop() {
    let outage = Duration::from_millis(500);
    let one = restarted(&["--rate", "1000"], outage);
    let reconnects = &one["reconnects"];
    assert_eq!((&reconnects["reconnected"], &reconnects["down_at_end"]), (&4.into(), &0.into()));
    assert!(number(&reconnects["failed_attempts"]) > 0, "{one}");
    let least = outage.as_nanos() as u64 * 9 / 10;
    assert!(number(&reconnects["outage_ns"]["max"]) >= least, "{one}");
    // The requests that were scheduled in the outage are sent after it, and their latency includes
    // it.
    assert!(number(&one["latency_intended_ns"]["max"]) >= least, "{one}");
    assert!(number(&one["latency_intended_ns"]["p90"]) > number(&one["latency_sent_ns"]["p90"]));
    assert_eq!(occurred(&one["connections"]), [("answered", 4)]);
}

pub(super) fn a_restart_of_the_server_is_an_outage_in_a_closed_loop() {
    let outage = Duration::from_millis(300);
    let one = restarted(&["--timeout", "2s"], outage);
    let reconnects = &one["reconnects"];
    assert_eq!((&reconnects["reconnected"], &reconnects["down_at_end"]), (&4.into(), &0.into()));
    let least = outage.as_nanos() as u64 * 9 / 10;
    assert!(number(&reconnects["outage_ns"]["max"]) >= least, "{one}");
    assert_eq!(occurred(&one["connections"]), [("answered", 4)]);
}

pub(super) fn a_server_that_stays_away_is_down_at_the_end() {
    let server = Restarting::listen("127.0.0.1:0".parse().expect("an address"));
    let (address, clients) = (server.address, Arc::clone(&server.clients));
    let stop = thread::spawn(move || {
        wait_until("the clients are connected", || clients.lock().expect("no panic").len() == 4);
        thread::sleep(Duration::from_millis(300));
        server.stop();
    });
    let one = loaded(address, &["--connections", "4", "--duration", "2s", "--reconnect"]);
    stop.join().expect("the server stops");
    let reconnects = &one["reconnects"];
    assert_eq!((&reconnects["reconnected"], &reconnects["down_at_end"]), (&0.into(), &4.into()));
    assert!(number(&reconnects["outage_ns"]["max"]) > 0, "{one}");
    assert_eq!(one["duration_ms"].as_u64().map(|ms| ms >= 2000), Some(true), "{one}");
    assert!(caveats(&one).contains(&"faults"), "{one}");
}

pub(super) fn a_declared_limit_of_requests_loses_none_and_an_undeclared_one_loses_some() {
    let address = closes_after(100);
    for loop_flags in [&[][..], &["--rate", "2000"]] {
        let wire = ["--wire", "requests-per-connection = 100", "--duration", "1s"];
        let flags = [&["--connections", "4", "--reconnect"], &wire[..], loop_flags].concat();
        let one = loaded(address, &flags);
        assert!(all_answered(&one) > 400, "{one}");
        assert!(number(&one["reconnects"]["reconnected"]) > 0, "{one}");
        assert!(!caveats(&one).contains(&"faults"), "{one}");
    }
    // With two requests in flight, the second is there when the server closes.
    let flags = ["--connections", "4", "--depth", "2", "--reconnect", "--duration", "1s"];
    let one = loaded(address, &flags);
    assert!(number(&one["outcomes"]["answered"]) > 400, "{one}");
    assert!(occurred(&one["outcomes"]).len() > 1 && caveats(&one).contains(&"faults"), "{one}");
    let wire = ["--wire", "requests-per-connection = 100"];
    load(address, &wire).assert().code(2).stderr(contains("add --reconnect"));
}

pub(super) fn a_reply_after_the_default_timeout_has_a_latency_with_a_longer_one() {
    let server = known("delay:1500ms");
    let flags = ["--connections", "2", "--warm-up", "0s", "--duration", "1s", "--timeout"];
    let late = loaded(server.address, &[&flags[..], &["500ms"]].concat());
    assert_eq!(occurred(&late["outcomes"]), [("timed_out", 2)]);
    let patient = loaded(server.address, &[&flags[..], &["1h"]].concat());
    assert_eq!(all_answered(&patient), 2);
    assert!(number(&patient["latency_sent_ns"]["max"]) >= 1_400_000_000, "{patient}");
    for timeout in ["2h", "1us"] {
        load(server.address, &["--timeout", timeout])
            .assert()
            .code(2)
            .stderr(contains("1ms to 1h"));
    }
}

/// A run that ends before its first interval once reported the CPU time since the thread's start.
pub(super) fn a_run_of_1_ms_reports_no_impossible_cpu_share() {
    let server = known("echo");
    for _ in 0..5 {
        let command = &mut load(server.address, &["--duration", "1ms", "--json"]);
        let output = command.output().expect("it ends");
        let one: Value = serde_json::from_slice(&output.stdout).expect("one document");
        let share = one["generator_cpu_share"].as_f64().expect("a share");
        assert!((0.0..=1.5).contains(&share), "{share}");
    }
}
