//! Descriptions of snapshots and of the concurrency model.

use super::call::Call;
use super::clients::Fate;
use super::decide::Decision;
use super::model::Mechanism;
use super::snapshot::{Snapshot, ThreadSeen};

/// Maximum number of kinds of waiting threads in a sentence.
const MOST_KINDS: usize = 6;

/// Describes a snapshot in one line.
pub(super) fn line(snapshot: &Snapshot) -> String {
    let moves = if snapshot.steady { "" } else { ", and it does not rest" };
    format!("{}: {}{moves}", clients(snapshot), inventory(snapshot))
}

/// Describes the conclusion and its evidence.
pub(super) fn conclusion(decision: &Decision, snapshots: &[Snapshot]) -> String {
    let told = snapshots.iter().filter(|snapshot| !snapshot.finished);
    let Some(most) = told.max_by_key(|snapshot| snapshot.accepted()) else {
        return "it was not seen".to_owned();
    };
    let clients = count(most.accepted(), "client", "clients");
    let rest = match decision.mechanism {
        Mechanism::Iterative => format!("one client at a time{}", others_fare(most)),
        Mechanism::Unknown if most.accepted() == 0 => {
            format!("it holds no client that says nothing{}", others_fare(most))
        }
        _ => design(decision),
    };
    format!("with {clients} it has {}: {rest}", inventory(most))
}

/// Describes the concurrency model.
fn design(decision: &Decision) -> String {
    let loops = count(decision.loops, "event loop", "event loops");
    let where_from = if decision.processes > 1 {
        format!(" in {} processes", decision.processes)
    } else {
        String::new()
    };
    match decision.mechanism {
        Mechanism::Iterative => "one client at a time".to_owned(),
        Mechanism::Fork => "a process for each connection, started when it comes".to_owned(),
        Mechanism::Prefork if decision.on_demand => {
            "a pool of processes, started when clients come and kept for later ones".to_owned()
        }
        Mechanism::Prefork => "a pool of processes that were there before their clients".to_owned(),
        Mechanism::Threads => "a thread for each connection, started when it comes".to_owned(),
        Mechanism::ThreadPool if decision.on_demand => {
            "a pool of threads, started when clients come and kept for later ones".to_owned()
        }
        Mechanism::ThreadPool => {
            "a pool of threads that were there before their clients".to_owned()
        }
        Mechanism::Select => format!("{loops} over select{where_from}"),
        Mechanism::Poll => format!("{loops} over poll{where_from}"),
        Mechanism::Epoll => format!("{loops} over epoll{where_from}"),
        Mechanism::IoUring => format!("{loops} over io_uring, the kernel reads{where_from}"),
        Mechanism::AsyncRuntime => {
            format!("{loops} and the other threads of an asynchronous runtime{where_from}")
        }
        Mechanism::LoopAndWorkers if decision.threads > 1 => {
            format!("one event loop for which {} threads wait", decision.threads)
        }
        Mechanism::LoopAndWorkers if decision.in_turns => {
            "one event loop, in which threads wait in turns: leader and followers, or a runtime"
                .to_owned()
        }
        Mechanism::LoopAndWorkers => format!("{loops}, and threads that are given work"),
        Mechanism::BusyLoop => {
            "it looks again and again whether something has come, rather than wait for it"
                .to_owned()
        }
        Mechanism::Unknown => "no thread is seen to wait for them".to_owned(),
    }
}

/// Describes the state of the connections that are not accepted.
fn others_fare(snapshot: &Snapshot) -> &'static str {
    let fate = snapshot.clients.iter().find(|&&fate| fate != Fate::Accepted);
    match fate {
        Some(Fate::Waiting) => ", the next waits in the accept queue",
        Some(Fate::Refused) => ", the next is refused",
        Some(Fate::Ended) => ", the next is turned away",
        _ => "",
    }
}

/// `5 clients`, `2 clients (1 waits)`.
fn clients(snapshot: &Snapshot) -> String {
    let of = |fate| snapshot.clients.iter().filter(|&&one| one == fate).count();
    let all = count(snapshot.clients.len(), "client", "clients");
    if snapshot.finished {
        return format!("after {all} have finished, of which it holds {}", of(Fate::Accepted));
    }
    let others = [
        (of(Fate::Waiting), "in the accept queue"),
        (of(Fate::Refused), "refused"),
        (of(Fate::Ended), "turned away"),
    ];
    let others: Vec<String> = others
        .iter()
        .filter(|(number, _)| *number > 0)
        .map(|(number, words)| format!("{number} {words}"))
        .collect();
    if others.is_empty() { all } else { format!("{all} ({})", others.join(", ")) }
}

/// `6 threads (1 in accept, 5 in recv from a client)`.
fn inventory(snapshot: &Snapshot) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for (_, thread) in snapshot.threads() {
        let words = waiting(thread);
        match kinds.iter_mut().find(|(kind, _)| *kind == words) {
            Some((_, number)) => *number += 1,
            None => kinds.push((words, 1)),
        }
    }
    let all: usize = kinds.iter().map(|(_, number)| number).sum();
    let threads = count(all, "thread", "threads");
    let who = match snapshot.processes.len() {
        0 => return "no process left".to_owned(),
        1 => threads,
        number if number == all => format!("{number} processes"),
        number => format!("{number} processes with {threads}"),
    };
    let more = kinds.len().saturating_sub(MOST_KINDS);
    let mut parts: Vec<String> = kinds
        .into_iter()
        .take(MOST_KINDS)
        .map(
            |(kind, number)| {
                if all == 1 { format!("in {kind}") } else { format!("{number} in {kind}") }
            },
        )
        .collect();
    if more > 0 {
        parts.push(format!("{more} kinds more"));
    }
    format!("{who} ({})", parts.join(", "))
}

/// Describes the call that a thread waits in, and its target.
fn waiting(thread: &ThreadSeen) -> String {
    let name = thread.call.name();
    let Some(watched) = &thread.watched else { return name.to_owned() };
    let clients = match watched.clients.len() {
        0 => None,
        1 => Some("a client".to_owned()),
        number => Some(format!("{number} clients")),
    };
    let from = if thread.call == Call::Receive { "from" } else { "for" };
    match (thread.call.is_multiplexing(), watched.listener, clients) {
        (true, true, None) => format!("{name} for the listener"),
        (true, true, Some(clients)) => format!("{name} for the listener and {clients}"),
        (_, false, Some(clients)) => format!("{name} {from} {clients}"),
        (true, false, None) if watched.ring => format!("{name} for a ring of io_uring"),
        (true, false, None) => format!("{name} for neither listener nor client"),
        (false, false, None) if matches!(thread.call, Call::Receive | Call::Send) => {
            format!("{name} {from} something else")
        }
        _ => name.to_owned(),
    }
}

fn count(number: usize, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}
