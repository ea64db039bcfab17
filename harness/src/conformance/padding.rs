//! Requests of a given size.

use super::context::TestContext;

/// Pads the request to `size` bytes: with spaces for a calculator, with zeros for an echo server.
pub(super) fn padded(ctx: &TestContext<'_>, request: &[u8], size: usize) -> Vec<u8> {
    let mut padded = request.to_vec();
    let padding = match ctx.contract.service {
        servers::Service::Calc => b' ',
        servers::Service::Echo => b'0',
    };
    padded.resize(size, padding);
    padded
}

/// Returns the expected reply to a padded request: an echo of it, or the reply to the short
/// request.
pub(super) fn reply_to_padded(ctx: &TestContext<'_>, short: &[u8], padded: &[u8]) -> Vec<u8> {
    match ctx.contract.service {
        servers::Service::Calc => short.to_vec(),
        servers::Service::Echo => padded.to_vec(),
    }
}
