//! Limits of a server: connections, line length, errors, timeouts and shutdown. The cases of the
//! contract detect them.

use crate::conformance::{Case, Discovery, Kind, Runner, State, cases, stable_prefix};
use crate::contract::Declared;
use crate::manifest::Places;
use crate::server::LaunchSpec;

/// An observation of one experiment.
pub(super) struct Observation {
    /// Description in a sentence.
    pub(super) seen: String,
    /// Properties that would declare it.
    pub(super) declares: Declared,
}

/// Runs one case of the contract. Returns `None` if it is inconclusive.
pub(super) fn observe(
    judge: &Runner,
    spec: &LaunchSpec,
    case: &'static Case,
) -> Option<Observation> {
    let judgement = judge.judge(spec, case);
    let discovery = judgement.discovery.filter(|_| judgement.state == State::Ok)?;
    let Discovery { seen, mut declares, error, .. } = *discovery;
    let error = error.as_deref().and_then(stable_prefix);
    declares.max_line =
        declares.max_line.zip(error).filter(|it| tells_of_it(judge, spec, it)).map(|it| it.0);
    Some(Observation { seen, declares })
}

/// Combines the results of the experiments. `example` is a reply to a plain request.
pub(super) fn places(found: &[Observation], example: &[u8]) -> Places {
    let prefix = agreed(found, |one| one.error_prefix.clone());
    // A digit may differ the next time, and a prefix of ordinary replies does not identify an
    // error.
    let is_mark = |prefix: &String| {
        !prefix.contains(|it: char| it.is_ascii_digit()) && !example.starts_with(prefix.as_bytes())
    };
    Places {
        capacity: agreed(found, |one| one.capacity),
        queue: agreed(found, |one| one.queue).filter(|&queue| queue > 0),
        when_full: agreed(found, |one| one.when_full),
        max_line: agreed(found, |one| one.max_line),
        error_prefix: prefix.filter(is_mark),
        busy_prefix: agreed(found, |one| one.busy_prefix.clone()),
        idle_timeout: agreed(found, |one| one.idle_timeout),
        idle_tolerance: None,
        ending: agreed(found, |one| one.ending),
        ipv6: false,
    }
}

/// Returns the value on which all experiments agree. Contradicting values are dropped.
fn agreed<T: PartialEq>(found: &[Observation], of: impl Fn(&Declared) -> Option<T>) -> Option<T> {
    let mut values = found.iter().filter_map(|one| of(&one.declares));
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Returns whether the server answers a longer line with an error and continues, as a declared
/// limit demands.
fn tells_of_it(judge: &Runner, spec: &LaunchSpec, (bytes, error): &(usize, String)) -> bool {
    let mut spec = spec.clone();
    spec.contract.max_line = Some(*bytes);
    spec.contract.error_prefix = Some(error.clone());
    let is_wanted =
        |case: &&Case| ["oversize/one-past", "oversize/endless-line"].contains(&case.name);
    cases().filter(is_wanted).all(|case| judge.judge(&spec, case).kind() == Kind::Pass)
}

#[cfg(test)]
mod tests {
    use servers::OverloadPolicy;

    use super::*;

    fn observation(declares: Declared) -> Observation {
        Observation { seen: String::new(), declares }
    }

    fn full(when_full: OverloadPolicy) -> Declared {
        Declared { when_full: Some(when_full), ..Declared::default() }
    }

    #[test]
    fn experiments_that_agree_are_put_together_and_a_contradiction_is_not_claimed() {
        let capacity = Declared { capacity: Some(4), ..full(OverloadPolicy::Busy) };
        for (when_full, claimed) in
            [(OverloadPolicy::Busy, Some(OverloadPolicy::Busy)), (OverloadPolicy::Wait, None)]
        {
            let found = [capacity.clone(), full(when_full)].map(observation);
            let places = places(&found, b"42\n");
            assert_eq!((places.capacity, places.when_full), (Some(4), claimed));
        }
    }

    #[test]
    fn what_varies_or_marks_nothing_is_not_claimed() {
        for (prefix, claimed) in [("error: ", true), ("error 7: ", false), ("[Thread-", false)] {
            let error_prefix = Some(prefix.to_owned());
            let declares = Declared { error_prefix, queue: Some(0), ..Declared::default() };
            let found = places(&[observation(declares)], b"[Thread-9] = 42\n");
            assert_eq!((found.error_prefix.is_some(), found.queue), (claimed, None), "{prefix}");
        }
    }
}
