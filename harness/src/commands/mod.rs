//! The commands of the program, one module each.

mod annotations;
pub mod bench;
mod benchmark;
pub mod calibrate;
mod case_line;
pub mod check;
mod command_server;
pub mod compare;
mod compared_servers;
mod draft;
mod exit_policy;
pub mod history;
mod interleaved;
pub mod list;
pub mod load;
mod measurement_args;
pub mod probe;
mod progress;
pub mod replay;
pub mod report;
mod report_files;
pub mod role;
pub mod run;
mod selection;
pub mod selftest;
