//! The state in which the harness starts a server.

use serde::{Deserialize, Serialize};

/// State in which the harness starts a server, independent of the state of the harness.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct StartState {
    /// Environment variables that the harness sets, as `NAME=VALUE`.
    pub set: Vec<String>,
    /// Names of the environment variables that the server inherits from the harness.
    pub inherited: Vec<String>,
    /// Names of the environment variables that the manifest sets.
    pub declared: Vec<String>,
    /// Limit of open descriptors of each process.
    pub max_descriptors: u64,
    /// Limit of the stack of each process, in bytes.
    pub max_stack_bytes: u64,
    /// Nice value, which the server inherits from the harness.
    pub nice: i32,
}
