//! A processor for the servers and another for the load, so that neither takes the other's.

use harness::server::Server;
use harness::server::proc::threads;
use nix::errno::Errno;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Two processors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Apart {
    server: usize,
    load: usize,
}

/// The calling thread's lot until dropped: then it may run where it might before.
#[derive(Debug)]
pub struct Pinned(CpuSet);

impl Apart {
    /// The first two of those that this program may use; none if there is only one.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find() -> Result<Option<Apart>, Errno> {
        let usable = sched_getaffinity(THIS_THREAD)?;
        let mut usable = (0..CpuSet::count()).filter(|&number| usable.is_set(number) == Ok(true));
        Ok(usable.next().zip(usable.next()).map(|(server, load)| Apart { server, load }))
    }

    /// Gives every thread that a server has the servers' processor; those that they start will
    /// have it too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pin(self, server: &Server) -> Result<(), Errno> {
        let set = only(self.server)?;
        threads(&server.process.tree()).into_iter().try_for_each(|thread| {
            match sched_setaffinity(Pid::from_raw(thread), &set) {
                // It has ended.
                Err(Errno::ESRCH) => Ok(()),
                other => other,
            }
        })
    }

    /// Gives the calling thread the load's. What it starts meanwhile would have it too.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn pin_this_thread(self) -> Result<Pinned, Errno> {
        let before = sched_getaffinity(THIS_THREAD)?;
        sched_setaffinity(THIS_THREAD, &only(self.load)?)?;
        Ok(Pinned(before))
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        // It could run there before.
        let _ = sched_setaffinity(THIS_THREAD, &self.0);
    }
}

const THIS_THREAD: Pid = Pid::from_raw(0);

fn only(processor: usize) -> Result<CpuSet, Errno> {
    let mut set = CpuSet::new();
    set.set(processor)?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_pinned_until_it_is_not() {
        let Some(apart) = Apart::find().expect("a set") else { return };
        let before = sched_getaffinity(THIS_THREAD).expect("a set");
        let pinned = apart.pin_this_thread().expect("it can be");
        assert_eq!(sched_getaffinity(THIS_THREAD), only(apart.load));
        drop(pinned);
        assert_eq!(sched_getaffinity(THIS_THREAD), Ok(before));
    }
}
