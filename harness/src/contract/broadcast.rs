//! Broadcast: a server that sends each message of a client to other clients, such as a chat server.

/// The clients that receive a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broadcast {
    /// All clients, and the sender too.
    All,
    /// All clients except the sender.
    Others,
}

impl Broadcast {
    /// All variants.
    pub const ALL: &[Broadcast] = &[Broadcast::All, Broadcast::Others];

    /// Returns the variant's name in flags and files.
    pub fn name(self) -> &'static str {
        match self {
            Broadcast::All => "all",
            Broadcast::Others => "others",
        }
    }
}
