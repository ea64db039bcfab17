//! `harness serve`: errors, limits and shutdown.

use super::*;

pub(super) fn a_server_can_listen_on_a_host_name_and_on_ipv4_and_ipv6_addresses() {
    for host in ["127.0.0.1", "::1", "localhost"] {
        let served = Served::start(&["server4", host, "0"]);
        assert_ne!(served.address.port(), 0);
        assert!(served.address.ip().is_loopback());
        assert_eq!(served.address.is_ipv6(), served.first_line.contains("listens on [::1]:"));
        assert!(host == "localhost" || served.address.ip().to_string() == host);
        harness()
            .args(["client", host, &served.port()])
            .write_stdin("hello\n")
            .assert()
            .success()
            .stdout("hello\n");
    }
}

pub(super) fn a_serve_error_is_one_line_that_says_what_to_do() {
    let served = Served::start(&["server3", "127.0.0.1", "0"]);
    let used_port = served.port();
    let rows: &[(&[&str], i32, &str)] = &[
        (
            &["server3", "127.0.0.1", &used_port],
            3,
            "address already in use; stop the other process",
        ),
        (&["server3", "192.0.2.1", "0"], 3, "is not an address of this machine"),
        (&["server3", "no such host", "0"], 3, "cannot resolve host `no such host`"),
        (
            &["server1", "127.0.0.1", "0", "--max-connections", "2"],
            2,
            "serves one client at a time",
        ),
        (&["select", "127.0.0.1", "0", "--max-connections", "5000"], 2, "at most 1000"),
        (&["server4", "127.0.0.1", "0", "--service", "calc"], 2, "serve select-calc"),
    ];
    for (arguments, code, words) in rows {
        let message =
            contains(*words).and(predicate::function(|text: &str| text.lines().count() == 1));
        harness().arg("serve").args(*arguments).assert().code(*code).stdout("").stderr(message);
    }
}

#[allow(unsafe_code, reason = "CommandExt::pre_exec, to give up a privilege")]
pub(super) fn a_privileged_port_is_reported_as_permission_denied() {
    let first_unprivileged =
        std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first_unprivileged.is_ok_and(|port| port.trim().parse::<u16>().is_ok_and(|port| port <= 81))
    {
        return eprintln!("not run: port 81 is not privileged on this machine");
    }
    let mut serve = common::harness();
    serve.args(["serve", "server3", "127.0.0.1", "81"]).stderr(Stdio::piped());
    // SAFETY: prctl(2) is a plain system call with no pointer.
    unsafe {
        serve.pre_exec(|| {
            // CAP_NET_BIND_SERVICE. If the process does not have the capability, the call fails,
            // and the failure can be ignored.
            libc::prctl(libc::PR_CAPBSET_DROP, 10);
            Ok(())
        });
    }
    let output = serve.output().expect("the harness runs");
    assert_eq!(output.status.code(), Some(3));
    let stderr = String::from_utf8_lossy(&output.stderr);
    let message = ":81: permission denied; choose a port from 1024 up";
    assert!(stderr.contains(message), "{stderr}");
}

pub(super) fn a_server_exits_with_0_on_sigint_and_sigterm() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for server in ["server1", "server2", "server3", "server4"] {
            let mut served = Served::start(&[server, "127.0.0.1", "0"]);
            kill(Pid::from_raw(served.child.id() as i32), signal).expect("a signal");
            let status = served.child.wait().expect("an exit status");
            assert_eq!(status.code(), Some(0), "{server} at {signal}");
        }
    }
}

pub(super) fn limits_set_on_the_command_line_are_enforced_and_can_be_tested() {
    let exe = env!("CARGO_BIN_EXE_harness");
    for server in ["iterative", "iterative-refuse", "thread-per-connection", "select"] {
        let command = format!(
            "'{exe}' serve {server} {{host}} {{port}} --max-line 100 --idle-timeout 2s --service echo"
        );
        harness()
            .args(["check", "--service", "echo", "--max-line", "100", "--idle-timeout", "2s"])
            .args(["--error-prefix", "error: ", "--cmd", &command])
            .args(["--case", "contract/", "--case", "oversize/", "--case", "timeouts/"])
            .assert()
            .success()
            .stdout(
                contains("pass timeouts/idle-is-closed")
                    .and(contains("pass timeouts/activity-keeps-alive")),
            )
            .stdout(contains("pass oversize/one-past"));
    }
}

pub(super) fn select_rejects_connections_below_fd_setsize_and_keeps_serving() {
    harness::server::raise_descriptor_limit();
    let served = Served::start(&["server4", "127.0.0.1", "0"]);
    let mut clients: Vec<TcpStream> =
        (0..1000).map(|_| TcpStream::connect(served.address).expect("a connection")).collect();
    for client in &mut clients {
        client.write_all(b"hello\n").expect("a request");
        client.read_exact(&mut [0; 6]).expect("a reply");
    }
    for _ in 0..50 {
        let mut rejected = TcpStream::connect(served.address).expect("a connection");
        let mut line = String::new();
        rejected.read_to_string(&mut line).expect("a close without a reset");
        assert_eq!(line, "error: busy, try again later\n");
    }
    clients[999].write_all(b"still\n").expect("a request");
    clients[999].read_exact(&mut [0; 6]).expect("a reply");
}

pub(super) fn requests_in_flight_at_a_signal_are_answered() {
    for server in ["server1", "server2", "server3"] {
        let mut served = Served::start(&[server, "127.0.0.1", "0"]);
        let mut client = TcpStream::connect(served.address).expect("a connection");
        client.write_all(b"1\n").expect("a request");
        client.read_exact(&mut [0; 2]).expect("a reply");
        client.write_all(b"1+2\n3+4\n12").expect("two requests and a part");
        kill(Pid::from_raw(served.child.id() as i32), Signal::SIGTERM).expect("a signal");
        let mut replies = String::new();
        client.read_to_string(&mut replies).expect("a close without a reset");
        assert_eq!(replies, "3\n7\n", "{server}");
        wait_until("the server has exited", || {
            served.child.try_wait().expect("a status").is_some()
        });
    }
}
