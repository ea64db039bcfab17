//! Experiment: which clients receive the message of a client.

use crate::client::ClientError;
use crate::conformance::context::{SHORT_TIMEOUT, TestContext};
use crate::conformance::failure::Failure;
use crate::conformance::requests::request;
use crate::conformance::test_client::{QUIET, TestClient};
use crate::text::printable;

/// Number of clients that listen. With several, a broadcast differs from a reply that the server
/// sends to another client by mistake.
const LISTENERS: usize = 2;

/// Number of the request whose recipients are determined.
const MESSAGE: usize = 4;

/// The recipients of a message.
pub(in crate::conformance) struct Recipients {
    /// Whether the sender got a reply to any of its requests.
    pub(in crate::conformance) is_sender_served: bool,
    /// Whether the sender received its message.
    pub(in crate::conformance) has_sender: bool,
    /// Number of other clients with an open connection.
    pub(in crate::conformance) listeners: usize,
    /// The bytes that other clients received; none for a client that did not receive the message.
    pub(in crate::conformance) received: Vec<Vec<u8>>,
}

/// Connects a client and two listeners. Sends a message of the client, and determines which clients
/// receive it.
///
/// Each listener first sends a message too, for servers that register a client on its first
/// message.
///
/// # Errors
/// The sender cannot connect. The case is then inconclusive.
pub(in crate::conformance) fn recipients(ctx: &TestContext<'_>) -> Result<Recipients, Failure> {
    let mut sender = ctx.clients().connect()?;
    let mut is_sender_served = ask(ctx, &mut sender, 1).is_some();
    let mut listeners = Vec::new();
    for number in 0..LISTENERS {
        // A full server rejects the listener.
        if let Ok(mut client) = ctx.clients().try_connect() {
            ask(ctx, &mut client, 2 + number);
            listeners.push(client);
        }
    }
    // The messages of the listeners, and notices that a client has connected.
    ctx.process().wait_until_asleep();
    let _ = sender.read_for(QUIET);
    listeners.retain_mut(|client| client.read_for(QUIET).is_ok());
    let reply = ask(ctx, &mut sender, MESSAGE);
    is_sender_served |= reply.is_some();
    let has_sender = reply.is_some_and(|reply| has_message(ctx, &reply));
    // A server that is asleep has sent all data that its clients cause.
    ctx.process().wait_until_asleep();
    let received = listeners.iter_mut().filter_map(|client| {
        let bytes = match client.read_for(QUIET) {
            Ok(bytes) | Err(ClientError::Closed(bytes)) => bytes,
            Err(_) => Vec::new(),
        };
        has_message(ctx, &bytes).then_some(bytes)
    });
    let received = received.collect();
    if !is_sender_served {
        // A slow server may answer later.
        is_sender_served = sender.reply().is_ok();
    }
    Ok(Recipients { is_sender_served, has_sender, listeners: listeners.len(), received })
}

/// Sends a plain request and returns its reply, if any.
fn ask(ctx: &TestContext<'_>, client: &mut TestClient<'_>, number: usize) -> Option<Vec<u8>> {
    let reply = client.ask_until_quiescent(&request(number), SHORT_TIMEOUT).ok()?;
    ctx.learned_replies().insert(&request(number), reply.clone());
    Some(reply)
}

/// Returns whether the bytes contain the message: as sent, transformed as declared, or reversed,
/// the most common transformation that is not declared.
fn has_message(ctx: &TestContext<'_>, bytes: &[u8]) -> bool {
    let message = request(MESSAGE);
    let reversed: Vec<u8> = message.iter().rev().copied().collect();
    [message.clone(), ctx.contract.echo(&message), reversed]
        .iter()
        .any(|text| bytes.windows(text.len()).any(|window| window == text.as_slice()))
}

impl Recipients {
    /// Returns whether every other client received the message.
    pub(in crate::conformance) fn has_all_others(&self) -> bool {
        self.listeners > 0 && self.received.len() == self.listeners
    }

    /// Describes the recipients.
    pub(in crate::conformance) fn text(&self) -> String {
        let sender = if self.has_sender { "the sender" } else { "not the sender" };
        let message = printable(&request(MESSAGE));
        match self.received.first() {
            None => format!("no other client receives the message {message}"),
            Some(bytes) => format!(
                "{} of {} other clients receive the message {message}, as {}, and {sender}",
                self.received.len(),
                self.listeners,
                printable(bytes)
            ),
        }
    }
}
