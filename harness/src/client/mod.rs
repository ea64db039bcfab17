//! Clients: the interactive client, and the test client. Every wait of a test client has a
//! deadline, and the transcript records its events.

mod command;
mod connect_mode;
mod connection;
mod error;
mod receiving;
mod transcript;

pub use command::{ClientOutcome, run_interactive};
pub use connect_mode::{ConnectMode, SMALL_WINDOW};
pub use connection::Client;
pub use error::{ClientError, MAX_REPLY_LENGTH};
pub use transcript::Transcript;
