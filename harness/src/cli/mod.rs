//! Command-line parser. Its doc comments are the `--help` texts of all commands.

mod address;
mod bench;
mod check;
mod client;
mod command;
mod compare;
mod declared_flags;
mod exit_policy;
mod history;
mod list;
mod load;
mod measurement_args;
mod plan;
mod probe;
mod replay;
mod report;
mod run;
mod serve;
mod server_name;
mod start_args;
mod suggestion;
mod terminal_args;
mod validation;
mod value_enum;

pub use address::Address;
pub use bench::Bench;
pub use check::{COUNTEREXAMPLES, Check, DEFAULT_TIMEOUT};
pub use client::Client;
pub use command::{Cli, Command};
pub use compare::{Compare, FailOnTimes};
pub use declared_flags::DeclaredFlags;
pub use exit_policy::ExitPolicy;
pub use history::History;
pub use list::{List, Table};
pub use load::Load;
pub use measurement_args::{MeasurementArgs, Require};
pub use plan::PlanName;
pub use probe::Probe;
pub use replay::Replay;
pub use report::Report;
pub use run::Run;
pub use serve::{KnownAnswer, NamedServer, Serve, Supervise};
pub use start_args::StartArgs;
pub use terminal_args::TerminalArgs;
pub use validation::{Calibrate, Selftest};

pub(crate) use command::is_role;
pub(crate) use server_name::server;

use exit_policy::EXIT_CODES;
