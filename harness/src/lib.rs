//! Test and benchmark harness for TCP socket servers.
//!
//! The harness launches a server, or connects to a running one, and tests it against its contract:
//! results, framing, connection limit, timeouts, shutdown. It benchmarks servers with a load
//! generator that checks every reply, and writes the results as a comparison report. The program
//! `harness` is a thin wrapper around [`cli`] and [`commands`].
//!
//! # Use in the tests of another project
//!
//! [`testing::test_server`] launches a server by a command, and runs every applicable test case:
//!
//! ```no_run
//! use harness::contract::Declared;
//! use harness::testing::test_server;
//!
//! let declared = Declared { capacity: Some(1), ..Declared::default() };
//! let result = test_server("python3 server.py {host} {port}", &declared)?;
//! assert!(result.is_fine(), "{result:#?}");
//! # Ok::<(), harness::testing::TestError>(())
//! ```
//!
//! # Layers
//!
//! A module imports only from lower layers, which a test of this crate checks. From top to bottom:
//!
//! | layer | modules |
//! |---|---|
//! | entry point for tests | [`testing`] |
//! | commands | [`commands`] |
//! | command line, known failures, calibration | [`cli`], [`known_failures`], [`calibrate`] |
//! | reports | [`report`], [`comparison`], [`history`], [`thresholds`] |
//! | tools | [`probe`], [`selftest`], `counterexamples` |
//! | test cases and load generator | [`conformance`], [`load`] |
//! | clients, detection, manifests | [`client`], [`concurrency`], [`manifest`] |
//! | server under test | [`server`] |
//! | results | [`results`] |
//! | declared properties | [`contract`] |
//! | files of users, standard streams, protocol | `config_source`, [`stdio`], [`wire`] |
//! | utilities | [`environment`], [`exit`], [`init`], [`stats`], [`text`], [`usage_error`] |

#![cfg(target_os = "linux")]
// `print!` and similar macros panic if the stream is closed or the disk is full; see `stdio`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

// Entry point for tests of other projects.
pub mod testing;

// The commands of the program.
pub mod commands;

// Command line, known failures, comparison with other load generators.
pub mod calibrate;
pub mod cli;
pub mod known_failures;

// Reports, and the tools on top of test cases and load generator.
pub mod comparison;
mod counterexamples;
pub mod history;
pub mod probe;
pub mod report;
pub mod selftest;
pub mod thresholds;

// Test cases and load generator.
pub mod conformance;
pub mod load;

// Test clients, detection of the concurrency model, manifests.
pub mod client;
pub mod concurrency;
pub mod manifest;

// Launching and supervising the server under test.
pub mod server;

// Results: the data that tests and measurements produce, and reports read.
pub mod results;

// Declared properties of a server.
pub mod contract;

// Files of users, standard streams, and the protocol on the wire.
mod config_source;
pub mod stdio;
pub mod wire;

// Utilities.
pub mod environment;
pub mod exit;
mod figures;
pub mod init;
mod interrupt;
mod renamed;
pub mod stats;
pub mod text;
mod units;
pub mod usage_error;
mod workflow_commands;
