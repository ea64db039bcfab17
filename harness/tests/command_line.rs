//! The program as a user meets it: words, streams and exit codes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::{self, trials};
use crate::common::{Served, wait_until};
use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, starts_with};

trials![
    a_piped_client_prints_the_replies_and_nothing_else,
    a_client_on_a_terminal_has_a_prompt,
    each_way_of_not_being_served_has_its_own_message_and_exit_code,
    a_client_that_is_told_busy_says_so,
    names_and_addresses_of_both_families_can_be_listened_on,
    what_cannot_be_served_is_told_in_one_line_that_says_what_to_do,
    a_wrong_word_on_the_command_line_is_bad_usage_and_says_what_is_right,
    a_privileged_port_is_told_as_such,
    ctrl_c_ends_a_server_with_exit_code_0,
    limits_of_the_command_line_are_kept_and_can_be_judged,
    select_turns_clients_away_below_the_size_of_its_sets_and_lives,
    check_prints_one_document_and_nothing_else_to_standard_output,
    the_replay_command_of_a_failure_fails_again,
    the_lists_come_from_the_tables,
    every_workload_is_listed_with_what_it_does,
    the_main_job_writes_its_report_and_says_where,
    a_report_that_cannot_be_written_is_known_before_anything_is_run,
    requests_under_way_at_a_signal_are_answered,
    where_rings_are_forbidden_their_servers_are_not_run_rather_than_failed,
    every_subcommand_reports_a_full_disk_and_ends_quietly_at_a_closed_pipe,
];

fn harness() -> Command {
    let mut command = Command::from(common::harness());
    command.timeout(Duration::from_secs(120));
    command
}

fn client(served: &Served) -> Command {
    let mut command = harness();
    command.args(["client", "127.0.0.1", &served.port()]);
    command
}

fn a_piped_client_prints_the_replies_and_nothing_else() {
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

fn a_client_on_a_terminal_has_a_prompt() {
    let served = Served::start(&["server3", "127.0.0.1", "0"]);
    let terminal = nix::pty::openpty(None, None).expect("a terminal");
    let mut child = common::harness()
        .args(["client", "127.0.0.1", &served.port()])
        .stdin(terminal.slave.try_clone().expect("a clone"))
        .stdout(Stdio::piped())
        .spawn()
        .expect("the client starts");
    let mut keyboard = std::fs::File::from(terminal.master);
    let mut screen = child.stdout.take().expect("it is piped");
    let mut expect = |text: &str| {
        let mut shown = vec![0; text.len()];
        screen.read_exact(&mut shown).expect("the client shows something");
        assert_eq!(String::from_utf8_lossy(&shown), text);
    };
    expect("> ");
    keyboard.write_all(b"1+2\n").expect("a line");
    expect("3\n> ");
    // Ctrl-D.
    keyboard.write_all(b"\x04").expect("the end");
    assert!(child.wait().expect("it ends").success());
}

fn each_way_of_not_being_served_has_its_own_message_and_exit_code() {
    let port = harness::server::Port::take([127, 0, 0, 1].into()).expect("a port");
    let nobody = port.number().to_string();
    let cases = |port: &str, code: i32, words: &'static str| {
        harness()
            .args(["client", "127.0.0.1", port, "--timeout", "300ms"])
            .write_stdin("1+2\n")
            .assert()
            .code(code)
            .stdout("")
            .stderr(starts_with("harness: ").and(contains(words)));
    };
    cases(&nobody, 4, "no server is started");

    let served = Served::start(&["server1", "127.0.0.1", "0"]);
    let mut incumbent = TcpStream::connect(served.address).expect("the first client");
    incumbent.write_all(b"1\n").expect("a request");
    incumbent.read_exact(&mut [0; 2]).expect("it is served");
    cases(&served.port(), 5, "it is serving others and takes no more");

    let served = Served::start(&["iterative", "127.0.0.1", "0"]);
    let mut incumbent = TcpStream::connect(served.address).expect("the first client");
    incumbent.write_all(b"1\n").expect("a request");
    incumbent.read_exact(&mut [0; 2]).expect("it is served");
    cases(&served.port(), 6, "no reply within 300ms");

    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let closing = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("the client");
        client.read_exact(&mut [0; 4]).expect("its request");
    });
    cases(&address.port().to_string(), 7, "the server closed the connection");
    closing.join().expect("it ends");
}

fn a_client_that_is_told_busy_says_so() {
    let served = Served::start(&["server3", "127.0.0.1", "0", "--max-connections", "1"]);
    let mut incumbent = TcpStream::connect(served.address).expect("the first client");
    incumbent.write_all(b"1\n").expect("a request");
    incumbent.read_exact(&mut [0; 2]).expect("it is served");
    client(&served)
        .write_stdin("1+2\n")
        .assert()
        .code(5)
        .stdout("error: busy, try again later\n")
        .stderr(contains("the server is busy"));
}

fn names_and_addresses_of_both_families_can_be_listened_on() {
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

fn what_cannot_be_served_is_told_in_one_line_that_says_what_to_do() {
    let served = Served::start(&["server3", "127.0.0.1", "0"]);
    let taken = served.port();
    let rows: &[(&[&str], i32, &str)] = &[
        (&["server3", "127.0.0.1", &taken], 3, "address already in use; stop the other process"),
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
        let said =
            contains(*words).and(predicate::function(|text: &str| text.lines().count() == 1));
        harness().arg("serve").args(*arguments).assert().code(*code).stdout("").stderr(said);
    }
}

fn a_wrong_word_on_the_command_line_is_bad_usage_and_says_what_is_right() {
    let rows: &[(&[&str], &str)] = &[
        (&["serve", "server5", "127.0.0.1", "0"], "choose iterative"),
        (&["serve", "server1", "127.0.0.1", "66000"], "66000"),
        (&["serve", "server1", "127.0.0.1", "0", "--idle-timeout", "soon"], "250ms"),
        (&["check", "--case", "nonsense/"], "harness list cases"),
        (&["check", "--cmd", "python3 x.py"], "{port}"),
        (&["check", "--cmd", "/no/such/program {port}"], "/no/such/program"),
        (&["check", "--capacity", "3"], "--cmd"),
        (&["run", "--plan", "forever"], "quick"),
        (&["nonsense"], "choose iterative"),
    ];
    for (arguments, words) in rows {
        harness().args(*arguments).assert().code(2).stdout("").stderr(contains(*words));
    }
}

#[allow(unsafe_code, reason = "CommandExt::pre_exec, to give up a privilege")]
fn a_privileged_port_is_told_as_such() {
    let first = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start");
    if first.is_ok_and(|port| port.trim().parse::<u16>().is_ok_and(|port| port <= 81)) {
        return eprintln!("not run: port 81 is not privileged on this machine");
    }
    let mut serve = common::harness();
    serve.args(["serve", "server3", "127.0.0.1", "81"]).stderr(Stdio::piped());
    // SAFETY: prctl(2) is a plain system call with no pointer.
    unsafe {
        serve.pre_exec(|| {
            // CAP_NET_BIND_SERVICE. It fails for those who never had it, which is as good.
            libc::prctl(libc::PR_CAPBSET_DROP, 10);
            Ok(())
        });
    }
    let output = serve.output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    let words = String::from_utf8_lossy(&output.stderr);
    let told = ":81: permission denied; choose a port from 1024 up";
    assert!(words.contains(told), "{words}");
}

fn ctrl_c_ends_a_server_with_exit_code_0() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for server in ["server1", "server2", "server3", "server4"] {
            let mut served = Served::start(&[server, "127.0.0.1", "0"]);
            kill(Pid::from_raw(served.child.id() as i32), signal).expect("a signal");
            let status = served.child.wait().expect("it ends");
            assert_eq!(status.code(), Some(0), "{server} at {signal}");
        }
    }
}

fn limits_of_the_command_line_are_kept_and_can_be_judged() {
    let exe = env!("CARGO_BIN_EXE_harness");
    for server in ["iterative", "iterative-refuse", "thread-per-connection", "select"] {
        let command = format!(
            "'{exe}' serve {server} {{host}} {{port}} --max-line 100 --idle-timeout 2s --service echo"
        );
        harness()
            .args(["check", "--service", "echo", "--max-line", "100", "--idle-timeout", "2s"])
            .args(["--error-prefix", "error: ", "--cmd", &command])
            .assert()
            .success()
            .stdout(
                contains("pass timeouts/idle-is-closed")
                    .and(contains("pass timeouts/activity-keeps-alive")),
            )
            .stdout(contains("pass oversize/one-past"));
    }
}

fn select_turns_clients_away_below_the_size_of_its_sets_and_lives() {
    harness::server::raise_descriptor_limit();
    let served = Served::start(&["server4", "127.0.0.1", "0"]);
    let mut clients: Vec<TcpStream> =
        (0..1000).map(|_| TcpStream::connect(served.address).expect("a place")).collect();
    for client in &mut clients {
        client.write_all(b"hello\n").expect("a request");
        client.read_exact(&mut [0; 6]).expect("a reply");
    }
    for _ in 0..50 {
        let mut refused = TcpStream::connect(served.address).expect("a connection");
        let mut line = String::new();
        refused.read_to_string(&mut line).expect("a clean end");
        assert_eq!(line, "error: busy, try again later\n");
    }
    clients[999].write_all(b"still\n").expect("a request");
    clients[999].read_exact(&mut [0; 6]).expect("a reply");
}

fn check_prints_one_document_and_nothing_else_to_standard_output() {
    let framing =
        harness::conformance::cases().filter(|case| case.name.starts_with("framing/")).count();
    let output = harness()
        .args(["check", "server1", "--case", "framing/", "--seed", "7", "--json"])
        .assert()
        .success()
        .stderr(contains(format!("verdicts: {framing} passed, 0 failed")))
        .get_output()
        .stdout
        .clone();
    let document: serde_json::Value = serde_json::from_slice(&output).expect("a document");
    assert_eq!(document["server"], "iterative-refuse-calc");
    assert_eq!(document["seed"], 7);
    let cases = document["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), framing);
    for key in ["name", "verdict", "state", "requirement", "expected", "observed", "hint", "replay"]
    {
        assert!(cases[0].as_object().expect("a case").contains_key(key), "{key}");
    }
    assert_eq!(
        cases[0]["replay"],
        "harness check iterative-refuse-calc --case framing/single --seed 7"
    );
}

fn the_replay_command_of_a_failure_fails_again() {
    // It serves many, whatever is declared.
    let command = format!("'{}' serve select {{host}} {{port}}", env!("CARGO_BIN_EXE_harness"));
    let output = harness()
        .args(["check", "--capacity", "1", "--when-full", "refuse", "--seed", "5", "--json"])
        .args(["--case", "refusal/as-declared", "--cmd", &command])
        .assert()
        .code(1)
        .get_output()
        .stdout
        .clone();
    let document: serde_json::Value = serde_json::from_slice(&output).expect("a document");
    let case = &document["cases"][0];
    assert_eq!(case["verdict"], "fail", "{document}");
    let words = shlex::split(case["replay"].as_str().expect("a command")).expect("shell words");
    assert_eq!(words[0], "harness");
    let same = contains("fail").and(contains("served: \"41007\""));
    harness().args(&words[1..]).assert().code(1).stdout(same);
}

fn the_lists_come_from_the_tables() {
    for (what, word) in [
        ("servers", "select-echo"),
        ("cases", "framing/pipelined"),
        ("workloads", "closed-64"),
        ("exporters", "index.html"),
    ] {
        harness().args(["list", what]).assert().success().stdout(contains(word));
        let output = harness().args(["list", what, "--json"]).assert().success();
        let rows: Vec<serde_json::Value> =
            serde_json::from_slice(&output.get_output().stdout).expect("a list");
        assert!(rows.iter().any(|row| row["name"] == word), "{what}");
    }
}

fn every_workload_is_listed_with_what_it_does() {
    let output = harness().args(["list", "workloads"]).assert().success();
    let text = String::from_utf8_lossy(&output.get_output().stdout).into_owned();
    for (line, workload) in text.lines().zip(harness::load::WORKLOADS) {
        assert!(line.starts_with(workload.name) && line.ends_with(workload.summary), "{line}");
    }
}

fn the_main_job_writes_its_report_and_says_where() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("report");
    harness()
        .args(["select-echo", "server1", "--plan", "quick", "--seed", "3", "--output"])
        .arg(&output)
        .assert()
        .success()
        .stdout(contains("verdicts: ").and(contains("index.html\n")));
    let document: serde_json::Value =
        serde_json::from_slice(&std::fs::read(output.join("report.json")).expect("it is there"))
            .expect("a document");
    assert_eq!(document["complete"], true);
    assert_eq!(document["seed"], 3);
    let servers = document["servers"].as_array().expect("servers");
    let names: Vec<_> = servers.iter().map(|server| &server["server"]).collect();
    assert_eq!(names, ["select-echo", "iterative-refuse-calc"]);
    let common = harness::load::WORKLOADS.iter().filter(|workload| workload.is_common).count();
    let counts = |server: &serde_json::Value| {
        ["measurements", "not_measured"].map(|key| server[key].as_array().expect("them").len())
    };
    assert_eq!(counts(&servers[0]), [common, 0]);
    assert_eq!(counts(&servers[1]), [2, common - 2], "one client at a time");
    let is_positive = |figure: &serde_json::Value| figure.as_u64().is_some_and(|count| count > 0);
    let first = &servers[0]["measurements"][0];
    assert!(is_positive(&first["outcomes"]["answered"]));
    assert!(is_positive(&first["server"]["cpu_ns_per_request"]), "{first}");
    let held = &servers[0]["measurements"][common - 1];
    assert_eq!((&held["workload"], &held["clients"]), (&"held".into(), &1_000.into()));
    assert_eq!(held["connections"]["answered"], 1_000);
    assert!(is_positive(&held["memory_per_connection_bytes"]), "{held}");
    for file in ["index.html", "summary.md"] {
        let page = std::fs::read_to_string(output.join(file)).expect("it is there");
        assert!(page.contains("select-echo"), "{file}");
    }
}

fn a_report_that_cannot_be_written_is_known_before_anything_is_run() {
    harness()
        .args(["select", "--output", "/proc/no/such/folder"])
        .assert()
        .code(3)
        .stdout("")
        .stderr(contains("--output names another"));
}

fn requests_under_way_at_a_signal_are_answered() {
    for server in ["server1", "server2", "server3"] {
        let mut served = Served::start(&[server, "127.0.0.1", "0"]);
        let mut client = TcpStream::connect(served.address).expect("a connection");
        client.write_all(b"1\n").expect("a request");
        client.read_exact(&mut [0; 2]).expect("it is served");
        client.write_all(b"1+2\n3+4\n12").expect("two requests and a part");
        kill(Pid::from_raw(served.child.id() as i32), Signal::SIGTERM).expect("a signal");
        let mut replies = String::new();
        client.read_to_string(&mut replies).expect("a clean end");
        assert_eq!(replies, "3\n7\n", "{server}");
        wait_until("it has ended", || served.child.try_wait().expect("a status").is_some());
    }
}

/// From its start on the program, and whatever it starts, is refused a ring, as in a container.
#[allow(unsafe_code, reason = "a seccomp filter, installed between fork and exec")]
fn without_rings(arguments: &[&str]) -> std::process::Output {
    let instruction = |code: u32, jt: u8, jf: u8, k: u32| {
        let code = u16::try_from(code).expect("codes are small");
        libc::sock_filter { code, jt, jf, k }
    };
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let answer = libc::BPF_RET | libc::BPF_K;
    let mut filter = [
        // The number of the system call is the first that a filter is given.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(equals, 0, 1, libc::SYS_io_uring_setup as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        instruction(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let mut command = common::harness();
    command.args(arguments);
    let install = move || {
        let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
        // SAFETY: prctl(2) is a plain system call, allowed between fork and exec. The program and
        // the instructions that it points to live in this closure, and are only read.
        let done = unsafe {
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
                && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program)
                    == 0
        };
        if done { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    };
    // SAFETY: the closure makes two system calls and nothing else.
    unsafe { command.pre_exec(install) };
    command.output().expect("it ends")
}

fn where_rings_are_forbidden_their_servers_are_not_run_rather_than_failed() {
    let why = "seccomp profile that allows io_uring_setup";
    let words = |output: &[u8]| String::from_utf8_lossy(output).into_owned();

    let served = without_rings(&["serve", "uring", "127.0.0.1", "0"]);
    assert_eq!(served.status.code(), Some(3));
    let said = words(&served.stderr);
    assert!(said.contains(why) && said.lines().count() == 1 && served.stdout.is_empty(), "{said}");

    let alone = without_rings(&["check", "uring-echo", "--json"]);
    assert_eq!(alone.status.code(), Some(3));
    let document: serde_json::Value = serde_json::from_slice(&alone.stdout).expect("a document");
    assert_eq!(document["cases"], serde_json::json!([]));
    assert!(document["not_run"].as_str().is_some_and(|words| words.contains(why)), "{document}");
    assert!(words(&alone.stderr).contains("uring-echo: not run: "));

    let among = ["check", "uring-echo", "select-echo", "--case", "framing/single"];
    let among = without_rings(&among);
    assert_eq!(among.status.code(), Some(0));
    let said = words(&among.stdout);
    assert!(
        said.contains("uring-echo: not run: ") && said.contains("1 passed, 0 failed"),
        "{said}"
    );

    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().to_str().expect("plain words");
    let run = ["run", "uring", "iterative", "--plan", "quick", "--output", output];
    let run = without_rings(&run);
    assert_eq!(run.status.code(), Some(0), "{}", words(&run.stdout));
    assert!(words(&run.stdout).contains("uring-calc: not run: "));
    for file in ["report.json", "index.html", "summary.md"] {
        let page = std::fs::read_to_string(folder.path().join(file)).expect("it is there");
        assert!(page.contains("is forbidden, as in many containers"), "{file}");
    }
}

/// A command that prints to standard output.
struct Printing {
    arguments: Vec<String>,
    input: &'static str,
    /// The exit code of its result.
    code: Option<i32>,
    /// The signal that ends it, and what must be so before.
    ended_by: Option<(Signal, Ready)>,
}

/// When a command that runs until it is told to end may be told.
#[derive(Clone, Copy)]
enum Ready {
    /// It answers a request on this port.
    Answers(u16),
    /// It has written to standard error.
    WritesErrors,
}

fn printing(arguments: &[&str]) -> Printing {
    let arguments = arguments.iter().map(|&one| one.to_owned()).collect();
    Printing { arguments, input: "", code: Some(0), ended_by: None }
}

/// Every subcommand that a user runs, in the least that makes it print.
fn all_printing(folder: &std::path::Path, served: &Served, ports: [u16; 2]) -> Vec<Printing> {
    let folder = |name: &str| folder.join(name).to_str().expect("plain words").to_owned();
    let (address, port) = (served.address.to_string(), served.port());
    let program = env!("CARGO_BIN_EXE_harness");
    let echo = format!("'{program}' serve select-echo {{host}} {{port}}");
    let wrong = format!("'{program}' known wrong:1 {{host}} {{port}}");
    let (replays, file) = (folder("replays"), folder("file.json"));
    let counterexample = serde_json::json!({
        "format": 1,
        "server": "select-echo",
        "check": "select-echo",
        "case": "results/echo-is-identical",
        "seed": 7,
        "counterexample": "x",
    });
    std::fs::write(&file, counterexample.to_string()).expect("a file");
    // Long enough that a busy machine answers something: otherwise the exit code is 1.
    let short = ["--duration", "2s", "--warm-up", "10ms"];
    let bench = ["bench", "select-echo", "--workload", "closed-1"];
    let against = ["bench", "select-echo", "--against", "poll-echo", "--launches", "4"];
    vec![
        printing(&["--help"]),
        printing(&["--version"]),
        printing(&["list", "servers"]),
        printing(&["list", "cases", "--json"]),
        printing(&["check", "server1", "--case", "framing/single"]),
        printing(&["check", "server1", "--case", "framing/single", "--json"]),
        Printing {
            code: Some(1),
            ..printing(&["check", "--service", "echo", "--case", "results/echo-is-identical"])
                .and(&["--replays", &replays, "--cmd", &wrong])
        },
        printing(&["replay", &file]),
        // Whatever the verdicts are.
        printing(&["run", "server1", "--plan", "quick", "--fail-on", "none"])
            .and(&["--output", &folder("report")]),
        printing(&["load", &address]).and(&short),
        printing(&["load", &address, "--json"]).and(&short),
        printing(&bench).and(&short),
        printing(&bench).and(&short).and(&["--json"]),
        printing(&against).and(&["--duration", "2s"]),
        printing(&["calibrate", "--rounds", "1", "--duration", "1s"]),
        printing(&["probe", "--cmd", &echo]),
        Printing { input: "hello\n", ..printing(&["client", "127.0.0.1", &port]) },
        Printing {
            code: Some(130),
            ended_by: Some((Signal::SIGINT, Ready::WritesErrors)),
            ..printing(&["selftest", "--json"])
        },
        Printing {
            ended_by: Some((Signal::SIGTERM, Ready::Answers(ports[0]))),
            ..printing(&["serve", "select-echo", "127.0.0.1", &ports[0].to_string()])
        },
        Printing {
            code: None,
            ended_by: Some((Signal::SIGKILL, Ready::Answers(ports[1]))),
            ..printing(&["known", "echo", "127.0.0.1", &ports[1].to_string()])
        },
    ]
}

impl Printing {
    fn and(mut self, arguments: &[&str]) -> Printing {
        self.arguments.extend(arguments.iter().map(|&one| one.to_owned()));
        self
    }

    /// Runs it, and returns its exit code and what it wrote to standard error.
    fn run(&self, stdout: Stdio, stderr_is_full: bool) -> (Option<i32>, String) {
        let folder = tempfile::tempdir().expect("a folder");
        let errors = folder.path().join("stderr");
        let stderr = if stderr_is_full { full() } else { created(&errors) };
        let mut command = common::harness();
        command.args(&self.arguments).stdin(Stdio::piped()).stdout(stdout).stderr(stderr);
        let mut child = command.spawn().expect("the harness starts");
        // One that reads no input may have ended.
        let _ = child.stdin.take().expect("it is piped").write_all(self.input.as_bytes());
        let written = || std::fs::read_to_string(&errors).unwrap_or_default();
        if let Some((signal, ready)) = self.ended_by {
            wait_until("it can be ended", || match ready {
                Ready::WritesErrors => !written().is_empty(),
                Ready::Answers(port) => is_answered(port),
            });
            kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
        }
        let mut status = None;
        common::wait_long_until("it ends", || {
            status = child.try_wait().expect("a status");
            status.is_some()
        });
        (status.and_then(|it| it.code()), written())
    }
}

fn is_answered(port: u16) -> bool {
    let ask = || {
        let mut client = TcpStream::connect(("127.0.0.1", port))?;
        client.set_read_timeout(Some(Duration::from_secs(1)))?;
        client.write_all(b"hello\n")?;
        client.read_exact(&mut [0; 6])
    };
    ask().is_ok()
}

fn full() -> Stdio {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full");
    full.expect("the kernel has it").into()
}

fn created(file: &std::path::Path) -> Stdio {
    std::fs::File::create(file).expect("a file").into()
}

/// A pipe whose reader is gone.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    writer.into()
}

/// How often a short run is tried that a busy machine may leave without a result.
const TRIES: usize = 3;

fn every_subcommand_reports_a_full_disk_and_ends_quietly_at_a_closed_pipe() {
    let folder = tempfile::tempdir().expect("a folder");
    let served = Served::start(&["server4", "127.0.0.1", "0"]);
    let [one, other] =
        [(); 2].map(|()| harness::server::Port::take([127, 0, 0, 1].into()).expect("a port"));
    let rows = all_printing(folder.path(), &served, [&one, &other].map(|port| port.number()));
    // Those that are for the harness's own use speak with it, and with nobody else.
    let internal = ["supervise", "help"];
    let command = <harness::cli::Cli as clap::CommandFactory>::command();
    for subcommand in command.get_subcommands().map(clap::Command::get_name) {
        let is_here = rows.iter().any(|row| row.arguments[0] == subcommand);
        assert!(is_here || internal.contains(&subcommand), "{subcommand} is not tried");
    }
    thread::scope(|scope| {
        for row in &rows {
            scope.spawn(move || {
                reports_a_full_disk(row);
                ends_quietly_at_a_closed_pipe(row);
            });
            // It says nothing that would tell when it can be ended.
            if row.ended_by.is_none() {
                scope.spawn(move || {
                    // A busy machine may leave a short run without a result, which is exit code 3.
                    let no_result = Some(3).filter(|code| Some(*code) != row.code);
                    let mut codes = (0..TRIES).map(|_| row.run(Stdio::null(), true).0);
                    let code = codes.find(|code| *code != no_result).unwrap_or(no_result);
                    assert_eq!(code, row.code, "{:?}, standard error is full", row.arguments);
                });
            }
        }
    });
}

fn reports_a_full_disk(row: &Printing) {
    let (code, words) = row.run(full(), false);
    let expected = row.code.map(|_| 3);
    assert_eq!(code, expected, "{:?}: {words}", row.arguments);
    let is_reported = words.contains("cannot write") && !words.contains("panicked");
    assert!(is_reported, "{:?}: {words}", row.arguments);
}

fn ends_quietly_at_a_closed_pipe(row: &Printing) {
    let (code, words) = row.run(closed(), false);
    assert_eq!(code, row.code, "{:?}: {words}", row.arguments);
    let is_quiet = !words.contains("panicked") && !words.contains("cannot write");
    assert!(is_quiet, "{:?}: {words}", row.arguments);
}
