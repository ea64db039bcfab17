//! A server can be reached when all of its workers are there, and has as many of them as it was
//! given CPUs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::thread;

use harness::contract::Contract;
use harness::load::interleaved::Loaded;
use harness::load::placement::{Pin, Placement};
use harness::server::{LaunchSpec, Launcher, Process, proc};
use libtest_mimic::{Completion, Failed};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use servers::{Limits, PATTERNS, Pattern, Service, Unit, Workers};

use crate::common::{DEADLINE, Test, harness, needs, wait_until};

/// More than a machine that has one CPU would give it.
const WORKERS: usize = 3;

pub(crate) fn tests() -> Vec<Test> {
    let ready = PATTERNS.iter().map(|pattern| {
        let name = format!("{}::listens_when_all_workers_are_there", pattern.id);
        Test::ignorable(name, || unless_unavailable(pattern, listens_when_all_are_there))
    });
    let per_core = PATTERNS.iter().filter(|it| matches!(it.workers, Workers::PerCore(_)));
    let counted = per_core.map(|pattern| {
        let name = format!("{}::has_a_worker_for_each_cpu_it_is_given", pattern.id);
        Test::ignorable(name, || unless_unavailable(pattern, has_a_worker_for_each_cpu))
    });
    let others = [
        Test::ignorable("a_python_server_counts_the_cpus_it_is_given", || {
            needs("python3", a_python_server_counts_its_cpus)
        }),
        Test::new("a_server_that_is_compared_is_started_on_its_cpus", compared_on_its_cpus),
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

fn holds(is_so: bool, seen: impl std::fmt::Debug) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

/// A pipe that takes no further byte.
fn full_pipe() -> Result<(BufReader<File>, OwnedFd), Failed> {
    let (reader, writer) = std::io::pipe()?;
    let (reader, mut writer) = (OwnedFd::from(reader), File::from(OwnedFd::from(writer)));
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    fcntl(writer.as_fd(), FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((BufReader::new(reader.into()), writer.into()))
}

/// Kills the process when dropped.
struct Served(std::process::Child);

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The server announces that it listens, and cannot: it stays at the first moment at which a client
/// could connect. All that it needs is there, so that it serves although it gets no descriptor more.
fn listens_when_all_are_there(pattern: &Pattern) -> Result<Completion, Failed> {
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
    let served = Served(serve.spawn()?);
    drop(serve);
    let tree = || proc::tree(served.0.id() as i32);
    wait_until("it listens", || !proc::listening(&tree()).is_empty());
    let before = proc::holdings(&tree());
    match unit {
        Some(Unit::Process) => holds(before.processes == 1 + WORKERS, before)?,
        Some(Unit::Thread) => holds(before.threads > WORKERS, before)?,
        None => {}
    }
    let (address, opened) = (proc::listening(&tree())[0], open_descriptors(&tree()));
    let undo = proc::exhaust_descriptors(&tree())?;
    let announced = thread::spawn(move || {
        reader.lines().map_while(Result::ok).find(|line| line.contains("listens on"))
    });
    let line = announced.join().expect("no panic").ok_or("it ended")?;
    holds(line.contains(&address.to_string()), line)?;
    // Whatever else it did as soon as it listened, it has done.
    wait_until("it waits for clients", || (0..5).all(|_| proc::is_asleep(&tree())));
    proc::restore_descriptors(&undo);
    let _client = ask(address)?;
    let now = proc::holdings(&tree());
    if !matches!(pattern.workers, Workers::PerClient(_)) {
        let is_as_before = (now.processes, now.threads) == (before.processes, before.threads);
        holds(is_as_before, (before, now))?;
        // It may have closed what it needed to set up.
        let added = open_descriptors(&tree()).saturating_sub(opened);
        holds(added <= 1, added)?;
    }
    Ok(Completion::Completed)
}

/// How many descriptors the processes have, without those that calls of accept(2) hold in reserve.
fn open_descriptors(tree: &[i32]) -> usize {
    let folders = tree.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok());
    folders.map(Iterator::count).sum()
}

/// A client that was answered.
fn ask(address: SocketAddr) -> Result<TcpStream, Failed> {
    let mut client = TcpStream::connect(address)?;
    client.set_read_timeout(Some(DEADLINE))?;
    client.write_all(b"41\n")?;
    let mut reply = String::new();
    BufReader::new(&client).read_line(&mut reply)?;
    holds(reply == "41\n", reply)?;
    Ok(client)
}

/// The CPUs that this thread may use.
fn usable() -> Vec<usize> {
    let set = sched_getaffinity(Pid::from_raw(0)).expect("a set");
    (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect()
}

/// The threads of a server, without those by which the kernel does its part of io_uring.
fn threads(process: &Process) -> Vec<i32> {
    let is_own = |thread: &i32| {
        let name = fs::read_to_string(format!("/proc/{thread}/comm")).unwrap_or_default();
        !name.starts_with("iou-")
    };
    proc::threads(&process.tree()).into_iter().filter(is_own).collect()
}

fn has_a_worker_for_each_cpu(pattern: &Pattern) -> Result<Completion, Failed> {
    let cpus = usable();
    let server = servers::find(&format!("{}-echo", pattern.id)).expect("its name");
    let spec = |workers| {
        let limits = Limits { workers, ..Limits::default() };
        LaunchSpec::builtin(&launcher(), &server, &limits).expect("limits that it can keep")
    };
    for number in [1, cpus.len()] {
        let given = &cpus[..number];
        let told = launcher().launch(&spec(Some(number)))?;
        let counts = launcher().on(Some(given)).launch(&spec(None))?;
        let [told, counts] = [&told, &counts].map(|it| threads(&it.process));
        holds(told.len() == counts.len(), (number, told.len(), counts.len()))?;
        for thread in counts {
            holds(may_use(thread)? == given, thread)?;
        }
    }
    match cpus.len() {
        1 => Ok(Completion::ignored_with("there is one CPU, which proves little")),
        _ => Ok(Completion::Completed),
    }
}

fn may_use(thread: i32) -> Result<Vec<usize>, Failed> {
    let set = sched_getaffinity(Pid::from_raw(thread))?;
    Ok((0..CpuSet::count()).filter(|&cpu| set.is_set(cpu) == Ok(true)).collect())
}

fn a_python_server_counts_its_cpus() -> Result<Completion, Failed> {
    let script = "import os; print('may use', *sorted(os.sched_getaffinity(0)), flush=True)";
    let command = format!("python3 -c \"{script}\" {{port}}");
    let spec =
        LaunchSpec::foreign(&command, Contract::undeclared(Service::Echo)).expect("a command");
    let last = *usable().last().ok_or("there is one")?;
    let process = launcher().on(Some(&[last])).start(&spec, "127.0.0.1", "0")?;
    process.wait_for_exit(DEADLINE);
    let log = process.end().log;
    holds(log == format!("may use {last}"), log)?;
    Ok(Completion::Completed)
}

fn compared_on_its_cpus() -> Result<(), Failed> {
    let placement = Placement::find(Pin::Apart, 1)?;
    let given = placement.of_server().map_or_else(usable, <[usize]>::to_vec);
    let server = servers::find("reuseport-echo").expect("its name");
    let spec = LaunchSpec::builtin(&launcher(), &server, &Limits::default())?;
    let loaded = Loaded::launch(&launcher(), &spec, 1, &placement)?;
    let threads = threads(&loaded.running.process);
    // The first one waits for the others.
    holds(threads.len() == 1 + given.len(), threads.len())?;
    threads.into_iter().try_for_each(|thread| holds(may_use(thread)? == given, thread))
}
