//! Experiments that detect a property of a server: to compare it with the contract, or to report it
//! if the contract does not declare it.

mod clients_at_limit;
mod error_replies;
mod idle;
mod line_length;
mod over_limit;
mod recipients;
mod reply_prefix;
mod shutdown;
mod spinning;

pub(super) use clients_at_limit::ClientsAtLimit;
pub(super) use error_replies::{ErrorReply, error_replies};
pub(super) use idle::stay_idle;
pub(super) use line_length::{UnansweredOutcome, longest_line};
pub(super) use over_limit::{connect_over_limit, expected_outcome};
pub(super) use recipients::recipients;
pub(super) use reply_prefix::common_prefix;
pub(crate) use reply_prefix::stable_prefix;
pub(super) use shutdown::{
    EXIT_FACTOR, PROCESSES_REMAIN_HINT, expect_end_at_exit, shut_down, stop,
    with_remaining_processes,
};
pub(super) use spinning::expect_sleep;
