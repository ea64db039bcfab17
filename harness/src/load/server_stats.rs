//! The server's resource use during a run, read from `/proc` without a request to the server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::time::ClockId;

use crate::results::ServerStats;
use crate::server::Server;
use crate::server::cpu_usage::{ContextSwitches, CpuUsed, cpu_used};
use crate::server::proc::{self, Pid, ResourceUsage};

/// Minimum pause after a sample, as a multiple of the sample's CPU time, so that sampling uses less
/// than 1 % of a CPU. A sample of a server with one thread takes about 0.1 ms. The cost grows with
/// the number of threads.
const MIN_PAUSE: u32 = 100;

/// Sampler of a server's resource use during a run.
#[derive(Debug)]
pub struct Sampler {
    /// Process id of the supervisor; its descendants are the server.
    supervisor: Pid,
    address: SocketAddr,
    maximum: ResourceUsage,
    /// Maximum length of the accept queue.
    longest_queue: Option<u64>,
    /// End of the last sample.
    sampled: Instant,
    /// CPU time of the last sample.
    cost: Duration,
    switches: Option<ContextSwitches>,
    cpu: CpuUsed,
    /// CPU time at the last sample.
    cpu_at_sample: Option<CpuUsed>,
    began: Instant,
}

impl Sampler {
    /// Records the values at the start of a run.
    pub fn begin(server: &Server) -> Sampler {
        Sampler::of_descendants(
            server.process.supervisor().expect("a launched server has a supervisor"),
            server.address,
        )
    }

    fn of_descendants(supervisor: Pid, address: SocketAddr) -> Sampler {
        let now = Instant::now();
        let mut sampler = Sampler {
            supervisor,
            address,
            maximum: ResourceUsage::default(),
            longest_queue: None,
            sampled: now,
            cost: Duration::ZERO,
            switches: None,
            cpu: CpuUsed::default(),
            cpu_at_sample: None,
            began: now,
        };
        sampler.sample();
        let tree = sampler.tree();
        sampler.switches = ContextSwitches::of(&tree);
        sampler.cpu = cpu_used(&tree);
        sampler.began = Instant::now();
        sampler
    }

    /// Takes a sample, unless the pause after the last sample has not passed. Call this about ten
    /// times per run.
    ///
    /// Returns the CPU time since the last sample, divided by the time since then; 1 is one busy
    /// CPU. `None` without a sample, or if the CPU time is unknown.
    pub fn sample_if_due(&mut self) -> Option<f64> {
        let elapsed = self.sampled.elapsed();
        if elapsed < self.cost * MIN_PAUSE {
            return None;
        }
        let before = self.cpu_at_sample.take();
        self.sample();
        let used = self.cpu_at_sample.as_ref()?.since(&before?)?;
        Some(used.total.as_secs_f64() / elapsed.as_secs_f64().max(1e-9))
    }

    fn sample(&mut self) {
        let before = thread_cpu_time();
        let tree = self.tree();
        self.cpu_at_sample = Some(cpu_used(&tree));
        let usage = proc::resource_usage(&tree);
        self.maximum = ResourceUsage {
            processes: self.maximum.processes.max(usage.processes),
            zombies: self.maximum.zombies.max(usage.zombies),
            threads: self.maximum.threads.max(usage.threads),
            descriptors: self.maximum.descriptors.max(usage.descriptors),
            anonymous_bytes: self.maximum.anonymous_bytes.max(usage.anonymous_bytes),
        };
        self.longest_queue = self.longest_queue.max(proc::accept_queue(self.address));
        self.cost = thread_cpu_time().saturating_sub(before);
        self.sampled = Instant::now();
    }

    fn tree(&self) -> Vec<Pid> {
        proc::tree(self.supervisor).split_off(1)
    }

    /// Returns the server stats of a run in which `requests` requests were answered. Call this
    /// after the run, while the server still runs.
    pub fn finish(mut self, requests: u64) -> ServerStats {
        let elapsed = self.began.elapsed();
        let tree = self.tree();
        let cpu = cpu_used(&tree).since(&self.cpu);
        let cpu = cpu.as_ref();
        let switched = ContextSwitches::of(&tree).zip(self.switches.take());
        let switched = switched.map(|(now, before)| now.since(&before));
        self.sample();

        let total = cpu.map(|cpu| cpu.total.as_nanos() as f64);
        let user = cpu.and_then(|cpu| Some(cpu.total.as_nanos() as f64 * cpu.user_share()?));
        let system = total.zip(user).map(|(total, user)| total - user);
        let each = |count: f64| (requests > 0).then(|| count / requests as f64);
        let each_ns = |ns: Option<f64>| ns.and_then(each).map(|ns| ns.round() as u64);
        ServerStats {
            cpu_ns_per_request: each_ns(total),
            user_cpu_ns_per_request: each_ns(user),
            system_cpu_ns_per_request: each_ns(system),
            cpu_share: cpu.map(|cpu| cpu.total.as_secs_f64() / elapsed.as_secs_f64()),
            threads: self.maximum.threads,
            processes: self.maximum.processes,
            descriptors: self.maximum.descriptors,
            anonymous_bytes: self.maximum.anonymous_bytes,
            voluntary_switches_per_request: switched.and_then(|all| each(all.voluntary as f64)),
            involuntary_switches_per_request: switched.and_then(|all| each(all.involuntary as f64)),
            accept_queue_depth_max: self.longest_queue,
        }
    }
}

fn thread_cpu_time() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map_or(Duration::ZERO, Duration::from)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use nix::sys::signal::{Signal, killpg};

    use super::*;
    use crate::server::proc::testing::wait_until;

    /// Address without a listener.
    const NO_LISTENER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    /// A shell with one child that runs a script. Dropping it kills both.
    struct ShellWithChild(Child);

    impl ShellWithChild {
        fn start(command: &str) -> ShellWithChild {
            let script = format!("sh -c '{command}'; :");
            let shell = Command::new("sh").args(["-c", &script]).process_group(0).spawn();
            let shell = ShellWithChild(shell.expect("sh starts"));
            wait_until("the shell has a child", || proc::tree(shell.id()).len() >= 2);
            shell
        }

        fn id(&self) -> Pid {
            self.0.id() as Pid
        }
    }

    impl Drop for ShellWithChild {
        fn drop(&mut self) {
            let _ = killpg(nix::unistd::Pid::from_raw(self.id()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }

    #[test]
    fn stats_of_a_busy_process_are_mostly_user_time() {
        let busy = ShellWithChild::start("while :; do :; done");
        let mut sampler = Sampler::of_descendants(busy.id(), NO_LISTENER);
        wait_until("the child has used 0.4 s of CPU time", || {
            sampler.sample_if_due();
            let used = cpu_used(&sampler.tree()).since(&sampler.cpu).expect("the child runs");
            used.total >= Duration::from_millis(400) && used.user_share().is_some()
        });
        let stats = sampler.finish(1_000);
        let (user, system) = (stats.user_cpu_ns_per_request, stats.system_cpu_ns_per_request);
        assert!(user > system, "{stats:?}");
        let total = stats.cpu_ns_per_request.expect("CPU time per request");
        assert!(total >= 400_000 && total.abs_diff(user.unwrap() + system.unwrap()) <= 1);
        assert!(stats.cpu_share.is_some_and(|share| share > 0.0 && share < 1.1), "{stats:?}");
        assert_eq!((stats.processes, stats.threads), (1, 1));
        assert!(stats.descriptors >= 3 && stats.anonymous_bytes > 0, "{stats:?}");
        assert!(stats.voluntary_switches_per_request.is_some());
        assert_eq!(stats.accept_queue_depth_max, None);
    }

    #[test]
    fn figures_per_request_are_absent_without_requests_or_a_server() {
        let idle = ShellWithChild::start("sleep 60");
        let sampler = Sampler::of_descendants(idle.id(), NO_LISTENER);
        // The CPU time must be greater than zero, so that its loss is noticed.
        wait_until("the child runs", || !cpu_used(&sampler.tree()).total.is_zero());
        assert_eq!(sampler.finish(0).cpu_ns_per_request, None);
        let sampler = Sampler::of_descendants(idle.id(), NO_LISTENER);
        drop(idle);
        let stats = sampler.finish(10);
        assert_eq!((stats.cpu_ns_per_request, stats.cpu_share), (None, None));
    }

    #[test]
    fn the_longest_accept_queue_is_reported() {
        let idle = ShellWithChild::start("sleep 60");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut sampler = Sampler::of_descendants(idle.id(), address);
        let clients =
            [(); 3].map(|()| TcpStream::connect(address).expect("room in the accept queue"));
        wait_until("three connections wait", || proc::accept_queue(address) == Some(3));
        sampler.sample();
        for _ in &clients {
            listener.accept().expect("a waiting connection");
        }
        assert_eq!(proc::accept_queue(address), Some(0));
        assert_eq!(sampler.finish(3).accept_queue_depth_max, Some(3));
    }

    #[test]
    fn an_expensive_sample_delays_the_next_one() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut sampler = Sampler::of_descendants(1 << 30, address);
        sampler.cost = Duration::from_secs(60);
        let _client = TcpStream::connect(address).expect("room in the accept queue");
        wait_until("the connection waits", || proc::accept_queue(address) == Some(1));
        sampler.sample_if_due();
        assert_eq!(sampler.longest_queue, Some(0));
        sampler.cost = Duration::ZERO;
        sampler.sample_if_due();
        assert_eq!(sampler.longest_queue, Some(1));
    }
}
