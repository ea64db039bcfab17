//! Tests worker processes. The tests run in the main thread, without `#[test]`, because
//! `WorkerProcesses` rejects a process with several threads.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;
use servers::processes::SharedMutex;
use servers::processes::WorkerProcesses;
use servers::shutdown::Shutdown;

/// Deadline for every expected event.
const DEADLINE: Duration = Duration::from_secs(20);

fn main() {
    a_child_never_returns_into_its_parents_code();
    failing_children_are_not_restarted_for_ever();
    a_mutex_of_a_killed_holder_passes_to_the_next();
    a_child_waiting_for_a_mutex_exits_on_sigterm();
}

fn shutdown() -> Shutdown {
    Shutdown::install().expect("handlers")
}

fn children() -> WorkerProcesses {
    WorkerProcesses::new(shutdown()).expect("a process with one thread")
}

fn wait_until(condition: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "timed out waiting until {condition}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn a_child_never_returns_into_its_parents_code() {
    let (mut read, write) = UnixStream::pair().expect("a pair");
    let mut children = children();
    let bodies: [fn() -> io::Result<()>; 3] =
        [|| Ok(()), || Err(io::Error::other("on purpose")), || panic!("on purpose")];
    let parent_id = std::process::id().to_ne_bytes();
    for body in bodies {
        children.fork(&[write.as_raw_fd()], body).expect("a child");
        // A child that reached this line would write another id.
        (&write).write_all(&std::process::id().to_ne_bytes()).expect("a complete write");
    }
    let mut exited = 0;
    let deadline = Instant::now() + DEADLINE;
    while exited < bodies.len() {
        assert!(Instant::now() < deadline, "timed out");
        children.wait(&[]).expect("no error");
        exited += children.reap().len();
    }
    assert_eq!(children.active(), 0);
    drop(write);
    let mut written = Vec::new();
    read.read_to_end(&mut written).expect("the end of the stream");
    assert_eq!(written, parent_id.repeat(bodies.len()));
}

fn failing_children_are_not_restarted_for_ever() {
    let (read, write) = UnixStream::pair().expect("a pair");
    read.set_nonblocking(true).expect("a non-blocking socket");
    let mut children = children();
    let error = children
        .maintain(3, &[write.as_raw_fd()], || Ok(()), || (&write).write_all(b"."))
        .expect_err("all children exit at once");
    assert!(error.to_string().contains("giving up"), "{error}");
    let mut forked = 0;
    loop {
        match (&read).read(&mut [0; 64]) {
            Ok(count) => forked += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((3..=3 * 20).contains(&forked), "{forked} children were forked");
}

/// Forks a child that writes its process id once it holds the mutex, and never releases the mutex.
fn fork_holder(children: &mut WorkerProcesses, mutex: &SharedMutex, channel: &UnixStream) -> Pid {
    let mut channel_end = channel;
    let hold = || {
        channel_end.write_all(&std::process::id().to_ne_bytes())?;
        // Blocks, because no process writes to the channel.
        channel_end.read(&mut [0]).map(Some)
    };
    let body = || mutex.hold(shutdown(), hold).map(drop);
    children.fork(&[channel.as_raw_fd()], body).expect("a child")
}

/// Waits until a child holds the mutex, and returns its process id.
fn wait_for_holder(mut channel: &UnixStream) -> Pid {
    channel.set_read_timeout(Some(DEADLINE)).expect("a timeout");
    let mut number = [0; 4];
    channel.read_exact(&mut number).expect("a holder");
    Pid::from_raw(i32::from_ne_bytes(number))
}

fn a_mutex_of_a_killed_holder_passes_to_the_next() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mutex = SharedMutex::new().expect("memory");
    let mut children = children();
    let mut waiting: Vec<Pid> =
        (0..3).map(|_| fork_holder(&mut children, &mutex, &theirs)).collect();
    while !waiting.is_empty() {
        let holder = wait_for_holder(&ours);
        waiting.retain(|&pid| pid != holder);
        kill(holder, Signal::SIGKILL).expect("a child");
    }
    drop(children);
    for _ in 0..2 {
        let result = mutex.hold(shutdown(), || Ok(Some(()))).expect("a free mutex");
        assert!(result.is_some());
    }
}

fn a_child_waiting_for_a_mutex_exits_on_sigterm() {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let mutex = SharedMutex::new().expect("memory");
    let mut children = children();
    let first = fork_holder(&mut children, &mutex, &theirs);
    assert_eq!(wait_for_holder(&ours), first);
    let second = fork_holder(&mut children, &mutex, &theirs);
    wait_until("the second child waits for the mutex", || {
        // The child sleeps for no other reason. A signal before the wait has the same effect.
        let stat = fs::read_to_string(format!("/proc/{second}/stat")).expect("a child");
        stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('S'))
    });
    kill(second, Signal::SIGTERM).expect("a child");
    let mut status = WaitStatus::StillAlive;
    wait_until("the second child exits", || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        status = waitid(Id::Pid(second), flags).expect("a child");
        status != WaitStatus::StillAlive
    });
    assert_eq!(status, WaitStatus::Exited(second, 0));
    assert_eq!(children.reap(), [second], "the first child runs");
}
