//! The server under test: what it declares, how it is launched, supervised, observed and ended.
//!
//! Built-in and foreign servers are launched in exactly the same way: a command with `{host}` and
//! `{port}`, below a supervisor process that owns everything the command starts.

mod contract;
pub mod diag;
mod dialect;
mod launch;
mod port;
pub mod proc;
mod spec;
pub mod supervise;
pub mod usage;

pub use contract::{BUSY_PREFIX, Contract, Ending};
pub use dialect::{Dialect, Division, Operators};
pub use launch::{Ended, LaunchError, Launcher, Process, READY_DEADLINE, Server, last_lines};
pub use port::Port;
pub use spec::{Spec, SpecError};
pub use supervise::{Exit, MOST_TASKS, Survivor};
