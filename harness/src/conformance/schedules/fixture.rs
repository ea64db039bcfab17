//! Fixture of a schedule, which is a random sequence of steps of several clients: a server whose
//! other connection slots are in use by background clients.

use servers::OverloadPolicy;

use super::model::{Model, REQUESTS, Slots, arrived_bytes};
use super::step::{MAX_BURST, Step};
use crate::client::ClientError;
use crate::conformance::context::TestContext;
use crate::conformance::failure::Failure;
use crate::conformance::precondition::MAX_CLIENTS;
use crate::conformance::requests::request;
use crate::conformance::test_client::TestClient;
use crate::contract::Contract;
use crate::results::Fault;
use crate::text::printable;

/// Largest connection limit for which a schedule uses all slots.
const SMALL_CAPACITY: usize = 3;

/// Number of slots that a schedule uses if the server's limit is larger. Background clients hold
/// the others.
const SCHEDULE_SLOTS: usize = 2;

/// The cases that test the steps of a single client.
const SINGLE_CLIENT: &[&str] = &[
    "framing/pipelined",
    "framing/byte-by-byte",
    "framing/all-cuts",
    "disconnects/half-close",
    "disconnects/half-close-many",
];

/// Steps of a single client, which the server must pass before schedules of several clients.
const SINGLE_CLIENT_STEPS: &[Step] = &[
    Step::Connect,
    Step::Finish(0),
    Step::HalfClose(0),
    Step::Connect,
    Step::SendPart(0),
    Step::Finish(0),
    Step::Read(0),
    Step::Burst(0, MAX_BURST),
    Step::HalfClose(0),
];

/// A server with background clients that leave a few slots to the schedule.
pub(super) struct Fixture<'s> {
    ctx: &'s TestContext<'s>,
    /// Background clients, each with the number of its request.
    background: Vec<(TestClient<'s>, usize)>,
    slots: Slots,
}

impl<'s> Fixture<'s> {
    pub(super) fn prepare(ctx: &'s TestContext<'s>) -> Result<Fixture<'s>, Failure> {
        let contract = ctx.contract;
        learn_requests(ctx)?;
        let slots = match contract.capacity {
            None => 1,
            Some(capacity @ ..=SMALL_CAPACITY) => capacity,
            Some(_) => SCHEDULE_SLOTS,
        };
        let alone = Slots { free: slots, background: 0, queue: 0, rejects: false };
        Model::new(ctx, alone).steps(SINGLE_CLIENT_STEPS).map_err(|failure| {
            let text = format!("a single client: {}", failure.observed);
            Failure::assumption_failed(SINGLE_CLIENT, text)
        })?;
        let Some(background_count) = background_slots(contract, slots) else {
            return Ok(Fixture { ctx, background: Vec::new(), slots: alone });
        };
        let background = (REQUESTS..REQUESTS + background_count)
            .map(|number| Ok((ctx.clients().connect_with_retry(&request(number))?, number)))
            .collect::<Result<_, Failure>>()?;
        let queues = contract.when_full == Some(OverloadPolicy::Wait);
        // Even the shortest accept queue of the kernel has room for one connection.
        let queue = if queues { 1 } else { contract.queue.unwrap_or(0) };
        let slots = Slots { free: slots, background: background_count, queue, rejects: !queues };
        Ok(Fixture { ctx, background, slots })
    }

    /// Runs a schedule, and requires the outcome of each step that the model of the contract
    /// predicts.
    pub(super) fn run(&mut self, schedule: &[Step]) -> Result<(), Failure> {
        let mut model = Model::new(self.ctx, self.slots);
        let result = model.steps(schedule).and_then(|()| model.end());
        let history = model.into_history();
        match result.and_then(|()| self.check_background()) {
            Ok(()) => {
                self.ctx.evidence().record_verified();
                Ok(())
            }
            Err(failure) => {
                let observed = format!("{}, after these steps: {history}", failure.observed);
                Err(Failure { observed, ..failure })
            }
        }
    }

    /// Requires that no background client has received unexpected bytes, and that the last one is
    /// still served.
    fn check_background(&mut self) -> Result<(), Failure> {
        let expected = "a background client is served as before";
        let client_error = |error: ClientError| Failure::client_error(expected, &error);
        for (client, _) in &mut self.background {
            let bytes = arrived_bytes(client).map_err(client_error)?;
            if !bytes.is_empty() {
                let text = format!("bytes without a request: {}", printable(&bytes));
                return Err(Failure::fail(expected, text).fault(Fault::ExtraBytes));
            }
        }
        if let Some((client, number)) = self.background.last_mut() {
            let reply = client.ask(&request(*number)).map_err(client_error)?;
            client.expect_learned_reply(&request(*number), &reply)?;
        }
        Ok(())
    }
}

/// Learns the replies to all requests of a schedule.
fn learn_requests(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let mut client = ctx.clients().connect_with_retry(&request(0))?;
    if ctx.is_far() {
        // One by one, the requests would take as many round trips.
        let requests: Vec<Vec<u8>> = (1..REQUESTS).map(request).collect();
        return client.learn_replies(&requests);
    }
    for number in 1..REQUESTS {
        client.learn_reply(&request(number))?;
    }
    Ok(())
}

/// Returns the number of slots for background clients, given the number of free slots. Returns
/// `None` if a case cannot reach the connection limit.
fn background_slots(contract: &Contract, free: usize) -> Option<usize> {
    let (capacity, queue) = (contract.capacity?, contract.queue.unwrap_or(0));
    contract.when_full?;
    let background_count = (capacity + queue <= MAX_CLIENTS).then(|| capacity - free)?;
    // The idle timeout would close the background clients.
    (background_count == 0 || contract.idle_timeout.is_none()).then_some(background_count)
}
