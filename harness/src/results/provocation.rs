//! Provocations: small client behaviours that make a server exit.

use serde::{Deserialize, Serialize};

use super::event::Event;
use crate::exit::Exit;

/// A small behaviour of a client. The variants are ordered, the smallest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Provocation {
    /// A client connects and closes.
    ConnectAndClose,
    /// A client connects and resets.
    ConnectAndReset,
    /// A client sends a plain request, and stays connected.
    Request,
    /// A client closes after the reply to its request.
    RequestAndClose,
    /// A client resets after the reply to its request.
    RequestAndReset,
    /// A client sends half a request and closes.
    HalfRequestAndClose,
    /// A client sends half a request and resets.
    HalfRequestAndReset,
    /// A client resets while it gets replies.
    ResetInReplies,
    /// A client sends an empty line.
    EmptyLine,
    /// A client sends a line that is no expression.
    MalformedLine,
    /// A client sends a division by zero.
    DivisionByZero,
    /// A client sends a line with a NUL byte.
    Nul,
    /// A client sends a line that is not valid UTF-8.
    InvalidUtf8,
}

/// The smallest provocation that makes a server exit in the same way as in a case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Provoked {
    /// The provocation.
    pub provocation: Provocation,
    /// The traffic of its client.
    pub transcript: Vec<Event>,
    /// How the server exited.
    pub exit: Exit,
    /// The end of the server's output.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub log: String,
    /// The command of the simplest case that makes the server exit in this way.
    pub reproduce: String,
}

impl Provocation {
    /// All provocations, the smallest first.
    pub const ALL: &[Provocation] = &[
        Provocation::ConnectAndClose,
        Provocation::ConnectAndReset,
        Provocation::Request,
        Provocation::RequestAndClose,
        Provocation::RequestAndReset,
        Provocation::HalfRequestAndClose,
        Provocation::HalfRequestAndReset,
        Provocation::ResetInReplies,
        Provocation::EmptyLine,
        Provocation::MalformedLine,
        Provocation::DivisionByZero,
        Provocation::Nul,
        Provocation::InvalidUtf8,
    ];

    /// Returns whether the client disconnects.
    pub fn disconnects(self) -> bool {
        matches!(
            self,
            Provocation::ConnectAndClose
                | Provocation::ConnectAndReset
                | Provocation::RequestAndClose
                | Provocation::RequestAndReset
                | Provocation::HalfRequestAndClose
                | Provocation::HalfRequestAndReset
                | Provocation::ResetInReplies
        )
    }
}
