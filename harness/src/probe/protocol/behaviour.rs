//! Detects properties of the protocol that need further requests or connections.

use std::ops::ControlFlow;

use super::detected::{Protocol, is_complete, read_greeting};
use crate::client::Client;
use crate::exit::Exit;
use crate::probe::instance::Instance;
use crate::probe::reply;
use crate::probe::target::ProbeTarget;

/// Maximum number of requests to send before a connection counts as staying open.
const MAX_REQUESTS: usize = 5;

/// Maximum number of connections to open before a server counts as not exiting by itself.
const MAX_CONNECTIONS: u32 = 3;

/// What a server does after some requests of a connection.
#[derive(PartialEq)]
enum RequestLimit {
    /// It closes the connection.
    Closes(u32),
    /// It keeps the connection open, and answers no further request.
    Ignores(u32),
}

/// Returns the number of requests per connection. `None` if the server answers [`MAX_REQUESTS`]
/// requests of a connection.
pub(super) fn detect_requests_per_connection(
    instance: &mut Instance<'_>,
    protocol: &Protocol,
) -> Option<u32> {
    match request_limit(instance, protocol)? {
        RequestLimit::Closes(number) => Some(number),
        // An earlier client that has left may be the reason, so try with a new instance.
        RequestLimit::Ignores(number) => {
            instance.relaunch()?;
            let is_same = request_limit(instance, protocol)? == RequestLimit::Ignores(number);
            let next = number as usize + 1;
            let mut is_served = || request_on_new_connection(instance, protocol, next).is_some();
            (is_same && is_served()).then_some(number)
        }
    }
}

/// Sends requests on one connection, until the server answers no further one.
fn request_limit(instance: &mut Instance<'_>, protocol: &Protocol) -> Option<RequestLimit> {
    let (mut client, is_closed) = request_on_new_connection(instance, protocol, 1)?;
    if is_closed {
        return Some(RequestLimit::Closes(1));
    }
    for number in 2..=MAX_REQUESTS {
        let answered = number as u32 - 1;
        let (request, _) = protocol.request(number);
        let sent = protocol.wire.sent(&request);
        let received = instance.ask(&mut client, &sent, |bytes| is_complete(&protocol.wire, bytes));
        match received {
            Some(received) if received.bytes.is_empty() && received.is_closed => {
                return Some(RequestLimit::Closes(answered));
            }
            Some(received) if received.is_closed => {
                return Some(RequestLimit::Closes(number as u32));
            }
            Some(received) if received.bytes.is_empty() => {
                instance.disconnect(client);
                return Some(RequestLimit::Ignores(answered));
            }
            Some(_) => {}
            None => return Some(RequestLimit::Closes(answered)),
        }
    }
    instance.disconnect(client);
    None
}

/// Connects until the request with this number gets the right reply, because the server may still
/// be full. Returns the client, and whether the server closed the connection after the reply.
fn request_on_new_connection(
    instance: &mut Instance<'_>,
    protocol: &Protocol,
    number: usize,
) -> Option<(Client, bool)> {
    let (request, value) = protocol.request(number);
    let sent = protocol.wire.sent(&request);
    instance.until_served(|instance, _| {
        let Some(mut client) = instance.connect() else { return ControlFlow::Break(None) };
        read_greeting(instance, &mut client, &protocol.wire);
        match instance.ask(&mut client, &sent, |_| false) {
            Some(received) if reply::has_value(&received.bytes, &value) => {
                ControlFlow::Break(Some((client, received.is_closed)))
            }
            _ => ControlFlow::Continue(()),
        }
    })
}

/// Returns whether two requests in one write get two replies; `None` if inconclusive.
pub(crate) fn detect_pipelining(target: &ProbeTarget, protocol: &Protocol) -> Option<bool> {
    if !protocol.wire.is_delimited() || protocol.wire.requests().is_some() {
        return None;
    }
    let mut instance = target.instance().ok()?;
    let mut client = protocol.connect(&mut instance)?;
    let [(first_request, first_value), (second_request, second_value)] =
        [1, 2].map(|number| protocol.request(number));
    let both =
        [&first_request, &second_request].map(|request| protocol.wire.sent(request)).concat();
    let has_both = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let first = text.find(&first_value).map(|at| at + first_value.len());
        first.is_some_and(|at| text[at..].contains(&second_value))
    };
    let received = instance.ask(&mut client, &both, has_both)?;
    match has_both(&received.bytes) {
        true => Some(true),
        // A closed connection and a missing reply can have other reasons.
        false => (!received.is_closed && !received.bytes.is_empty()).then_some(false),
    }
}

/// Returns the number of connections after which the server exits with code 0. `None` if the server
/// does not, or was already running.
pub(crate) fn detect_connections_before_exit(
    target: &ProbeTarget,
    protocol: &Protocol,
) -> Option<u32> {
    if target.is_already_running() {
        return None;
    }
    let mut instance = target.instance().ok()?;
    for number in 1..=MAX_CONNECTIONS {
        let client = instance.try_connect().ok()?;
        // Wait for an exit also if the server has closed the connection.
        if let Some(client) = protocol.check_service(&instance, client) {
            instance.disconnect(client);
        }
        if let Some(exit) = instance.exit() {
            return (exit == Exit::Code(0)).then_some(number);
        }
    }
    None
}
