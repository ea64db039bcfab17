//! Result of a server, made from the results of its cases.

use crate::results::{CaseResult, ServerResult};
use crate::server::LaunchSpec;

impl ServerResult {
    /// Returns the result of a server without measurements. `cases` is empty if the server cannot
    /// run.
    pub fn new(spec: &LaunchSpec, cases: Vec<CaseResult>) -> ServerResult {
        ServerResult {
            name: spec.name.clone(),
            alias: spec.alias.clone(),
            command: spec.shown_command.clone(),
            external: spec.alias.is_none() && servers::find(&spec.name).is_none(),
            contract: spec.contract.summary(),
            concurrency_model: cases.iter().find_map(CaseResult::concurrency_model),
            not_run: spec.unavailable.clone(),
            cases,
            ..ServerResult::default()
        }
    }
}
