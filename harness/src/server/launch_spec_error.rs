//! Errors in the command of a launch spec.

/// Maximum length of the text written to a server's standard input, in bytes.
pub const MOST_INPUT: usize = 64 * 1024;

/// A command that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchSpecError {
    /// The command cannot be split into shell words.
    #[error("cannot split the command into words (is a quote open?): {0}")]
    Words(String),
    /// The command is empty.
    #[error("the command is empty: give one such as \"python3 server.py {{host}} {{port}}\"")]
    Empty,
    /// The server would not know which port to listen on.
    #[error(
        "the command has no {{port}}: write {{host}} and {{port}} where the server expects them, as in \"python3 server.py {{host}} {{port}}\"; for a server that always listens on the same port add --port PORT, for one that reads its port from standard input add --input '{{port}}\\n'"
    )]
    NoPort,
    /// The command uses shell syntax.
    #[error("no shell runs the command, and {0}")]
    Shell(String),
    /// The input is longer than [`MOST_INPUT`].
    #[error("the input has {0} bytes, and {MOST_INPUT} are the most that a server is given")]
    LongInput(usize),
}
