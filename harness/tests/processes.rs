//! Servers of several processes, one of which is killed, or told to stop by itself.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::common::trials;
use crate::common::{DEADLINE, runs, wait_until};
use harness::exit::Exit;
use harness::server::{LaunchSpec, Launcher, Server, proc};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use servers::{Limits, Workers};
use socket2::{Domain, Socket, Type};

trials![
    a_child_that_is_killed_takes_its_own_client_with_it_and_no_other,
    children_that_are_killed_are_replaced,
    a_child_told_to_stop_answers_its_client_and_is_replaced,
    an_idle_child_told_to_stop_leaves_its_siblings_what_they_share,
    a_signal_to_the_whole_group_is_one_request_to_stop,
    a_child_killed_over_its_drain_makes_the_server_fail,
    a_second_signal_ends_the_children_too,
    a_server_that_is_killed_takes_its_children_with_it,
    a_child_has_no_descriptor_of_its_parent_or_siblings,
    a_place_is_free_by_the_time_that_its_client_sees_the_end,
    a_child_that_has_no_descriptor_for_its_client_is_free_for_the_next,
];

const POOLS: [&str; 4] =
    ["prefork-accept-echo", "prefork-lock-echo", "prefork-mutex-echo", "prefork-fdpass-echo"];
const ALL: [&str; 5] = [POOLS[0], POOLS[1], POOLS[2], POOLS[3], "fork-per-connection-echo"];

/// Children of a pool.
const WORKERS: usize = 3;

const REQUEST: &[u8] = b"a request\n";

/// One that serves so many clients at once.
fn launch(name: &str, clients: usize) -> Server {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let server = servers::find(name).expect("a server");
    let is_pool = matches!(server.pattern.workers, Workers::Pool(..));
    let limits = Limits {
        workers: is_pool.then_some(clients),
        max_connections: (!is_pool).then_some(clients),
        ..Limits::default()
    };
    let spec = LaunchSpec::builtin(&launcher, &server, &limits).expect("limits that it can keep");
    let server = launcher.launch(&spec).expect("it listens");
    if is_pool {
        wait_until("all children are there", || children(&server).len() == clients);
    }
    server
}

/// The children that have not ended.
fn children(server: &Server) -> Vec<i32> {
    server.process.tree().split_off(1).into_iter().filter(|&pid| runs(pid)).collect()
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Small buffers, so that little is under way where nobody reads.
    client.set_recv_buffer_size(4096).expect("it can be set");
    client.set_send_buffer_size(4096).expect("it can be set");
    client.connect(&address.into()).expect("a connection");
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(DEADLINE)).expect("it can be set");
    client.set_write_timeout(Some(DEADLINE)).expect("it can be set");
    client
}

fn ask(mut client: &TcpStream) {
    client.write_all(REQUEST).expect("it is sent");
    let mut reply = [0; REQUEST.len()];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, REQUEST);
}

fn served(address: SocketAddr) -> TcpStream {
    let client = connect(address);
    ask(&client);
    client
}

/// The child that has the server's side of this connection.
fn child_of(client: &TcpStream, server: &Server) -> i32 {
    let own = format!(":{:04X}", client.local_addr().expect("an address").port());
    let theirs = format!(":{:04X}", server.address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let inode = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .find(|row| row[1].ends_with(&theirs) && row[2].ends_with(&own))
        .map(|row| format!("socket:[{}]", row[9]))
        .expect("the server's side");
    let holds = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.as_os_str() == inode.as_str())
    };
    let holders: Vec<i32> = server.process.tree().into_iter().filter(holds).collect();
    assert_eq!(holders.len(), 1, "one process has it: the parent has closed its own");
    holders[0]
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("it is there");
}

/// Until they have ended a client may still be given to them.
fn kill_all(victims: &[i32]) {
    victims.iter().for_each(|&victim| signal(victim, Signal::SIGKILL));
    wait_until("they have ended", || !victims.iter().any(|&victim| runs(victim)));
}

fn sees_the_end(mut client: &TcpStream) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("it goes on: {other:?}"),
    }
}

/// Sends requests without reading until the server waits for it to read.
fn stuff(mut client: &TcpStream, server: &Server) {
    client.set_nonblocking(true).expect("it can be");
    let requests = REQUEST.repeat(1000);
    wait_until("the server waits for its client to read", || {
        while client.write(&requests).is_ok() {}
        // Nor does it take any more while it sleeps.
        proc::is_asleep(&server.process.tree()) && client.write(&requests).is_err()
    });
    client.set_nonblocking(false).expect("it can be");
}

fn a_child_that_is_killed_takes_its_own_client_with_it_and_no_other() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let (one, other) = (served(server.address), served(server.address));
        signal(child_of(&one, &server), Signal::SIGKILL);
        sees_the_end(&one);
        ask(&other);
        ask(&served(server.address));
    }
}

fn children_that_are_killed_are_replaced() {
    for name in POOLS {
        let server = launch(name, WORKERS);
        // One of them has the lock, or is about to be given a client.
        for victim in children(&server) {
            kill_all(&[victim]);
            ask(&served(server.address));
        }
        // And nobody is left for a moment.
        let victims = children(&server);
        kill_all(&victims);
        let clients: Vec<TcpStream> = (0..WORKERS).map(|_| served(server.address)).collect();
        clients.iter().for_each(ask);
        let now = children(&server);
        assert_eq!(now.len(), WORKERS, "{name}");
        assert!(!now.iter().any(|child| victims.contains(child)), "{name}");
    }
}

fn a_child_told_to_stop_answers_its_client_and_is_replaced() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let (mut one, other) = (served(server.address), served(server.address));
        let told = child_of(&one, &server);
        one.write_all(&REQUEST.repeat(10)).expect("it is sent");
        signal(told, Signal::SIGTERM);
        let mut replies = Vec::new();
        one.read_to_end(&mut replies).expect("a clean end");
        assert_eq!(replies, REQUEST.repeat(10), "{name}");
        wait_until("it has ended", || !runs(told));
        ask(&other);
        ask(&served(server.address));
    }
}

fn an_idle_child_told_to_stop_leaves_its_siblings_what_they_share() {
    for name in POOLS {
        let server = launch(name, WORKERS);
        // Where they take turns, the first has its turn and the last waits for it.
        for told in children(&server).into_iter().rev() {
            signal(told, Signal::SIGTERM);
            wait_until("it has ended", || !runs(told));
            wait_until("it is replaced", || children(&server).len() == WORKERS);
            ask(&served(server.address));
        }
        let log = server.process.log();
        assert!(!log.contains("drain took too long"), "{name}: {log}");
    }
}

fn a_signal_to_the_whole_group_is_one_request_to_stop() {
    for name in ALL {
        let server = launch(name, 1);
        let mut client = served(server.address);
        stuff(&client, &server);
        // As a terminal does: it reaches the child beside what the parent then tells it.
        killpg(Pid::from_raw(server.process.tree()[0]), Signal::SIGINT).expect("it is there");
        wait_until("the child was told by the parent too", || {
            server.process.listening().is_empty()
        });
        // What had not even arrived is answered by a reset.
        while client.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        let exit = server.process.wait_for_exit(DEADLINE);
        assert_eq!(exit, Some(Exit::Code(0)), "{name}: {}", server.process.log());
    }
}

fn a_child_killed_over_its_drain_makes_the_server_fail() {
    for name in ALL {
        let mut server = launch(name, WORKERS);
        let client = served(server.address);
        stuff(&client, &server);
        let child = child_of(&client, &server);
        server.process.signal(Signal::SIGTERM);
        wait_until("the drain has begun", || server.process.listening().is_empty());
        signal(child, Signal::SIGKILL);
        assert_eq!(server.process.wait_for_exit(DEADLINE), Some(Exit::Code(1)), "{name}");
        let log = server.process.end().log;
        assert!(log.contains("a child process did not drain"), "{name}: {log}");
    }
}

fn a_second_signal_ends_the_children_too() {
    for name in ALL {
        let mut server = launch(name, WORKERS);
        let client = served(server.address);
        stuff(&client, &server);
        let tree: HashSet<i32> = server.process.tree().into_iter().collect();
        // Two of a kind could become one.
        server.process.signal(Signal::SIGTERM);
        server.process.signal(Signal::SIGINT);
        let exit = server.process.wait_for_exit(DEADLINE);
        assert!(matches!(exit, Some(Exit::Signal(_))), "{name}: {exit:?}");
        wait_until("all of them are gone", || !tree.iter().any(|&pid| runs(pid)));
        let log = server.process.end().log;
        assert!(!log.contains("drain took too long"), "{name}: {log}");
    }
}

fn a_server_that_is_killed_takes_its_children_with_it() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let client = served(server.address);
        let tree = server.process.tree();
        signal(tree[0], Signal::SIGKILL);
        sees_the_end(&client);
        wait_until("all of them are gone", || !tree.iter().any(|&pid| runs(pid)));
    }
}

fn a_child_has_no_descriptor_of_its_parent_or_siblings() {
    // The standard ones, its request to stop, what it tells its end by, the listener with its
    // spare, the lock, its client.
    const MOST: usize = 9;
    for name in ALL {
        let server = launch(name, WORKERS);
        let _clients: Vec<TcpStream> = (0..WORKERS - 1).map(|_| served(server.address)).collect();
        for child in children(&server) {
            let held = || proc::holdings(&[child]).descriptors;
            wait_until(&format!("a child of {name} has few"), || (5..=MOST).contains(&held()));
        }
    }
}

fn a_place_is_free_by_the_time_that_its_client_sees_the_end() {
    let server = launch("fork-per-connection-echo", 1);
    for _ in 0..200 {
        let mut client = served(server.address);
        client.shutdown(Shutdown::Write).expect("it can be");
        assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    }
}

fn a_child_that_has_no_descriptor_for_its_client_is_free_for_the_next() {
    let server = launch("prefork-fdpass-echo", 1);
    let child = children(&server);
    // The child is set up, and has closed its client, when that one sees the end.
    let mut client = served(server.address);
    client.shutdown(Shutdown::Write).expect("it can be");
    assert_eq!(client.read(&mut [0]).expect("a clean end"), 0);
    let undo = proc::exhaust_descriptors(&child).expect("it may be limited");
    for _ in 0..3 {
        sees_the_end(&connect(server.address));
    }
    proc::restore_descriptors(&undo);
    ask(&served(server.address));
    assert_eq!(children(&server), child, "it is still the same");
}
