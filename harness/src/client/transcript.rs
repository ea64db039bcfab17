//! Transcript of a case: the events of all clients, with times from one clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::results::{Event, EventKind};
use crate::text::visible;

/// Number of events that are kept at each end of a transcript.
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
    omitted: usize,
}

impl Transcript {
    /// Creates an empty transcript whose clock starts now.
    pub fn begin() -> Transcript {
        Transcript { began: Instant::now(), inner: Arc::default() }
    }

    /// Records an event with the current time.
    pub fn add(&self, client: usize, kind: EventKind) {
        let event = self.event(Instant::now(), client, kind);
        let mut inner = self.inner();
        if inner.first.len() < KEPT {
            inner.first.push(event);
        } else {
            if inner.last.len() == KEPT {
                inner.last.pop_front();
                inner.omitted += 1;
            }
            inner.last.push_back(event);
        }
    }

    /// Returns the kept events. In a long transcript a note stands for the omitted events.
    pub fn events(&self) -> Vec<Event> {
        let inner = self.inner();
        let mut events = inner.first.clone();
        if let (Some(next), 1..) = (inner.last.front(), inner.omitted) {
            let text = format!("({} more events left out)", inner.omitted);
            events.push(Event::new(next.at_us, 0, EventKind::Note { text }));
        }
        events.extend(inner.last.iter().cloned());
        events
    }

    /// Returns the kept events and the given events of the server, in order of time. An event
    /// before the start of the transcript gets the time 0.
    pub fn events_with(
        &self,
        server_events: impl IntoIterator<Item = (Instant, EventKind)>,
    ) -> Vec<Event> {
        let mut events = self.events();
        events.extend(server_events.into_iter().map(|(at, kind)| self.event(at, 0, kind)));
        events.sort_by_key(|event| event.at_us);
        events
    }

    /// Returns the chunks of output that arrived before the last event of a client, as text.
    pub fn until_last_event(&self, output: &[(Instant, Vec<u8>)]) -> String {
        let last = self.events().iter().filter(|event| event.client > 0).map(|it| it.at_us).max();
        let is_earlier =
            |at: Instant| last.is_some_and(|last| at < self.began + Duration::from_micros(last));
        let earlier = output.iter().filter(|(at, _)| is_earlier(*at));
        let bytes: Vec<u8> = earlier.flat_map(|(_, chunk)| chunk).copied().collect();
        visible(&String::from_utf8_lossy(&bytes)).into_owned()
    }

    fn event(&self, at: Instant, client: usize, kind: EventKind) -> Event {
        let since = at.saturating_duration_since(self.began).as_micros();
        let at_us = u64::try_from(since).unwrap_or(u64::MAX);
        Event::new(at_us, client, kind)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_transcript_keeps_its_beginning_and_end() {
        let transcript = Transcript::begin();
        for number in 0..KEPT * 3 {
            transcript.add(number, EventKind::SentFin);
        }
        let events = transcript.events();
        assert_eq!(events.len(), 2 * KEPT + 1);
        assert_eq!((events[0].client, events[2 * KEPT].client), (0, KEPT * 3 - 1));
        assert_eq!(events[KEPT].kind.to_string(), format!("({KEPT} more events left out)"));
    }

    #[test]
    fn server_output_appears_at_the_time_it_was_written() {
        let before = Instant::now();
        let transcript = Transcript::begin();
        transcript.add(1, EventKind::SentFin);
        std::thread::sleep(Duration::from_millis(1));
        let between = Instant::now();
        std::thread::sleep(Duration::from_millis(1));
        transcript.add(1, EventKind::ReceivedFin);
        let output = |at, text: &str| (at, EventKind::output(text.as_bytes()));
        let events = transcript.events_with([output(between, "now\n"), output(before, "up\n")]);
        let texts: Vec<String> = events.iter().map(|event| event.kind.to_string()).collect();
        let [up, now] = [r#"server wrote: "up\n""#, r#"server wrote: "now\n""#];
        // An event from before the start has the time 0, like the first event of the transcript.
        assert!(texts[..2].contains(&up.to_owned()) && texts[2..] == [now, "← FIN"], "{texts:?}");
        assert_eq!(events.iter().filter(|event| event.kind.is_output()).count(), 2);
    }
}
