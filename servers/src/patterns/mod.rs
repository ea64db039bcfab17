//! One file for each pattern, with the same silhouette: what it is, its row, `serve`.

mod fork_per_connection;
mod iterative;
mod iterative_refuse;
mod prefork_accept;
mod prefork_fdpass;
mod prefork_lock;
mod select;
mod thread_per_connection;

use crate::Pattern;

/// The catalogue, in the order in which to read it.
pub const PATTERNS: &[Pattern] = &[
    iterative::PATTERN,
    iterative_refuse::PATTERN,
    fork_per_connection::PATTERN,
    prefork_accept::PATTERN,
    prefork_lock::PATTERN,
    prefork_fdpass::PATTERN,
    thread_per_connection::PATTERN,
    select::PATTERN,
];
