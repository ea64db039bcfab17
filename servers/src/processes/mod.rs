//! Worker processes: forking, supervision, shared locks, descriptor passing.

mod descriptors;
mod fd_passing;
mod file_lock;
mod restart_backoff;
mod shared_mutex;
mod worker_processes;

pub use fd_passing::{Received, pass, receive};
pub use file_lock::FileLock;
pub use shared_mutex::SharedMutex;
pub use worker_processes::WorkerProcesses;
