//! Settings of a comparison of reports.

/// Settings of a comparison of reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Equivalence margin of the ratio of a figure: 0.05 extends from 1 / 1.05 to 1.05.
    pub margin: f64,
    /// Whether figures of different machines are compared.
    pub allow_different_machines: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings { margin: 0.05, allow_different_machines: false }
    }
}
