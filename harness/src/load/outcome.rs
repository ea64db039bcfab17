//! What can become of a request or of a connection. They are kept apart and never averaged.

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

/// What became of one request, or of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The right reply.
    Answered,
    /// Another reply.
    WrongReply,
    /// An error line where a value was due.
    ErrorReply,
    /// Nobody listened.
    Refused,
    /// No connection in time.
    ConnectTimeout,
    /// The connection was reset.
    Reset,
    /// The connection was closed.
    Closed,
    /// Turned away with a busy line.
    Busy,
    /// The server took no more input.
    Stalled,
    /// No reply in time.
    TimedOut,
    /// Still under way at the end.
    InFlight,
}

impl Outcome {
    /// All of them, in the order of reports.
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

    /// The name in documents.
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

    /// The name in sentences.
    pub fn words(self) -> String {
        self.name().replace('_', " ")
    }
}

/// How often each outcome occurred.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes([u64; Outcome::ALL.len()]);

impl Outcomes {
    /// Counts one more.
    pub fn add(&mut self, outcome: Outcome) {
        self.add_many(outcome, 1);
    }

    /// Counts so many more.
    pub fn add_many(&mut self, outcome: Outcome, count: u64) {
        self.0[outcome as usize] += count;
    }

    /// Adds what was counted elsewhere.
    pub fn add_all(&mut self, other: &Outcomes) {
        self.0.iter_mut().zip(other.0).for_each(|(mine, others)| *mine += others);
    }

    /// Whether there was no other outcome than a right reply.
    pub fn is_all_answered(&self) -> bool {
        self.sum() == self.get(Outcome::Answered)
    }

    /// How many there were in all.
    pub fn sum(&self) -> u64 {
        self.0.iter().sum()
    }

    /// How often it occurred.
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

impl Serialize for Outcomes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Outcome::ALL.len()))?;
        for &outcome in Outcome::ALL {
            map.serialize_entry(outcome.name(), &self.get(outcome))?;
        }
        map.end()
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
            let document = serde_json::to_value(&counted).expect("a document");
            assert_eq!(document[outcome.name()], 2);
            assert_eq!(document.as_object().map(|map| map.len()), Some(Outcome::ALL.len()));
        }
    }
}
