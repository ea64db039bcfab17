//! Detects properties of the protocol that need further requests or connections.

use std::time::{Duration, Instant};

use super::detected::{Protocol, is_complete, read_greeting};
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::probe::instance::Instance;
use crate::probe::target::ProbeTarget;
use crate::wire::{Bytes, Wire};

/// Maximum number of requests to send before a connection counts as staying open.
const MAX_REQUESTS: usize = 5;

/// Quit commands of common protocols.
const QUIT_WORDS: &[&str] = &["quit", "exit", "bye", "q", "close", "end", "stop", "QUIT", "EXIT"];

/// A word that is not a quit command, as a control.
const NO_QUIT_WORD: &str = "zzz";

/// Maximum number of connections to open before a server counts as not exiting by itself.
const MAX_CONNECTIONS: u32 = 3;

/// Timeout to check whether a connection has been closed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(2);

/// Returns the number of requests per connection. `None` if the connection stays open after
/// [`MAX_REQUESTS`] requests.
pub(super) fn detect_requests_per_connection(
    instance: &mut Instance<'_>,
    protocol: &Protocol,
) -> Option<u32> {
    let mut client = instance.connect()?;
    read_greeting(instance, &mut client, &protocol.wire);
    for number in 1..=MAX_REQUESTS {
        let (request, _) = protocol.request(number);
        let sent = protocol.wire.sent(request.as_bytes());
        let received = instance.ask(&mut client, &sent, |bytes| is_complete(&protocol.wire, bytes));
        match received {
            Some(received) if received.bytes.is_empty() && received.is_closed => {
                return (number > 1).then_some(number as u32 - 1);
            }
            Some(received) if received.is_closed => return Some(number as u32),
            // Silence is not a close.
            Some(received) if received.bytes.is_empty() => return None,
            Some(_) => {}
            None => return (number > 1).then_some(number as u32 - 1),
        }
    }
    instance.disconnect(client);
    None
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
    let both = [&first_request, &second_request]
        .map(|request| protocol.wire.sent(request.as_bytes()))
        .concat();
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

/// Detects the quit command: a word that makes the server close the connection.
pub(crate) fn detect_quit(target: &ProbeTarget, protocol: &Protocol) -> Option<Bytes> {
    if protocol.wire.requests() == Some(1) {
        return None;
    }
    let words: Vec<&str> = [NO_QUIT_WORD].iter().chain(QUIT_WORDS).copied().collect();
    // A server that exits after a connection needs an instance for each word.
    let per_instance = if target.exits_by_itself { 1 } else { words.len() };
    let groups: Vec<&[&str]> = words.chunks(per_instance).collect();
    let closes = target.each(&groups, |words| are_quit_words(target, protocol, words)).concat();
    // If the control closes the connection, any word does.
    if closes.first() != Some(&false) {
        return None;
    }
    let word = words.iter().zip(closes).find_map(|(word, closes)| closes.then_some(*word))?;
    is_closed_by(target, protocol, word)
        .then(|| Bytes::from(&protocol.wire.sent(word.as_bytes())[..]))
}

/// Confirms that the word closes the connection, and not an idle timeout. As a control, sends
/// another word on a second connection first; that connection must stay open. Omits the control if
/// the server serves one connection at a time.
fn is_closed_by(target: &ProbeTarget, protocol: &Protocol, word: &str) -> bool {
    let Ok(mut instance) = target.instance() else { return false };
    let Some(mut client) = protocol.connect(&mut instance) else { return false };
    let control = instance.try_connect().ok().filter(|_| target.serves_several);
    let mut control = control.and_then(|client| protocol.check_service(&instance, client));
    if target.serves_several && control.is_none() {
        return false;
    }
    if let Some(client) = &mut control
        && client.send(&protocol.wire.sent(NO_QUIT_WORD.as_bytes())).is_err()
    {
        return false;
    }
    let is_sent = send(&mut client, &protocol.wire, word);
    let is_closed = is_sent && instance.receive(&mut client).is_closed;
    let is_open =
        |mut client: Client| !matches!(client.read_for(CHECK_TIMEOUT), Err(ClientError::Closed(_)));
    is_closed && control.is_none_or(is_open)
}

fn send(client: &mut Client, wire: &Wire, word: &str) -> bool {
    client.send(&wire.sent(word.as_bytes())).is_ok()
}

/// Returns for each word whether it closes the connection. Sends each word on a separate
/// connection, after a plain request. If the server serves several connections at once, they are
/// open in parallel.
fn are_quit_words(target: &ProbeTarget, protocol: &Protocol, words: &[&str]) -> Vec<bool> {
    let mut closed = Vec::new();
    let Ok(mut instance) = target.instance() else { return vec![false; words.len()] };
    while closed.len() < words.len() {
        let mut clients = Vec::new();
        while closed.len() + clients.len() < words.len() {
            let next = match clients.is_empty() {
                true => protocol.connect(&mut instance),
                false => {
                    let next = instance.try_connect().ok();
                    next.and_then(|client| protocol.check_service(&instance, client))
                }
            };
            match next {
                Some(client) => clients.push(client),
                None => break,
            }
            if !target.serves_several {
                break;
            }
        }
        if clients.is_empty() {
            // New connections are no longer served, so the remaining words cannot be tried.
            closed.resize(words.len(), false);
            break;
        }
        let (remaining, since) = (&words[closed.len()..], Instant::now());
        for (client, word) in clients.iter_mut().zip(remaining) {
            // Sending fails if the connection is already closed.
            let _ = client.send(&protocol.wire.sent(word.as_bytes()));
        }
        let is_closed = |client: &mut Client| instance.receive_since(client, since).is_closed;
        closed.extend(clients.iter_mut().map(is_closed));
        clients.into_iter().for_each(|client| instance.disconnect(client));
    }
    closed
}
