//! Flags for the output of the commands that run for longer.

use clap::Args;

use crate::text::style::ColorChoice;

/// Flags for the output.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct TerminalArgs {
    /// Colour of verdicts.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,
    /// Print only failures, errors, the final summary and the paths of written files. Show no
    /// progress.
    #[arg(long, short)]
    pub quiet: bool,
}
