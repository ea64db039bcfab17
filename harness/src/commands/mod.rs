//! The commands of the program, one module each.

mod asked;
pub mod bench;
pub mod calibrate;
pub mod check;
mod compare;
pub mod list;
pub mod probe;
mod progress;
pub mod replay;
pub mod role;
pub mod run;
pub mod selftest;
