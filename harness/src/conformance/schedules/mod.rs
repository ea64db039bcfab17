//! Random schedules: steps of several clients, checked against a model of the contract.
//!
//! The model asserts only certain outcomes. A client counts as served when it gets a reply. The
//! slot of a client that disconnects becomes free a little later, so the next client may have to
//! retry. A client that waits may disconnect before the server has accepted it, and the server may
//! not notice. Other cases test a single client, so a schedule starts only after the steps of a
//! single client have succeeded.

mod connect;
mod fixture;
mod model;
mod step;

use self::fixture::Fixture;
use self::step::Schedules;
use super::context::TestContext;
use super::failure::Failure;

/// Number of schedules per server.
const RUNS: u32 = 12;

/// Requires that a server follows its contract under random schedules of several clients.
///
/// # Errors
/// The server violates the contract. The failure contains the shortest schedule found.
pub(super) fn check(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let prepare = || Fixture::prepare(ctx);
    let holds = |fixture: &mut Fixture<'_>, schedule: &Vec<_>| fixture.run(schedule);
    ctx.property(RUNS, "schedules", Schedules::new(), prepare, holds)
}
