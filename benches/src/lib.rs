//! Shared code of the benchmarks in `benches/`.
//!
//! It has the minimal loops, ratios as a Criterion measurement, and the busy share of a server. It
//! also has confidence intervals of proportions, and the command line of benchmarks without
//! Criterion.

#![cfg(target_os = "linux")]

pub mod asked;
pub mod bare;
pub mod proportion;
pub mod ratio;
pub mod work;
