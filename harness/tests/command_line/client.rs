//! `harness client`.

use super::*;

fn client(served: &Served) -> Command {
    let mut command = harness();
    command.args(["client", "127.0.0.1", &served.port()]);
    command
}

pub(super) fn a_piped_client_prints_only_the_replies() {
    for (server, input, output) in [
        ("server1", "1+2\n", "3\n"),
        ("server2", "1+2\n7/2\n7/2.0\n", "3\n3\n3.5\n"),
        ("server3", "2*(3+4)\n1/0\n2", "14\nerror: division by zero\n2\n"),
        ("server4", "hello\n\n  world\n", "hello\n\n  world\n"),
    ] {
        let served = Served::start(&[server, "127.0.0.1", "0"]);
        client(&served).write_stdin(input).assert().success().stdout(output).stderr("");
    }
}

pub(super) fn a_client_on_a_terminal_has_a_prompt() {
    let served = Served::start(&["server3", "127.0.0.1", "0"]);
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut child = common::harness()
        .args(["client", "127.0.0.1", &served.port()])
        .stdin(terminal.slave.try_clone().expect("a clone"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut keyboard = std::fs::File::from(terminal.master);
    let mut screen = child.stdout.take().expect("a pipe");
    let mut expect_output = |text: &str| {
        let mut shown = vec![0; text.len()];
        screen.read_exact(&mut shown).expect("output of the client");
        assert_eq!(String::from_utf8_lossy(&shown), text);
    };
    expect_output("> ");
    keyboard.write_all(b"1+2\n").expect("a line");
    expect_output("3\n> ");
    // Ctrl-D.
    keyboard.write_all(b"\x04").expect("a control character");
    assert!(child.wait().expect("an exit status").success());
}

pub(super) fn each_kind_of_client_error_has_its_own_message_and_exit_code() {
    let port = harness::server::PortLease::take([127, 0, 0, 1].into()).expect("a port");
    let unused = port.number().to_string();
    let fails = |port: &str, code: i32, words: &'static str| {
        harness()
            .args(["client", "127.0.0.1", port, "--timeout", "300ms"])
            .write_stdin("1+2\n")
            .assert()
            .code(code)
            .stdout("")
            .stderr(starts_with("harness: ").and(contains(words)));
    };
    fails(&unused, 4, "no server listens on");

    let served = Served::start(&["server1", "127.0.0.1", "0"]);
    let mut connected = TcpStream::connect(served.address).expect("the first client");
    connected.write_all(b"1\n").expect("a request");
    connected.read_exact(&mut [0; 2]).expect("a reply");
    fails(&served.port(), 5, "it is at its connection limit");

    let served = Served::start(&["iterative", "127.0.0.1", "0"]);
    let mut connected = TcpStream::connect(served.address).expect("the first client");
    connected.write_all(b"1\n").expect("a request");
    connected.read_exact(&mut [0; 2]).expect("a reply");
    fails(&served.port(), 6, "no reply within 300ms");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let closing_server = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the client");
        client.read_exact(&mut [0; 4]).expect("a request");
    });
    fails(&address.port().to_string(), 7, "the server closed the connection");
    closing_server.join().expect("no panic in the thread");
}

pub(super) fn a_client_reports_a_busy_reply() {
    let served = Served::start(&["server3", "127.0.0.1", "0", "--max-connections", "1"]);
    let mut connected = TcpStream::connect(served.address).expect("the first client");
    connected.write_all(b"1\n").expect("a request");
    connected.read_exact(&mut [0; 2]).expect("a reply");
    client(&served)
        .write_stdin("1+2\n")
        .assert()
        .code(5)
        .stdout("error: busy, try again later\n")
        .stderr(contains("the server is busy"));
}
