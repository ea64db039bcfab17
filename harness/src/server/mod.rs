//! The server under test: launching, supervision, observation and shutdown.
//!
//! Built-in and external servers are launched in the same way, by a command with `{host}` and
//! `{port}`. The command runs below a supervisor that owns every process that it starts.

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
mod place;
mod port;
pub mod proc;
mod split;
pub mod supervise;

pub use confinement::Confinement;
pub use descriptor_limit::raise_descriptor_limit;
pub use launch::{Ended, Process, READY_DEADLINE, Server};
pub use launch_error::LaunchError;
pub use launch_spec::{LaunchSpec, Surroundings};
pub use launch_spec_error::{LaunchSpecError, MOST_INPUT};
pub use launcher::Launcher;
pub(crate) use launcher::ROLE;
pub use log::last_lines;
pub use network::Network;
pub use place::Place;
pub use port::Port;
pub use split::split;
pub use supervise::{MOST_TASKS, Survivor};
