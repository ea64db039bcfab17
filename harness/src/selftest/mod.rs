//! Known-answer servers, which validate the load generator: their correct results are known in
//! advance.

pub mod answer;
mod client;
pub mod known;
mod lines;
mod trials;

pub use trials::{Compared, Rigour, TRIALS, Trial};
