//! Tries one request format, and derives the framing from the replies.

use std::ops::ControlFlow;
use std::time::Duration;

use servers::Service;

use super::behaviour::detect_requests_per_connection;
use super::detected::{Echo, Protocol, ask};
use super::syntax::Syntax;
use crate::client::Client;
use crate::contract::Symbols;
use crate::exit::Exit;
use crate::probe::instance::Instance;
use crate::probe::received::Received;
use crate::probe::reply::{self, KnownReply};
use crate::probe::target::ProbeTarget;
use crate::server::LaunchError;
use crate::text::printable;
use crate::wire::{Bytes, Greeting, Template, Wire};

/// Sample requests and their values.
const SAMPLE_REQUESTS: &[(&str, &str)] = &[("41+1", "42"), ("1000+24", "1024"), ("3+4", "7")];

/// Silence that ends a greeting without a terminator.
const GREETING_SILENCE: Duration = Duration::from_millis(250);

/// Result of trying a request format.
pub(super) enum FormatResult {
    /// The server gave the right replies: the protocol, and the updated target.
    Accepted(Box<(Protocol, ProbeTarget)>),
    /// The server gave another reply. `request` is escaped for display.
    OtherReply { request: String, reply: Vec<u8>, greeting: Vec<u8> },
    /// The server gave no reply, or stopped giving the right reply. It may have sent a greeting, or
    /// exited at the first request.
    Silence { greeting: Vec<u8>, exit: Option<Exit> },
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
    /// What a connection got instead of the right reply, while others were open.
    busy: Option<Vec<u8>>,
}

/// A request format that got a right reply, and the service of that reply.
struct Format {
    /// Wire protocol with the request template; the framing of replies is not yet known.
    raw: Wire,
    service: Service,
    /// Transformation of an echo: whether it is reversed. Other steps are not yet known.
    echo: Option<Echo>,
    syntax: Syntax,
}

/// Returns a sample request.
pub(super) fn request(index: usize, syntax: Syntax) -> Vec<u8> {
    syntax.written(SAMPLE_REQUESTS[index].0)
}

/// Tries a request format: a terminator, and a syntax of expressions.
pub(super) fn try_format(target: &ProbeTarget, end: &[u8], syntax: Syntax) -> FormatResult {
    let mut instance = match target.instance() {
        Ok(instance) => instance,
        Err(error) => return FormatResult::Launch(error),
    };
    let raw = Wire { request: template(end), ..Wire::default() };
    let request = &request(0, syntax)[..];
    let mut greeting = Vec::new();
    let first = instance.connect().and_then(|mut client| {
        let received = instance.receive(&mut client);
        greeting = received.bytes.clone();
        ask_sample(&instance, client, received, &raw, request)
    });
    let Some(first) = first.filter(|it| !it.received.bytes.is_empty()) else {
        return FormatResult::Silence { greeting, exit: instance.exit() };
    };
    let reply = &first.received.bytes;
    let reversed: Vec<u8> = request.iter().rev().copied().collect();
    let (service, echo) = if reply::has_number(reply, SAMPLE_REQUESTS[0].1) {
        (Service::Calc, None)
    } else if syntax.symbols == Symbols::default() && reply::is_plain_echo(reply, request) {
        (Service::Echo, Some(Echo::Transformed(None)))
    } else if syntax.symbols == Symbols::default() && reply::is_plain_echo(reply, &reversed) {
        (Service::Echo, Some(Echo::Transformed("reverse".parse().ok())))
    } else {
        let (request, reply) = (printable(request), reply.clone());
        return FormatResult::OtherReply { request, reply, greeting };
    };
    let format = Format { raw, service, echo, syntax };
    let Some((samples, serves_several)) = format.collect_samples(&mut instance, first) else {
        return FormatResult::Silence { greeting, exit: None };
    };
    let protocol = format.protocol(&mut instance, samples);
    let target = ProbeTarget {
        exits_by_itself: instance.exits_by_itself(),
        slowest_reply: instance.slowest_reply(),
        spins: instance.spins.get(),
        denies_service: instance.denies_service,
        serves_several,
        ..target.clone()
    };
    FormatResult::Accepted(Box::new((protocol, target)))
}

impl Format {
    /// Returns the value of a sample request.
    fn value(&self, index: usize) -> String {
        match (self.service, &self.echo) {
            (Service::Calc, _) => SAMPLE_REQUESTS[index].1.to_owned(),
            (Service::Echo, echo) => {
                let request = request(index, self.syntax);
                let echo = match echo {
                    Some(Echo::Transformed(Some(transform))) => transform.apply(&request),
                    _ => request,
                };
                String::from_utf8_lossy(&echo).into_owned()
            }
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
        let is_greeted = !first.greeting.is_empty();
        let (mut samples, mut open, mut serves_several) = (Samples::default(), vec![first], true);
        for index in 1..SAMPLE_REQUESTS.len() {
            let value = self.value(index);
            let is_right = |it: &Sample| reply::has_value(&it.received.bytes, &value);
            let sent = request(index, self.syntax);
            let ask = |instance: &Instance<'_>, client| match is_greeted {
                true => take_sample(instance, client, &self.raw, &sent),
                false => {
                    let greeting = Received { bytes: Vec::new(), is_closed: false };
                    ask_sample(instance, client, greeting, &self.raw, &sent)
                }
            };
            let concurrent = serves_several.then(|| instance.try_connect().ok()).flatten();
            let concurrent = concurrent.and_then(|client| ask(instance, client));
            if let Some(Sample { received, .. }) = &concurrent
                && !received.bytes.is_empty()
                && !reply::has_value(&received.bytes, &value)
            {
                samples.busy = Some(received.bytes.clone());
            }
            let concurrent = concurrent.filter(is_right);
            let next = concurrent.or_else(|| {
                serves_several = false;
                open.drain(..).for_each(|sample| samples.take(instance, sample));
                instance.until_served(|instance, _| {
                    let client = instance.connect();
                    match client.and_then(|client| ask(instance, client)).filter(is_right) {
                        Some(sample) => ControlFlow::Break(Some(sample)),
                        None => ControlFlow::Continue(()),
                    }
                })
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
        let known = |(index, received)| KnownReply {
            request: request(index, self.syntax),
            value: self.value(index),
            received,
        };
        let known: Vec<KnownReply> = replies.map(known).collect();
        let framing = reply::derive(&known, self.service);
        let Format { raw, service, echo, syntax } = self;
        let mut wire = Wire {
            reply_end: framing.end,
            value: framing.value,
            prompt: framing.prompt.map(|prompt| Bytes::from(&prompt[..])),
            ..raw
        };
        wire.greeting = greeting(&samples.greetings, &wire);
        let (broadcast, busy) = (None, samples.busy);
        let mut protocol = Protocol { service, wire, syntax, echo, broadcast, busy, example };
        protocol.wire.requests_per_connection = detect_requests_per_connection(instance, &protocol);
        let mut accepts_other_spacing = || {
            let other = request(1, Syntax { spaced: !syntax.spaced, ..syntax });
            let value = SAMPLE_REQUESTS[1].1;
            ask(instance, &protocol, &other).is_some_and(|it| reply::has_number(&it, value))
        };
        // A space that is an operator cannot have spaces around it.
        let has_space = syntax.symbols.has(b' ');
        if service == Service::Calc && (has_space || !accepts_other_spacing()) {
            protocol.wire.spaced = Some(syntax.spaced);
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
    request: &[u8],
) -> Option<Sample> {
    let received = instance.receive(&mut client);
    ask_sample(instance, client, received, raw, request)
}

/// Sends the request after this greeting, and receives the reply.
fn ask_sample(
    instance: &Instance<'_>,
    mut client: Client,
    greeting: Received,
    raw: &Wire,
    request: &[u8],
) -> Option<Sample> {
    let greeting = Some(greeting).filter(|it| !it.is_closed)?.bytes;
    let received = instance.ask(&mut client, &raw.sent(request), |_| false)?;
    Some(Sample { client, greeting, received })
}

pub(super) fn template(end: &[u8]) -> Template {
    Template { before: Bytes::default(), after: Bytes::from(end) }
}

/// Derives the framing of the greeting from samples. `None` if the server sends no greeting, or
/// only the prompt.
pub(super) fn greeting(samples: &[Vec<u8>], wire: &Wire) -> Option<Greeting> {
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
