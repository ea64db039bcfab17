//! Other load generators as yardsticks: what each gets out of the same server, with the same bytes,
//! in alternation with this one.

mod child;
mod compare;
mod reference_generators;
mod run;

pub use compare::{Calibration, LOADS, compare};
pub use reference_generators::{REFERENCE_GENERATORS, ReferenceGenerator, ReferenceLoad};
pub use run::{ReferenceError, ReferenceRun, run};
