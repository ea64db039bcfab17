//! Where the parties of a run may run: processors for the server and others for the load, so that
//! neither takes the other's.

use std::slice;

use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use crate::server::Launcher;

/// How the parties are to be pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pin {
    /// The load on the last processors, one for each of its threads; the server on all others.
    #[default]
    Apart,
    /// Both on the first processor.
    Together,
    /// Wherever the kernel puts them.
    None,
}

impl Pin {
    /// All of them.
    pub const ALL: &[Pin] = &[Pin::Apart, Pin::Together, Pin::None];

    /// Returns its name in flags.
    pub fn name(self) -> &'static str {
        match self {
            Pin::Apart => "apart",
            Pin::Together => "together",
            Pin::None => "none",
        }
    }
}

/// Who may run on which processors, by the kernel's numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Neither takes the other's.
    Apart {
        /// The server's.
        server: Vec<usize>,
        /// One for each thread of the load, unless it has more threads than there are processors.
        load: Vec<usize>,
    },
    /// Both on this one.
    Together(usize),
    /// There is only one.
    OneOnly,
    /// Nobody is pinned.
    None,
}

/// The calling thread's lot until dropped: then it may run where it might before.
#[derive(Debug)]
pub struct Pinned(CpuSet);

const THIS_THREAD: Pid = Pid::from_raw(0);

impl Placement {
    /// Divides the processors that the calling thread may use, for a load of so many threads.
    ///
    /// # Errors
    /// What the kernel says.
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

    /// The processors that a server is to be launched on; `None` for all.
    pub fn of_server(&self) -> Option<&[usize]> {
        match self {
            Placement::Apart { server, .. } => Some(server),
            Placement::Together(both) => Some(slice::from_ref(both)),
            Placement::OneOnly | Placement::None => None,
        }
    }

    /// A launcher whose servers are started on the server's processors. They cannot be put there
    /// later: one with a worker for each processor has counted them by then.
    pub fn launcher(&self, launcher: &Launcher) -> Launcher {
        launcher.on(self.of_server())
    }

    /// What stands beside every figure where server and generator take processor time from each
    /// other; `None` where each has processors of its own.
    pub fn caveat(&self) -> Option<String> {
        match self {
            Placement::Apart { .. } => None,
            Placement::Together(_) | Placement::OneOnly => Some(self.words()),
            Placement::None => Some("server and generator may share processors".to_owned()),
        }
    }

    /// The processor of the load's thread of this number (from 0), if it has one.
    pub fn of_load_thread(&self, number: usize) -> Option<usize> {
        match self {
            Placement::Apart { load, .. } => Some(load[number % load.len()]),
            Placement::Together(both) => Some(*both),
            Placement::OneOnly | Placement::None => None,
        }
    }

    /// Gives the calling thread, the load's one of this number (from 0), its processor. What it
    /// starts meanwhile will have that too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pin_load_thread(&self, number: usize) -> Result<Pinned, Errno> {
        let before = sched_getaffinity(THIS_THREAD)?;
        if let Some(processor) = self.of_load_thread(number) {
            sched_setaffinity(THIS_THREAD, &set(&[processor])?)?;
        }
        Ok(Pinned(before))
    }

    /// Whether each thread of the load has a processor that the server does not use.
    pub fn is_apart(&self) -> bool {
        matches!(self, Placement::Apart { .. })
    }

    /// Who runs where, for a report.
    pub fn words(&self) -> String {
        match self {
            Placement::Apart { server, load } => {
                format!("server on {}, generator on {}", processors(server), processors(load))
            }
            Placement::Together(both) => format!("server and generator share processor {both}"),
            Placement::OneOnly => "one processor only: server and generator share it".to_owned(),
            Placement::None => "not pinned".to_owned(),
        }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It could run there before.
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
        [one] => format!("processor {one}"),
        [first, _, .., last] if last - first + 1 == numbers.len() => {
            format!("processors {first} to {last}")
        }
        several => {
            let numbers: Vec<String> = several.iter().map(usize::to_string).collect();
            format!("processors {}", numbers.join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn each_thread_of_the_load_has_a_processor_from_the_end_and_the_server_the_others() {
        let words = |pin, usable: &[usize], threads| Placement::of(pin, usable, threads).words();
        for (usable, threads, expected) in [
            (&[0, 1][..], 1, "server on processor 0, generator on processor 1"),
            (&[0, 1], 4, "server on processor 0, generator on processor 1"),
            (&[0, 1, 2, 3], 1, "server on processors 0 to 2, generator on processor 3"),
            (&[0, 2, 5, 6], 2, "server on processors 0, 2, generator on processors 5, 6"),
            (&[7], 1, "one processor only: server and generator share it"),
        ] {
            assert_eq!(words(Pin::Apart, usable, threads), expected);
        }
        assert_eq!(words(Pin::Together, &[3, 4], 1), "server and generator share processor 3");
        assert_eq!(words(Pin::Together, &[3], 1), words(Pin::Apart, &[3], 1));
        assert_eq!(words(Pin::None, &[0, 1], 1), "not pinned");
    }

    #[test]
    fn a_thread_is_pinned_until_it_is_not() {
        let before = sched_getaffinity(THIS_THREAD).expect("a set");
        for pin in [Pin::Apart, Pin::Together, Pin::None] {
            let placement = Placement::find(pin, 1).expect("a set");
            let expected = match &placement {
                Placement::Apart { load, .. } => set(load).expect("a set"),
                Placement::Together(both) => set(&[*both]).expect("a set"),
                Placement::OneOnly | Placement::None => before,
            };
            let pinned = placement.pin_load_thread(0).expect("it can be");
            assert_eq!(sched_getaffinity(THIS_THREAD), Ok(expected), "{placement:?}");
            drop(pinned);
            assert_eq!(sched_getaffinity(THIS_THREAD), Ok(before), "{placement:?}");
        }
    }

    #[test]
    fn a_thread_that_may_use_one_processor_finds_one_only() {
        let Placement::Apart { server, .. } = Placement::find(Pin::Apart, 1).expect("a set") else {
            return;
        };
        let found = thread::spawn(move || {
            sched_setaffinity(THIS_THREAD, &set(&server[..1])?)?;
            Placement::find(Pin::Apart, 1)
        });
        assert_eq!(found.join().expect("it ends"), Ok(Placement::OneOnly));
    }
}
