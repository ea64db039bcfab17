//! One file for each pattern, with the same silhouette: what it is, its row, `serve`.

mod iterative;
mod iterative_refuse;
mod select;
mod thread_per_connection;
mod uring;
mod uring_per_core;

use crate::Pattern;

/// The catalogue, in the order in which to read it.
pub const PATTERNS: &[Pattern] = &[
    iterative::PATTERN,
    iterative_refuse::PATTERN,
    thread_per_connection::PATTERN,
    select::PATTERN,
    uring::PATTERN,
    uring_per_core::PATTERN,
];
