//! Protocol detection: derives a server's protocol from its replies.

mod behaviour;
mod broadcast;
mod detect;
mod detected;
mod format;
mod other_syntax;
mod quit;
mod syntax;
mod transform;

pub(super) use behaviour::{detect_connections_before_exit, detect_pipelining};
pub(super) use broadcast::detect_broadcast;
pub(super) use detect::{DetectError, detect};
pub(super) use detected::{Echo, Protocol, ask};
pub(super) use quit::{QuitWords, detect_quit};
pub(super) use syntax::Syntax;
pub(super) use transform::detect_transform;
