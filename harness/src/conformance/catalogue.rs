//! Catalogue of all cases, by topic.

use super::case::Case;
use super::cases::{
    back_pressure, contract, disconnects, exhaustion, fairness, framing, idle, isolation, leaks,
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
    idle::CASES,
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
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::results::Level;

    #[test]
    fn case_names_have_a_topic_and_are_unique() {
        let mut seen = HashSet::new();
        for case in cases() {
            assert!(seen.insert(case.name), "{} occurs twice", case.name);
            let (topic, name) = case.name.split_once('/').expect("a case name has a slash");
            let is_plain = |text: &str| {
                text.bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit())
            };
            assert!(is_plain(topic) && is_plain(name) && !name.is_empty(), "{}", case.name);
        }
    }

    #[test]
    fn every_case_has_a_one_sentence_requirement_a_source_and_preconditions() {
        for case in cases() {
            assert!(!case.source.is_empty(), "{} has no source", case.name);
            let sentence = case.requirement;
            assert!(!sentence.is_empty() && !sentence.ends_with('.'), "{}", case.name);
            assert!(!sentence.contains(". "), "{} has two sentences", case.name);
            let restrictions = case.preconditions.iter().filter(|it| it.is_restriction());
            assert!(
                restrictions.count() < 2 || case.applies_to().contains(" and "),
                "{}",
                case.name
            );
        }
    }

    #[test]
    fn the_level_of_every_case_matches_the_documentation() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/README.md");
        let text = fs::read_to_string(path).expect("reports/README.md is readable");
        let (_, section) = text.split_once("**Levels.**").expect("a section on levels");
        let (section, _) = section.split_once("\n**").expect("a section after the levels");
        for case in cases() {
            let is_listed = section.contains(&format!("`{}`", case.name));
            assert_eq!(is_listed, case.level == Level::Hardening, "{}", case.name);
        }
    }

    #[test]
    fn all_cases_of_a_table_have_the_same_topic() {
        for cases in TOPICS {
            let topic = |case: &Case| case.name.split('/').next().map(str::to_owned);
            assert!(cases.iter().all(|case| topic(case) == topic(&cases[0])), "{}", cases[0].name);
        }
    }
}
