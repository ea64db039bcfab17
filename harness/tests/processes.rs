//! Servers with several processes. The tests kill a process of the server, or signal it.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use crate::common::tests;
use crate::common::{DEADLINE, runs, wait_until};
use harness::exit::Exit;
use harness::server::proc::{self, Shortage};
use harness::server::{LaunchSpec, Launcher, Server};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use servers::{Limits, Workers};
use socket2::{Domain, Socket, Type};

tests![
    killing_a_child_disconnects_only_its_own_client,
    killed_children_are_replaced,
    a_child_that_gets_sigterm_answers_its_client_and_is_replaced,
    an_idle_child_that_gets_sigterm_does_not_block_its_siblings,
    a_signal_to_the_process_group_counts_as_one_shutdown_request,
    a_child_killed_while_it_drains_makes_the_server_fail,
    a_second_signal_also_terminates_the_children,
    killing_a_server_kills_its_children,
    a_child_has_no_descriptor_of_its_parent_or_siblings,
    a_connection_slot_is_free_before_its_client_sees_the_close,
    a_child_without_a_descriptor_for_its_client_can_take_the_next_one,
];

const POOLS: [&str; 4] =
    ["prefork-accept-echo", "prefork-lock-echo", "prefork-mutex-echo", "prefork-fdpass-echo"];
const ALL: [&str; 5] = [POOLS[0], POOLS[1], POOLS[2], POOLS[3], "fork-per-connection-echo"];

/// Number of children of each pool.
const WORKERS: usize = 3;

const REQUEST: &[u8] = b"a request\n";

/// Launches a server with this connection limit.
fn launch(name: &str, clients: usize) -> Server {
    let launcher = Launcher::new(env!("CARGO_BIN_EXE_harness"));
    let server = servers::find(name).expect("a known server name");
    let is_pool = matches!(server.pattern.workers, Workers::Pool(..));
    let limits = Limits {
        workers: is_pool.then_some(clients),
        max_connections: (!is_pool).then_some(clients),
        ..Limits::default()
    };
    let spec = LaunchSpec::builtin(&launcher, &server, &limits).expect("valid limits");
    let server = launcher.launch(&spec).expect("a listening server");
    if is_pool {
        wait_until("all children have started", || children(&server).len() == clients);
    }
    server
}

/// Returns the children that have not exited.
fn children(server: &Server) -> Vec<i32> {
    server.process.tree().split_off(1).into_iter().filter(|&pid| runs(pid)).collect()
}

fn connect(address: SocketAddr) -> TcpStream {
    let client = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    // Small buffers, so that few bytes are in flight while the client does not read.
    client.set_recv_buffer_size(4096).expect("a socket option");
    client.set_send_buffer_size(4096).expect("a socket option");
    client.connect(&address.into()).expect("a connection");
    let client = TcpStream::from(client);
    client.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    client.set_write_timeout(Some(DEADLINE)).expect("a socket option");
    client
}

fn ask(mut client: &TcpStream) {
    client.write_all(REQUEST).expect("a request");
    let mut reply = [0; REQUEST.len()];
    client.read_exact(&mut reply).expect("a reply");
    assert_eq!(reply, REQUEST);
}

/// Connects, and returns the connection after one reply.
fn connect_and_ask(address: SocketAddr) -> TcpStream {
    let client = connect(address);
    ask(&client);
    client
}

/// Returns the child that holds the server's side of this connection.
fn child_of(client: &TcpStream, server: &Server) -> i32 {
    let client_port = format!(":{:04X}", client.local_addr().expect("an address").port());
    let server_port = format!(":{:04X}", server.address.port());
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp");
    let inode = table
        .lines()
        .map(|row| row.split_whitespace().collect::<Vec<_>>())
        .find(|row| row[1].ends_with(&server_port) && row[2].ends_with(&client_port))
        .map(|row| format!("socket:[{}]", row[9]))
        .expect("a row for the server's side");
    let holds = |pid: &i32| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let mut links = descriptors.filter_map(|entry| fs::read_link(entry.path()).ok());
        links.any(|link| link.as_os_str() == inode.as_str())
    };
    let holders: Vec<i32> = server.process.tree().into_iter().filter(holds).collect();
    assert_eq!(holders.len(), 1, "exactly one process has a descriptor of the connection");
    holders[0]
}

fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("an existing process");
}

/// Kills the processes and waits until they have exited, because a dying process can still accept.
fn kill_all(victims: &[i32]) {
    victims.iter().for_each(|&victim| signal(victim, Signal::SIGKILL));
    wait_until("the killed processes have exited", || !victims.iter().any(|&victim| runs(victim)));
}

fn assert_closed(mut client: &TcpStream) {
    match client.read(&mut [0]) {
        Ok(0) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        other => panic!("the connection is still open: {other:?}"),
    }
}

/// Sends requests, without reading replies, until the server blocks in a write to this client.
fn overfill(mut client: &TcpStream, server: &Server) {
    client.set_nonblocking(true).expect("a socket option");
    let requests = REQUEST.repeat(1000);
    wait_until("the server blocks in a write", || {
        while client.write(&requests).is_ok() {}
        // A sleeping server that does not empty the socket buffer is blocked in its write.
        proc::is_asleep(&server.process.tree()) && client.write(&requests).is_err()
    });
    client.set_nonblocking(false).expect("a socket option");
}

fn killing_a_child_disconnects_only_its_own_client() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let (one, other) = (connect_and_ask(server.address), connect_and_ask(server.address));
        signal(child_of(&one, &server), Signal::SIGKILL);
        assert_closed(&one);
        ask(&other);
        ask(&connect_and_ask(server.address));
    }
}

fn killed_children_are_replaced() {
    for name in POOLS {
        let server = launch(name, WORKERS);
        // One child holds the lock, or accepts next.
        for victim in children(&server) {
            kill_all(&[victim]);
            ask(&connect_and_ask(server.address));
        }
        let victims = children(&server);
        kill_all(&victims);
        let clients: Vec<TcpStream> =
            (0..WORKERS).map(|_| connect_and_ask(server.address)).collect();
        clients.iter().for_each(ask);
        let now = children(&server);
        assert_eq!(now.len(), WORKERS, "{name}");
        assert!(!now.iter().any(|child| victims.contains(child)), "{name}");
    }
}

fn a_child_that_gets_sigterm_answers_its_client_and_is_replaced() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let (mut one, other) = (connect_and_ask(server.address), connect_and_ask(server.address));
        let child = child_of(&one, &server);
        one.write_all(&REQUEST.repeat(10)).expect("a request");
        signal(child, Signal::SIGTERM);
        let mut replies = Vec::new();
        one.read_to_end(&mut replies).expect("a close without a reset");
        assert_eq!(replies, REQUEST.repeat(10), "{name}");
        wait_until("the child has exited", || !runs(child));
        ask(&other);
        ask(&connect_and_ask(server.address));
    }
}

fn an_idle_child_that_gets_sigterm_does_not_block_its_siblings() {
    for name in POOLS {
        let server = launch(name, WORKERS);
        // If the children share a lock, the first child holds it, and the last one waits the
        // longest.
        for child in children(&server).into_iter().rev() {
            signal(child, Signal::SIGTERM);
            wait_until("the child has exited", || !runs(child));
            wait_until("the child is replaced", || children(&server).len() == WORKERS);
            ask(&connect_and_ask(server.address));
        }
        let log = server.process.log();
        assert!(!log.contains("drain timeout exceeded"), "{name}: {log}");
    }
}

fn a_signal_to_the_process_group_counts_as_one_shutdown_request() {
    for name in ALL {
        let server = launch(name, 1);
        let mut client = connect_and_ask(server.address);
        overfill(&client, &server);
        // As after Ctrl-C: the child gets SIGINT, and the shutdown request of the parent.
        killpg(Pid::from_raw(server.process.tree()[0]), Signal::SIGINT)
            .expect("an existing process group");
        wait_until("the parent has stopped listening", || server.process.listening().is_empty());
        // The server may reset the connection if bytes arrive after the shutdown.
        while client.read(&mut [0; 4096]).is_ok_and(|count| count > 0) {}
        let exit = server.process.wait_for_exit(DEADLINE);
        assert_eq!(exit, Some(Exit::Code(0)), "{name}: {}", server.process.log());
    }
}

fn a_child_killed_while_it_drains_makes_the_server_fail() {
    for name in ALL {
        let mut server = launch(name, WORKERS);
        let client = connect_and_ask(server.address);
        overfill(&client, &server);
        let child = child_of(&client, &server);
        server.process.signal(Signal::SIGTERM);
        wait_until("the drain has begun", || server.process.listening().is_empty());
        signal(child, Signal::SIGKILL);
        assert_eq!(server.process.wait_for_exit(DEADLINE), Some(Exit::Code(1)), "{name}");
        let log = server.process.end().log;
        assert!(log.contains("a child process did not drain"), "{name}: {log}");
    }
}

fn a_second_signal_also_terminates_the_children() {
    for name in ALL {
        let mut server = launch(name, WORKERS);
        let client = connect_and_ask(server.address);
        overfill(&client, &server);
        let tree: HashSet<i32> = server.process.tree().into_iter().collect();
        // Different signals, because two pending signals of one number are delivered once.
        server.process.signal(Signal::SIGTERM);
        server.process.signal(Signal::SIGINT);
        let exit = server.process.wait_for_exit(DEADLINE);
        assert!(matches!(exit, Some(Exit::Signal(_))), "{name}: {exit:?}");
        wait_until("all processes of the server have exited", || {
            !tree.iter().any(|&pid| runs(pid))
        });
        let log = server.process.end().log;
        assert!(!log.contains("drain timeout exceeded"), "{name}: {log}");
    }
}

fn killing_a_server_kills_its_children() {
    for name in ALL {
        let server = launch(name, WORKERS);
        let client = connect_and_ask(server.address);
        let tree = server.process.tree();
        signal(tree[0], Signal::SIGKILL);
        assert_closed(&client);
        wait_until("all processes of the server have exited", || {
            !tree.iter().any(|&pid| runs(pid))
        });
    }
}

fn a_child_has_no_descriptor_of_its_parent_or_siblings() {
    // Three standard streams, shutdown request, exit notification, listener, reserve descriptor of
    // the listener, lock, client.
    const MAX_DESCRIPTORS: usize = 9;
    for name in ALL {
        let server = launch(name, WORKERS);
        let _clients: Vec<TcpStream> =
            (0..WORKERS - 1).map(|_| connect_and_ask(server.address)).collect();
        for child in children(&server) {
            let descriptors = || proc::resource_usage(&[child]).descriptors;
            wait_until(
                &format!("a child of {name} has at most {MAX_DESCRIPTORS} descriptors"),
                || (5..=MAX_DESCRIPTORS).contains(&descriptors()),
            );
        }
    }
}

fn a_connection_slot_is_free_before_its_client_sees_the_close() {
    let server = launch("fork-per-connection-echo", 1);
    for _ in 0..200 {
        let mut client = connect_and_ask(server.address);
        client.shutdown(Shutdown::Write).expect("an open connection");
        assert_eq!(client.read(&mut [0]).expect("a close without a reset"), 0);
    }
}

fn a_child_without_a_descriptor_for_its_client_can_take_the_next_one() {
    let server = launch("prefork-fdpass-echo", 1);
    let child = children(&server);
    // When the client sees the close, the child has started and has closed the connection.
    let mut client = connect_and_ask(server.address);
    client.shutdown(Shutdown::Write).expect("an open connection");
    assert_eq!(client.read(&mut [0]).expect("a close without a reset"), 0);
    let undo = proc::exhaust_descriptors(&child, Shortage::AboveLowestUnused)
        .expect("a lower descriptor limit");
    for _ in 0..3 {
        assert_closed(&connect(server.address));
    }
    proc::restore_descriptors(&undo);
    ask(&connect_and_ask(server.address));
    assert_eq!(children(&server), child, "the child was replaced");
}
