//! Servers whose right figures are known beforehand, against which the load engine proves itself.

pub mod answer;
mod client;
pub mod known;
mod lines;
mod trials;

pub use trials::{Compared, Rigour, TRIALS, Trial};
