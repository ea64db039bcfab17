//! Detects servers that send the messages of a client to other clients.

use std::time::Instant;

use servers::Service;

use super::detected::Protocol;
use super::format::{greeting, request, template};
use super::syntax::Syntax;
use crate::contract::Broadcast;
use crate::probe::received::Received;
use crate::probe::reply::{self, KnownReply};
use crate::probe::target::ProbeTarget;
use crate::wire::{Bytes, Wire};

/// Number of clients that listen. With several, a broadcast differs from a reply that the server
/// sends to another client by mistake.
const LISTENERS: usize = 2;

/// Number of sample messages.
const MESSAGES: usize = 3;

/// Returns the clients that receive a client's message, for a server that answers the sender.
/// `None` if only the sender gets a reply, or if the server serves one client at a time.
pub(crate) fn detect_broadcast(target: &ProbeTarget, protocol: &Protocol) -> Option<Broadcast> {
    if !target.serves_several || protocol.wire.requests().is_some() {
        return None;
    }
    let mut instance = target.instance().ok()?;
    let mut sender = protocol.connect(&mut instance)?;
    let mut listeners = Vec::new();
    for _ in 0..LISTENERS {
        let client = instance.try_connect().ok()?;
        // The server registers some clients on their first message.
        listeners.push(protocol.check_service(&instance, client)?);
    }
    instance.receive_all(listeners.iter_mut().chain([&mut sender]), Instant::now());
    let (message, value) = protocol.request(7);
    sender.send(&protocol.wire.sent(&message)).ok()?;
    let received = instance.receive_all(listeners.iter_mut().chain([&mut sender]), Instant::now());
    let is_reached = |received: &Received| reply::has_value(&received.bytes, &value);
    received.iter().all(is_reached).then_some(Broadcast::All)
}

/// Detects a server that sends each message to all clients except the sender, with requests that
/// end with this terminator.
pub(super) fn detect_silent_broadcast(target: &ProbeTarget, end: &[u8]) -> Option<Protocol> {
    let mut instance = target.instance().ok()?;
    let raw = Wire { request: template(end), ..Wire::default() };
    let syntax = Syntax::default();
    let mut clients = Vec::new();
    for _ in 0..=LISTENERS {
        clients.push(instance.try_connect().ok()?);
    }
    let greetings = instance.receive_all(&mut clients, Instant::now());
    let greetings: Vec<Vec<u8>> = greetings.into_iter().map(|it| it.bytes).collect();
    // The server registers some clients on their first message.
    for client in &mut clients {
        client.send(&raw.sent(&request(0, syntax))).ok()?;
    }
    instance.receive_all(&mut clients, Instant::now());
    let mut messages = Vec::new();
    for index in 0..MESSAGES {
        let message = request(index, syntax);
        let text = String::from_utf8_lossy(&message).into_owned();
        clients[0].send(&raw.sent(&message)).ok()?;
        let mut received = instance.receive_all(&mut clients, Instant::now());
        let is_reached = |it: &Received| reply::is_plain_echo(&it.bytes, &message) && !it.is_closed;
        if reply::has_value(&received[0].bytes, &text) || !received[1..].iter().all(is_reached) {
            return None;
        }
        let received = received.swap_remove(1);
        messages.push(KnownReply { request: message, value: text, received });
    }
    let framing = reply::derive(&messages, Service::Echo);
    let prompt = framing.prompt.map(|prompt| Bytes::from(&prompt[..]));
    let mut wire = Wire { reply_end: framing.end, value: framing.value, prompt, ..raw };
    wire.greeting = greeting(&greetings, &wire);
    Some(Protocol {
        service: Service::Echo,
        wire,
        syntax,
        echo: None,
        broadcast: Some(Broadcast::Others),
        busy: None,
        example: messages.swap_remove(0).received.bytes,
    })
}
