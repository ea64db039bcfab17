//! Calibration against reference load generators: runs of both generators alternate, on the same
//! server and with the same request bytes.

mod child;
mod compare;
mod reference_generators;
mod run;

pub use compare::{Calibration, LOADS, compare};
pub use reference_generators::{REFERENCE_GENERATORS, ReferenceGenerator, ReferenceLoad};
pub use run::{ReferenceError, ReferenceRun, run};
