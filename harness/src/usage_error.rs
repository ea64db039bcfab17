//! A wrong way to use the program.

/// A wrong way to use the program, found after the command line was parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// The exit code for an error that ended the program: 2 for bad usage, 3 otherwise.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() { 2 } else { 3 }
}
