//! What the benchmarks in `benches/` share: yardsticks to measure servers by, the ratio as something
//! that Criterion measures, how busy a server was, the interval of a proportion, and what a bench
//! without Criterion is asked for.

#![cfg(target_os = "linux")]

pub mod asked;
pub mod bare;
pub mod proportion;
pub mod ratio;
pub mod work;
