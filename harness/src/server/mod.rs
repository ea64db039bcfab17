//! The server under test: what it declares, how it is launched, supervised, observed and ended.
//!
//! Built-in and foreign servers are launched in exactly the same way: a command with `{host}` and
//! `{port}`, below a supervisor process that owns everything the command starts.

mod confinement;
pub mod diag;
mod interpreter;
mod launch;
mod log;
mod namespace;
pub mod network;
mod order;
mod place;
mod port;
pub mod proc;
mod spec;
mod split;
pub mod supervise;
pub mod usage;

pub use confinement::Confinement;
pub use launch::{Ended, LaunchError, Launcher, Process, READY_DEADLINE, Server};
pub use log::last_lines;
pub use network::Network;
pub use place::Place;
pub use port::Port;
pub use spec::{MOST_INPUT, Spec, SpecError, Surroundings};
pub use split::split;
pub use supervise::{MOST_TASKS, Survivor};
