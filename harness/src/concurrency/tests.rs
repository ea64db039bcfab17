//! Tests with hand-made snapshots, for kernels that report less and for runtimes that are not
//! installed here.

use super::snapshot::{ProcessSnapshot, Snapshot, ThreadSnapshot};
use super::{Call, ConnectionState, Detected, Watched};
use crate::contract::RequiredModel;
use crate::results::ConcurrencyModel;

/// Returns a thread that waits for unknown descriptors.
fn thread(tid: i32, call: Call) -> ThreadSnapshot {
    ThreadSnapshot { tid, name: "server".to_owned(), call, watched: None }
}

/// Returns a thread that waits for the listener, for connections, or for both.
fn watching(tid: i32, call: Call, listener: bool, clients: &[usize]) -> ThreadSnapshot {
    let clients = clients.iter().copied().collect();
    let epoll = (call == Call::Epoll).then_some(4);
    let watched = Some(Watched { listener, clients, epoll, ..Watched::default() });
    ThreadSnapshot { watched, ..thread(tid, call) }
}

/// Returns a snapshot of one process that has accepted all connections.
fn snapshot(clients: usize, threads: Vec<ThreadSnapshot>) -> Snapshot {
    let process = ProcessSnapshot { pid: 1, name: "server".to_owned(), threads };
    let clients = vec![ConnectionState::Accepted; clients];
    Snapshot { clients, finished: false, steady: true, processes: vec![process] }
}

/// Returns a snapshot after the only connection was closed.
fn finished(threads: Vec<ThreadSnapshot>) -> Snapshot {
    let clients = vec![ConnectionState::Closed];
    Snapshot { clients, finished: true, ..snapshot(0, threads) }
}

#[test]
fn threads_are_detected_from_kernel_function_names_alone() {
    let threads = |clients: i32| {
        let receiving = (0..clients).map(|client| thread(2 + client, Call::Receive));
        std::iter::once(thread(1, Call::Accept)).chain(receiving).collect()
    };
    let detected = Detected::of(vec![
        snapshot(0, threads(0)),
        snapshot(1, threads(1)),
        snapshot(5, threads(5)),
        finished(threads(0)),
    ]);
    assert_eq!(detected.model, ConcurrencyModel::Threads, "{}", detected.description);
}

#[test]
fn an_event_loop_is_detected_from_kernel_function_names_alone() {
    let threads = || vec![thread(1, Call::Select)];
    let detected =
        Detected::of(vec![snapshot(0, threads()), snapshot(5, threads()), finished(threads())]);
    assert_eq!(
        (detected.model, detected.loops),
        (ConcurrencyModel::Select, 1),
        "{}",
        detected.description
    );
    assert!(detected.meets(RequiredModel::EventLoop));
}

#[test]
fn an_event_loop_with_alternating_threads_may_be_an_async_runtime() {
    let threads = |leader: i32, clients: &[usize]| {
        let thread = |tid| match tid == leader {
            true => watching(tid, Call::Epoll, true, clients),
            false => thread(tid, Call::Futex),
        };
        (2..5).map(thread).collect()
    };
    let detected =
        Detected::of(vec![snapshot(0, threads(2, &[])), snapshot(2, threads(3, &[0, 1]))]);
    assert_eq!(detected.model, ConcurrencyModel::LoopAndWorkers, "{}", detected.description);
    assert!(detected.description.contains("in turn"), "{}", detected.description);
    assert!(detected.meets(RequiredModel::AsyncRuntime));
    assert!(!detected.meets(RequiredModel::SingleThread));
}

#[test]
fn the_threads_of_a_virtual_machine_are_no_workers() {
    let named = |tid, name: &str| {
        let name = name.to_owned();
        ThreadSnapshot { name, ..thread(tid, Call::Futex) }
    };
    let detected = |other: &str| {
        let threads = |clients: &[usize]| {
            vec![
                named(1, "java"),
                watching(2, Call::Epoll, true, clients),
                named(3, "GC Thread#0"),
                named(4, other),
            ]
        };
        Detected::of(vec![snapshot(0, threads(&[])), snapshot(2, threads(&[0, 1]))]).model
    };
    assert_eq!(detected("Finalizer"), ConcurrencyModel::Epoll);
    assert_eq!(detected("pool-1-thread-1"), ConcurrencyModel::LoopAndWorkers);
}

#[test]
fn threads_with_one_client_each_are_not_event_loops_even_with_epoll() {
    let pool = |clients: usize| {
        let thread = |tid: usize| match tid <= clients {
            true => watching(1 + tid as i32, Call::Epoll, false, &[tid - 1]),
            false => thread(1 + tid as i32, Call::Futex),
        };
        (1..=8).map(thread).chain([watching(1, Call::Accept, true, &[])]).collect()
    };
    let detected =
        Detected::of(vec![snapshot(0, pool(0)), snapshot(5, pool(5)), finished(pool(0))]);
    assert_eq!(detected.model, ConcurrencyModel::ThreadPool, "{}", detected.description);
    assert!(!detected.meets(RequiredModel::EventLoop));
}

#[test]
fn the_model_is_unknown_if_no_idle_connection_stays_open() {
    let threads = || vec![watching(1, Call::Accept, true, &[])];
    let queued = Snapshot { clients: vec![ConnectionState::Queued], ..snapshot(0, threads()) };
    let detected = Detected::of(vec![snapshot(0, threads()), queued]);
    assert_eq!((detected.model, detected.second_is_accepted), (ConcurrencyModel::Unknown, None));
    assert!(
        detected.description.contains("no accepted connection stayed open; one waits"),
        "{}",
        detected.description
    );
    for required in ["iterative", "select", "event-loop"] {
        assert!(!detected.meets(required.parse().expect(required)), "{required}");
    }
}

#[test]
fn the_model_of_an_exited_server_is_unknown() {
    let exited = Snapshot { processes: Vec::new(), ..snapshot(0, Vec::new()) };
    let detected = Detected::of(vec![exited]);
    assert_eq!(detected.model, ConcurrencyModel::Unknown);
    assert!(detected.description.contains("no process left"), "{}", detected.description);
}
