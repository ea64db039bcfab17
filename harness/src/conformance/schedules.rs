//! Random schedules: steps of several clients, checked against a model of the contract.
//!
//! The model asserts only what is certain. A client counts as served when it gets a reply. The slot
//! of a client that leaves is free a little later, so the next client may have to retry. A client
//! may leave before the server has accepted it, without the server's notice. Other cases test a
//! single client, so this one first rehearses that and is inconclusive if it fails.

use std::cell::Cell;
use std::collections::VecDeque;
use std::mem;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};
use servers::OverloadPolicy;

use super::case_result::State;
use super::context::{TRY_EVERY, TestContext, request};
use super::failure::Failure;
use super::precondition::MOST_CLIENTS;
use super::test_client::TestClient;
use crate::client::ClientError;
use crate::text::printable;

/// Number of schedules per server.
const RUNS: u32 = 12;

/// Most steps of a schedule.
const STEPS: usize = 25;

/// Most clients connected at the same time.
const CLIENTS: usize = 6;

/// Most requests sent at once.
const BURST: usize = 8;

/// With at most `SMALL` slots, the schedule uses all of them. With more it uses `FEW`, and
/// background clients hold the others throughout.
const SMALL: usize = 3;
const FEW: usize = 2;

/// Number of distinct requests of a schedule. The last `LAST_REQUESTS` are reserved for its end.
const REQUESTS: usize = 80;
const LAST_REQUESTS: usize = 24;

/// Duration of a stall, in which unexpected bytes can arrive.
const STALL: Duration = Duration::from_millis(2);

/// Time for which a client that must be rejected listens before the server's state is checked.
const LISTEN: Duration = Duration::from_millis(20);

/// A step of a schedule. A client is given by its index among those connected. A step that is
/// impossible in the current state is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Connect,
    /// The client sends the first half of a request.
    SendPart(usize),
    /// The client sends the rest of a request, or a whole one.
    Finish(usize),
    /// The client sends this many requests at once.
    Burst(usize, usize),
    /// All clients pause.
    Stall,
    Read(usize),
    ReadSlowly(usize),
    /// The client half-closes, and reads to the end.
    HalfClose(usize),
    Close(usize),
    Reset(usize),
}

/// Requires that a server keeps to its contract under random schedules of several clients.
///
/// # Errors
/// It does not. The failure has the shortest schedule found.
pub(super) fn check(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let open = || House::open(ctx);
    let schedules = Schedules { drawn: schedules().boxed(), begun: Cell::default() };
    ctx.property(RUNS, "schedules", schedules, open, |house, schedule| house.play(schedule))
}

/// The schedule that is tried first. It tests each kind of step and each way to leave with all
/// slots taken, whatever is drawn later.
const FIRST: &[Step] = &[
    Step::Connect,
    Step::Connect,
    Step::Connect,
    Step::Connect,
    Step::Stall,
    Step::SendPart(0),
    Step::SendPart(1),
    Step::Stall,
    Step::Stall,
    Step::Finish(1),
    Step::Read(1),
    Step::Finish(0),
    Step::Read(0),
    Step::Burst(1, BURST),
    Step::ReadSlowly(1),
    Step::SendPart(0),
    Step::Reset(0),
    Step::Connect,
    Step::Connect,
    Step::Burst(0, BURST),
    Step::HalfClose(0),
    Step::Connect,
    Step::Burst(0, 2),
    Step::Close(0),
    Step::Connect,
    Step::Stall,
];

/// The fixed first schedule, followed by random ones.
#[derive(Debug)]
struct Schedules {
    drawn: BoxedStrategy<Vec<Step>>,
    begun: Cell<bool>,
}

impl Strategy for Schedules {
    type Tree = Box<dyn ValueTree<Value = Vec<Step>>>;
    type Value = Vec<Step>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        match self.begun.replace(true) {
            true => self.drawn.new_tree(runner),
            false => {
                Ok(Box::new(Shorter { steps: FIRST.to_vec(), left: FIRST.len(), without: None }))
            }
        }
    }
}

/// Shrinks a schedule by leaving out steps one by one, from its end.
struct Shorter {
    steps: Vec<Step>,
    /// Number of steps whose removal was not tried yet.
    left: usize,
    /// Index of the step that is currently left out.
    without: Option<usize>,
}

impl Shorter {
    fn leave_out_next(&mut self) -> bool {
        // Stalls are kept: without them a race may still fail, but not each time.
        self.without = (0..self.left).rev().find(|&at| self.steps[at] != Step::Stall);
        self.left = self.without.unwrap_or(0);
        self.without.is_some()
    }
}

impl ValueTree for Shorter {
    type Value = Vec<Step>;

    fn current(&self) -> Vec<Step> {
        let kept = |(at, &step)| (Some(at) != self.without).then_some(step);
        self.steps.iter().enumerate().filter_map(kept).collect()
    }

    fn simplify(&mut self) -> bool {
        if let Some(at) = self.without {
            self.steps.remove(at);
        }
        self.leave_out_next()
    }

    fn complicate(&mut self) -> bool {
        self.leave_out_next()
    }
}

fn schedules() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..CLIENTS;
    let step = prop_oneof![
        5 => Just(Step::Connect),
        3 => client.clone().prop_map(Step::SendPart),
        3 => client.clone().prop_map(Step::Finish),
        2 => (client.clone(), 2..=BURST).prop_map(|(client, count)| Step::Burst(client, count)),
        1 => Just(Step::Stall),
        3 => client.clone().prop_map(Step::Read),
        1 => client.clone().prop_map(Step::ReadSlowly),
        1 => client.clone().prop_map(Step::HalfClose),
        1 => client.clone().prop_map(Step::Close),
        1 => client.prop_map(Step::Reset),
    ];
    proptest::collection::vec(step, 1..=STEPS)
}

/// The cases that test what a single client does before several run a schedule.
const REHEARSED: &[&str] = &[
    "framing/pipelined",
    "framing/byte-by-byte",
    "framing/all-cuts",
    "disconnects/half-close",
    "disconnects/half-close-many",
];

/// A server with background clients that leave a few slots to the schedule.
struct House<'s> {
    ctx: &'s TestContext<'s>,
    /// Each background client with the number of its request.
    incumbents: Vec<(TestClient<'s>, usize)>,
    /// Number of slots for the clients of a schedule.
    places: usize,
    /// Number of clients that may wait, in the server or in the kernel.
    waiting: usize,
    /// Whether the server rejects the next client then. If not, the schedule connects no more.
    turns_away: bool,
}

impl<'s> House<'s> {
    fn open(ctx: &'s TestContext<'s>) -> Result<House<'s>, Failure> {
        let contract = ctx.contract;
        {
            let mut other = ctx.connect_soon(&request(0))?;
            for number in 1..REQUESTS {
                other.learn(&request(number))?;
            }
        }
        let alone = House {
            ctx,
            incumbents: Vec::new(),
            places: match contract.capacity {
                None => 1,
                Some(capacity @ ..=SMALL) => capacity,
                Some(_) => FEW,
            },
            waiting: 0,
            turns_away: false,
        };
        let rehearsal = [
            Step::Connect,
            Step::Finish(0),
            Step::HalfClose(0),
            Step::Connect,
            Step::SendPart(0),
            Step::Finish(0),
            Step::Read(0),
            Step::Burst(0, BURST),
            Step::HalfClose(0),
        ];
        Run::new(&alone).steps(&rehearsal).map_err(|finding| {
            Failure::blocked(REHEARSED, format!("one client alone: {}", finding.observed))
        })?;
        let queue = contract.queue.unwrap_or(0);
        let held = match (contract.capacity, contract.when_full) {
            (Some(capacity), Some(_)) if capacity + queue <= MOST_CLIENTS => {
                capacity - alone.places
            }
            _ => return Ok(alone),
        };
        if held > 0 && contract.idle_timeout.is_some() {
            // The idle timeout would close the background clients.
            return Ok(alone);
        }
        let incumbents = (REQUESTS..REQUESTS + held)
            .map(|number| Ok((ctx.connect_soon(&request(number))?, number)))
            .collect::<Result<_, Failure>>()?;
        let waits = contract.when_full == Some(OverloadPolicy::Wait);
        // The shortest accept queue of the kernel has room for one connection.
        let waiting = if waits { 1 } else { queue };
        Ok(House { incumbents, waiting, turns_away: !waits, ..alone })
    }

    fn play(&mut self, schedule: &[Step]) -> Result<(), Failure> {
        let mut run = Run::new(self);
        let played = run.steps(schedule).and_then(|()| run.end());
        let story = run.story.join("; ");
        drop(run);
        let played = played.and_then(|()| self.is_undisturbed());
        match played {
            Ok(()) => {
                self.ctx.was_met();
                Ok(())
            }
            Err(finding) => {
                let observed = format!("{}, after: {story}", finding.observed);
                Err(Failure { observed, ..finding })
            }
        }
    }

    /// Requires that the background clients are still served.
    fn is_undisturbed(&mut self) -> Result<(), Failure> {
        let expected = "a client that has been there all the time is served as before";
        for (party, _) in &mut self.incumbents {
            let heard = heard(party).map_err(|trouble| Failure::trouble(expected, &trouble))?;
            if !heard.is_empty() {
                return Err(Failure::fail(expected, format!("unasked: {}", printable(&heard))));
            }
        }
        if let Some((party, number)) = self.incumbents.last_mut() {
            let reply = party
                .ask(&request(*number))
                .map_err(|trouble| Failure::trouble(expected, &trouble))?;
            party.is_as_learned(&request(*number), &reply)?;
        }
        Ok(())
    }
}

/// Returns the bytes that have arrived, without waiting.
fn heard(party: &mut TestClient<'_>) -> Result<Vec<u8>, ClientError> {
    if party.client.is_readable() { party.listen(STALL) } else { Ok(Vec::new()) }
}

/// A client of a schedule.
struct Guest<'s> {
    number: usize,
    party: TestClient<'s>,
    /// Whether it still waits for a slot.
    waits: bool,
    /// The requests whose replies it has not read yet.
    owed: VecDeque<usize>,
    /// The request of which it has sent only the first half.
    begun: Option<usize>,
}

/// A schedule in progress.
struct Run<'h, 's> {
    ctx: &'s TestContext<'s>,
    house: &'h House<'s>,
    /// Connected clients, in the order of their connections.
    guests: Vec<Guest<'s>>,
    /// Clients that left without a slot, perhaps before the server accepted them.
    left_unseen: usize,
    /// Numbers of clients connected and of requests used.
    came: usize,
    asked: usize,
    /// The steps so far, for the failure.
    story: Vec<String>,
}

impl<'h, 's> Run<'h, 's> {
    fn new(house: &'h House<'s>) -> Run<'h, 's> {
        Run {
            ctx: house.ctx,
            house,
            guests: Vec::new(),
            left_unseen: 0,
            came: 0,
            asked: 0,
            story: Vec::new(),
        }
    }

    fn steps(&mut self, schedule: &[Step]) -> Result<(), Failure> {
        schedule.iter().try_for_each(|&step| self.step(step))
    }

    fn step(&mut self, step: Step) -> Result<(), Failure> {
        let may_ask = self.asked + LAST_REQUESTS < REQUESTS;
        match step {
            Step::Connect if may_ask => return self.connect(),
            Step::Connect => return Ok(()),
            Step::Stall => return self.stall(),
            _ => {}
        }
        if self.guests.is_empty() {
            return Ok(());
        }
        let find = |client: usize| client % self.guests.len();
        let is_served = |client| !self.guests[find(client)].waits;
        let is_owed = |client| !self.guests[find(client)].owed.is_empty();
        let has_begun = |client| self.guests[find(client)].begun.is_some();
        match step {
            Step::SendPart(it) if may_ask && !has_begun(it) => self.send_part(find(it)),
            Step::Finish(it) if may_ask => self.send(find(it), 1),
            Step::Burst(it, count) if may_ask => self.send(find(it), count.min(BURST)),
            Step::Read(it) if is_served(it) && is_owed(it) => {
                let at = find(it);
                self.tell(at, "reads");
                self.reply(at)
            }
            Step::Read(it) => self.hears_nothing(find(it)),
            Step::ReadSlowly(it) if is_served(it) && is_owed(it) => self.read_slowly(find(it)),
            Step::HalfClose(it) if is_served(it) && !has_begun(it) => self.half_close(find(it)),
            Step::Close(it) => self.leave(find(it), "closes", TestClient::close),
            Step::Reset(it) => self.leave(find(it), "resets", TestClient::reset),
            _ => Ok(()),
        }
    }

    fn connect(&mut self) -> Result<(), Failure> {
        let house = self.house;
        let waiting = self.guests.len() - self.served() + self.left_unseen;
        if self.served() < house.places {
            self.enter()
        } else if waiting < house.waiting {
            if self.guests.len() < CLIENTS { self.line_up() } else { Ok(()) }
        } else if house.turns_away && self.left_unseen == 0 {
            self.is_turned_away()
        } else {
            Ok(())
        }
    }

    /// Connects a client that must get a slot and a reply.
    fn enter(&mut self) -> Result<(), Failure> {
        if mem::take(&mut self.left_unseen) > 0 {
            // The server may still have to handle clients that left before it accepted them.
            self.ctx.let_it_rest();
        }
        self.came += 1;
        let (number, asked) = (self.came, self.next_request());
        let asks = printable(&request(asked));
        self.story.push(format!("client {number} connects and asks {asks}"));
        let expected = format!("client {number}, for which there is a place, is answered {asks}");
        let trouble = |trouble: &ClientError| Failure::trouble(&expected, trouble);
        let patience = self.ctx.patience_left().map_err(|it| trouble(&it))?;
        let deadline = Instant::now() + patience;
        loop {
            let served = self.ctx.try_connect().and_then(|mut party| {
                let reply = party.ask(&request(asked))?;
                Ok((party, reply))
            });
            let turned_away = match served {
                Ok((_, reply)) if self.ctx.contract.is_busy(&reply) => printable(&reply),
                Ok((party, reply)) => {
                    self.is_the_reply(number, asked, &reply)?;
                    self.take_in(party, false);
                    return Ok(());
                }
                Err(
                    away @ (ClientError::Refused | ClientError::Reset | ClientError::Closed(_)),
                ) => away.to_string(),
                Err(other) => return Err(trouble(&other)),
            };
            if Instant::now() > deadline {
                let finding = Failure::fail(expected, format!("{turned_away}, again and again"));
                return Err(Failure { state: State::Hang, ..finding }
                    .hint("is the place given back on every way out?"));
            }
            sleep(TRY_EVERY);
        }
    }

    /// Connects a client that must wait, as all slots are taken.
    fn line_up(&mut self) -> Result<(), Failure> {
        self.came += 1;
        let number = self.came;
        self.story.push(format!("client {number} connects, to wait"));
        let party = self.ctx.try_connect().map_err(|trouble| {
            let expected = format!("client {number} is taken in to wait for a place");
            Failure::trouble(expected, &trouble)
        })?;
        self.take_in(party, true);
        Ok(())
    }

    fn take_in(&mut self, party: TestClient<'s>, waits: bool) {
        let (number, owed, begun) = (self.came, VecDeque::new(), None);
        self.guests.push(Guest { number, party, waits, owed, begun });
    }

    /// Connects a client that must be rejected. Other cases test how this happens.
    fn is_turned_away(&mut self) -> Result<(), Failure> {
        self.came += 1;
        let number = self.came;
        self.story.push(format!("client {number} connects"));
        let expected = format!("client {number} is turned away, as all places are taken");
        let trouble = |trouble: &ClientError| Failure::trouble(&expected, trouble);
        let mut party = match self.ctx.try_connect() {
            Ok(party) => party,
            Err(ClientError::Refused | ClientError::Reset) => return Ok(()),
            Err(other) => return Err(trouble(&other)),
        };
        let patience = self.ctx.patience_left().map_err(|it| trouble(&it))?;
        let deadline = Instant::now() + patience;
        let told = loop {
            match party.line_within(LISTEN) {
                // It sends a request only if nothing arrives: unread input would reset the
                // connection and lose the busy message.
                Err(ClientError::Silent(..))
                    if Instant::now() > deadline || self.ctx.is_asleep() =>
                {
                    let asked = self.next_request();
                    break party.ask(&request(asked));
                }
                Err(ClientError::Silent(..)) => {}
                told => break told,
            }
        };
        match told {
            Ok(line) if self.ctx.contract.is_busy(&line) => Ok(()),
            Err(ClientError::Reset | ClientError::Closed(_)) => Ok(()),
            Ok(line) => Err(Failure::fail(expected, format!("it is served: {}", printable(&line)))
                .hint("is a client counted before it is taken on, and once?")),
            Err(other) => Err(trouble(&other)),
        }
    }

    fn send_part(&mut self, at: usize) -> Result<(), Failure> {
        let asked = self.next_request();
        let (half, _) = self.ctx.halves(&request(asked));
        self.guests[at].begun = Some(asked);
        self.transmit(at, &half)
    }

    /// Sends the rest of a begun request, then whole ones, `count` in total.
    fn send(&mut self, at: usize, count: usize) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            let (asked, rest) = match self.guests[at].begun.take() {
                Some(begun) => (begun, self.ctx.halves(&request(begun)).1),
                None => {
                    let asked = self.next_request();
                    (asked, self.ctx.sent(&request(asked)))
                }
            };
            bytes.extend(rest);
            self.guests[at].owed.push_back(asked);
        }
        self.transmit(at, &bytes)
    }

    fn transmit(&mut self, at: usize, bytes: &[u8]) -> Result<(), Failure> {
        self.tell(at, &format!("sends {}", printable(bytes)));
        self.guests[at].party.send(bytes)
    }

    fn stall(&mut self) -> Result<(), Failure> {
        self.story.push(format!("nobody does anything for {} ms", STALL.as_millis()));
        sleep(STALL);
        let idle = |guest: &Guest<'_>| guest.waits || guest.owed.is_empty();
        (0..self.guests.len())
            .filter(|&at| idle(&self.guests[at]))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|at| self.hears_nothing(at))
    }

    /// Requires that a client gets no bytes while it waits for a slot or is owed no reply.
    fn hears_nothing(&mut self, at: usize) -> Result<(), Failure> {
        let places = self.house.places + self.house.incumbents.len();
        let guest = &mut self.guests[at];
        let expected = match guest.waits {
            true => format!("client {} waits while {places} are served", guest.number),
            false => format!("client {} is sent nothing that it did not ask for", guest.number),
        };
        match heard(&mut guest.party) {
            Ok(bytes) if bytes.is_empty() => Ok(()),
            Ok(bytes) => Err(Failure::fail(expected, printable(&bytes))),
            Err(trouble) => Err(Failure::trouble(expected, &trouble)),
        }
    }

    /// Requires the next reply that the client is owed.
    fn reply(&mut self, at: usize) -> Result<(), Failure> {
        let guest = &mut self.guests[at];
        let Some(asked) = guest.owed.pop_front() else { return Ok(()) };
        let (number, line) = (guest.number, guest.party.line());
        let line = line.map_err(|trouble| {
            let asked = printable(&request(asked));
            Failure::trouble(format!("client {number} gets the reply to {asked}"), &trouble)
        })?;
        self.is_the_reply(number, asked, &line)
    }

    fn is_the_reply(&self, number: usize, asked: usize, line: &[u8]) -> Result<(), Failure> {
        let learned = self.ctx.learned.borrow();
        let reply = learned.get(&request(asked)).map_or(&[][..], Vec::as_slice);
        if line == reply {
            return Ok(());
        }
        let expected = format!("client {number} gets the reply {}", printable(reply));
        let finding = Failure::fail(expected, printable(line));
        if learned.values().any(|other| other == line) {
            return Err(finding.hint(
                "that answers another request: does each connection have a buffer of its own?",
            ));
        }
        Err(finding)
    }

    fn read_slowly(&mut self, at: usize) -> Result<(), Failure> {
        self.tell(at, "reads slowly");
        while !self.guests[at].owed.is_empty() {
            sleep(STALL / 2);
            self.reply(at)?;
        }
        Ok(())
    }

    fn half_close(&mut self, at: usize) -> Result<(), Failure> {
        self.tell(at, "ends its sending side");
        self.guests[at].party.half_close()?;
        self.replies(at)?;
        self.guests[at].party.expect_end()?;
        self.guests.remove(at);
        self.next_enters()
    }

    fn replies(&mut self, at: usize) -> Result<(), Failure> {
        while !self.guests[at].owed.is_empty() {
            self.reply(at)?;
        }
        Ok(())
    }

    fn leave(
        &mut self,
        at: usize,
        how: &str,
        leave: impl Fn(TestClient<'s>),
    ) -> Result<(), Failure> {
        self.tell(at, how);
        let guest = self.guests.remove(at);
        if guest.waits {
            self.left_unseen += 1;
        }
        leave(guest.party);
        self.next_enters()
    }

    /// Requires that the client that waits longest gets a free slot and a reply.
    fn next_enters(&mut self) -> Result<(), Failure> {
        while self.served() < self.house.places
            && let Some(at) = self.guests.iter().position(|guest| guest.waits)
        {
            self.guests[at].waits = false;
            if self.guests[at].owed.is_empty() {
                self.send(at, 1)?;
            }
            self.tell(at, "reads, as there is a place for it");
            self.reply(at)?;
        }
        Ok(())
    }

    /// Reads the owed replies and one more per client, closes all clients, and requires that all
    /// slots are free.
    fn end(&mut self) -> Result<(), Failure> {
        while !self.guests.is_empty() {
            // If any client is served, it is the first.
            self.send(0, 1)?;
            self.tell(0, "reads all its replies");
            self.replies(0)?;
            self.leave(0, "closes", TestClient::close)?;
        }
        (0..self.house.places).try_for_each(|_| self.enter())
    }

    fn served(&self) -> usize {
        self.guests.iter().filter(|guest| !guest.waits).count()
    }

    fn tell(&mut self, at: usize, what: &str) {
        let words = format!("client {} {what}", self.guests[at].number);
        self.story.push(words);
    }

    fn next_request(&mut self) -> usize {
        self.asked += 1;
        // A schedule never uses more requests than this.
        (self.asked - 1) % REQUESTS
    }
}
