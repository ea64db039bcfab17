//! Transcript of a case: the events of all its clients on one clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::text::printable;
use serde::Serialize;

/// Number of events kept from the start, and from the end.
const KEPT: usize = 24;

/// Transcript that the clients of one case share.
#[derive(Clone, Debug)]
pub struct Transcript {
    began: Instant,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    first: Vec<Event>,
    last: std::collections::VecDeque<Event>,
    left_out: usize,
}

/// An event with its time and its client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Event {
    /// Time since the case began, in microseconds.
    pub at_us: u64,
    /// Number of the client, from 1; 0 is the harness itself.
    pub client: usize,
    /// Kind of the event.
    pub kind: EventKind,
    /// Description of the event, with the bytes escaped.
    pub what: String,
}

/// Kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The client sent bytes, FIN or RST.
    Sent,
    /// The server sent bytes, FIN or RST.
    Received,
    /// The server wrote to its standard output or standard error.
    Output,
    /// The server's first process exited.
    Exited,
    /// Anything else, such as an action of the harness.
    Note,
}

/// An event of a client or of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happening {
    /// The connection was established in this time.
    Connected(Duration),
    /// The client sent these bytes.
    Sent(Vec<u8>),
    /// The client received these bytes.
    Received(Vec<u8>),
    /// The client closed its sending side (FIN).
    Ended,
    /// The client reset the connection (RST).
    Reset,
    /// The server closed its sending side (FIN).
    ServerEnded,
    /// The server reset the connection (RST).
    ServerReset,
    /// An operation of the client failed.
    ClientError(String),
    /// The server wrote to its standard output or standard error.
    ServerWrote(Vec<u8>),
    /// The server's first process exited.
    Exited(Exit),
    /// The harness did something to the server, or observed it.
    Note(String),
}

impl Transcript {
    /// Creates an empty transcript whose clock starts now.
    pub fn begin() -> Transcript {
        Transcript { began: Instant::now(), inner: Arc::default() }
    }

    /// Records an event that happens now.
    pub fn add(&self, client: usize, happening: Happening) {
        let event = self.event(Instant::now(), client, happening);
        let mut inner = self.inner();
        if inner.first.len() < KEPT {
            inner.first.push(event);
        } else {
            if inner.last.len() == KEPT {
                inner.last.pop_front();
                inner.left_out += 1;
            }
            inner.last.push_back(event);
        }
    }

    /// Returns the kept events: the start and the end of a long transcript.
    pub fn events(&self) -> Vec<Event> {
        let inner = self.inner();
        let mut events = inner.first.clone();
        if let (Some(next), 1..) = (inner.last.front(), inner.left_out) {
            let words = format!("({} more happenings left out)", inner.left_out);
            events.push(Event::of(next.at_us, 0, &Happening::Note(words)));
        }
        events.extend(inner.last.iter().cloned());
        events
    }

    /// Returns the kept events merged with events of the server, in order of time. An event from
    /// before the transcript began gets the time 0.
    pub fn events_with(
        &self,
        others: impl IntoIterator<Item = (Instant, Happening)>,
    ) -> Vec<Event> {
        let mut events = self.events();
        events.extend(others.into_iter().map(|(at, happening)| self.event(at, 0, happening)));
        events.sort_by_key(|event| event.at_us);
        events
    }

    fn event(&self, at: Instant, client: usize, happening: Happening) -> Event {
        let since = at.saturating_duration_since(self.began).as_micros();
        let at_us = u64::try_from(since).unwrap_or(u64::MAX);
        Event::of(at_us, client, &happening)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Event {
    /// Returns the event for a happening.
    pub fn of(at_us: u64, client: usize, happening: &Happening) -> Event {
        Event { at_us, client, kind: happening.kind(), what: happening.words() }
    }

    /// Returns whether the event is output of the server.
    pub fn is_output(&self) -> bool {
        self.kind == EventKind::Output
    }
}

impl Happening {
    fn kind(&self) -> EventKind {
        match self {
            Happening::Sent(_) | Happening::Ended | Happening::Reset => EventKind::Sent,
            Happening::Received(_) | Happening::ServerEnded | Happening::ServerReset => {
                EventKind::Received
            }
            Happening::ServerWrote(_) => EventKind::Output,
            Happening::Exited(_) => EventKind::Exited,
            Happening::Connected(_) | Happening::ClientError(_) | Happening::Note(_) => {
                EventKind::Note
            }
        }
    }

    fn words(&self) -> String {
        match self {
            Happening::Connected(time) => format!("connected in {} µs", time.as_micros()),
            Happening::Sent(bytes) => format!("→ {}", printable(bytes)),
            Happening::Received(bytes) => format!("← {}", printable(bytes)),
            Happening::ServerWrote(bytes) => format!("server wrote: {}", printable(bytes)),
            Happening::Exited(exit) => format!("the server ended: {exit}"),
            Happening::Ended => "→ FIN".to_owned(),
            Happening::Reset => "→ RST".to_owned(),
            Happening::ServerEnded => "← FIN".to_owned(),
            Happening::ServerReset => "← RST".to_owned(),
            Happening::ClientError(words) | Happening::Note(words) => words.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_record_keeps_its_beginning_and_its_end() {
        let transcript = Transcript::begin();
        for number in 0..KEPT * 3 {
            transcript.add(number, Happening::Ended);
        }
        let events = transcript.events();
        assert_eq!(events.len(), 2 * KEPT + 1);
        assert_eq!((events[0].client, events[2 * KEPT].client), (0, KEPT * 3 - 1));
        assert_eq!(events[KEPT].what, format!("({KEPT} more happenings left out)"));
    }

    #[test]
    fn what_the_server_wrote_stands_where_it_was_written() {
        let before = Instant::now();
        let transcript = Transcript::begin();
        transcript.add(1, Happening::Ended);
        std::thread::sleep(Duration::from_millis(1));
        let between = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        transcript.add(1, Happening::ServerEnded);
        let wrote = |at, words: &str| (at, Happening::ServerWrote(words.as_bytes().to_vec()));
        let events = transcript.events_with([wrote(between, "now\n"), wrote(before, "up\n")]);
        let words: Vec<&str> = events.iter().map(|event| event.what.as_str()).collect();
        let [up, now] = [r#"server wrote: "up\n""#, r#"server wrote: "now\n""#];
        // An event from before the start has the time 0, like the first event of the transcript.
        assert!(words[..2].contains(&up) && words[2..] == [now, "← FIN"], "{words:?}");
        assert_eq!(events.iter().filter(|event| event.is_output()).count(), 2);
    }

    #[test]
    fn no_byte_reaches_a_terminal_as_it_is() {
        assert_eq!(printable(b"\x1b[2J\xff\n\"1\""), r#""\x1b[2J\xff\n\"1\"""#);
        assert!(printable(&[b'x'; 1000]).ends_with("…\" (1000 bytes)"));
    }
}
