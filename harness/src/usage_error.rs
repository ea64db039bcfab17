//! Errors in the use of the program.

/// An error in the arguments that is found after the command line was parsed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Returns the exit code for an error that ended the program: 2 for a usage error, 3 otherwise.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() { 2 } else { 3 }
}
