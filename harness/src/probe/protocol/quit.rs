//! Detects the quit command.

use std::time::{Duration, Instant};

use super::detected::Protocol;
use crate::client::{Client, ClientError};
use crate::probe::target::ProbeTarget;
use crate::wire::{Bytes, Wire};

/// Quit commands of common protocols.
const QUIT_WORDS: &[&str] = &["quit", "exit", "bye", "q", "close", "end", "stop", "QUIT", "EXIT"];

/// A word that is not a quit command, as a control.
const NO_QUIT_WORD: &str = "zzz";

/// Number of words that one instance of the server gets, if each needs a wait.
const WORDS_PER_INSTANCE: usize = 4;

/// Timeout to check whether a connection has been closed.
const CHECK_TIMEOUT: Duration = Duration::from_millis(2);

/// Effects of words that clients send.
#[derive(Default)]
pub(crate) struct QuitWords {
    /// The quit command: it makes the server close the connection.
    pub(crate) quit: Option<Bytes>,
    /// A word that makes the server exit.
    pub(crate) ends_server: Option<String>,
}

/// Effect of one word.
#[derive(Clone, Copy, Default, PartialEq)]
struct Effect {
    closes: bool,
    ends_server: bool,
}

/// Detects the quit command, and words that make the server exit.
pub(crate) fn detect_quit(target: &ProbeTarget, protocol: &Protocol) -> QuitWords {
    if protocol.wire.requests() == Some(1) {
        return QuitWords::default();
    }
    let words: Vec<&str> = [NO_QUIT_WORD].iter().chain(QUIT_WORDS).copied().collect();
    let try_words = |words_per_instance: usize| {
        let parts: Vec<&[&str]> = words.chunks(words_per_instance).collect();
        target.each(&parts, |words| effects(target, protocol, words)).concat()
    };
    let mut effects = try_words(match target {
        // A server that exits after a connection needs an instance for each word.
        _ if target.exits_by_itself => 1,
        _ if tries_in_parallel(target, protocol) => words.len(),
        _ => WORDS_PER_INSTANCE,
    });
    // The exit of the server closes all connections.
    if !target.exits_by_itself && effects.iter().any(|effect| effect.ends_server) {
        effects = try_words(1);
    }
    // If the control has an effect, any word has it.
    if effects.first() != Some(&Effect::default()) {
        return QuitWords::default();
    }
    let having = |has: fn(&Effect) -> bool| {
        words.iter().zip(&effects).find_map(|(word, effect)| has(effect).then_some(*word))
    };
    let ends_server = having(|it| it.ends_server).filter(|_| !target.exits_by_itself);
    // Some servers exit after each connection, so their exit says nothing about a word.
    let quit = match target.exits_by_itself {
        true => having(|it| it.closes),
        false => having(|it| it.closes && !it.ends_server),
    };
    let quit = quit.filter(|word| is_closed_by(target, protocol, word));
    QuitWords {
        quit: quit.map(|word| Bytes::from(&protocol.wire.sent(word.as_bytes())[..])),
        ends_server: ends_server.map(str::to_owned),
    }
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

/// Returns whether words are sent on several connections at a time. If the server broadcasts, each
/// client would receive the words of the others.
fn tries_in_parallel(target: &ProbeTarget, protocol: &Protocol) -> bool {
    target.serves_several && protocol.broadcast.is_none()
}

/// Returns the effect of each word. Sends each word on a separate connection, after a plain
/// request. The connections are open at the same time if [`tries_in_parallel`].
fn effects(target: &ProbeTarget, protocol: &Protocol, words: &[&str]) -> Vec<Effect> {
    let mut effects: Vec<Effect> = Vec::new();
    let Ok(mut instance) = target.instance() else { return vec![Effect::default(); words.len()] };
    while effects.len() < words.len() {
        let mut clients = Vec::new();
        while effects.len() + clients.len() < words.len() {
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
            if !tries_in_parallel(target, protocol) {
                break;
            }
        }
        if clients.is_empty() {
            // New connections are no longer served, so the remaining words cannot be tried.
            effects.resize(words.len(), Effect::default());
            break;
        }
        let (remaining, since) = (&words[effects.len()..], Instant::now());
        for (client, word) in clients.iter_mut().zip(remaining) {
            // Sending fails if the connection is already closed.
            let _ = client.send(&protocol.wire.sent(word.as_bytes()));
        }
        let received = instance.receive_all(&mut clients, since);
        let closed: Vec<bool> = received.iter().map(|it| it.is_closed).collect();
        // The server may exit a moment after it has closed the connection.
        let ends_server = closed.contains(&true) && instance.exit().is_some();
        effects.extend(closed.into_iter().map(|closes| Effect { closes, ends_server }));
        if ends_server {
            effects.resize(words.len(), Effect { closes: true, ends_server });
            break;
        }
        clients.into_iter().for_each(|client| instance.disconnect(client));
    }
    effects
}
