//! Observations that quote the server.

/// An observation that quotes the server's output, in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quoted {
    /// The observation without the output.
    pub seen: String,
    /// The end of the output.
    pub output: String,
}
