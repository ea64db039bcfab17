//! Processes that outlived a server.

use serde::{Deserialize, Serialize};

/// A process that still ran after the server's first process had exited.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Survivor {
    /// Process id.
    pub pid: i32,
    /// Name of the process in the kernel (`comm`).
    pub name: String,
}
