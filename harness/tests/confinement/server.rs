//! The roles of this program as a server under test: some print their environment, others exceed
//! limits or attack the harness.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use harness::server::{MAX_TASKS, proc};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

/// Runs the role that this process was started for, if any, and exits.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["role", "prints-environment"] => print_environment().expect("readable input"),
        ["role", "prints-descriptors"] => print_descriptors().expect("/proc/self/fd"),
        ["role", "fixed-port", port] => {
            serve_fixed_port(port.parse().expect("a port")).expect("a free port");
        }
        ["role", "shell", port] => serve_shell(port.parse().expect("a port")).expect("a free port"),
        ["role", "all-addresses", port] => serve_all_addresses(port.parse().expect("a port")),
        ["role", "injects-input", port] => inject_input_and_serve(port.parse().expect("a port")),
        ["role", "allocates", bytes] => allocate(bytes.parse().expect("a number")),
        ["role", "spins"] => loop {
            std::hint::spin_loop();
        },
        ["role", "writes", ref paths @ ..] => paths.iter().copied().for_each(write),
        ["role", "prints-interfaces"] => {
            print!(
                "{}",
                fs::read_to_string("/proc/thread-self/net/dev").expect("/proc/thread-self/net/dev")
            );
        }
        ["role", "kills", pid] => {
            let pid = Pid::from_raw(pid.parse().expect("a process id"));
            println!("{:?}", kill(pid, Signal::SIGKILL));
        }
        ["role", "forks", count] => fork(count.parse().expect("a number")),
        ["role", "fork-bomb"] => fork_bomb(),
        ["role", "sleeps"] => sleep(),
        ["role", ref other @ ..] => panic!("no such role: {other:?}"),
        _ => return,
    }
    std::process::exit(0);
}

/// Returns the command line of this program in a role.
pub(crate) fn words(role: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().expect("the path of this program");
    let words = [&program.to_string_lossy(), "role"].map(str::to_owned);
    words.into_iter().chain(role.iter().map(|&word| word.to_owned())).collect()
}

/// Returns a command that starts this program in a role.
fn this_program(role: &[&str]) -> Command {
    let words = words(role);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn print_environment() -> io::Result<()> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let environment: HashMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with("TEST_")).collect();
    println!("folder {}", std::env::current_dir()?.display());
    println!("environment {environment:?}");
    println!("input {input:?}");
    Ok(())
}

/// Prints the open descriptors, without the one that lists them.
fn print_descriptors() -> io::Result<()> {
    let mut open = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        let path = entry?.path();
        if !fs::read_link(&path)?.starts_with("/proc") {
            open.push(path.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    open.sort();
    println!("descriptors {}", open.join(" "));
    Ok(())
}

/// A calculator that passes each request to a shell, which also runs commands in the request.
fn serve_shell(port: u16) -> io::Result<()> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", port))?;
    for client in listener.incoming() {
        let mut client = client?;
        thread::spawn(move || {
            let lines = BufReader::new(client.try_clone()?).lines();
            for line in lines {
                let script = format!("echo $(( {0} )) || {0}", line?);
                let output = Command::new("sh").args(["-c", &script]).output()?;
                let reply = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
                client.write_all(format!("{}\n", reply.trim()).as_bytes())?;
            }
            Ok::<_, io::Error>(())
        });
    }
    Ok(())
}

/// Listens on `::` with a dual-stack socket, as servers in Go, Java and JavaScript do by default.
fn serve_all_addresses(port: u16) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("a free port");
    echo(&listener, "");
}

/// Escape sequence that sets the title of a terminal.
pub(crate) const TITLE: &str = "\x1b]0;";

/// Injects a command into the input of each reachable terminal. Writes escape sequences to the
/// terminals, the process name, both outputs and the replies.
fn inject_input_and_serve(port: u16) {
    for terminal in [0, 1, 2] {
        inject_input(terminal);
    }
    for path in ["/dev/tty", "/dev/console"] {
        if let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open(path) {
            inject_input(terminal.as_raw_fd());
            let _ = terminal.write_all(format!("{TITLE}written\x07").as_bytes());
        }
    }
    let _ = fs::write("/proc/self/comm", format!("{TITLE}name\x07"));
    println!("{TITLE}printed\x07");
    eprintln!("{TITLE}printed to stderr\x07");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
    echo(&listener, TITLE);
}

#[allow(unsafe_code, reason = "ioctl(2)")]
fn inject_input(terminal: RawFd) {
    for byte in b"id\n" {
        // SAFETY: TIOCSTI reads one byte at the pointer, which points to a static.
        let _ = unsafe { libc::ioctl(terminal, libc::TIOCSTI, std::ptr::from_ref(byte)) };
    }
}

/// Echoes every line with a prefix, one client after the other.
fn echo(listener: &TcpListener, before: &str) {
    for client in listener.incoming() {
        let Ok(mut client) = client else { continue };
        let Ok(lines) = client.try_clone().map(BufReader::new) else { continue };
        for line in lines.lines().map_while(Result::ok) {
            if client.write_all(format!("{before}{line}\n").as_bytes()).is_err() {
                break;
            }
        }
    }
}

/// Answers one line per connection, then closes it first, so that the server's port is in
/// TIME_WAIT. Does not set SO_REUSEADDR.
fn serve_fixed_port(port: u16) -> io::Result<()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from(([0, 0, 0, 0], port)).into())?;
    socket.listen(16)?;
    loop {
        let (mut client, _) = socket.accept()?;
        let mut line = String::new();
        BufReader::new(client.try_clone()?).read_line(&mut line)?;
        client.write_all(line.as_bytes())?;
    }
}

/// Starts copies of this program. Each copy does the same. Stops at `MAX_TASKS` on this
/// machine.
fn fork_bomb() -> ! {
    loop {
        if proc::all_tasks().is_some_and(|all| all < MAX_TASKS) {
            let _ = this_program(&["fork-bomb"]).spawn();
        } else {
            thread::park();
        }
    }
}

fn allocate(bytes: usize) {
    match Vec::<u8>::new().try_reserve_exact(bytes) {
        Ok(()) => println!("allocated"),
        Err(error) => println!("refused: {error}"),
    }
}

fn write(path: &str) {
    match fs::write(path, "x".repeat(1000)) {
        Ok(()) => println!("{path}: written"),
        Err(error) => println!("{path}: {:?}", error.kind()),
    }
}

/// Starts children that ignore signals and are never reaped. Half of them are in new sessions, and
/// half of those are orphans.
fn fork(count: usize) {
    let mut children = Vec::new();
    for number in 0..count {
        let mut child = match number % 4 {
            0 => {
                let words = words(&["sleeps"]).join("' '");
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("setsid '{words}' & exit 0"));
                shell
            }
            1 => {
                let mut child = Command::new("setsid");
                child.args(words(&["sleeps"]));
                child
            }
            2 => {
                let mut child = this_program(&["sleeps"]);
                child.process_group(0);
                child
            }
            _ => this_program(&["sleeps"]),
        };
        children.push(child.spawn().expect("a child"));
    }
    sleep();
}

#[allow(unsafe_code, reason = "signal(2)")]
fn sleep() {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("a signal that can be ignored");
    }
    loop {
        thread::park();
    }
}
