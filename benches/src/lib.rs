//! Shared code of the benchmarks in `benches/`.
//!
//! Minimal echo loops, the comparison of ratios with a threshold, the busy share of a server,
//! confidence intervals of proportions, and the command line of benchmarks without Criterion.

#![cfg(target_os = "linux")]

pub mod bare_loops;
pub mod bench_mode;
pub mod proportion;
pub mod ratio;
pub mod work;
