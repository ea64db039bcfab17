//! Errors in a launch spec.

/// Maximum length of the text written to a server's standard input, in bytes.
pub const MAX_INPUT: usize = 64 * 1024;

/// A command that cannot be launched.
#[derive(Debug, thiserror::Error)]
pub enum LaunchSpecError {
    /// The command cannot be split into shell words.
    #[error("cannot split the command into words (is a quote open?): {0}")]
    Words(String),
    /// The command is empty.
    #[error("the command is empty; write one such as \"python3 server.py {{host}} {{port}}\"")]
    Empty,
    /// The spec has neither `{port}` nor a fixed port, so the server cannot know the port.
    #[error(
        "the command has no {{port}}: write {{host}} and {{port}} where the server expects them, \
         as in \"python3 server.py {{host}} {{port}}\"; for a server that always listens on the \
         same port add --port PORT, for one that reads its port from standard input add --input \
         '{{port}}\\n'"
    )]
    NoPort,
    /// The command uses shell syntax.
    #[error("no shell runs the command: {0}")]
    Shell(String),
    /// The input is longer than [`MAX_INPUT`].
    #[error("the text for standard input has {0} bytes; the limit is {MAX_INPUT} bytes")]
    LongInput(usize),
}
