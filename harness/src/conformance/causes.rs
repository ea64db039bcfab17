//! Causes of inconclusive results: the failed cases that test their assumptions.

use crate::results::{CaseResult, Kind, KnownFailure};

/// Finds the cases that block each blocked case.
///
/// If a case in `blocked_by` failed, removes from the list the cases that did not fail. If the
/// failure of a blocking case is known, the blocked case inherits the known failure.
/// `known_without_result` returns the known failure of a case that did not run.
pub(super) fn find_causes(
    results: &mut [CaseResult],
    known_without_result: impl Fn(&str) -> Option<KnownFailure>,
) {
    let failed: Vec<String> = results
        .iter()
        .filter(|result| result.found() == Kind::Fail)
        .map(|result| result.name.clone())
        .collect();
    for result in results.iter_mut() {
        if result.blocked_by.iter().any(|blocker| failed.contains(blocker)) {
            result.blocked_by.retain(|blocker| failed.contains(blocker));
        }
    }
    // A blocked case may block further cases. Each round passes known failures on by one step,
    // until no case inherits one.
    for _ in 0..results.len() {
        let inherited = |result: &CaseResult| {
            result.blocked_by.iter().find_map(|name| {
                let known = match results.iter().find(|blocker| blocker.name == *name) {
                    Some(blocker) if blocker.kind() == Kind::Known => blocker.known_failure.clone(),
                    Some(_) => None,
                    None => known_without_result(name),
                };
                known.map(|known| known.inherited_from(name))
            })
        };
        let new: Vec<(usize, KnownFailure)> = results
            .iter()
            .enumerate()
            .filter(|(_, result)| result.is_blocked())
            .filter_map(|(index, result)| Some((index, inherited(result)?)))
            .collect();
        if new.is_empty() {
            break;
        }
        for (index, known) in new {
            results[index].known_failure = Some(known);
        }
    }
}
