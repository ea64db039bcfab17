//! Servers at the limits of what their calls can do.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::{self, trials};
use crate::common::{DEADLINE, Served};

trials![
    select_turns_away_a_descriptor_that_no_set_can_hold_and_serves_the_others,
    select_is_not_asked_for_more_than_a_set_holds,
    where_few_descriptors_are_to_be_had_servers_take_fewer_clients,
];

/// What a set of select can hold (FD_SETSIZE).
const SET: usize = 1024;

/// Descriptors that are open before the server begins, as where a careless parent left them.
const OPEN_BEFORE: i32 = 60;

/// Connects and asks. None if the server closes instead of answering.
fn ask(served: &Served, request: &str) -> Option<(TcpStream, String)> {
    let mut client = TcpStream::connect(served.address).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("it can have one");
    let reply = ask_again(&mut client, request)?;
    Some((client, reply))
}

fn ask_again(client: &mut TcpStream, request: &str) -> Option<String> {
    // One that is turned away may be reset before it has asked.
    client.write_all(format!("{request}\n").as_bytes()).ok()?;
    let mut reply = String::new();
    BufReader::new(client).read_line(&mut reply).ok()?;
    (!reply.is_empty()).then(|| reply.trim_end().to_owned())
}

fn select_turns_away_a_descriptor_that_no_set_can_hold_and_serves_the_others() {
    harness::server::raise_descriptor_limit();
    let mut command = common::harness();
    command.args(["serve", "select-echo", "127.0.0.1", "0"]);
    #[allow(unsafe_code, reason = "descriptors are opened between fork and exec")]
    // SAFETY: dup2 is async-signal-safe, and the child has nothing at these numbers.
    unsafe {
        command.pre_exec(|| {
            for number in 0..OPEN_BEFORE {
                libc::dup2(0, 500 + number);
            }
            Ok(())
        });
    }
    let served = Served::run(command);
    let mut clients = Vec::new();
    let mut turned_away = 0;
    // More than fit, and fewer than it would take on by number.
    for number in 0..SET - 30 {
        match ask(&served, &number.to_string()) {
            Some((client, reply)) if reply == number.to_string() => clients.push(client),
            Some((_, reply)) => {
                assert!(reply.starts_with("error: busy"), "{reply}");
                turned_away += 1;
            }
            // It can be told and not be waited for, so a reset may overtake the line.
            None => turned_away += 1,
        }
    }
    let fitting = SET - OPEN_BEFORE as usize;
    assert!(clients.len() < fitting && clients.len() > fitting - 20, "{} served", clients.len());
    assert!(turned_away > 0);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(ask_again(client, "still there"), Some("still there".to_owned()), "{number}");
    }
    clients.truncate(10);
    common::wait_until("a client is served again", || {
        ask(&served, "next").is_some_and(|(_, reply)| reply == "next")
    });
}

fn select_is_not_asked_for_more_than_a_set_holds() {
    let output = common::harness()
        .args(["serve", "select", "127.0.0.1", "0", "--max-connections", "1024"])
        .output()
        .expect("the harness runs");
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    assert!(words.contains("fd_set holds 1,024 descriptors"), "{words}");
}

fn where_few_descriptors_are_to_be_had_servers_take_fewer_clients() {
    let program = env!("CARGO_BIN_EXE_harness");
    let limited = |command: &str| {
        let script = format!("ulimit -n 100; exec \"$0\" {command}");
        let output = Command::new("sh").args(["-c", &script, program]).output();
        output.expect("the harness runs")
    };
    let judged = limited("check select-echo --case framing/single");
    let words = String::from_utf8_lossy(&judged.stdout);
    assert!(judged.status.success() && words.contains("33 clients at once"), "{words}");

    let refused = limited("serve select-echo 127.0.0.1 0 --max-connections 64");
    let words = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("100 descriptors, which leaves 33 for clients"), "{words}");
}
