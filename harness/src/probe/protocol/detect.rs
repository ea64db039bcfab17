//! Tries request formats, each on an instance of the server.

use std::fmt;

use super::broadcast::detect_silent_broadcast;
use super::detected::Protocol;
use super::format::{FormatResult, try_format};
use super::other_syntax::{OtherSyntax, detect_other_syntax};
use super::syntax::Syntax;
use crate::contract::Symbols;
use crate::exit::Exit;
use crate::probe::target::ProbeTarget;
use crate::server::LaunchError;
use crate::text::printable;

/// The formats that most servers accept one of. The first format that gets the right reply is used.
const COMMON_ENDS: &[&[u8]] = &[b"", b"\n"];

/// Terminators of requests.
const ENDS: &[&[u8]] = &[b"", b"\n", b"\r\n", b"\0", b";"];

/// Characters for the operator `+` in the expressions of some calculators: letters, or a space
/// between two numbers.
const PLUS_SYMBOLS: &[u8] = b"Aap ";

/// Reason why the protocol is unknown.
pub(crate) enum DetectError {
    /// The server could not be launched.
    Launch(LaunchError),
    /// The replies are not those of a calculator or an echo server. `request` is the request of the
    /// first reply, escaped for display.
    OtherReply { request: String, replies: Vec<Vec<u8>>, greeting: Vec<u8> },
    /// The server computes expressions in a syntax that a manifest cannot describe.
    OtherSyntax(OtherSyntax),
    /// No request got a reply. The server may have sent a greeting, or exited at a request.
    Silence { greeting: Vec<u8>, exit: Option<Exit> },
}

impl DetectError {
    /// Returns the greeting of the server, if it sent any.
    pub(crate) fn greeting(&self) -> &[u8] {
        match self {
            DetectError::OtherReply { greeting, .. } | DetectError::Silence { greeting, .. } => {
                greeting
            }
            DetectError::Launch(_) | DetectError::OtherSyntax(_) => b"",
        }
    }

    /// Returns the bytes with which all replies end, if they are a common reply end.
    pub(crate) fn reply_end(&self) -> Option<&'static [u8]> {
        let DetectError::OtherReply { replies, .. } = self else { return None };
        let ends_all = |end: &&[u8]| replies.iter().all(|reply| reply.ends_with(end));
        [&b"\r\n"[..], b"\n", b"\0"].into_iter().find(ends_all)
    }
}

impl fmt::Display for DetectError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DetectError::Launch(error) => error.fmt(to)?,
            DetectError::OtherReply { request, replies, .. } => write!(
                to,
                "the reply to {request} is {}, which is neither a result nor an echo",
                printable(replies.first().map_or(b"", Vec::as_slice))
            )?,
            DetectError::OtherSyntax(other) => other.fmt(to)?,
            DetectError::Silence { exit: None, .. } => {
                to.write_str("no request got a reply, with any line end")?;
            }
            DetectError::Silence { exit: Some(exit), .. } => {
                write!(to, "no request got a reply: the server exits at a request ({exit})")?;
            }
        }
        match self.greeting() {
            [] => Ok(()),
            greeting => write!(to, "; the greeting is {}", printable(greeting)),
        }
    }
}

/// Failures of the formats so far.
#[derive(Default)]
struct Failures {
    /// Request and greeting of the first connection with another reply.
    other_reply: Option<(String, Vec<u8>)>,
    /// The other replies.
    replies: Vec<Vec<u8>>,
    /// Common terminators of the requests that got a reply.
    answered_ends: Vec<&'static [u8]>,
    not_launched: Option<LaunchError>,
    greeting: Vec<u8>,
    exit: Option<Exit>,
    /// An echo with further text, which may be a calculator with another format: `41+1 =
    /// undefined`.
    echo_with_text: Option<Box<(Protocol, ProbeTarget)>>,
}

impl Failures {
    /// Requires that the server was launched, or has replied.
    ///
    /// # Errors
    /// It was not.
    fn launched(&mut self) -> Result<(), DetectError> {
        let has_replied = self.other_reply.is_some() || self.echo_with_text.is_some();
        match self.not_launched.take_if(|_| !has_replied) {
            Some(error) => Err(DetectError::Launch(error)),
            None => Ok(()),
        }
    }

    /// Returns whether the server has sent a greeting.
    fn is_greeted(&self) -> bool {
        let has_greeting =
            |(protocol, _): &(Protocol, ProbeTarget)| protocol.wire.greeting.is_some();
        !self.greeting.is_empty()
            || self.other_reply.as_ref().is_some_and(|(_, greeting)| !greeting.is_empty())
            || self.echo_with_text.as_deref().is_some_and(has_greeting)
    }
}

/// Tries the request formats, and derives the framing of the replies. Some properties of the
/// protocol need further experiments and are not yet set. Updates `target` with properties that
/// later instances reuse.
pub(crate) fn detect(target: &mut ProbeTarget) -> Result<Protocol, DetectError> {
    let mut failures = Failures::default();
    let plain = |end: &&'static [u8]| (*end, Syntax::default());
    let common: Vec<_> = COMMON_ENDS.iter().map(plain).collect();
    if let Some(protocol) = try_formats(target, &common, &mut failures) {
        return Ok(protocol);
    }
    failures.launched()?;
    // A server that answers a line, and no part of a line, needs no other terminator.
    let ends = match failures.answered_ends[..] {
        [end @ b"\n"] => vec![end],
        _ => ENDS.to_vec(),
    };
    let spaced = ends.iter().map(|end| (*end, Syntax::of_spaces(true)));
    let others: Vec<_> =
        ends.iter().map(plain).filter(|it| !common.contains(it)).chain(spaced).collect();
    if let Some(protocol) = try_formats(target, &others, &mut failures) {
        return Ok(protocol);
    }
    failures.launched()?;
    if failures.not_launched.is_none()
        && failures.echo_with_text.is_none()
        && !target.is_already_running()
    {
        let broadcast = target.each(COMMON_ENDS, |end| detect_silent_broadcast(target, end));
        if let Some(protocol) = broadcast.into_iter().flatten().next() {
            target.serves_several = true;
            return Ok(protocol);
        }
    }
    if failures.not_launched.is_none() {
        let ends = match failures.answered_ends[..] {
            [] => COMMON_ENDS.to_vec(),
            _ => failures.answered_ends.clone(),
        };
        if let Some(protocol) = try_formats(target, &symbols(&ends), &mut failures) {
            return Ok(protocol);
        }
        // A server that sends nothing at all would only cost time.
        if (failures.other_reply.is_some() || failures.echo_with_text.is_some())
            && let Some(other) = detect_other_syntax(target, COMMON_ENDS, failures.is_greeted())
        {
            return Err(DetectError::OtherSyntax(other));
        }
    }
    if let Some(echo) = failures.echo_with_text {
        let (protocol, updated) = *echo;
        *target = updated;
        return Ok(protocol);
    }
    let not_launched = failures.not_launched.map(DetectError::Launch);
    let silence = DetectError::Silence { greeting: failures.greeting, exit: failures.exit };
    let replies = failures.replies;
    let other_reply = failures.other_reply.map(|(request, greeting)| DetectError::OtherReply {
        request,
        replies,
        greeting,
    });
    Err(other_reply.or(not_launched).unwrap_or(silence))
}

/// Returns the formats in which other characters stand for the operators.
fn symbols(ends: &[&'static [u8]]) -> Vec<(&'static [u8], Syntax)> {
    let mut formats = Vec::new();
    for &symbol in PLUS_SYMBOLS {
        let Ok(symbols) = Symbols::default().with(b'+', symbol) else { continue };
        for spaced in [true, false] {
            // A space that is an operator cannot have spaces around it.
            if symbol != b' ' || !spaced {
                let syntax = Syntax { spaced, symbols };
                formats.extend(ends.iter().map(|end| (*end, syntax)));
            }
        }
    }
    formats
}

/// Tries several formats in parallel. Returns the protocol of the first format that gets the right
/// reply. An echo with further text does not count as one.
fn try_formats(
    target: &mut ProbeTarget,
    formats: &[(&'static [u8], Syntax)],
    failures: &mut Failures,
) -> Option<Protocol> {
    let results = target.each(formats, |&(end, syntax)| try_format(target, end, syntax));
    for (&(end, _), result) in formats.iter().zip(results) {
        let is_answered =
            matches!(result, FormatResult::Accepted(_) | FormatResult::OtherReply { .. });
        if is_answered && COMMON_ENDS.contains(&end) && !failures.answered_ends.contains(&end) {
            failures.answered_ends.push(end);
        }
        match result {
            FormatResult::Accepted(accepted) if accepted.0.is_echo_with_text() => {
                failures.echo_with_text.get_or_insert(accepted);
            }
            FormatResult::Accepted(accepted) => {
                let (protocol, updated) = *accepted;
                *target = updated;
                return Some(protocol);
            }
            FormatResult::OtherReply { request, reply, greeting } => {
                failures.replies.push(reply);
                failures.other_reply.get_or_insert((request, greeting));
            }
            FormatResult::Launch(error) => {
                failures.not_launched.get_or_insert(error);
            }
            FormatResult::Silence { greeting, exit } => {
                failures.exit = failures.exit.or(exit);
                if failures.greeting.is_empty() {
                    failures.greeting = greeting;
                }
            }
        }
    }
    None
}
