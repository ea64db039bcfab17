//! One file for each pattern, with the same silhouette: what it is, its row, `serve`.

mod actor;
mod iterative;
mod iterative_refuse;
mod select;
mod thread_per_connection;
mod tokio_current_thread;
mod tokio_multi_thread;

use crate::Pattern;

/// The catalogue, in the order in which to read it.
pub const PATTERNS: &[Pattern] = &[
    iterative::PATTERN,
    iterative_refuse::PATTERN,
    thread_per_connection::PATTERN,
    select::PATTERN,
    tokio_current_thread::PATTERN,
    tokio_multi_thread::PATTERN,
    actor::PATTERN,
];
