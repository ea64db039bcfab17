//! Servers at the limits of select(2) and of RLIMIT_NOFILE.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::common::{self, tests};
use crate::common::{DEADLINE, Served};

tests![
    select_rejects_descriptors_beyond_fd_setsize_and_serves_the_others,
    select_rejects_a_connection_limit_that_an_fd_set_cannot_hold,
    a_low_descriptor_limit_lowers_the_connection_limit,
];

/// Number of descriptors in an fd_set (select(2)).
const FD_SETSIZE: usize = 1024;

/// Number of descriptors that the server inherits, as from a parent that leaks descriptors.
const INHERITED: i32 = 60;

/// Connects and sends a request. Returns the connection and the reply, or `None` if the server
/// closes the connection without a reply.
fn connect_and_ask(served: &Served, request: &str) -> Option<(TcpStream, String)> {
    let mut client = TcpStream::connect(served.address).expect("a connection");
    client.set_read_timeout(Some(DEADLINE)).expect("a socket option");
    let reply = ask(&mut client, request)?;
    Some((client, reply))
}

fn ask(client: &mut TcpStream, request: &str) -> Option<String> {
    // A rejected connection may be reset before the request is sent.
    client.write_all(format!("{request}\n").as_bytes()).ok()?;
    let mut reply = String::new();
    BufReader::new(client).read_line(&mut reply).ok()?;
    (!reply.is_empty()).then(|| reply.trim_end().to_owned())
}

fn select_rejects_descriptors_beyond_fd_setsize_and_serves_the_others() {
    harness::server::raise_descriptor_limit();
    let mut command = common::harness();
    command.args(["serve", "select-echo", "127.0.0.1", "0"]);
    #[allow(unsafe_code, reason = "descriptors are opened between fork and exec")]
    // SAFETY: dup2 is async-signal-safe, and these descriptor numbers are unused in the child.
    unsafe {
        command.pre_exec(|| {
            for number in 0..INHERITED {
                libc::dup2(0, 500 + number);
            }
            Ok(())
        });
    }
    let served = Served::run(command);
    let mut clients = Vec::new();
    let mut rejected = 0;
    // More connections than fit in the fd_set, but fewer than the connection limit.
    for number in 0..FD_SETSIZE - 30 {
        match connect_and_ask(&served, &number.to_string()) {
            Some((client, reply)) if reply == number.to_string() => clients.push(client),
            Some((_, reply)) => {
                assert!(reply.starts_with("error: busy"), "{reply}");
                rejected += 1;
            }
            // The server closes right after the busy line, so a reset may overtake the line.
            None => rejected += 1,
        }
    }
    let free = FD_SETSIZE - INHERITED as usize;
    assert!(clients.len() < free && clients.len() > free - 20, "{} served", clients.len());
    assert!(rejected > 0);
    for (number, client) in clients.iter_mut().enumerate() {
        assert_eq!(ask(client, "still there"), Some("still there".to_owned()), "{number}");
    }
    clients.truncate(10);
    common::wait_until("a client is served again", || {
        connect_and_ask(&served, "next").is_some_and(|(_, reply)| reply == "next")
    });
}

fn select_rejects_a_connection_limit_that_an_fd_set_cannot_hold() {
    let output = common::harness()
        .args(["serve", "select", "127.0.0.1", "0", "--max-connections", "1024"])
        .output()
        .expect("the harness runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("fd_set holds 1,024 descriptors"), "{stderr}");
}

fn a_low_descriptor_limit_lowers_the_connection_limit() {
    let program = env!("CARGO_BIN_EXE_harness");
    let limited = |command: &str| {
        let script = format!("ulimit -n 100; exec \"$0\" {command}");
        let output = Command::new("sh").args(["-c", &script, program]).output();
        output.expect("the harness runs")
    };
    let checked = limited("check select-echo --case framing/single");
    let stdout = String::from_utf8_lossy(&checked.stdout);
    assert!(checked.status.success() && stdout.contains("connection limit 33"), "{stdout}");

    let refused = limited("serve select-echo 127.0.0.1 0 --max-connections 64");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("100 descriptors, which leaves 33 for clients"), "{stderr}");
}
