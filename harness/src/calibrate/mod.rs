//! Calibration against reference load generators: interleaved runs on the same server, with the
//! same request bytes.

mod child;
mod compare;
mod reference_generators;
mod run;

pub use compare::{Calibration, LOADS, compare};
pub use reference_generators::{REFERENCE_GENERATORS, ReferenceGenerator, ReferenceLoad};
pub use run::{ReferenceError, ReferenceRun, run};
