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

/// Pads a request to `size` bytes: with spaces for a calculator, with zeros for an echo server.
pub(super) fn padded(service: Service, request: &[u8], size: usize) -> Vec<u8> {
    let mut padded = request.to_vec();
    let padding = match service {
        Service::Calc => b' ',
        Service::Echo => b'0',
    };
    padded.resize(size, padding);
    padded
}

/// Returns the expected reply to a padded request. A calculator sends the reply to the request
/// without padding, an echo server sends the padded request.
pub(super) fn reply_to_padded(service: Service, unpadded_reply: &[u8], padded: &[u8]) -> Vec<u8> {
    match service {
        Service::Calc => unpadded_reply.to_vec(),
        Service::Echo => padded.to_vec(),
    }
}
