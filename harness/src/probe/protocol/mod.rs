//! Protocol detection: derives a server's protocol from its replies.

mod behaviour;
mod detect;
mod detected;
mod format;

pub(super) use behaviour::{detect_connections_before_exit, detect_pipelining, detect_quit};
pub(super) use detect::{DetectError, detect};
pub(super) use detected::{Protocol, ask};
