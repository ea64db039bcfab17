//! Reads the state of running process trees from /proc and sock_diag(7). Only `reset_peak`,
//! `exhaust_descriptors` and `restore_descriptors` change the state.

mod descriptors;
mod files;
mod sched_stats;
mod sockets;
mod tree;
mod usage;
mod view;

pub use descriptors::{Shortage, exhaust_descriptors, restore_descriptors, unused_descriptors};
pub use files::have_file;
pub use sched_stats::{SchedStats, Thread, sched_stats, sched_stats_by_thread, thread_sched_stats};
pub(crate) use sockets::listeners;
pub use sockets::{
    accept_queue, has_connections, in_close_wait, is_client_of_another, is_listened_on, listening,
};
pub(super) use sockets::{inodes, listening_on};
pub use tree::{MAX_PROCESSES, Pid, all_tasks, children, name, threads, tree};
pub(crate) use tree::{field, number, stat_fields};
pub(super) use usage::cpu_ticks;
pub use usage::{
    ResourceUsage, cpu_time, is_asleep, peak_bytes, reset_peak, resource_usage, runnable,
};
pub use view::{hidden_by, is_in_other_network};

/// Helpers for the tests of several modules.
#[cfg(test)]
pub(crate) mod testing {
    use std::time::{Duration, Instant};

    /// Waits until a condition holds; panics after 60 s.
    pub(crate) fn wait_until(condition: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "timeout while waiting until {condition}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
