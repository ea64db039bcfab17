//! Tries one request format, and derives the framing from the replies.

use std::time::{Duration, Instant};

use servers::Service;

use super::behaviour::detect_requests_per_connection;
use super::detected::{Protocol, SERVED_TIMEOUT, ask};
use crate::client::Client;
use crate::probe::instance::Instance;
use crate::probe::received::Received;
use crate::probe::reply;
use crate::probe::target::ProbeTarget;
use crate::server::LaunchError;
use crate::text::printable;
use crate::wire::{Bytes, Greeting, Template, Wire};

/// Sample requests: without spaces, with spaces, and the value.
const SAMPLE_REQUESTS: &[(&str, &str, &str)] =
    &[("41+1", "41 + 1", "42"), ("1000+24", "1000 + 24", "1024"), ("3+4", "3 + 4", "7")];

/// Silence that ends a greeting without a terminator.
const GREETING_SILENCE: Duration = Duration::from_millis(250);

/// Result of trying a request format.
pub(super) enum FormatResult {
    /// The server gave the right replies: the protocol, and the updated target.
    Accepted(Box<(Protocol, ProbeTarget)>),
    /// The server gave another reply. `request` and `reply` are escaped for display.
    OtherReply { request: String, reply: String },
    /// The server gave no reply, or stopped giving the right reply.
    Silence,
    /// The server could not be launched.
    Launch(LaunchError),
}

/// A connection, with the greeting and the reply received on it.
struct Sample {
    client: Client,
    greeting: Vec<u8>,
    received: Received,
}

/// Greetings and replies of several connections.
#[derive(Default)]
struct Samples {
    greetings: Vec<Vec<u8>>,
    replies: Vec<Received>,
}

/// A request format that got a right reply, and the service of that reply.
struct Format {
    /// Wire protocol with the request template; the framing of replies is not yet known.
    raw: Wire,
    service: Service,
    /// Whether sample requests have spaces around operators.
    spaced: bool,
}

/// Returns a sample request, with spaces if `spaced`.
fn request(index: usize, spaced: bool) -> &'static str {
    if spaced { SAMPLE_REQUESTS[index].1 } else { SAMPLE_REQUESTS[index].0 }
}

/// Tries a request format: a terminator, and spaces around operators if `spaced`.
pub(super) fn try_format(target: &ProbeTarget, end: &'static [u8], spaced: bool) -> FormatResult {
    let mut instance = match target.instance() {
        Ok(instance) => instance,
        Err(error) => return FormatResult::Launch(error),
    };
    let raw = Wire { request: template(end), ..Wire::default() };
    let request = request(0, spaced);
    let first = instance.connect().and_then(|client| take_sample(&instance, client, &raw, request));
    let Some(first) = first.filter(|it| !it.received.bytes.is_empty()) else {
        return FormatResult::Silence;
    };
    let (request, reply) = (request.as_bytes(), &first.received.bytes);
    let service = if reply::has_number(reply, SAMPLE_REQUESTS[0].2) {
        Service::Calc
    } else if reply::is_plain_echo(reply, request) {
        Service::Echo
    } else {
        return FormatResult::OtherReply { request: printable(request), reply: printable(reply) };
    };
    let format = Format { raw, service, spaced };
    let Some((samples, serves_several)) = format.collect_samples(&mut instance, first) else {
        return FormatResult::Silence;
    };
    let protocol = format.protocol(&mut instance, samples);
    let target = ProbeTarget {
        exits_by_itself: instance.exits_by_itself(),
        slowest_reply: instance.slowest_reply(),
        serves_several,
        ..target.clone()
    };
    FormatResult::Accepted(Box::new((protocol, target)))
}

impl Format {
    /// Returns the value of a sample request.
    fn value(&self, index: usize) -> &'static str {
        match self.service {
            Service::Echo => request(index, self.spaced),
            Service::Calc => SAMPLE_REQUESTS[index].2,
        }
    }

    /// Sends the other sample requests, each on a new connection. Returns all samples, and whether
    /// the server serves several connections at once. `None` if the server stops giving the right
    /// reply.
    ///
    /// Keeps the connections open at the same time, if the server serves several. Text that differs
    /// between concurrent connections, such as a thread id, may repeat on successive connections.
    fn collect_samples(
        &self,
        instance: &mut Instance<'_>,
        first: Sample,
    ) -> Option<(Samples, bool)> {
        let (mut samples, mut open, mut serves_several) = (Samples::default(), vec![first], true);
        for index in 1..SAMPLE_REQUESTS.len() {
            let is_right = |it: &Sample| reply::has_value(&it.received.bytes, self.value(index));
            let ask = |instance: &Instance<'_>, client| {
                take_sample(instance, client, &self.raw, request(index, self.spaced))
                    .filter(is_right)
            };
            let concurrent = serves_several.then(|| instance.try_connect().ok()).flatten();
            let concurrent = concurrent.and_then(|client| ask(instance, client));
            let next = concurrent.or_else(|| {
                serves_several = false;
                open.drain(..).for_each(|sample| samples.take(instance, sample));
                let deadline = Instant::now() + SERVED_TIMEOUT;
                loop {
                    let client = instance.connect();
                    match client.and_then(|client| ask(instance, client)) {
                        None if Instant::now() < deadline => {}
                        sample => break sample,
                    }
                }
            });
            open.push(next?);
        }
        open.into_iter().for_each(|sample| samples.take(instance, sample));
        Some((samples, serves_several))
    }

    /// Derives the protocol from the samples.
    fn protocol(self, instance: &mut Instance<'_>, samples: Samples) -> Protocol {
        let example = samples.replies[0].bytes.clone();
        let replies = samples.replies.into_iter().enumerate();
        let known: Vec<_> = replies.map(|(index, it)| (it, self.value(index))).collect();
        let framing = reply::derive(&known);
        let Format { raw, service, spaced } = self;
        let mut wire = Wire {
            reply_end: framing.end,
            value: framing.value,
            prompt: framing.prompt.map(|prompt| Bytes::from(&prompt[..])),
            ..raw
        };
        wire.greeting = greeting(&samples.greetings, &wire);
        let mut protocol = Protocol { service, wire, spaced, example };
        protocol.wire.requests_per_connection = detect_requests_per_connection(instance, &protocol);
        let mut accepts_other_spacing = || {
            let other = request(1, !spaced).as_bytes();
            let value = SAMPLE_REQUESTS[1].2;
            ask(instance, &protocol, other).is_some_and(|it| reply::has_number(&it, value))
        };
        if service == Service::Calc && !accepts_other_spacing() {
            protocol.wire.spaced = Some(spaced);
        }
        protocol
    }
}

impl Samples {
    /// Adds the greeting and the reply of a sample, and closes the sample's connection.
    fn take(&mut self, instance: &Instance<'_>, sample: Sample) {
        if !sample.received.is_closed {
            instance.disconnect(sample.client);
        }
        self.greetings.push(sample.greeting);
        self.replies.push(sample.received);
    }
}

/// Receives the greeting, sends the request and receives the reply. Returns `None` if the server
/// closes the connection before the request.
fn take_sample(
    instance: &Instance<'_>,
    mut client: Client,
    raw: &Wire,
    request: &str,
) -> Option<Sample> {
    let greeting = Some(instance.receive(&mut client)).filter(|it| !it.is_closed)?.bytes;
    let received = instance.ask(&mut client, &raw.sent(request.as_bytes()), |_| false)?;
    Some(Sample { client, greeting, received })
}

fn template(end: &[u8]) -> Template {
    Template { before: Bytes::default(), after: Bytes::from(end) }
}

/// Derives the framing of the greeting from samples. `None` if the server sends no greeting, or
/// only the prompt.
fn greeting(samples: &[Vec<u8>], wire: &Wire) -> Option<Greeting> {
    let samples: Vec<Vec<u8>> =
        samples.iter().map(|sample| wire.without_prompt(sample.clone())).collect();
    if samples.iter().all(Vec::is_empty) {
        return None;
    }
    let lines = |sample: &[u8]| sample.iter().filter(|byte| **byte == b'\n').count();
    let has_lines = |it: &Vec<u8>| it.ends_with(b"\n") && lines(it) == lines(&samples[0]);
    if samples.iter().all(has_lines) {
        return Some(Greeting::Lines(lines(&samples[0])));
    }
    // The longest common suffix.
    let common = |one: &[u8], other: &[u8]| {
        one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count()
    };
    let length = samples.iter().map(|sample| common(&samples[0], sample)).min().unwrap_or(0);
    let end = &samples[0][samples[0].len() - length..];
    let last_line = end.iter().rposition(|&byte| byte == b'\n').map_or(end, |at| &end[at + 1..]);
    let occurs_only_at_end =
        |end: &[u8], all: &[u8]| Bytes::from(end).find_end(all) == Some(all.len());
    match last_line {
        [] => Some(Greeting::Quiet(GREETING_SILENCE)),
        end if samples.iter().all(|sample| occurs_only_at_end(end, sample)) => {
            Some(Greeting::Until(Bytes::from(end)))
        }
        _ if samples.iter().all(|sample| *sample == samples[0]) => {
            Some(Greeting::Until(Bytes::from(&samples[0][..])))
        }
        _ => Some(Greeting::Quiet(GREETING_SILENCE)),
    }
}
