//! Server stats: the server's resource use during a run, read from the kernel without touching the
//! server.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use nix::time::ClockId;
use serde::Serialize;

use crate::server::Server;
use crate::server::cpu_usage::{CpuUsed, Switches, cpu_used};
use crate::server::proc::{self, Pid, ResourceUsage};

/// Minimum pause between samples, as a multiple of a sample's CPU time: sampling takes less than 1
/// % of a CPU. A sample of a server with one thread takes some 0.1 ms. The cost grows with the
/// number of threads, each of which may have child processes.
const REST: u32 = 100;

/// Resource use of a server during a run, summed over all of its processes and threads.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerSide {
    /// CPU time per request, in nanoseconds, including the warm-up. `None` if no request was
    /// answered, or if a process was gone at the end whose parent had not waited for it.
    pub cpu_ns_per_request: Option<u64>,
    /// User time per request. The kernel splits CPU time by sampling at its timer interrupts, so
    /// this is `None` for less than a quarter of a second of it.
    pub user_cpu_ns_per_request: Option<u64>,
    /// System time per request, with the same limitation.
    pub system_cpu_ns_per_request: Option<u64>,
    /// CPU time over the run's time; 1 is one CPU kept busy.
    pub cpu_share: Option<f64>,
    /// Maximum number of threads in the samples.
    pub threads: usize,
    /// Maximum number of processes in the samples.
    pub processes: usize,
    /// Maximum number of open descriptors in the samples.
    pub descriptors: usize,
    /// Maximum resident anonymous memory in the samples, in bytes.
    pub anonymous_bytes: u64,
    /// Voluntary context switches per request: a thread waited for an event. Threads that ended
    /// during the run are not counted. `None` beyond 2,000 threads.
    pub voluntary_switches_per_request: Option<f64>,
    /// Involuntary context switches per request: another thread got the CPU. With the same
    /// limitations.
    pub involuntary_switches_per_request: Option<f64>,
    /// Maximum length of the accept queue in the samples; `None` if no listening socket was found.
    pub accept_queue_depth_max: Option<u64>,
}

/// Sampler of a server's resource use during a run.
#[derive(Debug)]
pub struct Sampler {
    /// Process whose descendants are the server.
    supervisor: Pid,
    address: SocketAddr,
    most: ResourceUsage,
    longest_queue: Option<u64>,
    /// End of the last sample, and its CPU time.
    looked: Instant,
    cost: Duration,
    switches: Option<Switches>,
    cpu: CpuUsed,
    began: Instant,
}

impl Sampler {
    /// Records the values before a run.
    pub fn begin(server: &Server) -> Sampler {
        Sampler::below(server.process.supervisor().expect("it was launched here"), server.address)
    }

    fn below(supervisor: Pid, address: SocketAddr) -> Sampler {
        let now = Instant::now();
        let mut sampler = Sampler {
            supervisor,
            address,
            most: ResourceUsage::default(),
            longest_queue: None,
            looked: now,
            cost: Duration::ZERO,
            switches: None,
            cpu: CpuUsed::default(),
            began: now,
        };
        sampler.look_now();
        let tree = sampler.tree();
        sampler.switches = Switches::of(&tree);
        sampler.cpu = cpu_used(&tree);
        sampler.began = Instant::now();
        sampler
    }

    /// Takes a sample, unless the last one is too recent for its cost. Call it some ten times in a
    /// run.
    pub fn look(&mut self) {
        if self.looked.elapsed() >= self.cost * REST {
            self.look_now();
        }
    }

    fn look_now(&mut self) {
        let before = thread_cpu_time();
        let held = proc::holdings(&self.tree());
        self.most = ResourceUsage {
            processes: self.most.processes.max(held.processes),
            zombies: self.most.zombies.max(held.zombies),
            threads: self.most.threads.max(held.threads),
            descriptors: self.most.descriptors.max(held.descriptors),
            anonymous_bytes: self.most.anonymous_bytes.max(held.anonymous_bytes),
        };
        self.longest_queue = self.longest_queue.max(proc::accept_queue(self.address));
        self.cost = thread_cpu_time().saturating_sub(before);
        self.looked = Instant::now();
    }

    fn tree(&self) -> Vec<Pid> {
        proc::tree(self.supervisor).split_off(1)
    }

    /// Returns the server stats of a run with this number of replies. Call it after the run, while
    /// the server still runs.
    pub fn finish(mut self, requests: u64) -> ServerSide {
        let elapsed = self.began.elapsed();
        let tree = self.tree();
        let cpu = cpu_used(&tree).since(&self.cpu);
        let cpu = cpu.as_ref();
        let switched = Switches::of(&tree).zip(self.switches.take());
        let switched = switched.map(|(now, before)| now.since(&before));
        self.look_now();

        let total = cpu.map(|cpu| cpu.total.as_nanos() as f64);
        let user = cpu.and_then(|cpu| Some(cpu.total.as_nanos() as f64 * cpu.user_part()?));
        let system = total.zip(user).map(|(total, user)| total - user);
        let each = |count: f64| (requests > 0).then(|| count / requests as f64);
        let each_ns = |ns: Option<f64>| ns.and_then(each).map(|ns| ns.round() as u64);
        ServerSide {
            cpu_ns_per_request: each_ns(total),
            user_cpu_ns_per_request: each_ns(user),
            system_cpu_ns_per_request: each_ns(system),
            cpu_share: cpu.map(|cpu| cpu.total.as_secs_f64() / elapsed.as_secs_f64()),
            threads: self.most.threads,
            processes: self.most.processes,
            descriptors: self.most.descriptors,
            anonymous_bytes: self.most.anonymous_bytes,
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
    const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

    /// A shell with one child that runs a script. Dropping it kills both.
    struct Below(Child);

    impl Below {
        fn start(words: &str) -> Below {
            let script = format!("sh -c '{words}'; :");
            let shell = Command::new("sh").args(["-c", &script]).process_group(0).spawn();
            let below = Below(shell.expect("sh"));
            wait_until("it has a child", || proc::tree(below.id()).len() >= 2);
            below
        }

        fn id(&self) -> Pid {
            self.0.id() as Pid
        }
    }

    impl Drop for Below {
        fn drop(&mut self) {
            let _ = killpg(nix::unistd::Pid::from_raw(self.id()), Signal::SIGKILL);
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_busy_child_has_user_time() {
        let busy = Below::start("while :; do :; done");
        let mut sampler = Sampler::below(busy.id(), NOWHERE);
        wait_until("it has worked", || {
            sampler.look();
            let used = cpu_used(&sampler.tree()).since(&sampler.cpu).expect("it is there");
            used.total >= Duration::from_millis(400) && used.user_part().is_some()
        });
        let side = sampler.finish(1_000);
        let (user, system) = (side.user_cpu_ns_per_request, side.system_cpu_ns_per_request);
        assert!(user > system, "{side:?}");
        let total = side.cpu_ns_per_request.expect("it is there");
        assert!(total >= 400_000 && total.abs_diff(user.unwrap() + system.unwrap()) <= 1);
        assert!(side.cpu_share.is_some_and(|share| share > 0.0 && share < 1.1), "{side:?}");
        assert_eq!((side.processes, side.threads), (1, 1));
        assert!(side.descriptors >= 3 && side.anonymous_bytes > 0, "{side:?}");
        assert!(side.voluntary_switches_per_request.is_some());
        assert_eq!(side.accept_queue_depth_max, None);
    }

    #[test]
    fn without_a_request_or_a_server_nothing_is_said_for_each() {
        let idle = Below::start("sleep 60");
        let sampler = Sampler::below(idle.id(), NOWHERE);
        // A process that never ran has no CPU time to lose.
        wait_until("it runs", || !cpu_used(&sampler.tree()).total.is_zero());
        assert_eq!(sampler.finish(0).cpu_ns_per_request, None);
        let sampler = Sampler::below(idle.id(), NOWHERE);
        drop(idle);
        let side = sampler.finish(10);
        assert_eq!((side.cpu_ns_per_request, side.cpu_share), (None, None));
    }

    #[test]
    fn the_longest_accept_queue_is_told() {
        let idle = Below::start("sleep 60");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut sampler = Sampler::below(idle.id(), address);
        let clients = [(); 3].map(|()| TcpStream::connect(address).expect("a place in the queue"));
        wait_until("three wait", || proc::accept_queue(address) == Some(3));
        sampler.look_now();
        for _ in &clients {
            listener.accept().expect("a client");
        }
        assert_eq!(proc::accept_queue(address), Some(0));
        assert_eq!(sampler.finish(3).accept_queue_depth_max, Some(3));
    }

    #[test]
    fn a_look_that_cost_much_is_not_soon_followed_by_another() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut sampler = Sampler::below(1 << 30, address);
        sampler.cost = Duration::from_secs(60);
        let _client = TcpStream::connect(address).expect("a place in the queue");
        wait_until("it waits", || proc::accept_queue(address) == Some(1));
        sampler.look();
        assert_eq!(sampler.longest_queue, Some(0));
        sampler.cost = Duration::ZERO;
        sampler.look();
        assert_eq!(sampler.longest_queue, Some(1));
    }
}
