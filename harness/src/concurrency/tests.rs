//! Snapshots that no available program produces: kernels that report less, and runtimes that are
//! not installed.

use super::snapshot::{ProcessSeen, Snapshot, ThreadSeen};
use super::{Call, Fate, Mechanism, Seen, Watched};
use crate::contract::Expected;

/// A thread with an unknown target.
fn thread(tid: i32, call: Call) -> ThreadSeen {
    ThreadSeen { tid, name: "server".to_owned(), call, watched: None }
}

fn watching(tid: i32, call: Call, listener: bool, clients: &[usize]) -> ThreadSeen {
    let clients = clients.iter().copied().collect();
    let epoll = (call == Call::Epoll).then_some(4);
    let watched = Some(Watched { listener, clients, epoll, ..Watched::default() });
    ThreadSeen { watched, ..thread(tid, call) }
}

/// A snapshot of one process that has accepted all connections.
fn snapshot(clients: usize, threads: Vec<ThreadSeen>) -> Snapshot {
    let process = ProcessSeen { pid: 1, name: "server".to_owned(), threads };
    let clients = vec![Fate::Accepted; clients];
    Snapshot { clients, finished: false, steady: true, processes: vec![process] }
}

fn finished(threads: Vec<ThreadSeen>) -> Snapshot {
    let clients = vec![Fate::Ended];
    Snapshot { clients, finished: true, ..snapshot(0, threads) }
}

#[test]
fn threads_are_told_where_the_kernel_names_only_functions() {
    let threads = |clients: i32| {
        let served = (0..clients).map(|client| thread(2 + client, Call::Receive));
        std::iter::once(thread(1, Call::Accept)).chain(served).collect()
    };
    let seen = Seen::of(vec![
        snapshot(0, threads(0)),
        snapshot(1, threads(1)),
        snapshot(5, threads(5)),
        finished(threads(0)),
    ]);
    assert_eq!(seen.mechanism, Mechanism::Threads, "{}", seen.words);
}

#[test]
fn a_loop_is_told_where_the_kernel_names_only_functions() {
    let one = || vec![thread(1, Call::Select)];
    let seen = Seen::of(vec![snapshot(0, one()), snapshot(5, one()), finished(one())]);
    assert_eq!((seen.mechanism, seen.loops), (Mechanism::Select, 1), "{}", seen.words);
    assert_eq!(seen.meets(Expected::EventLoop), Ok(()));
}

#[test]
fn a_loop_whose_threads_take_turns_may_be_a_runtime() {
    let turn = |leader: i32, clients: &[usize]| {
        let thread = |tid| match tid == leader {
            true => watching(tid, Call::Epoll, true, clients),
            false => thread(tid, Call::Futex),
        };
        (2..5).map(thread).collect()
    };
    let seen = Seen::of(vec![snapshot(0, turn(2, &[])), snapshot(2, turn(3, &[0, 1]))]);
    assert_eq!(seen.mechanism, Mechanism::LoopAndWorkers, "{}", seen.words);
    assert!(seen.words.contains("in turns"), "{}", seen.words);
    assert_eq!(seen.meets(Expected::Async), Ok(()));
    assert!(seen.meets(Expected::SingleThread).is_err());
}

#[test]
fn threads_that_wait_for_a_client_each_are_no_loops_whatever_they_call() {
    let pool = |clients: usize| {
        let thread = |tid: usize| match tid <= clients {
            true => watching(1 + tid as i32, Call::Epoll, false, &[tid - 1]),
            false => thread(1 + tid as i32, Call::Futex),
        };
        (1..=8).map(thread).chain([watching(1, Call::Accept, true, &[])]).collect()
    };
    let seen = Seen::of(vec![snapshot(0, pool(0)), snapshot(5, pool(5)), finished(pool(0))]);
    assert_eq!(seen.mechanism, Mechanism::ThreadPool, "{}", seen.words);
    assert!(seen.meets(Expected::EventLoop).is_err());
}

#[test]
fn a_server_that_holds_no_silent_client_is_unknown() {
    let one = || vec![watching(1, Call::Accept, true, &[])];
    let waits = Snapshot { clients: vec![Fate::Waiting], ..snapshot(0, one()) };
    let seen = Seen::of(vec![snapshot(0, one()), waits]);
    assert_eq!((seen.mechanism, seen.second_is_accepted), (Mechanism::Unknown, None));
    assert!(seen.words.contains("says nothing, the next waits"), "{}", seen.words);
    for expected in ["iterative", "select", "event-loop"] {
        let words = seen.meets(expected.parse().expect(expected));
        assert!(words.is_err_and(|words| words.contains(expected)));
    }
}

#[test]
fn a_server_that_is_gone_is_unknown() {
    let gone = Snapshot { processes: Vec::new(), ..snapshot(0, Vec::new()) };
    let seen = Seen::of(vec![gone]);
    assert_eq!(seen.mechanism, Mechanism::Unknown);
    assert!(seen.words.contains("no process left"), "{}", seen.words);
}
