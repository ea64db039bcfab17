//! Judging a server: cases, verdicts, and the evidence behind them.
//!
//! A case knows an address and a contract, never a pattern: whom it judges it cannot know. Only
//! the cases of `results` ask the oracle. All others first learn what the server answers to a
//! plain request and compare with that, so that a server with one fault fails the cases that
//! name it and no others.

mod discovery;
mod finding;
mod judge;
mod need;
mod observe;
pub mod oracle;
mod party;
mod preflight;
mod property;
mod resources;
mod subject;
mod verdict;

mod back_pressure;
mod contract;
mod disconnects;
mod exhaustion;
mod fairness;
mod framing;
mod isolation;
mod leaks;
mod malformed;
mod oversize;
mod refusal;
mod results;
mod schedules;
mod shutdown;
mod startup;
mod timeouts;
mod wire;

pub(crate) use contract::stable_prefix;
pub use discovery::Discovery;
pub use finding::{FITTING, Finding};
pub use judge::{Judge, judge_all};
pub use need::Need;
pub use party::{Party, Stuffed};
pub use preflight::{Blame, Obstacle};
pub use resources::{Sample, held};
pub use subject::Subject;
pub use verdict::{Judgement, Kind, Known, KnownVerdict, State, Verdict};

use crate::contract::Contract;

/// One behaviour with a stable name.
#[derive(Debug)]
pub struct Case {
    /// `topic/name`.
    pub name: &'static str,
    /// What is required, in one sentence.
    pub requirement: &'static str,
    /// Where the requirement comes from: a standard, a manual page, a book, the contract.
    pub source: &'static str,
    /// What a server must declare for the case to apply.
    pub needs: &'static [Need],
    /// The experiment. It returns when the requirement is met.
    pub check: fn(&Subject<'_>) -> Result<(), Finding>,
}

impl Case {
    /// Why the case does not apply to a server with that contract, if it does not.
    pub fn unmet_by(&self, contract: &Contract) -> Option<String> {
        self.needs.iter().find_map(|need| need.met_by(contract).err())
    }

    /// Which servers the case applies to, in words.
    pub fn applies_to(&self) -> String {
        let required = self.needs.iter().filter(|need| !matches!(need, Need::Preferably(_)));
        let needs: Vec<String> = required.map(|need| need.words()).collect();
        match needs.is_empty() {
            true => "every server; one client is enough".to_owned(),
            false => format!("servers that {}", needs.join(" and ")),
        }
    }

    /// Whether the case can try all that it is about on a server with that contract.
    pub fn suits(&self, contract: &Contract) -> bool {
        self.needs.iter().all(|need| match need {
            Need::Preferably(other) => other.met_by(contract).is_ok(),
            need => need.met_by(contract).is_ok(),
        })
    }
}

/// The catalogue, by topic.
pub const TOPICS: &[&[Case]] = &[
    framing::CASES,
    contract::CASES,
    wire::CASES,
    results::CASES,
    malformed::CASES,
    oversize::CASES,
    isolation::CASES,
    refusal::CASES,
    timeouts::CASES,
    disconnects::CASES,
    startup::CASES,
    shutdown::CASES,
    exhaustion::CASES,
    back_pressure::CASES,
    fairness::CASES,
    leaks::CASES,
];

/// Every case.
pub fn cases() -> impl Iterator<Item = &'static Case> {
    TOPICS.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_a_topic_and_a_name_and_occur_once() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.name), "{} occurs twice", case.name);
            let (topic, name) = case.name.split_once('/').expect("a slash");
            let plain = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
            };
            assert!(plain(topic) && plain(name) && !name.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn every_case_says_in_one_sentence_what_is_required_of_whom_and_where_that_comes_from() {
        for case in cases() {
            assert!(!case.source.is_empty(), "{} has no source", case.name);
            let sentence = case.requirement;
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{}", case.name);
            assert!(!sentence.contains(". "), "{} takes two sentences", case.name);
            let needs = case.needs.iter().filter(|need| !matches!(need, Need::Preferably(_)));
            assert!(needs.count() < 2 || case.applies_to().contains(" and "), "{}", case.name);
        }
    }

    #[test]
    fn a_topic_stands_together_and_under_its_own_name() {
        for topic in TOPICS {
            let name = |case: &Case| case.name.split('/').next().map(str::to_owned);
            assert!(topic.iter().all(|case| name(case) == name(&topic[0])), "{}", topic[0].name);
        }
    }
}
