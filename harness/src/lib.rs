//! Judges and measures socket servers, and writes the comparison.
//!
//! The order of a run is the order of these modules: [`cli`] says what to do, [`run`] does it:
//! for each server, launch ([`server`]), judge ([`conformance`], by way of [`client`]), measure
//! ([`load`]), and write ([`report`]).

#![cfg(target_os = "linux")]
// They panic where a stream is closed or full: see `stdio`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

pub mod cli;
pub mod commands;
mod counterexamples;
pub mod init;
mod interrupt;
pub mod known_failures;
pub mod manifest;
pub mod probe;
pub mod stdio;
pub mod testing;
pub mod usage_error;

pub mod calibrate;
pub mod client;
pub mod concurrency;
mod config_source;
pub mod conformance;
pub mod contract;
pub mod environment;
pub mod exit;
mod figures;
pub mod load;
pub mod report;
pub mod selftest;
pub mod server;
pub mod stats;
pub mod text;
mod units;
pub mod wire;
