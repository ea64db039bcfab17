//! One file for each pattern, with the same outline: the explanation, the description `PATTERN`,
//! and the function `serve`.

mod iterative;
mod iterative_busy;
mod iterative_refuse;
mod iterative_reset;

mod fork_per_connection;
mod prefork_accept;
mod prefork_fdpass;
mod prefork_lock;
mod prefork_mutex;

mod prethread_accept;
mod thread_per_connection;
mod thread_pool;

mod epoll_edge;
mod epoll_level;
mod poll;
mod select;

mod epoll_exclusive;
mod multi_reactor;
mod reuseport;

mod epoll_oneshot;
mod half_sync_half_async;
mod leader_followers;
mod staged;

mod actor;
mod tokio_current_thread;
mod tokio_multi_thread;

mod uring;
mod uring_per_core;

use crate::pattern::Pattern;

/// All patterns, in reading order.
pub const PATTERNS: &[Pattern] = &[
    iterative::PATTERN,
    iterative_refuse::PATTERN,
    iterative_reset::PATTERN,
    iterative_busy::PATTERN,
    fork_per_connection::PATTERN,
    prefork_accept::PATTERN,
    prefork_lock::PATTERN,
    prefork_mutex::PATTERN,
    prefork_fdpass::PATTERN,
    thread_per_connection::PATTERN,
    prethread_accept::PATTERN,
    thread_pool::PATTERN,
    select::PATTERN,
    poll::PATTERN,
    epoll_level::PATTERN,
    epoll_edge::PATTERN,
    epoll_exclusive::PATTERN,
    reuseport::PATTERN,
    multi_reactor::PATTERN,
    epoll_oneshot::PATTERN,
    leader_followers::PATTERN,
    half_sync_half_async::PATTERN,
    staged::PATTERN,
    tokio_current_thread::PATTERN,
    tokio_multi_thread::PATTERN,
    actor::PATTERN,
    uring::PATTERN,
    uring_per_core::PATTERN,
];
