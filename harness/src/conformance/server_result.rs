//! Result of a server, made from the results of its cases.

use crate::results::{CaseResult, OverloadOutcome, ServerResult, StartState};
use crate::server::LaunchSpec;

impl ServerResult {
    /// Returns the result of a server without measurements. `cases` is empty if the server cannot
    /// run.
    pub fn new(spec: &LaunchSpec, cases: Vec<CaseResult>) -> ServerResult {
        let built_in = servers::find(&spec.name);
        ServerResult {
            name: spec.name.clone(),
            alias: spec.alias.clone(),
            command: spec.shown_command.clone(),
            external: spec.alias.is_none() && built_in.is_none(),
            family: built_in.as_ref().map(|server| server.pattern.family.name().to_owned()),
            service: Some(spec.contract.service.name().to_owned()),
            contract: spec.contract.summary(),
            capacity: spec.contract.capacity,
            when_full: spec.contract.when_full.map(OverloadOutcome::of_policy),
            concurrency_model: cases.iter().find_map(CaseResult::concurrency_model),
            start_state: StartState::of(spec),
            not_run: spec.unavailable.clone(),
            cases,
            ..ServerResult::default()
        }
    }
}
