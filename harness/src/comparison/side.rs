//! Side of a comparison.

use serde::Serialize;

/// Side of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The reports before the change.
    Old,
    /// The reports after the change.
    New,
}

impl Side {
    /// Both sides, in the order of the output.
    pub const ALL: [Side; 2] = [Side::Old, Side::New];

    /// Returns the name used in sentences.
    pub fn name(self) -> &'static str {
        match self {
            Side::Old => "old",
            Side::New => "new",
        }
    }
}
