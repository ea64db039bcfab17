//! Network namespaces, and servers with a fixed port.

use super::*;

pub(super) fn a_fixed_port_can_be_reused_immediately() -> Result<(), Failed> {
    let spec = spec(&["fixed-port", &PORT.to_string()], LaunchOptions::default());
    // Without and with a network lease.
    for has_lease in [false, true] {
        let lease = if has_lease { NetworkLease::take(&spec)? } else { NetworkLease::default() };
        let began = Instant::now();
        for _ in 0..3 {
            let server = launcher().launch(&spec)?;
            ensure(server.address.port() == PORT, server.address)?;
            ask(server.address, "here")?;
            drop(server);
            lease.clear()?;
        }
        // Connections in TIME_WAIT occupy the port for a minute.
        ensure(began.elapsed() < Duration::from_secs(50), began.elapsed())?;
    }
    Ok(())
}

pub(super) fn servers_on_one_port_run_in_parallel() -> Result<(), Failed> {
    let spec = spec(&["fixed-port", &PORT.to_string()], LaunchOptions::default());
    let running = AtomicUsize::new(0);
    let serve = || -> Result<(), Failed> {
        let server = launcher().launch(&spec)?;
        running.fetch_add(1, Relaxed);
        wait_until("all four servers have started", || running.load(Relaxed) == 4);
        // A thread inherits the network namespace, so a new thread also reaches the server.
        thread::scope(|scope| {
            let other_thread =
                scope.spawn(|| ask(server.address, "there").map_err(|error| format!("{error:?}")));
            other_thread.join().expect("no panic in the thread")
        })?;
        ask(server.address, "here")
    };
    thread::scope(|scope| {
        let all: Vec<_> = (0..4).map(|_| scope.spawn(serve)).collect();
        all.into_iter().try_for_each(|thread| thread.join().expect("no panic in the thread"))
    })
}

pub(super) fn a_server_with_a_fixed_port_is_tested() -> Result<(), Failed> {
    let mut spec = spec(&[], LaunchOptions::default());
    let serve = ["serve", "select-echo", "127.0.0.1", &PORT.to_string()];
    spec.command = vec![launcher().program()];
    spec.command.extend(serve.map(str::to_owned));
    let runner = Runner::new(launcher(), 7);
    let framing: Vec<_> = cases().filter(|case| case.name.starts_with("framing/")).collect();
    let results = runner.run_cases(&spec, &framing, None, |_| {});
    let inconclusive = results.iter().find(|result| result.verdict.is_none() && applies(result));
    ensure(inconclusive.is_none(), inconclusive)
}

fn applies(result: &harness::results::CaseResult) -> bool {
    result.state != harness::results::State::NotApplicable
}

pub(super) fn an_isolated_network_has_only_loopback() -> Result<(), Failed> {
    let limits = Confinement { network_alone: true, ..Confinement::default() };
    let mut spec = limited(&["prints-interfaces"], limits);
    spec.fixed_port = None;
    let lease = NetworkLease::take(&spec)?;
    ensure(lease.has_namespace(), &lease)?;
    let report = run(&spec)?;
    let mut interfaces = report.log.lines().filter_map(|row| Some(row.split_once(':')?.0.trim()));
    ensure(interfaces.next() == Some("lo") && interfaces.next().is_none(), &report.log)
}

pub(super) fn a_thread_returns_to_its_network_namespace() -> Result<(), Failed> {
    let current = || fs::read_link("/proc/thread-self/ns/net");
    let before = current()?;
    let spec = spec(&["fixed-port", &PORT.to_string()], LaunchOptions::default());
    let lease = NetworkLease::take(&spec)?;
    let first = current()?;
    ensure(first != before, &first)?;
    // Later launches on this thread use the same network.
    drop(launcher().launch(&spec)?);
    ensure(current()? == first, "the launch changed the network of this thread")?;
    lease.clear()?;
    ensure(current()? != first && current()? != before, "the network was not replaced")?;
    drop(lease);
    ensure(current()? == before, "the thread did not return to its network")
}

/// Checks, as a user without the right to create network namespaces, that servers on one port run
/// one at a time. Returns an exit code.
pub(super) fn run_one_at_a_time() -> u8 {
    if network::available().is_ok() {
        println!("this user can create network namespaces");
        return 1;
    }
    let spec = spec(&["fixed-port", &PORT.to_string()], LaunchOptions::default());
    let running = AtomicUsize::new(0);
    let serve = || -> Result<bool, LaunchError> {
        let lease = NetworkLease::take(&spec)?;
        let server = launcher().launch(&spec)?;
        let is_only_one = running.fetch_add(1, Relaxed) == 0 && !lease.has_namespace();
        thread::sleep(Duration::from_millis(50));
        running.fetch_sub(1, Relaxed);
        drop(server);
        Ok(is_only_one)
    };
    let results = thread::scope(|scope| {
        let all: Vec<_> = (0..3).map(|_| scope.spawn(serve)).collect();
        all.into_iter()
            .map(|thread| thread.join().expect("no panic in the thread"))
            .collect::<Vec<_>>()
    });
    println!("{results:?}");
    if results.iter().all(|is_only_one| matches!(is_only_one, Ok(true))) { 0 } else { 1 }
}

pub(super) fn servers_on_one_port_run_one_at_a_time() -> Result<(), Failed> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("one-at-a-time");
    if rustix::process::geteuid().is_root() {
        command.current_dir("/").uid(UNUSED_UID).gid(UNUSED_UID);
    }
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().ok_or("standard output is not piped")?)
        .read_line(&mut line)?;
    ensure(child.wait()?.success(), line)
}

pub(super) fn a_server_on_all_addresses_is_reached_with_and_without_ipv6() -> Result<(), Failed> {
    let spec = limited(&["all-addresses", &PORT.to_string()], Confinement::default());
    let lease = NetworkLease::take(&spec)?;
    ensure(lease.has_namespace(), &lease)?;
    for is_disabled in ["0", "1"] {
        fs::write("/proc/sys/net/ipv6/conf/all/disable_ipv6", is_disabled)?;
        let server = launcher().launch(&spec)?;
        ensure(server.listens_on.ip().is_unspecified(), server.listens_on)?;
        let mut client = TcpStream::connect(server.address)?;
        client.write_all(b"here\n")?;
        let mut reply = String::new();
        BufReader::new(&client).read_line(&mut reply)?;
        ensure(reply == "here\n", (is_disabled, reply))?;
        drop((client, server));
        lease.clear()?;
    }
    Ok(())
}
