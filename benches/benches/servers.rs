//! Latency and throughput of every pattern, with each server in a separate process.
//!
//! By default, measures the `echo` servers, for 0.5 s per figure; this takes a minute or two. With
//! `BENCH_FULL=1`, also measures the `calc` servers, for 2 s per figure.
//! `cargo bench -- latency/select` selects some of the figures.
//!
//! The load generator sends the requests, and Criterion computes the statistics. A wrong reply ends
//! the benchmark. To compare two servers, use figures of the same run. Criterion's comparison with
//! an earlier run is affected by other load on the machine.

use std::time::{Duration, Instant};

use benches::bench_mode;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use harness::commands::role;
use harness::load::{
    ArrivalProcess, ConnectionGroup, Generator, LoadSpec, Recorder, Until, exchanges,
};
use harness::results::Outcome;
use harness::server::{LaunchSpec, Launcher, Server};
use servers::{Capacity, Limits, Service};

/// Connections of the throughput benchmark: enough to keep a server busy.
const CONNECTIONS: usize = 8;

fn main() {
    // A process that was started as a server serves here and does not return.
    role::take();
    let launcher = Launcher::this_program().expect("the path of this program");
    let is_full = bench_mode::is_full();
    let [warm_up, time] =
        if is_full { [300, 2_000] } else { [100, 500] }.map(Duration::from_millis);
    let mut criterion = Criterion::default()
        .sample_size(20)
        // The default of 100,000 resamples takes as long as the measurement.
        .nresamples(10_000)
        .warm_up_time(warm_up)
        .measurement_time(time)
        .configure_from_args();

    let is_measured = |server: &servers::Server| is_full || server.service == Service::Echo;
    let servers: Vec<servers::Server> =
        servers::servers().filter(is_measured).filter(can_be_run).collect();
    let mut group = criterion.benchmark_group("latency");
    for server in &servers {
        bench(&mut group, &launcher, server, 1);
    }
    group.finish();

    let mut group = criterion.benchmark_group("throughput");
    group.throughput(Throughput::Elements(1));
    for server in &servers {
        if server.pattern.capacity != Capacity::One {
            bench(&mut group, &launcher, server, CONNECTIONS);
        }
    }
    group.finish();

    criterion.final_summary();
}

/// Returns whether the server can run on this machine. Prints the reason if not.
fn can_be_run(server: &servers::Server) -> bool {
    let unavailable = server.pattern.unavailable();
    if let Some(reason) = &unavailable {
        eprintln!("{server}: not run: {reason}");
    }
    unavailable.is_none()
}

/// Measures the time per request, in a closed loop on this number of connections.
fn bench(
    group: &mut BenchmarkGroup<'_, WallTime>,
    launcher: &Launcher,
    server: &servers::Server,
    connections: usize,
) {
    // Launched on first use, because a list of the benchmarks needs no server.
    let mut loaded: Option<(Generator, Server)> = None;
    group.bench_function(server.name(), |bencher| {
        let (load, _running) = loaded.get_or_insert_with(|| launch(launcher, server, connections));
        bencher.iter_custom(|requests| {
            let mut recorders = [Recorder::new()];
            let began = Instant::now();
            load.run(Until::Sent(requests), &mut recorders).expect("the generator runs");
            let elapsed = began.elapsed();
            let outcomes = &recorders[0].current().outcomes;
            let answered = outcomes.get(Outcome::Answered);
            assert_eq!(answered, requests, "{server} under load: {outcomes:?}");
            elapsed
        });
    });
}

fn launch(
    launcher: &Launcher,
    server: &servers::Server,
    connections: usize,
) -> (Generator, Server) {
    let spec =
        LaunchSpec::builtin(launcher, server, &Limits::default()).expect("valid default limits");
    let running = launcher.launch(&spec).expect("a built-in server listens");
    let exchanges = exchanges(server.service);
    let group = ConnectionGroup {
        requests: exchanges,
        connections,
        arrival_process: ArrivalProcess::Closed { depth: 1 },
    };
    let load_spec = LoadSpec::new(running.address, group, 0);
    let load =
        Generator::connect(&load_spec, &mut [Recorder::new()]).expect("the generator connects");
    (load, running)
}
