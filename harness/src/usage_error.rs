//! Usage errors.

/// An error in the arguments that parsing the command line does not detect.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Returns the exit code of the program for an error: 2 for a usage error, 3 otherwise.
pub fn exit_code_of(error: &anyhow::Error) -> u8 {
    if error.is::<UsageError>() { 2 } else { 3 }
}
