//! Latency and throughput of every pattern, each server in a process of its own.
//!
//! The patterns are measured as `echo`, half a second for each figure, which takes a minute or two.
//! With `BENCH_FULL=1` they are also measured as `calc`, and for 2 seconds each.
//! `cargo bench -- latency/select` runs a part.
//!
//! Criterion computes the statistics, and the load generator sends the requests: a wrong reply ends
//! the benchmark. To compare two servers, use figures of the same run: Criterion's comparison with
//! an earlier run includes the load of the machine at that time.

use std::time::{Duration, Instant};

use benches::asked;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput};
use harness::commands::role;
use harness::load::{
    ArrivalProcess, Generator, Group, LoadSpec, Outcome, Recorder, Until, exchanges,
};
use harness::server::{LaunchSpec, Launcher, Server};
use servers::{Capacity, Limits, Service};

/// Connections of the throughput benchmark: enough to keep a server busy.
const CONNECTIONS: usize = 8;

fn main() {
    // The servers are this same program, started again.
    role::take();
    let launcher = Launcher::this_program().expect("the kernel knows which program this is");
    let is_full = asked::is_full();
    let [warm_up, time] =
        if is_full { [300, 2_000] } else { [100, 500] }.map(Duration::from_millis);
    let mut criterion = Criterion::default()
        .sample_size(20)
        // The default of 100,000 takes as long as the measurement.
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
    if let Some(words) = &unavailable {
        eprintln!("{server}: not run: {words}");
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
    // Launched on first use, so that listing the benchmarks launches nothing.
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
    let spec = LaunchSpec::builtin(launcher, server, &Limits::default()).expect("its own limits");
    let running = launcher.launch(&spec).expect("a built-in server listens");
    let exchanges = exchanges(server.service);
    let group = Group { exchanges, connections, pace: ArrivalProcess::Closed { depth: 1 } };
    let demand = LoadSpec::new(running.address, group, 0);
    let load = Generator::connect(&demand, &mut [Recorder::new()]).expect("the generator connects");
    (load, running)
}
