//! Placement of the server and the load on separate CPUs, so that neither slows the other.

use std::slice;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::server::Launcher;

/// CPU pinning of the server and the load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// The load on the last CPUs, one per load thread; the server on all other CPUs.
    #[default]
    Apart,
    /// Both on the first CPU.
    Together,
    /// No pinning: the kernel chooses the CPUs.
    None,
}

impl Pin {
    /// All settings.
    pub const ALL: &[Pin] = &[Pin::Apart, Pin::Together, Pin::None];

    /// Returns the name used in flags.
    pub fn name(self) -> &'static str {
        match self {
            Pin::Apart => "apart",
            Pin::Together => "together",
            Pin::None => "none",
        }
    }
}

/// CPUs of the server and the load, by the kernel's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Separate CPUs.
    Apart {
        /// CPUs of the server.
        server: Vec<usize>,
        /// CPUs of the load: one per load thread, if enough CPUs are available.
        load: Vec<usize>,
    },
    /// Server and load on this CPU.
    Together(usize),
    /// The machine has only one usable CPU.
    OneOnly,
    /// Nothing is pinned.
    None,
}

/// Guard of the calling thread's pinning. Drop restores the previous CPU affinity.
#[derive(Debug)]
pub struct Pinned(CpuSet);

const THIS_THREAD: Pid = Pid::from_raw(0);

impl Placement {
    /// Divides the CPUs that the calling thread may use, for a load with this number of threads.
    ///
    /// # Errors
    /// The kernel does not report the usable CPUs.
    pub fn find(pin: Pin, threads: usize) -> Result<Placement, Errno> {
        let usable = sched_getaffinity(THIS_THREAD)?;
        let numbers = (0..CpuSet::count()).filter(|&number| usable.is_set(number) == Ok(true));
        Ok(Placement::of(pin, &numbers.collect::<Vec<_>>(), threads))
    }

    fn of(pin: Pin, usable: &[usize], threads: usize) -> Placement {
        match (pin, usable) {
            (Pin::None, _) => Placement::None,
            (_, [] | [_]) => Placement::OneOnly,
            (Pin::Together, [first, ..]) => Placement::Together(*first),
            (Pin::Apart, _) => {
                let of_load = threads.clamp(1, usable.len() - 1);
                let (server, load) = usable.split_at(usable.len() - of_load);
                Placement::Apart { server: server.to_vec(), load: load.to_vec() }
            }
        }
    }

    /// Returns the CPUs to launch a server on; `None` for all.
    pub fn of_server(&self) -> Option<&[usize]> {
        match self {
            Placement::Apart { server, .. } => Some(server),
            Placement::Together(both) => Some(slice::from_ref(both)),
            Placement::OneOnly | Placement::None => None,
        }
    }

    /// Returns a launcher that starts servers on the server's CPUs. Pinning a running server would
    /// be too late: a server with one worker per CPU counts the CPUs when it starts.
    pub fn launcher(&self, launcher: &Launcher) -> Launcher {
        launcher.pinned_to(self.of_server())
    }

    /// Returns the caveat for results if server and generator may share CPUs; otherwise `None`.
    pub fn caveat(&self) -> Option<String> {
        match self {
            Placement::Apart { .. } => None,
            Placement::Together(_) | Placement::OneOnly => Some(self.description()),
            Placement::None => Some("server and generator may share CPUs".to_owned()),
        }
    }

    /// Returns the CPU of load thread `number` (from 0), if the thread is pinned.
    pub fn of_load_thread(&self, number: usize) -> Option<usize> {
        match self {
            Placement::Apart { load, .. } => Some(load[number % load.len()]),
            Placement::Together(both) => Some(*both),
            Placement::OneOnly | Placement::None => None,
        }
    }

    /// Pins the calling thread to the CPU of load thread `number` (from 0). Threads and processes
    /// that it starts while pinned inherit the affinity.
    ///
    /// # Errors
    /// The kernel does not report or set the CPU affinity.
    pub fn pin_load_thread(&self, number: usize) -> Result<Pinned, Errno> {
        let before = sched_getaffinity(THIS_THREAD)?;
        if let Some(processor) = self.of_load_thread(number) {
            sched_setaffinity(THIS_THREAD, &set(&[processor])?)?;
        }
        Ok(Pinned(before))
    }

    /// Returns whether the load threads have CPUs that the server does not use.
    pub fn is_apart(&self) -> bool {
        matches!(self, Placement::Apart { .. })
    }

    /// Describes the placement for a report.
    pub fn description(&self) -> String {
        match self {
            Placement::Apart { server, load } => {
                format!("server on {}, generator on {}", processors(server), processors(load))
            }
            Placement::Together(both) => format!("server and generator share CPU {both}"),
            Placement::OneOnly => "server and generator share the only CPU".to_owned(),
            Placement::None => "not pinned".to_owned(),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // Cannot fail: the thread had this affinity before.
        let _ = sched_setaffinity(THIS_THREAD, &self.0);
    }
}

fn set(processors: &[usize]) -> Result<CpuSet, Errno> {
    let mut set = CpuSet::new();
    processors.iter().try_for_each(|&processor| set.set(processor))?;
    Ok(set)
}

fn processors(numbers: &[usize]) -> String {
    match numbers {
        [one] => format!("CPU {one}"),
        [first, _, .., last] if last - first + 1 == numbers.len() => {
            format!("CPUs {first} to {last}")
        }
        several => {
            let numbers: Vec<String> = several.iter().map(usize::to_string).collect();
            format!("CPUs {}", numbers.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn load_threads_get_the_last_cpus_and_the_server_gets_the_others() {
        let description =
            |pin, usable: &[usize], threads| Placement::of(pin, usable, threads).description();
        for (usable, threads, expected) in [
            (&[0, 1][..], 1, "server on CPU 0, generator on CPU 1"),
            (&[0, 1], 4, "server on CPU 0, generator on CPU 1"),
            (&[0, 1, 2, 3], 1, "server on CPUs 0 to 2, generator on CPU 3"),
            (&[0, 2, 5, 6], 2, "server on CPUs 0, 2, generator on CPUs 5, 6"),
            (&[7], 1, "server and generator share the only CPU"),
        ] {
            assert_eq!(description(Pin::Apart, usable, threads), expected);
        }
        assert_eq!(description(Pin::Together, &[3, 4], 1), "server and generator share CPU 3");
        assert_eq!(description(Pin::Together, &[3], 1), description(Pin::Apart, &[3], 1));
        assert_eq!(description(Pin::None, &[0, 1], 1), "not pinned");
    }

    #[test]
    fn a_thread_is_pinned_until_its_guard_is_dropped() {
        let before = sched_getaffinity(THIS_THREAD).expect("a set");
        for pin in [Pin::Apart, Pin::Together, Pin::None] {
            let placement = Placement::find(pin, 1).expect("a set");
            let expected = match &placement {
                Placement::Apart { load, .. } => set(load).expect("a set"),
                Placement::Together(both) => set(&[*both]).expect("a set"),
                Placement::OneOnly | Placement::None => before,
            };
            let pinned = placement.pin_load_thread(0).expect("permitted CPUs");
            assert_eq!(sched_getaffinity(THIS_THREAD), Ok(expected), "{placement:?}");
            drop(pinned);
            assert_eq!(sched_getaffinity(THIS_THREAD), Ok(before), "{placement:?}");
        }
    }

    #[test]
    fn a_thread_restricted_to_one_cpu_finds_only_one() {
        let Placement::Apart { server, .. } = Placement::find(Pin::Apart, 1).expect("a set") else {
            return;
        };
        let found = thread::spawn(move || {
            sched_setaffinity(THIS_THREAD, &set(&server[..1])?)?;
            Placement::find(Pin::Apart, 1)
        });
        assert_eq!(found.join().expect("no panic in the thread"), Ok(Placement::OneOnly));
    }
}
