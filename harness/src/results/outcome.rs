//! Outcomes of requests and connections. Each outcome has a count of its own. Failures are never
//! included in the latency of correct replies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Outcome of one request, or of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Correct reply.
    Answered,
    /// Wrong reply.
    WrongReply,
    /// Error line in place of a value.
    ErrorReply,
    /// Connection refused: no process listens.
    Refused,
    /// Timeout while connecting.
    ConnectTimeout,
    /// Connection reset.
    Reset,
    /// Connection closed.
    Closed,
    /// Rejected with a busy line.
    Busy,
    /// Not sent, because too many requests were in flight: the server did not keep up.
    Stalled,
    /// Timeout of a reply.
    TimedOut,
    /// In flight at the end.
    InFlight,
}

impl Outcome {
    /// All outcomes, in the order of reports.
    pub const ALL: &[Outcome] = &[
        Outcome::Answered,
        Outcome::WrongReply,
        Outcome::ErrorReply,
        Outcome::Refused,
        Outcome::ConnectTimeout,
        Outcome::Reset,
        Outcome::Closed,
        Outcome::Busy,
        Outcome::Stalled,
        Outcome::TimedOut,
        Outcome::InFlight,
    ];

    /// Returns the name used in JSON documents.
    pub fn name(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::WrongReply => "wrong_reply",
            Outcome::ErrorReply => "error_reply",
            Outcome::Refused => "refused",
            Outcome::ConnectTimeout => "connect_timeout",
            Outcome::Reset => "reset",
            Outcome::Closed => "closed",
            Outcome::Busy => "busy",
            Outcome::Stalled => "stalled",
            Outcome::TimedOut => "timed_out",
            Outcome::InFlight => "in_flight",
        }
    }

    /// Returns the name used in sentences.
    pub fn label(self) -> String {
        self.name().replace('_', " ")
    }
}

/// Number of occurrences of each outcome. In JSON: an object with a key for each outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(into = "BTreeMap<Outcome, u64>", from = "BTreeMap<Outcome, u64>")]
pub struct Outcomes([u64; Outcome::ALL.len()]);

impl Outcomes {
    /// Counts one occurrence.
    pub fn add(&mut self, outcome: Outcome) {
        self.add_many(outcome, 1);
    }

    /// Counts `count` occurrences.
    pub fn add_many(&mut self, outcome: Outcome, count: u64) {
        self.0[outcome as usize] += count;
    }

    /// Adds the counts of `other`.
    pub fn add_all(&mut self, other: &Outcomes) {
        self.0.iter_mut().zip(other.0).for_each(|(own, others)| *own += others);
    }

    /// Returns whether every outcome is a correct reply.
    pub fn is_all_answered(&self) -> bool {
        self.sum() == self.get(Outcome::Answered)
    }

    /// Returns the sum of all counts.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Returns the count of one outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[outcome as usize]
    }
}

impl FromIterator<Outcome> for Outcomes {
    fn from_iter<T: IntoIterator<Item = Outcome>>(outcomes: T) -> Outcomes {
        let mut counted = Outcomes::default();
        outcomes.into_iter().for_each(|outcome| counted.add(outcome));
        counted
    }
}

impl From<Outcomes> for BTreeMap<Outcome, u64> {
    fn from(outcomes: Outcomes) -> BTreeMap<Outcome, u64> {
        Outcome::ALL.iter().map(|&outcome| (outcome, outcomes.get(outcome))).collect()
    }
}

impl From<BTreeMap<Outcome, u64>> for Outcomes {
    fn from(counts: BTreeMap<Outcome, u64>) -> Outcomes {
        let mut outcomes = Outcomes::default();
        counts.into_iter().for_each(|(outcome, count)| outcomes.add_many(outcome, count));
        outcomes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_counted_under_its_own_name() {
        for (index, &outcome) in Outcome::ALL.iter().enumerate() {
            assert_eq!(outcome as usize, index);
            let counted: Outcomes = [outcome, outcome].into_iter().collect();
            let document = serde_json::to_value(&counted).expect("a JSON document");
            assert_eq!(document[outcome.name()], 2);
            let read: Outcomes = serde_json::from_value(document.clone()).expect("outcomes");
            assert_eq!(read, counted);
            assert_eq!(document.as_object().map(|map| map.len()), Some(Outcome::ALL.len()));
        }
    }
}
