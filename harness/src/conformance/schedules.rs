//! Schedules: what several clients do, one step after another, drawn by chance and checked against
//! a model of what the server declares.
//!
//! The model keeps to what is certain. A client counts as served when it has been answered; the
//! place of one that has left is free a little later, so that the next may have to try again; a
//! client that the server has not taken in yet may leave unseen. Whatever one client alone already
//! finds wrong is the matter of other cases: it is rehearsed first.

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

/// Schedules that a server is put through.
const RUNS: u32 = 12;

/// The most steps of one.
const STEPS: usize = 25;

/// The most clients of a schedule that are there at a time.
const CLIENTS: usize = 6;

/// The most requests sent at once.
const BURST: usize = 8;

/// A server of so many places leaves them all to the schedule; one of more leaves few, and the
/// others are held from beginning to end.
const SMALL: usize = 3;
const FEW: usize = 2;

/// Requests of one schedule, each unlike the others; so many of them are for its end.
const REQUESTS: usize = 80;
const LAST_REQUESTS: usize = 24;

/// How long a client may stall, so that whatever should not come can.
const STALL: Duration = Duration::from_millis(2);

/// How long one that should be turned away listens before it is seen whether anything can come.
const LISTEN: Duration = Duration::from_millis(20);

/// What is done next. A client is given by its place among those that are there; what makes no
/// sense at the moment is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Step {
    Connect,
    /// It sends the first half of a request.
    SendPart(usize),
    /// It sends the rest of a request, or a whole one.
    Finish(usize),
    /// It sends so many requests at once.
    Burst(usize, usize),
    /// Nobody does anything for a while.
    Stall,
    Read(usize),
    ReadSlowly(usize),
    /// It ends its sending side, and reads to the end.
    HalfClose(usize),
    Close(usize),
    Reset(usize),
}

/// Requires that a server keeps to its contract under random schedules of many clients.
///
/// # Errors
/// It does not: the finding tells the shortest schedule that was found.
pub(super) fn check(ctx: &TestContext<'_>) -> Result<(), Failure> {
    let open = || House::open(ctx);
    let schedules = Schedules { drawn: schedules().boxed(), begun: Cell::default() };
    ctx.property(RUNS, "schedules", schedules, open, |house, schedule| house.play(schedule))
}

/// The schedule that is tried first: whatever is drawn, each kind of step and each way to leave was
/// tried with all places taken.
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

/// The first schedule, and then those that are drawn.
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

/// A schedule that is made shorter step by step, from its end.
struct Shorter {
    steps: Vec<Step>,
    /// How many steps have not yet been tried without.
    left: usize,
    /// The step that is left out for now.
    without: Option<usize>,
}

impl Shorter {
    fn leave_out_next(&mut self) -> bool {
        // What depends on a pause might fail without it too, but not each time.
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

/// The cases that judge what one client does before several play a schedule.
const REHEARSED: &[&str] = &[
    "framing/pipelined",
    "framing/byte-by-byte",
    "framing/all-cuts",
    "disconnects/half-close",
    "disconnects/half-close-many",
];

/// A server, with as many clients in it as leave a few places.
struct House<'s> {
    ctx: &'s TestContext<'s>,
    /// Each of them with the number of the request that it asks.
    incumbents: Vec<(TestClient<'s>, usize)>,
    /// How many clients of a schedule it serves at once.
    places: usize,
    /// How many more may wait, in the server or in the kernel.
    waiting: usize,
    /// Whether the next one is turned away then. If not, it does not come.
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
            // Those who hold the other places would be closed.
            return Ok(alone);
        }
        let incumbents = (REQUESTS..REQUESTS + held)
            .map(|number| Ok((ctx.connect_soon(&request(number))?, number)))
            .collect::<Result<_, Failure>>()?;
        let waits = contract.when_full == Some(OverloadPolicy::Wait);
        // The shortest queue of the kernel's has room for one.
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

    /// Those who hold the other places are served as ever.
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

/// What has come, without waiting for it.
fn heard(party: &mut TestClient<'_>) -> Result<Vec<u8>, ClientError> {
    if party.client.is_readable() { party.listen(STALL) } else { Ok(Vec::new()) }
}

/// A client in a schedule.
struct Guest<'s> {
    number: usize,
    party: TestClient<'s>,
    /// It has no place yet.
    waits: bool,
    /// The requests whose replies it has not read.
    owed: VecDeque<usize>,
    /// The request that it has sent half of.
    begun: Option<usize>,
}

/// One schedule, under way.
struct Run<'h, 's> {
    ctx: &'s TestContext<'s>,
    house: &'h House<'s>,
    /// Those that are there, the first to come first.
    guests: Vec<Guest<'s>>,
    /// Clients that left before they had a place: the server may not have seen them go.
    left_unseen: usize,
    /// Clients that came, and requests that were used.
    came: usize,
    asked: usize,
    /// What was done, in words.
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

    /// There is a place for it: it is served.
    fn enter(&mut self) -> Result<(), Failure> {
        if mem::take(&mut self.left_unseen) > 0 {
            // They are in the way of the next one only until the server has seen them.
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

    /// All places are taken, and it may wait for one.
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

    /// All places are taken, and nobody may wait. How it is turned away is another case's matter.
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
                // It asks only when nothing comes: a busy line may be lost over unread input.
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

    /// Requests to their ends, the one that was begun first.
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

    /// It waits for a place, or is owed nothing.
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

    /// The next reply that it is owed comes.
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

    /// Whoever waits longest has the place that is free now, and is served.
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

    /// All get what they are owed and one reply more, and leave; all the places are free then.
    fn end(&mut self) -> Result<(), Failure> {
        while !self.guests.is_empty() {
            // Whoever came first is served, if anybody is.
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
        // There are always enough of them.
        (self.asked - 1) % REQUESTS
    }
}
