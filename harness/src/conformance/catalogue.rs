//! Catalogue of all cases, by topic.

use super::case::Case;
use super::cases::{
    back_pressure, contract, disconnects, exhaustion, fairness, framing, isolation, leaks,
    malformed, oversize, refusal, results, shutdown, startup, timeouts, wire,
};

/// The cases of each topic.
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

/// Iterates over all cases.
pub fn cases() -> impl Iterator<Item = &'static Case> + Clone {
    TOPICS.iter().copied().flatten()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::conformance::Precondition;

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
            let needs =
                case.needs.iter().filter(|need| !matches!(need, Precondition::Preferably(_)));
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
