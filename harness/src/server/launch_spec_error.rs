//! Why a server cannot be described by a command.

/// The most that a server is given on its standard input, in bytes.
pub const MOST_INPUT: usize = 64 * 1024;

/// A command that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchSpecError {
    /// It is not shell words.
    #[error("cannot split the command into words (is a quote open?): {0}")]
    Words(String),
    /// There is nothing in it.
    #[error("the command is empty: give one such as \"python3 server.py {{host}} {{port}}\"")]
    Empty,
    /// The server would not know where to listen.
    #[error(
        "the command has no {{port}}: write {{host}} and {{port}} where the server expects them, as in \"python3 server.py {{host}} {{port}}\"; for a server that always listens on the same port add --port PORT, for one that reads its port from standard input add --input '{{port}}\\n'"
    )]
    NoPort,
    /// Something in it is for a shell.
    #[error("no shell runs the command, and {0}")]
    Shell(String),
    /// More than the harness gives.
    #[error("the input has {0} bytes, and {MOST_INPUT} are the most that a server is given")]
    LongInput(usize),
}
