//! Servers that tell what they were given, and servers that take what they should not have.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;

use harness::server::{MOST_TASKS, proc};
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;
use socket2::{Domain, Socket, Type};

/// Takes a role, if this process was started for one.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["role", "tells"] => tell().expect("it can tell"),
        ["role", "fixed", port] => serve_at(port.parse().expect("a port")).expect("its port"),
        ["role", "executes", port] => execute(port.parse().expect("a port")).expect("its port"),
        ["role", "everywhere", port] => serve_everywhere(port.parse().expect("a port")),
        ["role", "types", port] => type_and_serve(port.parse().expect("a port")),
        ["role", "allocates", bytes] => allocate(bytes.parse().expect("a number")),
        ["role", "works"] => loop {
            std::hint::spin_loop();
        },
        ["role", "writes", ref paths @ ..] => paths.iter().copied().for_each(write),
        ["role", "networks"] => {
            print!("{}", fs::read_to_string("/proc/thread-self/net/dev").expect("interfaces"));
        }
        ["role", "kills", pid] => {
            let pid = Pid::from_raw(pid.parse().expect("a process"));
            println!("{:?}", kill(pid, Signal::SIGKILL));
        }
        ["role", "forks", count] => fork(count.parse().expect("a number")),
        ["role", "bomb"] => bomb(),
        ["role", "child"] => sleep(),
        ["role", ref other @ ..] => panic!("no such role: {other:?}"),
        _ => return,
    }
    std::process::exit(0);
}

/// This program in a role.
pub(crate) fn words(role: &[&str]) -> Vec<String> {
    let program = std::env::current_exe().expect("the kernel knows");
    let words = [&program.to_string_lossy(), "role"].map(str::to_owned);
    words.into_iter().chain(role.iter().map(|&word| word.to_owned())).collect()
}

fn this(role: &[&str]) -> Command {
    let words = words(role);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn tell() -> io::Result<()> {
    let mut input = String::new();
    io::stdin().read_to_string(&mut input)?;
    let environment: HashMap<String, String> =
        std::env::vars().filter(|(name, _)| name.starts_with("TOLD_")).collect();
    println!("folder {}", std::env::current_dir()?.display());
    println!("environment {environment:?}");
    println!("input {input:?}");
    Ok(())
}

/// A calculator that leaves calculating to a shell, and does all else that a request says.
fn execute(port: u16) -> io::Result<()> {
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

/// Listens on `::`, for clients of IPv4 too, as servers in Go, Java and JavaScript do by default.
fn serve_everywhere(port: u16) {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).expect("its port");
    echo(&listener, "");
}

/// What a terminal takes for a command: to have another title.
pub(crate) const TITLE: &str = "\x1b]0;";

/// Puts a command into the input of each terminal that it gets hold of, writes what a terminal
/// obeys wherever it can, and answers so.
fn type_and_serve(port: u16) {
    for terminal in [0, 1, 2] {
        type_into(terminal);
    }
    for path in ["/dev/tty", "/dev/console"] {
        if let Ok(mut terminal) = OpenOptions::new().read(true).write(true).open(path) {
            type_into(terminal.as_raw_fd());
            let _ = terminal.write_all(format!("{TITLE}written\x07").as_bytes());
        }
    }
    let _ = fs::write("/proc/self/comm", format!("{TITLE}name\x07"));
    println!("{TITLE}printed\x07");
    eprintln!("{TITLE}told\x07");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("its port");
    echo(&listener, TITLE);
}

#[allow(unsafe_code, reason = "ioctl(2)")]
fn type_into(terminal: RawFd) {
    for byte in b"id\n" {
        // SAFETY: TIOCSTI reads one byte at the pointer, which is to one that lives.
        let _ = unsafe { libc::ioctl(terminal, libc::TIOCSTI, std::ptr::from_ref(byte)) };
    }
}

/// Answers each line of one client after the other.
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

/// Ends each connection first, so that its own side is what lingers, and does not set SO_REUSEADDR.
fn serve_at(port: u16) -> io::Result<()> {
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

/// Becomes more and more, as long as there is room for others on this machine.
fn bomb() -> ! {
    loop {
        if proc::tasks_of_all().is_some_and(|all| all < MOST_TASKS) {
            let _ = this(&["bomb"]).spawn();
        } else {
            thread::park();
        }
    }
}

fn allocate(bytes: usize) {
    match Vec::<u8>::new().try_reserve_exact(bytes) {
        Ok(()) => println!("it has them"),
        Err(error) => println!("refused: {error}"),
    }
}

fn write(path: &str) {
    match fs::write(path, "x".repeat(1000)) {
        Ok(()) => println!("{path}: written"),
        Err(error) => println!("{path}: {:?}", error.kind()),
    }
}

/// Has many children, which nobody waits for, that ignore signals, half of them in sessions of their own, and half of those
/// without a parent.
fn fork(count: usize) {
    let mut children = Vec::new();
    for number in 0..count {
        let mut child = match number % 4 {
            0 => {
                let words = words(&["child"]).join("' '");
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("setsid '{words}' & exit 0"));
                shell
            }
            1 => {
                let mut child = Command::new("setsid");
                child.args(words(&["child"]));
                child
            }
            2 => {
                let mut child = this(&["child"]);
                child.process_group(0);
                child
            }
            _ => this(&["child"]),
        };
        children.push(child.spawn().expect("a child"));
    }
    sleep();
}

#[allow(unsafe_code, reason = "signal(2)")]
fn sleep() {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("it can be ignored");
    }
    loop {
        thread::park();
    }
}
