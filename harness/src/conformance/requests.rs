//! Plain requests: calculators and echo servers send the same reply to them.

use servers::Service;

use crate::contract::Contract;

/// Returns plain request `number`: a number with five or more digits. Distinct arguments give
/// distinct requests.
pub(super) fn request(number: usize) -> Vec<u8> {
    (41_000 + number).to_string().into_bytes()
}

/// Frames a request and splits it in two parts, with the cut after three bytes of the request.
pub(super) fn halves(contract: &Contract, request: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut first = contract.sent(request);
    let second = first.split_off(contract.wire.request.before.len() + 3);
    (first, second)
}

/// Maximum number of operators in an expression. Servers that limit the number of operators, or
/// that evaluate recursively, accept at least this number.
pub(super) const MAX_OPERATORS: usize = 250;

/// Digits of an operand that pads a request. Any calculator has integers of this size.
const OPERAND_DIGITS: usize = 9;

/// How a request gets longer without another reply, or, for an echo server, with a known one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    /// With zeros, for an echo server.
    Zeros,
    /// With spaces at the end.
    Spaces,
    /// With operands whose sum is zero, for a server that does not accept additional spaces.
    Operands { spaced: bool },
    /// In no way.
    None,
}

impl Padding {
    fn of(contract: &Contract) -> Padding {
        let dialect = contract.dialect;
        match (contract.service, contract.wire.spaced) {
            (Service::Echo, _) => Padding::Zeros,
            (Service::Calc, None) => Padding::Spaces,
            (Service::Calc, Some(spaced)) if dialect.reads("1+10-9-1") => {
                Padding::Operands { spaced }
            }
            (Service::Calc, Some(_)) => Padding::None,
        }
    }
}

/// Returns the maximum length of a padded request, in bytes.
pub(super) fn max_padded(contract: &Contract) -> usize {
    match Padding::of(contract) {
        Padding::Zeros | Padding::Spaces => usize::MAX,
        // Up to four short operands make the length exact.
        Padding::Operands { .. } => (MAX_OPERATORS - 4) * (1 + OPERAND_DIGITS),
        Padding::None => contract.payload(&request(1)).len(),
    }
}

/// Returns the payload of a padded request of `size` bytes: zeros for an echo server; for a
/// calculator, spaces, or operands whose sum is zero if the server does not accept spaces.
///
/// The payload is shorter if no expression has exactly this length, which is at most 20 bytes more
/// than the request, or if `size` exceeds [`max_padded`]. Send it as a raw request: in an
/// expression, spaces could change.
pub(super) fn padded(contract: &Contract, request: &[u8], size: usize) -> Vec<u8> {
    let mut payload = contract.payload(request);
    match Padding::of(contract) {
        Padding::Zeros => payload.resize(size, b'0'),
        Padding::Spaces => payload.resize(size, b' '),
        Padding::Operands { spaced } => {
            let length = size.min(max_padded(contract)).saturating_sub(payload.len());
            let operands = (0..=length).rev().find_map(|length| zero_sum(length, spaced));
            // An operand before the first operator, so that it is not taken for a sign.
            let text = [&b"0"[..], &operands.unwrap_or_default()].concat();
            payload.extend_from_slice(&contract.dialect.symbols.replace_operators(&text)[1..]);
        }
        Padding::None => {}
    }
    payload
}

/// Returns text of `length` bytes that, after an operand, adds zero. `None` if there is none.
fn zero_sum(length: usize, spaced: bool) -> Option<Vec<u8>> {
    let operator = |sign: char| if spaced { format!(" {sign} ") } else { sign.to_string() };
    let (plus, minus) = (operator('+'), operator('-'));
    let pair = |digits: usize| format!("{plus}{0}{minus}{0}", "9".repeat(digits));
    let (shortest, longest) = (pair(1).len(), pair(OPERAND_DIGITS).len());
    let mut text = String::new();
    if length % 2 == 1 {
        text = format!("{plus}10{minus}9{minus}1");
    }
    loop {
        let rest = length.checked_sub(text.len())?;
        text += &match rest {
            0 => return Some(text.into_bytes()),
            _ if rest == plus.len() + 1 => format!("{plus}0"),
            _ if rest < shortest => return None,
            _ if rest <= longest => pair(1 + (rest - shortest) / 2),
            // The rest is long enough for another pair.
            _ => pair(1 + (longest.min(rest - shortest) - shortest) / 2),
        };
    }
}

/// Returns the expected reply to a padded request. A calculator sends the reply to the request
/// without padding, an echo server sends the padded request, transformed as declared.
pub(super) fn reply_to_padded(
    contract: &Contract,
    unpadded_reply: &[u8],
    padded: &[u8],
) -> Vec<u8> {
    match contract.service {
        Service::Calc => unpadded_reply.to_vec(),
        Service::Echo => contract.echo(padded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Wire;

    #[test]
    fn a_padded_request_has_the_requested_length_and_an_unchanged_value() {
        for spaced in [None, Some(false), Some(true)] {
            let wire = Wire { spaced, ..Wire::default() };
            let contract = Contract { wire, ..Contract::undeclared(Service::Calc) };
            let shortest = contract.payload(&request(1)).len() + 20;
            for size in (shortest..200).chain([1023, 1024, 1025, 2459, 2460]) {
                let payload = padded(&contract, &request(1), size);
                assert_eq!(payload.len(), size, "{spaced:?}");
                let text = String::from_utf8(payload).expect("ASCII").replace(' ', "");
                let terms = text.replace('-', "+-");
                let sum: i64 = terms.split('+').map(|it| it.parse::<i64>().expect("a term")).sum();
                assert_eq!(sum, 41_001, "{text}");
                assert!(terms.matches('+').count() <= MAX_OPERATORS, "{text}");
            }
        }
    }
}
