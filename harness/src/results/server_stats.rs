//! Resource use of a server under load.

use serde::{Deserialize, Serialize};

/// Resource use of a server during a run, summed over all of its processes and threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServerStats {
    /// CPU time per request, in nanoseconds, including the warm-up. `None` if no request was
    /// answered, or if a process exited during the run and its parent did not wait for it.
    pub cpu_ns_per_request: Option<u64>,
    /// User time per request, in nanoseconds. `None` if the server used less than 0.25 s of CPU
    /// time: the kernel splits CPU time into user and system time by sampling.
    pub user_cpu_ns_per_request: Option<u64>,
    /// System time per request, in nanoseconds, with the same limitation.
    pub system_cpu_ns_per_request: Option<u64>,
    /// CPU time divided by the duration of the run; 1 is one busy CPU.
    pub cpu_share: Option<f64>,
    /// Maximum number of threads in the samples.
    pub threads: usize,
    /// Maximum number of processes in the samples.
    pub processes: usize,
    /// Maximum number of open descriptors in the samples.
    pub descriptors: usize,
    /// Maximum resident anonymous memory in the samples, in bytes.
    pub anonymous_bytes: u64,
    /// Voluntary context switches per request: a thread waited for an event. Excludes threads that
    /// ended during the run. `None` with more than 2,000 threads.
    pub voluntary_switches_per_request: Option<f64>,
    /// Involuntary context switches per request: another thread got the CPU. The same limitations
    /// apply.
    pub involuntary_switches_per_request: Option<f64>,
    /// Maximum length of the accept queue in the samples; `None` if no listening socket was found.
    pub accept_queue_depth_max: Option<u64>,
}
