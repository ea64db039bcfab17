//! Requests of a given size.

use super::context::TestContext;

/// The request, brought to a size by what means nothing to a calculator, and nothing special to an
/// echo.
pub(super) fn padded(ctx: &TestContext<'_>, request: &[u8], size: usize) -> Vec<u8> {
    let mut padded = request.to_vec();
    let padding = match ctx.contract.service {
        servers::Service::Calc => b' ',
        servers::Service::Echo => b'0',
    };
    padded.resize(size, padding);
    padded
}

/// What answers a padded request: itself, or what answers the bare one.
pub(super) fn reply_to_padded(ctx: &TestContext<'_>, short: &[u8], padded: &[u8]) -> Vec<u8> {
    match ctx.contract.service {
        servers::Service::Calc => short.to_vec(),
        servers::Service::Echo => padded.to_vec(),
    }
}
