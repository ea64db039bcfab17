//! Detects calculators whose syntax a manifest cannot describe.

use std::fmt;

use super::format::template;
use crate::probe::reply::has_number;
use crate::probe::target::ProbeTarget;
use crate::text::printable;
use crate::wire::Wire;

/// Requests with the value 42, in other syntaxes, and the description of the syntax.
const REQUESTS: &[(&[u8], &str)] = &[
    (b"41.0 A 1.0", "every number needs a decimal point"),
    (b"41.0 + 1.0", "every number needs a decimal point"),
    (b"A 41 1", "the operator is before the numbers"),
    (b"+ 41 1", "the operator is before the numbers"),
    (b"add 41 1", "the operator is a word before the numbers"),
    (b"ADD 41 1", "the operator is a word before the numbers"),
    (b"add(41,1)", "the operator is a function"),
    (b"add,41,1", "the operator is a word before the numbers"),
    (b"41 plus 1", "the operator is a word"),
    (b"41 add 1", "the operator is a word"),
    (b"41 1 +", "the operator is after the numbers"),
    (b"(+ 41 1)", "the operator is before the numbers"),
    (b"41,1", "the numbers are separated by a comma"),
    (b"41,+,1", "the parts are separated by commas"),
];

/// A syntax that a manifest cannot describe, with an example. Texts are escaped for display.
pub(crate) struct OtherSyntax {
    request: String,
    reply: String,
    description: &'static str,
}

impl fmt::Display for OtherSyntax {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OtherSyntax { request, reply, description } = self;
        write!(
            to,
            "the reply to {request} is {reply}: {description}; a manifest can only describe \
             expressions with an operator of one character between numbers"
        )
    }
}

/// Number of requests that one instance of the server gets.
const REQUESTS_PER_INSTANCE: usize = 4;

/// Sends the requests, each on a new connection, and returns the first syntax that gets the right
/// reply. `is_greeted`: the server has sent a greeting.
pub(super) fn detect_other_syntax(
    target: &ProbeTarget,
    ends: &[&[u8]],
    is_greeted: bool,
) -> Option<OtherSyntax> {
    let tries: Vec<_> = ends
        .iter()
        .flat_map(|end| {
            REQUESTS.chunks(REQUESTS_PER_INSTANCE).map(move |requests| (*end, requests))
        })
        .collect();
    let try_some = |&(end, requests): &(&[u8], &[(&[u8], &'static str)])| {
        let raw = Wire { request: template(end), ..Wire::default() };
        let mut instance = target.instance().ok()?;
        requests.iter().find_map(|&(request, description)| {
            let mut client = instance.connect()?;
            if is_greeted {
                instance.receive(&mut client);
            }
            let received = instance.ask(&mut client, &raw.sent(request), |_| false)?;
            instance.disconnect(client);
            let is_value = has_number(&received.bytes, "42");
            is_value.then(|| OtherSyntax {
                request: printable(request),
                reply: printable(&received.bytes),
                description,
            })
        })
    };
    target.each(&tries, try_some).into_iter().flatten().next()
}
