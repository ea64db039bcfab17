//! The server under test: launch, supervision, observation and shutdown.
//!
//! Built-in and external servers are launched in the same way, by a command with `{host}` and
//! `{port}`. A supervisor runs the command and owns all processes that the command starts.

mod confinement;
pub mod cpu_usage;
mod descriptor_limit;
pub mod diag;
mod interpreter;
mod launch;
mod launch_error;
mod launch_request;
mod launch_spec;
mod launch_spec_error;
mod launcher;
mod log;
mod namespace;
pub mod network;
mod network_lease;
mod port;
pub mod proc;
mod process;
mod readiness;
mod self_connection;
mod shared;
mod split;
mod start_state;
pub mod starvation;
pub mod supervise;
mod waiting;

pub use confinement::Confinement;
pub use descriptor_limit::raise_descriptor_limit;
pub use launch::Server;
pub use launch_error::{LaunchError, Limit};
pub use launch_spec::{LaunchOptions, LaunchSpec};
pub use launch_spec_error::{LaunchSpecError, MAX_INPUT};
pub use launcher::Launcher;
pub(crate) use launcher::ROLE;
pub use log::last_lines;
pub use network::Network;
pub use network_lease::NetworkLease;
pub use port::PortLease;
pub use process::{ExitReport, Process};
pub use readiness::{Readiness, START_TIMEOUT};
pub use self_connection::{accepts, is_self_connection};
pub use split::split;
pub use supervise::{MAX_TASKS, SPINNING_TIME, spinning_tasks};
