//! Observations that quote the server's output.

use serde::{Deserialize, Serialize};

/// The parts of an observation that quotes the server's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Quoted {
    /// The observation without the output.
    pub observed: String,
    /// The end of the output.
    pub output: String,
}
