//! What a server is given and where it runs; what it cannot do and have. What takes a namespace is
//! not run where there is none to be had: `cargo test confinement::`.

mod server;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use harness::conformance::{Runner, Verdict, cases, judge_all};
use harness::contract::Contract;
use harness::exit::Exit;
use harness::server::{
    Confinement, Ended, LaunchError, LaunchSpec, Launcher, Place, Process, Surroundings, network,
    proc,
};
use libtest_mimic::{Completion, Failed};
use nix::pty::{OpenptyResult, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use nix::unistd::Pid;
use servers::Service;

use crate::common::{DEADLINE, Test, harness, runs, wait_until};

/// A user who has no process.
const NOBODY_ELSE: u32 = 54_322;

/// Where servers with a port of their own listen.
const PORT: u16 = 5007;

type Claim = (&'static str, fn() -> Result<(), Failed>);

/// What holds everywhere.
const EVERYWHERE: &[Claim] = &[
    ("input_is_given_and_ends", input_is_given_and_ends),
    ("input_that_is_not_read_holds_nobody_up", input_that_is_not_read_holds_nobody_up),
    ("without_input_there_is_none", without_input_there_is_none),
    ("folder_and_environment_reach_the_server", folder_and_environment_reach_the_server),
    ("a_folder_or_program_that_is_not_there_is_told", what_is_not_there_is_told),
    ("a_server_is_launched_from_its_own_folder", a_server_is_launched_from_its_own_folder),
    ("a_memory_limit_makes_an_allocation_fail", a_memory_limit_makes_an_allocation_fail),
    ("processor_time_has_a_limit", processor_time_has_a_limit),
    ("a_file_has_a_limit", a_file_has_a_limit),
    ("too_many_tasks_end_the_tree", too_many_tasks_end_the_tree),
    ("a_fork_bomb_is_ended", a_fork_bomb_is_ended),
    ("a_lifetime_ends_the_tree", a_lifetime_ends_the_tree),
    ("hundreds_of_children_are_killed_and_reaped", hundreds_of_children_are_killed_and_reaped),
    ("output_without_end_is_read_no_faster_than_so", output_without_end_has_a_rate),
    ("a_server_types_nothing_into_the_users_terminal", types_nothing),
    ("without_a_network_servers_of_one_port_take_turns", servers_of_one_port_take_turns),
];

/// What takes a network of its own.
const IN_A_NETWORK: &[Claim] = &[
    ("a_fixed_port_is_free_again_at_once", a_fixed_port_is_free_again_at_once),
    ("servers_of_one_port_run_side_by_side", servers_of_one_port_run_side_by_side),
    ("a_server_of_a_fixed_port_is_judged", a_server_of_a_fixed_port_is_judged),
    ("alone_in_its_network_there_is_only_loopback", alone_there_is_only_loopback),
    ("a_thread_returns_to_its_network", a_thread_returns_to_its_network),
    ("without_ipv6_a_server_on_all_addresses_is_reached", without_ipv6_it_is_reached),
];

/// What takes mounts of its own, and a kernel that can confine signals.
const SHUT_IN: &[Claim] = &[
    ("a_read_only_server_writes_to_its_own_tmp_alone", a_read_only_server_writes_to_tmp_alone),
    ("a_read_only_server_still_sees_its_folder", a_read_only_server_still_sees_its_folder),
    ("a_confined_server_cannot_kill_the_harness", a_confined_server_cannot_kill_the_harness),
    ("a_confined_server_types_nothing_into_the_users_terminal", types_nothing_confined),
    ("a_confined_server_opens_no_terminal", opens_no_terminal),
    ("a_confined_server_is_seen_and_ended_as_any", a_confined_server_is_seen_and_ended_as_any),
    ("a_confined_server_that_executes_its_requests_fails", a_server_that_executes_requests_fails),
];

/// What takes a PID namespace.
const AS_FIRST_PROCESS: &[Claim] = &[
    ("as_pid_1_the_harness_ends_at_sigterm_with_all_servers", ends_at_sigterm_as_pid_1),
    ("as_pid_1_the_harness_waits_for_orphans", waits_for_orphans_as_pid_1),
];

pub(crate) fn tests() -> Vec<Test> {
    let here = EVERYWHERE.iter().map(|&(name, claim)| Test::new(name, claim));
    let prepared = IN_A_NETWORK
        .iter()
        .chain(SHUT_IN)
        .map(|&(name, _)| Test::ignorable(name, move || in_a_process_of_its_own(name)));
    let as_first = AS_FIRST_PROCESS.iter().map(|&(name, claim)| {
        Test::ignorable(name, move || match no_pid_namespace() {
            Some(words) => Ok(Completion::ignored_with(format!("not run: {words}"))),
            None => claim().map(|()| Completion::Completed),
        })
    });
    here.chain(prepared).chain(as_first).collect()
}

/// Exit code of a process in which a claim cannot be tried.
const NOT_RUN: u8 = 77;

/// What this process is started for, if anything.
pub(crate) fn take_role() {
    server::take_role();
    let words: Vec<String> = std::env::args().skip(1).collect();
    let code = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["take-turns"] => take_turns(),
        ["prepared", name] => prepared(name),
        _ => return,
    };
    std::process::exit(code.into());
}

/// Prepares this process, which may give it a user namespace and takes that it has no other
/// thread, and then tries a claim.
fn prepared(name: &str) -> u8 {
    let network = || network::prepare().and_then(|()| network::available());
    let shut_in = || match launcher().unconfined(&shut_in()) {
        Ok(undone) if undone.is_empty() => Ok(()),
        Ok(undone) => Err(undone.join("; ")),
        Err(error) => Err(error.to_string()),
    };
    let find = |claims: &[Claim]| claims.iter().find(|claim| claim.0 == name).map(|claim| claim.1);
    let (claim, missing) = match (find(IN_A_NETWORK), find(SHUT_IN)) {
        (Some(claim), _) => (claim, network()),
        // It has a network too, where it can have one.
        (None, Some(claim)) => {
            let _ = network();
            (claim, shut_in())
        }
        (None, None) => panic!("no such claim: {name}"),
    };
    if let Err(words) = missing {
        println!("not run: {words}");
        return NOT_RUN;
    }
    match claim() {
        Ok(()) => 0,
        Err(failed) => {
            println!("{}", failed.message().unwrap_or("it failed"));
            1
        }
    }
}

/// Tries a claim in another process, because preparing it changes the whole process.
fn in_a_process_of_its_own(name: &str) -> Result<Completion, Failed> {
    let output = Command::new(std::env::current_exe()?).args(["prepared", name]).output()?;
    let words = [output.stdout, output.stderr].concat();
    let words = String::from_utf8_lossy(&words).trim_end().to_owned();
    match output.status.code() {
        Some(0) => Ok(Completion::Completed),
        Some(code) if code == i32::from(NOT_RUN) => Ok(Completion::ignored_with(words)),
        _ => Err(format!("{}: {words}", output.status).into()),
    }
}

fn launcher() -> Launcher {
    Launcher::new(env!("CARGO_BIN_EXE_harness"))
}

/// A server of this program's that is told nothing, and so has a port of its own.
fn spec(role: &[&str], surroundings: Surroundings) -> LaunchSpec {
    let fixed_port = Some(PORT);
    let surroundings = Surroundings { fixed_port, ..surroundings };
    let contract = Contract::undeclared(Service::Echo);
    LaunchSpec::of_words(server::words(role), surroundings, contract).expect("a command")
}

fn limited(role: &[&str], limits: Confinement) -> LaunchSpec {
    spec(role, Surroundings { limits, ..Surroundings::default() })
}

fn shut_in() -> Confinement {
    Confinement { read_only: true, ..Confinement::default() }
}

fn start(spec: &LaunchSpec) -> Result<Process, LaunchError> {
    launcher().start(spec, "127.0.0.1", "7")
}

/// Lets it come to its end by itself.
fn run(spec: &LaunchSpec) -> Result<Ended, Failed> {
    let process = start(spec)?;
    process.wait_for_exit(DEADLINE);
    Ok(process.end())
}

fn holds(is_so: bool, seen: impl std::fmt::Debug) -> Result<(), Failed> {
    if is_so { Ok(()) } else { Err(format!("{seen:?}").into()) }
}

fn input_is_given_and_ends() -> Result<(), Failed> {
    let input = Some("{port}\n{host}\n".to_owned());
    let ended = run(&spec(&["tells"], Surroundings { input, ..Surroundings::default() }))?;
    holds(ended.exit == Some(Exit::Code(0)), &ended)?;
    holds(ended.log.contains(r#"input "7\n127.0.0.1\n""#), &ended)?;
    let much = Some("x".repeat(harness::server::MOST_INPUT));
    let ended = run(&spec(&["tells"], Surroundings { input: much, ..Surroundings::default() }))?;
    holds(ended.log.ends_with("xxxx\""), ended.exit)
}

fn input_that_is_not_read_holds_nobody_up() -> Result<(), Failed> {
    let input = Some("x".repeat(harness::server::MOST_INPUT));
    let process = start(&spec(&["child"], Surroundings { input, ..Surroundings::default() }))?;
    let ended = process.end();
    holds(ended.exit.is_none() && ended.log.is_empty(), &ended)
}

fn without_input_there_is_none() -> Result<(), Failed> {
    let ended = run(&spec(&["tells"], Surroundings::default()))?;
    holds(ended.log.contains(r#"input """#), &ended)
}

fn folder_and_environment_reach_the_server() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let told = [("TOLD_PORT", "p{port}"), ("TOLD_HOST", "{host}"), ("TOLD", "no")];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let ended = run(&spec(
        &["tells"],
        Surroundings {
            folder: Some(folder.path().to_path_buf()),
            environment: told.map(own).to_vec(),
            ..Surroundings::default()
        },
    ))?;
    let path = folder.path().canonicalize()?;
    holds(ended.log.contains(&format!("folder {}\n", path.display())), &ended)?;
    holds(ended.log.contains(r#""TOLD_PORT": "p7""#), &ended)?;
    holds(ended.log.contains(r#""TOLD_HOST": "127.0.0.1""#), &ended)
}

fn what_is_not_there_is_told() -> Result<(), Failed> {
    let nowhere = Path::new("/no/such/folder").to_path_buf();
    let told = |error: Result<Process, LaunchError>, word: &str| match error {
        Err(LaunchError::NotRun(words)) => holds(words.contains(word), words),
        other => Err(format!("{other:?}").into()),
    };
    let surroundings = Surroundings { folder: Some(nowhere), ..Surroundings::default() };
    told(start(&spec(&["tells"], surroundings)), "no such folder")?;
    let mut spec = spec(&["tells"], Surroundings::default());
    spec.command[0] = "no-such-program".to_owned();
    told(start(&spec), "is `no-such-program` installed")?;
    spec.folder = Some("/".into());
    spec.command[0] = "./etc/passwd".to_owned();
    told(start(&spec), "chmod +x")
}

fn a_server_is_launched_from_its_own_folder() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    std::os::unix::fs::symlink(std::env::current_exe()?, folder.path().join("server"))?;
    let mut spec = spec(
        &["tells"],
        Surroundings { folder: Some(folder.path().to_path_buf()), ..Surroundings::default() },
    );
    spec.command[0] = "./server".to_owned();
    let ended = run(&spec)?;
    holds(ended.exit == Some(Exit::Code(0)), &ended)
}

fn a_memory_limit_makes_an_allocation_fail() -> Result<(), Failed> {
    let bytes = (1u64 << 30).to_string();
    let memory_bytes = Some(512 << 20);
    let limits = Confinement { memory_bytes, ..Confinement::default() };
    let ended = run(&limited(&["allocates", &bytes], limits))?;
    holds(ended.log.contains("refused"), &ended)?;
    let ended = run(&limited(&["allocates", &bytes], Confinement::default()))?;
    holds(ended.log.contains("it has them"), &ended)
}

fn processor_time_has_a_limit() -> Result<(), Failed> {
    let limits = Confinement { cpu_seconds: Some(1), ..Confinement::default() };
    let ended = run(&limited(&["works"], limits))?;
    holds(ended.exit == Some(Exit::Signal(Signal::SIGXCPU as i32)), &ended)
}

fn a_file_has_a_limit() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("file");
    let limits = Confinement { file_bytes: Some(500), ..Confinement::default() };
    let ended = run(&limited(&["writes", &path.to_string_lossy()], limits))?;
    holds(ended.exit == Some(Exit::Signal(Signal::SIGXFSZ as i32)), &ended)?;
    holds(fs::metadata(&path)?.len() <= 500, "it is larger")
}

/// Ends what is being killed anyway. Nothing of it may be there.
fn is_ended(process: Process) -> Result<Ended, Failed> {
    wait_until("all of it is gone", || process.tree().is_empty());
    let ended = process.end();
    holds(ended.exit == Some(Exit::Signal(Signal::SIGKILL as i32)), &ended)?;
    holds(ended.survivors.is_empty(), &ended)?;
    Ok(ended)
}

fn too_many_tasks_end_the_tree() -> Result<(), Failed> {
    let limits = Confinement { tasks: Some(20), ..Confinement::default() };
    let few = start(&limited(&["forks", "8"], limits.clone()))?;
    wait_until("it has its children", || few.tree().len() >= 9);
    let ended = is_ended(start(&limited(&["forks", "40"], limits))?)?;
    holds(ended.overgrown && !ended.outlived, &ended)?;
    let ended = few.end();
    holds(!ended.overgrown && ended.exit.is_none(), &ended)
}

fn a_fork_bomb_is_ended() -> Result<(), Failed> {
    let limits = Confinement { tasks: Some(50), ..Confinement::default() };
    let ended = is_ended(start(&limited(&["bomb"], limits))?)?;
    holds(ended.overgrown, &ended)
}

fn a_lifetime_ends_the_tree() -> Result<(), Failed> {
    let lifetime = Some(Duration::from_millis(300));
    let limits = Confinement { lifetime, ..Confinement::default() };
    let began = Instant::now();
    let ended = is_ended(start(&limited(&["forks", "8"], limits))?)?;
    holds(ended.outlived && !ended.overgrown, &ended)?;
    holds(began.elapsed() >= Duration::from_millis(300), began.elapsed())
}

fn hundreds_of_children_are_killed_and_reaped() -> Result<(), Failed> {
    let process = start(&spec(&["forks", "200"], Surroundings::default()))?;
    wait_until("all are there", || process.tree().len() > 200);
    let (tree, supervisor) = (process.tree(), process.supervisor().expect("it was launched"));
    let ended = process.end();
    let left: Vec<i32> =
        tree.into_iter().chain([supervisor]).filter(|&pid| is_there(pid)).collect();
    holds(left.is_empty(), (left, ended))
}

/// Whether there is such a process, be it one that nobody has waited for.
fn is_there(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}/stat")).exists()
}

fn output_without_end_has_a_rate() -> Result<(), Failed> {
    // As much as is read in a second, and what the pipe holds.
    const MOST: f64 = 21e6;
    let mut spec = spec(&[], Surroundings::default());
    spec.command = vec!["yes".to_owned()];
    let (began, process) = (Instant::now(), start(&spec)?);
    let written = || {
        let told = fs::read_to_string(format!("/proc/{}/io", process.tree()[0])).ok()?;
        told.lines().find_map(|row| row.strip_prefix("wchar: "))?.parse::<f64>().ok()
    };
    wait_until("it has written much", || written().is_some_and(|bytes| bytes > 10e6));
    let bytes = written().ok_or("it is there")?;
    let most = MOST * (began.elapsed().as_secs_f64() + 0.1);
    holds(bytes <= most, format!("{bytes} bytes, where {most} are the most"))?;
    holds(process.end().log.len() <= 16 * 1024, "it is kept")
}

/// Asks once. The server ends the connection.
fn ask(server: std::net::SocketAddr, line: &str) -> Result<(), Failed> {
    let mut client = TcpStream::connect(server)?;
    client.write_all(format!("{line}\n").as_bytes())?;
    let mut reply = String::new();
    client.read_to_string(&mut reply)?;
    holds(reply.trim_end() == line, reply)
}

fn a_fixed_port_is_free_again_at_once() -> Result<(), Failed> {
    let spec = spec(&["fixed", &PORT.to_string()], Surroundings::default());
    // By itself, and at a place that is held.
    for held in [false, true] {
        let place = if held { Place::take(&spec)? } else { Place::default() };
        let began = Instant::now();
        for _ in 0..3 {
            let server = launcher().launch(&spec)?;
            holds(server.address.port() == PORT, server.address)?;
            ask(server.address, "here")?;
            drop(server);
            place.clear()?;
        }
        // Connections that have ended hold a port for a minute.
        holds(began.elapsed() < Duration::from_secs(50), began.elapsed())?;
    }
    Ok(())
}

fn servers_of_one_port_run_side_by_side() -> Result<(), Failed> {
    let spec = spec(&["fixed", &PORT.to_string()], Surroundings::default());
    let at_once = AtomicUsize::new(0);
    let serve = || -> Result<(), Failed> {
        let server = launcher().launch(&spec)?;
        at_once.fetch_add(1, Relaxed);
        wait_until("all of them are there", || at_once.load(Relaxed) == 4);
        // On a thread that this one starts, too.
        thread::scope(|scope| {
            let beside =
                scope.spawn(|| ask(server.address, "beside").map_err(|it| format!("{it:?}")));
            beside.join().expect("it does not panic")
        })?;
        ask(server.address, "here")
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(serve)).collect();
        all.into_iter().try_for_each(|one| one.join().expect("it does not panic"))
    })
}

fn a_server_of_a_fixed_port_is_judged() -> Result<(), Failed> {
    let mut spec = spec(&[], Surroundings::default());
    let serve = ["serve", "select-echo", "127.0.0.1", &PORT.to_string()];
    spec.command = vec![launcher().program()];
    spec.command.extend(serve.map(str::to_owned));
    let judge = Runner::new(launcher(), 7);
    let framing: Vec<_> = cases().filter(|case| case.name.starts_with("framing/")).collect();
    let judgements = judge_all(&judge, &spec, &framing, |_| {});
    let other =
        judgements.iter().find(|judgement| judgement.verdict.is_none() && applies(judgement));
    holds(other.is_none(), other)
}

fn applies(judgement: &harness::conformance::CaseResult) -> bool {
    judgement.state != harness::conformance::State::NotApplicable
}

fn alone_there_is_only_loopback() -> Result<(), Failed> {
    let limits = Confinement { network_alone: true, ..Confinement::default() };
    let mut spec = limited(&["networks"], limits);
    spec.fixed_port = None;
    let place = Place::take(&spec)?;
    holds(place.is_alone(), &place)?;
    let ended = run(&spec)?;
    let mut interfaces = ended.log.lines().filter_map(|row| Some(row.split_once(':')?.0.trim()));
    holds(interfaces.next() == Some("lo") && interfaces.next().is_none(), &ended.log)
}

fn a_thread_returns_to_its_network() -> Result<(), Failed> {
    let here = || fs::read_link("/proc/thread-self/ns/net");
    let before = here()?;
    let spec = spec(&["fixed", &PORT.to_string()], Surroundings::default());
    let place = Place::take(&spec)?;
    let first = here()?;
    holds(first != before, &first)?;
    // That is the place of all on this thread.
    drop(launcher().launch(&spec)?);
    holds(here()? == first, "the server took it along")?;
    place.clear()?;
    holds(here()? != first && here()? != before, "it is as it was")?;
    drop(place);
    holds(here()? == before, "it stays where it was")
}

fn a_read_only_server_writes_to_tmp_alone() -> Result<(), Failed> {
    let home = tempfile::tempdir()?;
    let token = format!("/tmp/harness-test-{}", std::process::id());
    let file = home.path().join("file").display().to_string();
    let paths = ["writes", &file, &token, "/dev/shm/harness-test", "/dev/null", "/proc/self/comm"];
    // Its own folder, so that it sees it.
    let folder = Some(home.path().to_path_buf());
    let ended =
        run(&spec(&paths, Surroundings { folder, limits: shut_in(), ..Surroundings::default() }))?;
    for (path, what) in paths[1..].iter().zip([
        "ReadOnlyFilesystem",
        "written",
        "written",
        "written",
        "ReadOnlyFilesystem",
    ]) {
        holds(ended.log.contains(&format!("{path}: {what}")), &ended)?;
    }
    holds(!Path::new(&token).exists(), "it is there after all")?;
    fs::write(home.path().join("file"), "this process may")?;
    Ok(())
}

fn a_read_only_server_still_sees_its_folder() -> Result<(), Failed> {
    let folder = tempfile::tempdir_in("/tmp")?;
    let surroundings = Surroundings {
        folder: Some(folder.path().to_path_buf()),
        limits: shut_in(),
        ..Surroundings::default()
    };
    let mut spec = spec(&[], surroundings);
    fs::write(folder.path().join("file"), "what is in it")?;
    spec.command = ["cat", "file", "/proc/self/mounts"].map(str::to_owned).to_vec();
    let ended = run(&spec)?;
    holds(ended.log.contains("what is in it"), &ended)?;
    spec.command = ["touch", "other"].map(str::to_owned).to_vec();
    let ended = run(&spec)?;
    holds(ended.exit == Some(Exit::Code(1)) && ended.log.contains("Read-only"), &ended)
}

fn a_confined_server_cannot_kill_the_harness() -> Result<(), Failed> {
    let mut victim = Command::new("sleep").arg("60").spawn()?;
    let ended = run(&limited(&["kills", &victim.id().to_string()], shut_in()));
    let lives = runs(victim.id() as i32);
    victim.kill()?;
    victim.wait()?;
    let ended = ended?;
    holds(lives && ended.log.contains("EPERM"), &ended)
}

fn a_confined_server_is_seen_and_ended_as_any() -> Result<(), Failed> {
    let mut spec = limited(&["fixed", &PORT.to_string()], Confinement::strict());
    spec.limits.network_alone = network::available().is_ok();
    let server = launcher().launch(&spec)?;
    ask(server.address, "here")?;
    let held = server.process.holdings();
    holds(held.processes == 1 && held.descriptors >= 4 && held.anonymous_bytes > 0, held)?;
    let undo = proc::exhaust_descriptors(&server.process.tree())?;
    proc::restore_descriptors(&undo);
    let ended = server.process.end();
    holds(ended.unconfined.is_empty() && ended.exit.is_none(), &ended)
}

/// It has a /tmp of its own, where what it was told to create is. It runs what the harness sends it
/// in a shell, and listens on loopback only.
fn a_server_that_executes_requests_fails() -> Result<(), Failed> {
    let mut spec = limited(&["executes", &PORT.to_string()], Confinement::strict());
    spec.limits.network_alone = network::available().is_ok();
    spec.contract.service = Service::Calc;
    let injection: Vec<_> = cases().filter(|case| case.name == "malformed/injection").collect();
    let judgements = judge_all(&Runner::new(launcher(), 7), &spec, &injection, |_| {});
    let seen = &judgements[0];
    holds(seen.verdict == Some(Verdict::Fail), seen)?;
    holds(seen.observed.contains("created a file"), seen)
}

/// On behalf of somebody who may have no network of its own.
fn take_turns() -> u8 {
    if network::available().is_ok() {
        println!("this user has networks");
        return 1;
    }
    let spec = spec(&["fixed", &PORT.to_string()], Surroundings::default());
    let at_once = AtomicUsize::new(0);
    let serve = || -> Result<bool, LaunchError> {
        let place = Place::take(&spec)?;
        let server = launcher().launch(&spec)?;
        let alone = at_once.fetch_add(1, Relaxed) == 0 && !place.is_alone();
        thread::sleep(Duration::from_millis(50));
        at_once.fetch_sub(1, Relaxed);
        drop(server);
        Ok(alone)
    };
    let all_alone = thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(serve)).collect();
        all.into_iter().map(|one| one.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    println!("{all_alone:?}");
    if all_alone.iter().all(|alone| matches!(alone, Ok(true))) { 0 } else { 1 }
}

fn servers_of_one_port_take_turns() -> Result<(), Failed> {
    let mut turns = Command::new(std::env::current_exe()?);
    turns.arg("take-turns");
    if rustix::process::geteuid().is_root() {
        turns.current_dir("/").uid(NOBODY_ELSE).gid(NOBODY_ELSE);
    }
    let mut turns = turns.stdout(Stdio::piped()).spawn()?;
    let mut said = String::new();
    BufReader::new(turns.stdout.take().ok_or("it is piped")?).read_line(&mut said)?;
    holds(turns.wait()?.success(), said)
}

/// What came of a check in a terminal.
struct InTerminal {
    /// What the terminal was told to show.
    shown: String,
    /// How many bytes wait in its input.
    typed: libc::c_int,
}

/// Has the harness check the server that types, in a terminal of its own.
#[allow(unsafe_code, reason = "a session with a terminal, between fork and exec; ioctl(2)")]
fn check_in_terminal(flags: &[&str]) -> Result<InTerminal, Failed> {
    let OpenptyResult { master, slave } = openpty(None, None)?;
    // Nothing is edited or echoed: each byte of the input can be counted.
    let mut settings = tcgetattr(&slave)?;
    cfmakeraw(&mut settings);
    tcsetattr(&slave, SetArg::TCSANOW, &settings)?;
    let folder = tempfile::tempdir()?;
    let words = server::words(&["types", "{port}"]);
    let command = words.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
    let mut check = harness();
    check.args(["check", "--cmd", &command, "--service", "echo", "--case", "framing/"]).args(flags);
    check.arg("--output").arg(folder.path());
    check.stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
    // SAFETY: between fork and exec only setsid(2) and ioctl(2) are called, which take no memory.
    unsafe {
        check.pre_exec(|| {
            nix::unistd::setsid()?;
            let done = libc::ioctl(0, libc::TIOCSCTTY, 0);
            if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
        });
    }
    let mut running = check.spawn()?;
    // It has copies of the terminal.
    drop(check);
    let shown = thread::spawn(move || {
        let mut shown = Vec::new();
        // It fails when nobody has the other side any more.
        let _ = fs::File::from(master).read_to_end(&mut shown);
        shown
    });
    holds(running.wait()?.code() == Some(1), "not every reply was right")?;
    let mut typed = 0;
    // SAFETY: FIONREAD writes one int to the pointer, which is to one that lives in this frame.
    unsafe { libc::ioctl(slave.as_raw_fd(), libc::FIONREAD, &raw mut typed) };
    drop(slave);
    let shown = String::from_utf8_lossy(&shown.join().expect("no panic")).into_owned();
    for file in ["summary.md", "junit.xml", "marks.md", "index.html"] {
        let written = fs::read_to_string(folder.path().join(file))?;
        holds(!written.contains('\x1b'), file)?;
    }
    Ok(InTerminal { shown, typed })
}

fn types_nothing() -> Result<(), Failed> {
    let found = check_in_terminal(&[])?;
    holds(found.typed == 0, found.typed)?;
    // It is quoted, but not as it is.
    holds(found.shown.contains("]0;printed"), &found.shown)?;
    holds(!found.shown.contains(server::TITLE), &found.shown)
}

fn types_nothing_confined() -> Result<(), Failed> {
    let found = check_in_terminal(&["--confine"])?;
    holds(found.typed == 0, found.typed)?;
    holds(found.shown.contains("]0;printed"), &found.shown)?;
    holds(!found.shown.contains(server::TITLE), &found.shown)
}

fn opens_no_terminal() -> Result<(), Failed> {
    let OpenptyResult { master: _master, slave } = openpty(None, None)?;
    let own = nix::unistd::ttyname(&slave)?;
    let by_this_process = format!("/proc/{}/fd/{}", std::process::id(), slave.as_raw_fd());
    let paths = [&own.display().to_string(), &by_this_process, "/dev/tty", "/dev/console"];
    let ended = run(&limited(&[&["writes"][..], &paths].concat(), shut_in()))?;
    holds(!ended.log.contains(": written"), &ended)?;
    holds(ended.log.lines().count() == paths.len(), &ended)
}

fn without_ipv6_it_is_reached() -> Result<(), Failed> {
    let spec = limited(&["everywhere", &PORT.to_string()], Confinement::default());
    let place = Place::take(&spec)?;
    holds(place.is_alone(), &place)?;
    for is_disabled in ["0", "1"] {
        fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", is_disabled)?;
        let server = launcher().launch(&spec)?;
        holds(server.listens_on.ip().is_unspecified(), server.listens_on)?;
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"here\n")?;
        let mut reply = String::new();
        BufReader::new(&client).read_line(&mut reply)?;
        holds(reply == "here\n", (is_disabled, reply))?;
        drop((client, server));
        place.clear()?;
    }
    Ok(())
}

/// The harness as the first process of a PID namespace.
fn as_pid_1() -> Command {
    let mut unshare = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        unshare.args(["--user", "--map-root-user"]);
    }
    unshare.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
    unshare.env_remove("GITHUB_STEP_SUMMARY");
    unshare
}

fn no_pid_namespace() -> Option<String> {
    match as_pid_1().arg("true").output() {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Runs the harness as PID 1 until servers are there. Gives it, its PID 1, and its other processes.
fn begin_as_pid_1(arguments: &[&str]) -> Result<(Child, i32, Vec<i32>), Failed> {
    let mut unshare = as_pid_1();
    unshare.arg(env!("CARGO_BIN_EXE_harness")).args(arguments);
    let unshare = unshare.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    let mut tree = Vec::new();
    wait_until("servers run", || {
        tree = proc::tree(unshare.id() as i32).split_off(1);
        // The first process, the one that works, a supervisor, and what it supervises.
        tree.len() >= 5
    });
    let first = tree.remove(0);
    Ok((unshare, first, tree))
}

fn ends_at_sigterm_as_pid_1() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().display().to_string();
    let arguments = ["run", "--plan", "thorough", "--output", &output];
    let (mut unshare, first, tree) = begin_as_pid_1(&arguments)?;
    kill(Pid::from_raw(first), Signal::SIGTERM)?;
    wait_until("it ends", || !runs(first));
    // As a shell has it: 128 and the signal's number.
    holds(unshare.wait()?.code() == Some(128 + Signal::SIGTERM as i32), "its exit code")?;
    wait_until("all of its processes are gone", || !tree.iter().any(|&pid| runs(pid)));
    Ok(())
}

fn waits_for_orphans_as_pid_1() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let output = folder.path().display().to_string();
    let arguments = ["run", "--plan", "thorough", "--output", &output];
    let (mut unshare, first, tree) = begin_as_pid_1(&arguments)?;
    // With its supervisor a server dies, and nobody else is left who could wait for it.
    let mut orphan = None;
    wait_until("a supervisor has a server", || {
        let supervisors = proc::children(tree[0]);
        let pairs = supervisors.iter().map(|&it| (it, proc::children(it).first().copied()));
        orphan = pairs.filter_map(|(supervisor, server)| Some((supervisor, server?))).next();
        orphan.is_some()
    });
    let (supervisor, server) = orphan.ok_or("it was found")?;
    kill(Pid::from_raw(supervisor), Signal::SIGKILL)?;
    wait_until("it was waited for", || !is_there(server));
    let goes_on = runs(first);
    unshare.kill()?;
    unshare.wait()?;
    holds(goes_on, "the harness goes on")
}
