//! The server under test: what it declares, how it is launched, supervised, observed and ended.
//!
//! Built-in and foreign servers are launched in exactly the same way: a command with `{host}` and
//! `{port}`, below a supervisor process that owns everything the command starts.

mod confinement;
mod descriptor_limit;
pub mod diag;
mod interpreter;
mod launch;
mod launch_error;
mod launcher;
mod log;
mod namespace;
pub mod network;
mod order;
mod place;
mod port;
pub mod proc;
mod spec;
mod spec_error;
mod split;
pub mod supervise;
pub mod usage;

pub use confinement::Confinement;
pub use descriptor_limit::raise_descriptor_limit;
pub use launch::{Ended, Process, READY_DEADLINE, Server};
pub use launch_error::LaunchError;
pub use launcher::Launcher;
pub use log::last_lines;
pub use network::Network;
pub use place::Place;
pub use port::Port;
pub use spec::{Spec, Surroundings};
pub use spec_error::{MOST_INPUT, SpecError};
pub use split::split;
pub use supervise::{MOST_TASKS, Survivor};
