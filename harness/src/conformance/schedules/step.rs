//! Steps of a schedule, the generation of random schedules, and their shrinking.

use std::cell::Cell;

use proptest::prelude::*;
use proptest::strategy::{NewTree, ValueTree};
use proptest::test_runner::TestRunner;
use serde::{Deserialize, Serialize};

/// Maximum number of steps of a random schedule.
const MAX_STEPS: usize = 25;

/// Maximum number of clients that are connected at the same time.
pub(super) const MAX_CONNECTED: usize = 6;

/// Maximum number of requests sent at once.
pub(super) const MAX_BURST: usize = 8;

/// A step of a schedule. The first field of a variant is the index of the client, modulo the number
/// of connected clients. A step that is impossible in the current state is skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Step {
    Connect,
    /// The client sends the first half of a request.
    SendPart(usize),
    /// The client sends the second half of a request, or a whole request.
    Finish(usize),
    /// The client sends this many requests at once.
    Burst(usize, usize),
    /// All clients pause.
    Stall,
    Read(usize),
    ReadSlowly(usize),
    /// The client half-closes, and reads until the server closes the connection.
    HalfClose(usize),
    Close(usize),
    Reset(usize),
}

/// The schedule that is tried first. With all slots in use, it tests each kind of step and each way
/// to disconnect, independently of the random schedules.
const FIXED_SCHEDULE: &[Step] = &[
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
    Step::Burst(1, MAX_BURST),
    Step::ReadSlowly(1),
    Step::SendPart(0),
    Step::Reset(0),
    Step::Connect,
    Step::Connect,
    Step::Burst(0, MAX_BURST),
    Step::HalfClose(0),
    Step::Connect,
    Step::Burst(0, 2),
    Step::Close(0),
    Step::Connect,
    Step::Stall,
];

/// Strategy for schedules: first [`FIXED_SCHEDULE`], then random schedules.
#[derive(Debug)]
pub(super) struct Schedules {
    random: BoxedStrategy<Vec<Step>>,
    /// Whether the fixed schedule was drawn.
    is_fixed_done: Cell<bool>,
}

impl Schedules {
    pub(super) fn new() -> Schedules {
        Schedules { random: random_schedules().boxed(), is_fixed_done: Cell::default() }
    }
}

impl Strategy for Schedules {
    type Tree = Box<dyn ValueTree<Value = Vec<Step>>>;
    type Value = Vec<Step>;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        match self.is_fixed_done.replace(true) {
            true => self.random.new_tree(runner),
            false => Ok(Box::new(ShrinkableSchedule {
                steps: FIXED_SCHEDULE.to_vec(),
                untried: FIXED_SCHEDULE.len(),
                omitted: None,
            })),
        }
    }
}

/// The fixed schedule, which shrinks by the omission of steps, one by one from the end.
struct ShrinkableSchedule {
    steps: Vec<Step>,
    /// Number of steps whose omission was not tried yet.
    untried: usize,
    /// Index of the step that is currently omitted, if any.
    omitted: Option<usize>,
}

impl ShrinkableSchedule {
    fn omit_next_step(&mut self) -> bool {
        // Stalls are kept: without them, a race condition may fail less often.
        self.omitted = (0..self.untried).rev().find(|&at| self.steps[at] != Step::Stall);
        self.untried = self.omitted.unwrap_or(0);
        self.omitted.is_some()
    }
}

impl ValueTree for ShrinkableSchedule {
    type Value = Vec<Step>;

    fn current(&self) -> Vec<Step> {
        let kept = |(at, &step)| (Some(at) != self.omitted).then_some(step);
        self.steps.iter().enumerate().filter_map(kept).collect()
    }

    fn simplify(&mut self) -> bool {
        if let Some(at) = self.omitted {
            self.steps.remove(at);
        }
        self.omit_next_step()
    }

    fn complicate(&mut self) -> bool {
        self.omit_next_step()
    }
}

fn random_schedules() -> impl Strategy<Value = Vec<Step>> {
    let client = 0..MAX_CONNECTED;
    let step = prop_oneof![
        5 => Just(Step::Connect),
        3 => client.clone().prop_map(Step::SendPart),
        3 => client.clone().prop_map(Step::Finish),
        2 => (client.clone(), 2..=MAX_BURST).prop_map(|(client, count)| Step::Burst(client, count)),
        1 => Just(Step::Stall),
        3 => client.clone().prop_map(Step::Read),
        1 => client.clone().prop_map(Step::ReadSlowly),
        1 => client.clone().prop_map(Step::HalfClose),
        1 => client.clone().prop_map(Step::Close),
        1 => client.prop_map(Step::Reset),
    ];
    proptest::collection::vec(step, 1..=MAX_STEPS)
}
