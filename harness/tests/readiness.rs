//! A server listens only after all of its workers have started. Without `--workers`, a pattern with
//! a worker per CPU has one for each CPU of the server.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use harness::contract::Contract;
use harness::load::interleaved::LoadedServer;
use harness::load::placement::{Pin, Placement};
use harness::server::proc::{self, Shortage};
use harness::server::{LaunchSpec, Launcher, Process};
use libtest_mimic::{Completion, Failed};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use servers::{Limits, PATTERNS, Pattern, Service, WorkerKind, Workers};

use crate::common::{DEADLINE, Test, harness, wait_until};

/// Number of workers: more than the default on a machine with one CPU.
const WORKERS: usize = 3;

pub(crate) fn tests() -> Vec<Test> {
    let ready = PATTERNS.iter().map(|pattern| {
        let name = format!("{}::listens_only_after_all_workers_have_started", pattern.id);
        Test::ignorable(name, || {
            unless_unavailable(pattern, listens_only_after_all_workers_have_started)
        })
    });
    let per_core = PATTERNS.iter().filter(|pattern| matches!(pattern.workers, Workers::PerCore(_)));
    let counted = per_core.map(|pattern| {
        let name = format!("{}::has_a_worker_for_each_assigned_cpu", pattern.id);
        Test::ignorable(name, || unless_unavailable(pattern, has_a_worker_for_each_assigned_cpu))
    });
    let others = [
        Test::ignorable(
            "a_python_server_sees_only_its_assigned_cpus",
            a_python_server_sees_only_its_assigned_cpus,
        )
        .needing("python3"),
        Test::new(
            "a_compared_server_starts_on_its_assigned_cpus",
            a_compared_server_starts_on_its_assigned_cpus,
        ),
    ];
    ready.chain(counted).chain(others).collect()
}

fn unless_unavailable(
    pattern: &Pattern,
    test: fn(&Pattern) -> Result<Completion, Failed>,
) -> Result<Completion, Failed> {
    match pattern.unavailable() {
        Some(reason) => Ok(Completion::ignored_with(reason)),
        None => test(pattern),
    }
}

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

/// Returns an error with the evidence, unless the condition is true.
fn ensure(condition: bool, evidence: impl std::fmt::Debug) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(format!("{evidence:?}").into()) }
}

/// Returns a pipe whose buffer is full, so that a write blocks.
fn full_pipe() -> Result<(BufReader<File>, OwnedFd), Failed> {
    let (reader, writer) = std::io::pipe()?;
    let (reader, mut writer) = (OwnedFd::from(reader), File::from(OwnedFd::from(writer)));
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((BufReader::new(reader.into()), writer.into()))
}

/// A process that is killed when dropped.
struct KillOnDrop(std::process::Child);

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server prints `… listens on …` right after listen(2), and its output pipe is full, so it
/// blocks at the first moment at which a client can connect. The test checks that by then all
/// workers exist, and that the server needs no further descriptor than the one for the client.
fn listens_only_after_all_workers_have_started(pattern: &Pattern) -> Result<Completion, Failed> {
    let unit = match pattern.workers {
        Workers::PerCore(unit) | Workers::Pool(unit, _) => Some(unit),
        Workers::One | Workers::PerClient(_) => None,
    };
    let (reader, writer) = full_pipe()?;
    let mut serve = harness();
    serve.args(["serve", &format!("{}-echo", pattern.id), "127.0.0.1", "0"]).stdout(writer);
    if unit.is_some() {
        serve.args(["--workers", &WORKERS.to_string()]);
    }
    let served = KillOnDrop(serve.spawn()?);
    drop(serve);
    let tree = || proc::tree(served.0.id() as i32);
    wait_until("the server listens", || !proc::listening(&tree()).is_empty());
    let before = proc::resource_usage(&tree());
    match unit {
        Some(WorkerKind::Process) => ensure(before.processes == 1 + WORKERS, before)?,
        Some(WorkerKind::Thread) => ensure(before.threads > WORKERS, before)?,
        None => {}
    }
    let (address, opened) = (proc::listening(&tree())[0], open_descriptors(&tree()));
    let undo = proc::exhaust_descriptors(&tree(), Shortage::AboveLowestUnused)?;
    let announced = thread::spawn(move || {
        reader.lines().map_while(Result::ok).find(|line| line.contains("listens on"))
    });
    let line =
        announced.join().expect("no panic in the thread").ok_or("the server printed no address")?;
    ensure(line.contains(&address.to_string()), line)?;
    // The server has finished its setup when all threads sleep.
    wait_until("all threads of the server sleep", || (0..5).all(|_| proc::is_asleep(&tree())));
    proc::restore_descriptors(&undo);
    let _client = connect_and_ask(address)?;
    let now = proc::resource_usage(&tree());
    if !matches!(pattern.workers, Workers::PerClient(_)) {
        let is_as_before = (now.processes, now.threads) == (before.processes, before.threads);
        ensure(is_as_before, (before, now))?;
        // At most, because the server may have closed descriptors of its setup. A parent that
        // passes the connection to a child closes its copy after that.
        wait_until("the server has at most one further descriptor", || {
            open_descriptors(&tree()) <= opened + 1
        });
    }
    Ok(Completion::Completed)
}

/// Returns the number of entries in `/proc/PID/fd`. A descriptor that a blocked accept(2) reserves
/// is not among them.
fn open_descriptors(tree: &[i32]) -> usize {
    let folders = tree.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    folders.map(Iterator::count).sum()
}

/// Connects, and returns the connection after one reply.
fn connect_and_ask(address: SocketAddr) -> Result<TcpStream, Failed> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(DEADLINE))?;
    client.write_all(b"41\n")?;
    let mut reply = String::new();
    BufReader::new(&client).read_line(&mut reply)?;
    ensure(reply == "41\n", reply)?;
    Ok(client)
}

/// Returns the CPUs that the calling thread may use.
fn usable_cpus() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("a CPU set");
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
}

/// Returns the threads of a server, without the kernel's io_uring workers.
fn threads(process: &Process) -> Vec<i32> {
    let is_server_thread = |thread: &i32| {
        let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        !name.starts_with("iou-")
    };
    proc::threads(&process.tree()).into_iter().filter(is_server_thread).collect()
}

fn has_a_worker_for_each_assigned_cpu(pattern: &Pattern) -> Result<Completion, Failed> {
    let cpus = usable_cpus();
    let server = servers::find(&format!("{}-echo", pattern.id)).expect("a known server name");
    let spec = |workers| {
        let limits = Limits { workers, ..Limits::default() };
        LaunchSpec::builtin(&launcher(), &server, &limits).expect("valid limits")
    };
    for number in [1, cpus.len()] {
        let assigned = &cpus[..number];
        let with_flag = launcher().launch(&spec(Some(number)))?;
        let by_default = launcher().pinned_to(Some(assigned)).launch(&spec(None))?;
        let [with_flag, by_default] = [&with_flag, &by_default].map(|it| threads(&it.process));
        ensure(with_flag.len() == by_default.len(), (number, with_flag.len(), by_default.len()))?;
        for thread in by_default {
            ensure(allowed_cpus(thread)? == assigned, thread)?;
        }
    }
    match cpus.len() {
        1 => Ok(Completion::ignored_with("needs at least 2 CPUs")),
        _ => Ok(Completion::Completed),
    }
}

/// Returns the CPUs that a thread may use.
fn allowed_cpus(thread: i32) -> Result<Vec<usize>, Failed> {
    let set = sched_getaffinity(Pid::from_raw(thread))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

fn a_python_server_sees_only_its_assigned_cpus() -> Result<Completion, Failed> {
    let script = "import os; print('may use', *sorted(os.sched_getaffinity(0)), flush=True)";
    let command = format!("python3 -c \"{script}\" {{port}}");
    let spec =
        LaunchSpec::external(&command, Contract::undeclared(Service::Echo)).expect("a command");
    let last = *usable_cpus().last().ok_or("no CPU")?;
    let process = launcher().pinned_to(Some(&[last])).start(&spec, "127.0.0.1", "0")?;
    process.wait_for_exit(DEADLINE);
    let log = process.end().log;
    ensure(log == format!("may use {last}"), log)?;
    Ok(Completion::Completed)
}

fn a_compared_server_starts_on_its_assigned_cpus() -> Result<(), Failed> {
    let placement = Placement::find(Pin::Apart, 1)?;
    let assigned = placement.of_server().map_or_else(usable_cpus, <[usize]>::to_vec);
    let server = servers::find("reuseport-echo").expect("a known server name");
    let spec = LaunchSpec::builtin(&launcher(), &server, &Limits::default())?;
    let loaded = LoadedServer::launch(&launcher(), &spec, (1, DEADLINE), &placement)?;
    let threads = threads(&loaded.running.process);
    // One thread per CPU, and the main thread, which waits for them.
    ensure(threads.len() == 1 + assigned.len(), threads.len())?;
    threads.into_iter().try_for_each(|thread| ensure(allowed_cpus(thread)? == assigned, thread))
}
