//! Tries request formats, each on an instance of the server.

use std::fmt;

use super::detected::Protocol;
use super::format::{FormatResult, try_format};
use crate::probe::target::ProbeTarget;
use crate::server::LaunchError;

/// Request formats: the terminator, and whether operators have spaces around them. The first format
/// that gets the right reply is used.
const FORMATS: &[(&[u8], bool)] = &[
    (b"", false),
    (b"\n", false),
    (b"\r\n", false),
    (b"\0", false),
    (b";", false),
    (b"", true),
    (b"\n", true),
    (b"\r\n", true),
    (b"\0", true),
    (b";", true),
];

/// Number of formats to try first: most servers accept one of these.
const COMMON_FORMATS: usize = 2;

/// Reason why the protocol is unknown.
pub(crate) enum DetectError {
    /// The server could not be launched.
    Launch(LaunchError),
    /// The reply is not that of a calculator or an echo server. `request` and `reply` are escaped
    /// for display.
    OtherReply { request: String, reply: String },
    /// No request got a reply.
    Silence,
}

impl fmt::Display for DetectError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DetectError::Launch(error) => error.fmt(to),
            DetectError::OtherReply { request, reply } => write!(
                to,
                "the reply to {request} is {reply}, which is neither a result nor an echo"
            ),
            DetectError::Silence => to.write_str("no request got a reply, with any line end"),
        }
    }
}

/// Tries the request formats, and derives the framing of the replies. Some properties of the
/// protocol need further experiments and are not yet set. Updates `target` with properties that
/// later instances reuse.
pub(crate) fn detect(target: &mut ProbeTarget) -> Result<Protocol, DetectError> {
    let (mut other_reply, mut not_launched) = (None, None);
    let (first, others) = FORMATS.split_at(COMMON_FORMATS);
    for formats in [first, others] {
        let results = target.each(formats, |&(end, spaced)| try_format(target, end, spaced));
        for result in results {
            match result {
                FormatResult::Accepted(accepted) => {
                    let (protocol, updated) = *accepted;
                    *target = updated;
                    return Ok(protocol);
                }
                FormatResult::OtherReply { request, reply } => {
                    other_reply.get_or_insert(DetectError::OtherReply { request, reply });
                }
                FormatResult::Launch(error) => {
                    not_launched.get_or_insert(error);
                }
                FormatResult::Silence => {}
            }
        }
    }
    let not_launched = not_launched.map(DetectError::Launch);
    Err(other_reply.or(not_launched).unwrap_or(DetectError::Silence))
}
