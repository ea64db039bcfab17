//! What the benchmarks in `benches/` share: yardsticks to measure servers by, the ratio as
//! something that Criterion measures, and processors to keep the two sides apart.

#![cfg(target_os = "linux")]

pub mod bare;
pub mod pin;
pub mod ratio;
