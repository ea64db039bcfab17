//! Known-answer servers, which validate the load generator: the correct results of a load run are
//! known in advance.

pub mod answer;
mod client;
pub mod known;
mod lines;
mod trials;

pub use trials::{CheckedPrediction, TRIALS, Trial, TrialSettings};
