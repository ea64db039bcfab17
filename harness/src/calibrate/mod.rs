//! Other load generators as yardsticks: what each gets out of the same server, with the same bytes,
//! in alternation with this one.

mod child;
mod compare;
mod rivals;
mod run;

pub use compare::{Calibration, LOADS, compare};
pub use rivals::{RIVALS, Rival, RivalLoad};
pub use run::{RivalError, RivalRun, run};
