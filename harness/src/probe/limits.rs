//! Detects limits and other contract properties of a server with the cases of the topic `contract`.

use std::time::Duration;

use super::target::ProbeTarget;
use crate::config_source::inline;
use crate::conformance::{Case, Runner, cases, stable_prefix};
use crate::contract::{Declared, PROPERTIES, ValueType};
use crate::results::{Discovery, Kind, State};
use crate::server::LaunchSpec;

/// Observation of one experiment.
pub(super) struct Observation {
    /// Name of the case.
    pub(super) case: &'static str,
    /// The observation, as a sentence.
    pub(super) description: String,
    /// The declaration that follows from the observation.
    pub(super) declared: Declared,
    /// Why the observed longest request is not declared.
    pub(super) undeclared: Option<&'static str>,
}

/// Cases that observe the connection limit. One may add nothing to what the others observed.
const CONNECTION_LIMIT: &[&str] = &["contract/capacity", "contract/when-full", "contract/queue"];

impl Observation {
    /// Returns whether the observation repeats what earlier ones say about the connection limit.
    pub(super) fn repeats(&self, earlier: &[Observation]) -> bool {
        let is_about_limit = |it: &&Observation| CONNECTION_LIMIT.contains(&it.case);
        let mut earlier = earlier.iter().filter(is_about_limit).peekable();
        if !is_about_limit(&self) || earlier.peek().is_none() {
            return false;
        }
        let known: Vec<&Declared> = earlier.map(|it| &it.declared).collect();
        PROPERTIES.iter().all(|property| {
            let value = (property.format)(&self.declared);
            value.is_none() || known.iter().any(|declared| (property.format)(declared) == value)
        })
    }

    /// Describes the observation, with the properties that the entry declares because of it, and
    /// why it does not declare the others.
    pub(super) fn line(&self, entry: &Declared) -> String {
        let mut line = self.description.clone();
        for property in PROPERTIES {
            let Some(value) = (property.format)(&self.declared) else { continue };
            let name = property.name;
            match (property.format)(entry) {
                Some(declared) if declared == value => {
                    let value = match property.value_type {
                        ValueType::Number => value,
                        ValueType::Flag => "true".to_owned(),
                        ValueType::Text => inline(&toml::Value::String(value)),
                    };
                    line.push_str(&format!(" ({name} = {value})"));
                }
                _ => line.push_str(&format!(
                    "; {name} is not declared: another reply or experiment contradicts it"
                )),
            }
        }
        if let Some(reason) = self.undeclared {
            line.push_str(&format!("; {reason}"));
        }
        line
    }
}

/// Timeout of a wait in the experiments with longer lines. They take over 30 s with a server that
/// copies its buffer at each read.
const LONG_LINE_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs one case of the topic `contract`. Returns `None` if the case makes no observation.
pub(super) fn observe(target: &ProbeTarget, case: &'static Case) -> Option<Observation> {
    let runner = Runner::new(target.launcher.clone(), 1);
    let spec = &target.spec;
    let result = runner.run_case(spec, case);
    let discovery = result.discovery.filter(|_| result.state == State::Completed)?;
    let Discovery { observed: description, declares: mut declared, error_reply, .. } = *discovery;
    let error = error_reply.as_deref().and_then(stable_prefix);
    let is_rejected = |&bytes: &usize| {
        let limit = error.clone().map(|error| (bytes, error));
        limit.is_some_and(|limit| rejects_longer_lines(&runner, spec, &limit))
    };
    let observed = declared.max_line;
    declared.max_line = observed.filter(is_rejected);
    let undeclared = (observed != declared.max_line).then_some(
        "max-line is not declared: a longer request must get one error reply, and the next request \
         its own reply",
    );
    Some(Observation { case: case.name, description, declared, undeclared })
}

/// Combines the observations into declared properties. `example` is the reply to a plain request.
pub(super) fn combine(found: &[Observation], example: &[u8]) -> Declared {
    let prefix = agreed(found, |declared| declared.error_prefix.clone());
    // A prefix with a digit may vary between replies. A prefix of a plain reply does not mark
    // errors.
    let marks_errors = |prefix: &String| {
        !prefix.contains(|it: char| it.is_ascii_digit()) && !example.starts_with(prefix.as_bytes())
    };
    Declared {
        capacity: agreed(found, |declared| declared.capacity),
        queue: agreed(found, |declared| declared.queue),
        when_full: agreed(found, |declared| declared.when_full),
        max_line: agreed(found, |declared| declared.max_line),
        error_prefix: prefix.filter(marks_errors),
        busy_prefix: agreed(found, |declared| declared.busy_prefix.clone()),
        idle_timeout: agreed(found, |declared| declared.idle_timeout),
        shutdown: agreed(found, |declared| declared.shutdown),
        ..Declared::default()
    }
}

/// Returns the value that all observations with this property share. `None` if they contradict each
/// other.
fn agreed<T: PartialEq>(found: &[Observation], of: impl Fn(&Declared) -> Option<T>) -> Option<T> {
    let mut values = found.iter().filter_map(|declared| of(&declared.declared));
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}

/// Returns whether the server answers a longer line with an error reply and keeps the connection,
/// as the contract requires of a server that declares the limit.
fn rejects_longer_lines(
    runner: &Runner,
    spec: &LaunchSpec,
    (bytes, error): &(usize, String),
) -> bool {
    let mut spec = spec.clone();
    spec.contract.max_line = Some(*bytes);
    spec.contract.error_prefix = Some(error.clone());
    let runner = Runner { timeout: LONG_LINE_TIMEOUT, ..runner.clone() };
    let is_relevant =
        |case: &&Case| ["oversize/one-past", "oversize/endless-line"].contains(&case.name);
    cases().filter(is_relevant).all(|case| runner.run_case(&spec, case).kind() == Kind::Pass)
}

#[cfg(test)]
mod tests {
    use servers::OverloadPolicy;

    use super::*;

    fn observation(declared: Declared) -> Observation {
        Observation { case: "", description: String::new(), declared, undeclared: None }
    }

    fn full(when_full: OverloadPolicy) -> Declared {
        Declared { when_full: Some(when_full), ..Declared::default() }
    }

    #[test]
    fn agreeing_experiments_are_merged_and_contradictory_ones_omitted() {
        let capacity = Declared { capacity: Some(4), ..full(OverloadPolicy::Busy) };
        for (when_full, expected) in
            [(OverloadPolicy::Busy, Some(OverloadPolicy::Busy)), (OverloadPolicy::Wait, None)]
        {
            let found = [capacity.clone(), full(when_full)].map(observation);
            let limits = combine(&found, b"42\n");
            assert_eq!((limits.capacity, limits.when_full), (Some(4), expected));
        }
    }

    #[test]
    fn an_observation_of_the_connection_limit_that_adds_no_property_is_a_repetition() {
        let of = |case, declared| Observation { case, ..observation(declared) };
        let capacity = Declared { capacity: Some(4), ..full(OverloadPolicy::Busy) };
        let earlier = [of("contract/capacity", capacity)];
        for (case, declared, is_repetition) in [
            ("contract/when-full", full(OverloadPolicy::Busy), true),
            ("contract/when-full", full(OverloadPolicy::Wait), false),
            ("contract/queue", Declared::default(), true),
            ("contract/queue", Declared { queue: Some(2), ..Declared::default() }, false),
            ("contract/idle-timeout", Declared::default(), false),
        ] {
            assert_eq!(of(case, declared).repeats(&earlier), is_repetition, "{case}");
        }
        assert!(!of("contract/when-full", Declared::default()).repeats(&[]));
    }

    #[test]
    fn an_error_prefix_that_varies_or_also_begins_results_is_omitted() {
        for (prefix, is_kept) in [("error: ", true), ("error 7: ", false), ("[Thread-", false)] {
            let error_prefix = Some(prefix.to_owned());
            let declared = Declared { error_prefix, queue: Some(0), ..Declared::default() };
            let limits = combine(&[observation(declared)], b"[Thread-9] = 42\n");
            assert_eq!(
                (limits.error_prefix.is_some(), limits.queue),
                (is_kept, Some(0)),
                "{prefix}"
            );
        }
    }
}
