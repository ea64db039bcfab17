//! Descriptions of snapshots and of the concurrency model.

use super::call::Call;
use super::clients::ConnectionState;
use super::decide::Decision;
use super::snapshot::{Snapshot, ThreadSnapshot};
use crate::figures::counted;
use crate::results::ConcurrencyModel;

/// Maximum number of calls that a sentence lists.
const MAX_CALLS: usize = 6;

/// Describes a snapshot in one line.
pub(super) fn line(snapshot: &Snapshot) -> String {
    let running = if snapshot.steady { "" } else { "; some threads are running" };
    format!("{}: {}{running}", clients(snapshot), inventory(snapshot))
}

/// Describes the conclusion and its evidence.
pub(super) fn conclusion(decision: &Decision, snapshots: &[Snapshot]) -> String {
    let reported = snapshots.iter().filter(|snapshot| !snapshot.finished);
    let Some(fullest) = reported.max_by_key(|snapshot| snapshot.accepted()) else {
        return "the server was not observed".to_owned();
    };
    let clients = counted(fullest.accepted(), "client");
    let rest = match decision.model {
        ConcurrencyModel::Iterative => {
            format!("one client at a time{}", rejected_connection(fullest))
        }
        ConcurrencyModel::Unknown if fullest.accepted() == 0 => {
            format!("no accepted connection stayed open{}", rejected_connection(fullest))
        }
        _ => design(decision),
    };
    format!("with {clients}, the server has {}: {rest}", inventory(fullest))
}

/// Describes the concurrency model.
fn design(decision: &Decision) -> String {
    let loops = counted(decision.loops, "event loop");
    let in_processes = if decision.processes > 1 {
        format!(" in {} processes", decision.processes)
    } else {
        String::new()
    };
    match decision.model {
        ConcurrencyModel::Iterative => "one client at a time".to_owned(),
        ConcurrencyModel::Fork => "one process per connection, started for it".to_owned(),
        ConcurrencyModel::Prefork if decision.on_demand => {
            "a pool of processes, started on demand and reused".to_owned()
        }
        ConcurrencyModel::Prefork => "a pool of processes, started in advance".to_owned(),
        ConcurrencyModel::Threads => "one thread per connection, started on accept".to_owned(),
        ConcurrencyModel::ThreadPool if decision.on_demand => {
            "a pool of threads, started on demand and reused".to_owned()
        }
        ConcurrencyModel::ThreadPool => "a pool of threads, started in advance".to_owned(),
        ConcurrencyModel::Select => format!("{loops} over select{in_processes}"),
        ConcurrencyModel::Poll => format!("{loops} over poll{in_processes}"),
        ConcurrencyModel::Epoll => format!("{loops} over epoll{in_processes}"),
        ConcurrencyModel::IoUring => format!("{loops} over io_uring{in_processes}"),
        ConcurrencyModel::AsyncRuntime => {
            format!("{loops} and other threads of an asynchronous runtime{in_processes}")
        }
        ConcurrencyModel::LoopAndWorkers if decision.threads > 1 => {
            format!("one event loop that {} threads wait on", decision.threads)
        }
        ConcurrencyModel::LoopAndWorkers if decision.in_turns => {
            "one event loop that threads wait on in turn (leader/followers, or a runtime)"
                .to_owned()
        }
        ConcurrencyModel::LoopAndWorkers => format!("{loops} and worker threads"),
        ConcurrencyModel::BusyLoop => "a busy loop that polls instead of waiting".to_owned(),
        ConcurrencyModel::Unknown => "no thread waits for the connections".to_owned(),
    }
}

/// Describes the first connection that is not accepted or not open.
fn rejected_connection(snapshot: &Snapshot) -> &'static str {
    let state = snapshot.clients.iter().find(|&&state| state != ConnectionState::Accepted);
    match state {
        Some(ConnectionState::Queued) => "; one waits in the accept queue",
        Some(ConnectionState::NotEstablished) => "; one was refused",
        Some(ConnectionState::Closed) => "; the server closed one",
        _ => "",
    }
}

/// Describes the clients, such as `5 clients` or `2 clients (1 in the accept queue)`.
fn clients(snapshot: &Snapshot) -> String {
    let count_of = |state| snapshot.clients.iter().filter(|&&other| other == state).count();
    let all = counted(snapshot.clients.len(), "client");
    if snapshot.finished {
        return format!(
            "after {all} sent FIN, the server has {} open",
            counted(count_of(ConnectionState::Accepted), "connection")
        );
    }
    let not_accepted = [
        (count_of(ConnectionState::Queued), "in the accept queue"),
        (count_of(ConnectionState::NotEstablished), "refused"),
        (count_of(ConnectionState::Closed), "closed"),
    ];
    let not_accepted: Vec<String> = not_accepted
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{number} {words}"))
        .collect();
    if not_accepted.is_empty() { all } else { format!("{all} ({})", not_accepted.join(", ")) }
}

/// Describes the threads, such as `6 threads (1 in accept, 5 in recv from a client)`.
fn inventory(snapshot: &Snapshot) -> String {
    let mut calls: Vec<(String, usize)> = Vec::new();
    for (_, thread) in snapshot.threads() {
        let words = waiting(thread);
        match calls.iter_mut().find(|(call, _)| *call == words) {
            Some((_, number)) => *number += 1,
            None => calls.push((words, 1)),
        }
    }
    let all: usize = calls.iter().map(|(_, number)| number).sum();
    let threads = counted(all, "thread");
    let holders = match snapshot.processes.len() {
        0 => return "no process left".to_owned(),
        1 => threads,
        number if number == all => format!("{number} processes"),
        number => format!("{number} processes with {threads}"),
    };
    let more = calls.len().saturating_sub(MAX_CALLS);
    let mut parts: Vec<String> = calls
        .into_iter()
        .take(MAX_CALLS)
        .map(
            |(call, number)| {
                if all == 1 { format!("in {call}") } else { format!("{number} in {call}") }
            },
        )
        .collect();
    if more > 0 {
        parts.push(format!("{more} other calls"));
    }
    format!("{holders} ({})", parts.join(", "))
}

/// Describes the call that a thread waits in, and the descriptors that the call waits for.
fn waiting(thread: &ThreadSnapshot) -> String {
    let name = thread.call.name();
    let Some(watched) = &thread.watched else { return name.to_owned() };
    let clients = match watched.clients.len() {
        0 => None,
        1 => Some("a client".to_owned()),
        number => Some(format!("{number} clients")),
    };
    let preposition = match thread.call {
        Call::Receive => "from",
        Call::Send => "to",
        _ => "for",
    };
    match (thread.call.is_multiplexing(), watched.listener, clients) {
        (true, true, None) => format!("{name} for the listener"),
        (true, true, Some(clients)) => format!("{name} for the listener and {clients}"),
        (_, false, Some(clients)) => format!("{name} {preposition} {clients}"),
        (true, false, None) if watched.ring => format!("{name} for an io_uring"),
        (true, false, None) => format!("{name} for other descriptors"),
        (false, false, None) if matches!(thread.call, Call::Receive | Call::Send) => {
            format!("{name} {preposition} another descriptor")
        }
        _ => name.to_owned(),
    }
}
