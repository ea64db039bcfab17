//! Protocol detection: derives a server's protocol from its replies.

use std::time::{Duration, Instant};

use servers::Service;

use super::instance::{Heard, Instance, Origin};
use super::reply;
use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::server::LaunchError;
use crate::text::printable;
use crate::wire::{Bytes, Greeting, Template, Wire};

/// Sample requests without and with spaces, and their values.
pub(super) const ASKED: &[(&str, &str, &str)] =
    &[("41+1", "41 + 1", "42"), ("1000+24", "1000 + 24", "1024"), ("3+4", "3 + 4", "7")];

/// Request formats: the terminator, and whether there are spaces around operators. The first one
/// that gets the right reply is used. Most servers accept one of the first two.
const WAYS: &[(&[u8], bool)] = &[
    (b"", false),
    (b"\n", false),
    (b"\r\n", false),
    (b"\0", false),
    (b";", false),
    (b"", true),
    (b"\n", true),
    (b"\r\n", true),
    (b"\0", true),
    (b";", true),
];
const MOSTLY: usize = 2;

/// Number of requests that test whether a connection stays open.
const LASTING: usize = 5;

/// Words that close a connection of some servers, and one that closes none.
const QUITS: &[&str] = &["quit", "exit", "bye", "q", "close", "end", "stop", "QUIT", "EXIT"];
const NO_QUIT: &str = "zzz";

/// Number of connections that test whether a server stays alive.
const LIVES: u32 = 3;

/// Silence that ends a greeting without a known delimiter.
const SILENCE: Duration = Duration::from_millis(250);

/// Time to check for available input.
const LOOK: Duration = Duration::from_millis(2);

/// Timeout for being served after the previous clients have disconnected.
const PATIENCE: Duration = Duration::from_secs(3);

/// Protocol of a server.
#[derive(Clone)]
pub(super) struct Speech {
    pub(super) service: Service,
    pub(super) wire: Wire,
    /// Sample requests had spaces around operators.
    pub(super) spaced: bool,
    /// Reply to the first request.
    pub(super) example: Vec<u8>,
}

/// Reason that the protocol is unknown.
pub(super) enum Unknown {
    /// The server could not be launched.
    Launch(LaunchError),
    /// No reply is that of a calculator or an echo server; the message quotes a reply.
    Otherwise(String),
}

/// Result of a request format.
enum Tried {
    /// The right reply, with what was learned about all instances.
    Answered(Box<(Speech, Origin)>),
    /// Another reply.
    Otherwise(String),
    /// No reply.
    Silence,
    /// The server could not be launched.
    Launch(LaunchError),
}

/// Tries all known request formats, and derives the framing of the replies. Properties that take
/// further requests to detect are not yet in the wire. Updates `origin` with what is known about
/// all instances.
pub(super) fn find_out(origin: &mut Origin) -> Result<Speech, Unknown> {
    let (mut otherwise, mut not_launched) = (None, None);
    let (first, others) = WAYS.split_at(MOSTLY);
    for ways in [first, others] {
        let tried = origin.each(ways, |&(end, spaced)| try_way(origin, end, spaced));
        for one in tried {
            match one {
                Tried::Answered(found) => {
                    let (speech, known) = *found;
                    *origin = known;
                    return Ok(speech);
                }
                Tried::Otherwise(words) => drop(otherwise.get_or_insert(words)),
                Tried::Launch(error) => drop(not_launched.get_or_insert(error)),
                Tried::Silence => {}
            }
        }
    }
    if let Some(error) = not_launched.filter(|_| otherwise.is_none()) {
        return Err(Unknown::Launch(error));
    }
    Err(Unknown::Otherwise(otherwise.unwrap_or_else(|| {
        "it answers nothing: no line, text or number that was tried got a reply".to_owned()
    })))
}

/// A connection with its greeting and its reply.
struct Answered {
    client: Client,
    greeting: Vec<u8>,
    heard: Heard,
}

/// Greetings and replies of several connections.
#[derive(Default)]
struct Samples {
    greetings: Vec<Vec<u8>>,
    replies: Vec<Heard>,
}

fn try_way(origin: &Origin, end: &'static [u8], spaced: bool) -> Tried {
    let mut instance = match origin.instance() {
        Ok(instance) => instance,
        Err(error) => return Tried::Launch(error),
    };
    let raw = Wire { request: template(end), ..Wire::default() };
    let asked = |index: usize| if spaced { ASKED[index].1 } else { ASKED[index].0 };
    let first = instance.connect().and_then(|client| ask_raw(&instance, client, &raw, asked(0)));
    let Some(first) = first.filter(|it| !it.heard.bytes.is_empty()) else { return Tried::Silence };
    let reply = &first.heard.bytes;
    let service = if reply::has_number(reply, ASKED[0].2) {
        Service::Calc
    } else if reply::is_plain_echo(reply, asked(0).as_bytes()) {
        Service::Echo
    } else {
        let (asked, said) = (printable(asked(0).as_bytes()), printable(reply));
        return Tried::Otherwise(format!("asked {asked} it says {said}"));
    };
    let value = |index: usize| match service {
        Service::Echo => asked(index),
        Service::Calc => ASKED[index].2,
    };
    // All these connections are open at once. Text that differs between concurrent connections,
    // such as a thread id, may repeat on consecutive ones.
    let (mut samples, mut held, mut serves_several) = (Samples::default(), vec![first], true);
    for index in 1..ASKED.len() {
        let is_answered = |it: &Answered| reply::has_value(&it.heard.bytes, value(index));
        let beside = serves_several.then(|| instance.try_connect().ok()).flatten();
        let beside = beside.and_then(|client| ask_raw(&instance, client, &raw, asked(index)));
        let next = beside.filter(is_answered).or_else(|| {
            serves_several = false;
            held.drain(..).for_each(|one| samples.take(&instance, one));
            let deadline = Instant::now() + PATIENCE;
            loop {
                let again = instance.connect();
                let again = again.and_then(|client| ask_raw(&instance, client, &raw, asked(index)));
                match again.filter(is_answered) {
                    None if Instant::now() < deadline => {}
                    again => break again,
                }
            }
        });
        // It no longer gives the right reply to a format that it has accepted.
        let Some(next) = next else { return Tried::Silence };
        held.push(next);
    }
    held.into_iter().for_each(|one| samples.take(&instance, one));
    let example = samples.replies[0].bytes.clone();
    let known = samples.replies.into_iter().enumerate().map(|(index, it)| (it, value(index)));
    let form = reply::form(&known.collect::<Vec<_>>());
    let mut wire = Wire {
        reply_end: form.end,
        value: form.value,
        prompt: form.prompt.map(|prompt| Bytes::from(&prompt[..])),
        ..raw
    };
    wire.greeting = greeting(&samples.greetings, &wire);
    let mut speech = Speech { service, wire, spaced, example };
    speech.wire.requests_per_connection = lasting(&mut instance, &speech);
    let otherwise = if spaced { ASKED[1].0 } else { ASKED[1].1 };
    let mut is_read = || ask(&mut instance, &speech, otherwise.as_bytes());
    if service == Service::Calc
        && !is_read().is_some_and(|reply| reply::has_number(&reply, ASKED[1].2))
    {
        speech.wire.spaced = Some(spaced);
    }
    let known = Origin {
        is_mortal: instance.is_mortal(),
        slowest: instance.slowest(),
        serves_several,
        ..origin.clone()
    };
    Tried::Answered(Box::new((speech, known)))
}

impl Samples {
    /// Closes a connection and keeps its greeting and reply.
    fn take(&mut self, instance: &Instance<'_>, one: Answered) {
        if !one.heard.is_over {
            instance.leave(one.client);
        }
        self.greetings.push(one.greeting);
        self.replies.push(one.heard);
    }
}

/// Reads the greeting and sends the request. Returns `None` if the server closes the connection
/// first.
fn ask_raw(
    instance: &Instance<'_>,
    mut client: Client,
    raw: &Wire,
    asked: &str,
) -> Option<Answered> {
    let greeting = Some(instance.hear(&mut client)).filter(|greeting| !greeting.is_over)?.bytes;
    let heard = instance.ask(&mut client, &raw.sent(asked.as_bytes()), |_| false)?;
    Some(Answered { client, greeting, heard })
}

fn template(end: &[u8]) -> Template {
    Template { before: Bytes::default(), after: Bytes::from(end) }
}

/// Derives the end of the greeting, if there is one beside the prompt.
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
    let line = end.iter().rposition(|&byte| byte == b'\n').map_or(end, |at| &end[at + 1..]);
    let is_first = |end: &[u8], all: &[u8]| Bytes::from(end).find_end(all) == Some(all.len());
    match line {
        [] => Some(Greeting::Quiet(SILENCE)),
        line if samples.iter().all(|sample| is_first(line, sample)) => {
            Some(Greeting::Until(Bytes::from(line)))
        }
        _ if samples.iter().all(|sample| *sample == samples[0]) => {
            Some(Greeting::Until(Bytes::from(&samples[0][..])))
        }
        _ => Some(Greeting::Quiet(SILENCE)),
    }
}

/// Sends one request on a served connection and returns the value of the reply.
pub(super) fn ask(instance: &mut Instance<'_>, speech: &Speech, request: &[u8]) -> Option<Vec<u8>> {
    let mut client = match speech.wire.requests() {
        // With a single request per connection it cannot be tested before.
        Some(1) => {
            let mut client = instance.connect()?;
            greeted(instance, &mut client, &speech.wire);
            client
        }
        _ => speech.connected(instance)?,
    };
    let value = answer(instance, &mut client, &speech.wire, request).map(|(value, _)| value);
    instance.leave(client);
    value
}

/// Reads the greeting, if there is one.
fn greeted(instance: &Instance<'_>, client: &mut Client, wire: &Wire) {
    if wire.greeting.is_some() || wire.prompt.is_some() {
        let is_whole = |bytes: &[u8]| {
            let length = match &wire.greeting {
                Some(greeting) => greeting.length(bytes),
                None => Some(0),
            };
            let Some(rest) = length.and_then(|length| bytes.get(length..)) else { return false };
            wire.prompt.as_ref().is_none_or(|prompt| rest.ends_with(prompt))
        };
        instance.greeting(client, is_whole);
    }
}

/// Returns the value of the reply, and whether the connection was closed after it.
fn answer(
    instance: &Instance<'_>,
    client: &mut Client,
    wire: &Wire,
    request: &[u8],
) -> Option<(Vec<u8>, bool)> {
    let heard = instance.ask(client, &wire.sent(request), |bytes| is_whole(wire, bytes))?;
    let mut bytes = wire.without_prompt(heard.bytes);
    let reply = match wire.reply_end.take(&mut bytes) {
        Ok(Some(reply)) => reply,
        _ => bytes,
    };
    (!reply.is_empty()).then(|| (wire.value_of(reply), heard.is_over))
}

/// Returns whether a reply is complete, including the prompt after it.
fn is_whole(wire: &Wire, bytes: &[u8]) -> bool {
    let mut rest = bytes.to_vec();
    matches!(wire.reply_end.take(&mut rest), Ok(Some(_)))
        && wire.prompt.as_ref().is_none_or(|prompt| rest.ends_with(prompt))
}

impl Speech {
    /// Returns a plain request that is different for each number, and its value.
    fn request(&self, number: usize) -> (String, String) {
        let (first, value) = (40 + number, 41 + number);
        let asked = if self.spaced { format!("{first} + 1") } else { format!("{first}+1") };
        match self.service {
            Service::Calc => (asked, value.to_string()),
            Service::Echo => (asked.clone(), asked),
        }
    }

    /// Opens a connection that is served. Retries, because the server may not have seen earlier
    /// clients disconnect.
    fn connected(&self, instance: &mut Instance<'_>) -> Option<Client> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let client = instance.connect()?;
            let served = self.served(instance, client);
            if served.is_some() || Instant::now() > deadline {
                return served;
            }
        }
    }

    /// Sends a plain request, and returns the client if it gets the right reply.
    fn served(&self, instance: &Instance<'_>, mut client: Client) -> Option<Client> {
        let (asked, value) = self.request(1);
        greeted(instance, &mut client, &self.wire);
        let (reply, is_over) = answer(instance, &mut client, &self.wire, asked.as_bytes())?;
        (reply::has_value(&reply, &value) && !is_over).then_some(client)
    }
}

/// Returns the number of requests per connection, if the server closes it after a few.
fn lasting(instance: &mut Instance<'_>, speech: &Speech) -> Option<u32> {
    let mut client = instance.connect()?;
    greeted(instance, &mut client, &speech.wire);
    for number in 1..=LASTING {
        let (asked, _) = speech.request(number);
        let sent = speech.wire.sent(asked.as_bytes());
        let heard = instance.ask(&mut client, &sent, |bytes| is_whole(&speech.wire, bytes));
        match heard {
            Some(heard) if heard.bytes.is_empty() && heard.is_over => {
                return (number > 1).then_some(number as u32 - 1);
            }
            Some(heard) if heard.is_over => return Some(number as u32),
            // Silence is not a close.
            Some(heard) if heard.bytes.is_empty() => return None,
            Some(_) => {}
            None => return (number > 1).then_some(number as u32 - 1),
        }
    }
    instance.leave(client);
    None
}

/// Returns whether two requests sent at once get two replies; `None` if inconclusive.
pub(super) fn takes_two(origin: &Origin, speech: &Speech) -> Option<bool> {
    if !speech.wire.is_delimited() || speech.wire.requests().is_some() {
        return None;
    }
    let mut instance = origin.instance().ok()?;
    let mut client = speech.connected(&mut instance)?;
    let [one, other] = [1, 2].map(|number| speech.request(number));
    let both = [&one.0, &other.0].map(|asked| speech.wire.sent(asked.as_bytes())).concat();
    let has_both = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        let first = text.find(&one.1).map(|at| at + one.1.len());
        first.is_some_and(|at| text[at..].contains(&other.1))
    };
    let heard = instance.ask(&mut client, &both, has_both)?;
    match has_both(&heard.bytes) {
        true => Some(true),
        // A closed connection, or silence, may have another reason.
        false => (!heard.is_over && !heard.bytes.is_empty()).then_some(false),
    }
}

/// Returns the number of connections after which the server exits with code 0, if it does.
pub(super) fn life(origin: &Origin, speech: &Speech) -> Option<u32> {
    if origin.is_elsewhere() {
        return None;
    }
    let mut instance = origin.instance().ok()?;
    for number in 1..=LIVES {
        let client = instance.try_connect().ok()?;
        // A server that closes the connection after its reply may exit too.
        if let Some(client) = speech.served(&instance, client) {
            instance.leave(client);
        }
        if let Some(exit) = instance.exit() {
            return (exit == Exit::Code(0)).then_some(number);
        }
    }
    None
}

/// Detects a word that closes the connection.
pub(super) fn quit(origin: &Origin, speech: &Speech) -> Option<Bytes> {
    if speech.wire.requests() == Some(1) {
        return None;
    }
    let words: Vec<&str> = [NO_QUIT].iter().chain(QUITS).copied().collect();
    // A server that exits with its connection needs an instance for each word.
    let several = if origin.is_mortal { 1 } else { words.len() };
    let groups: Vec<&[&str]> = words.chunks(several).collect();
    let ends = origin.each(&groups, |words| ends_by(origin, speech, words)).concat();
    // The server closes the connection after any word.
    if ends.first() != Some(&false) {
        return None;
    }
    let word = words.iter().zip(ends).find_map(|(word, ends)| ends.then_some(*word))?;
    is_ended_by(origin, speech, word).then(|| Bytes::from(&speech.wire.sent(word.as_bytes())[..]))
}

/// Returns whether the word closes the connection, and not the time since its last request. As a
/// control, another word is sent first on a second connection, which must stay open. A server that
/// serves one connection at a time has no control.
fn is_ended_by(origin: &Origin, speech: &Speech, word: &str) -> bool {
    let Ok(mut instance) = origin.instance() else { return false };
    let Some(mut ended) = speech.connected(&mut instance) else { return false };
    let beside = instance.try_connect().ok().filter(|_| origin.serves_several);
    let mut beside = beside.and_then(|client| speech.served(&instance, client));
    if origin.serves_several && beside.is_none() {
        return false;
    }
    if let Some(client) = &mut beside
        && client.send(&speech.wire.sent(NO_QUIT.as_bytes())).is_err()
    {
        return false;
    }
    let said = client_says(&mut ended, &speech.wire, word);
    let is_over = said && instance.hear(&mut ended).is_over;
    is_over
        && beside
            .is_none_or(|mut client| !matches!(client.listen(LOOK), Err(ClientError::Closed(_))))
}

fn client_says(client: &mut Client, wire: &Wire, word: &str) -> bool {
    client.send(&wire.sent(word.as_bytes())).is_ok()
}

/// Returns which of these words close a connection, each sent on a connection that was served
/// before. Uses as many connections in parallel as the server serves.
fn ends_by(origin: &Origin, speech: &Speech, words: &[&str]) -> Vec<bool> {
    let mut ends = Vec::new();
    let Ok(mut instance) = origin.instance() else { return vec![false; words.len()] };
    while ends.len() < words.len() {
        let mut clients = Vec::new();
        while ends.len() + clients.len() < words.len() {
            let next = match clients.is_empty() {
                true => speech.connected(&mut instance),
                false => {
                    let next = instance.try_connect().ok();
                    next.and_then(|client| speech.served(&instance, client))
                }
            };
            match next {
                Some(client) => clients.push(client),
                None => break,
            }
            if !origin.serves_several {
                break;
            }
        }
        if clients.is_empty() {
            // It is no longer served, so the results of the other words are unknown.
            ends.resize(words.len(), false);
            break;
        }
        let (said, since) = (&words[ends.len()..], Instant::now());
        for (client, word) in clients.iter_mut().zip(said) {
            // Sending fails if the connection is closed already.
            let _ = client.send(&speech.wire.sent(word.as_bytes()));
        }
        let heard: Vec<bool> =
            clients.iter_mut().map(|client| instance.hear_since(client, since).is_over).collect();
        ends.extend(heard);
        clients.into_iter().for_each(|client| instance.leave(client));
    }
    ends
}

impl Speech {
    /// Describes the protocol, one line per property.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("it answers as a server of `{}` does", self.service.name()),
            format!("a request is sent as {}", self.wire.request.words()),
            format!(
                "replies {}, such as {}",
                self.wire.reply_end.words(),
                printable(&self.example)
            ),
        ];
        let mut add = |is_so: bool, text: String| {
            if is_so {
                words.push(text);
            }
        };
        let wire = &self.wire;
        add(!wire.is_delimited(), "it takes what one read returns for one request".to_owned());
        add(
            wire.pipelining == Some(false),
            "of two requests that arrive at once it does not answer both rightly".to_owned(),
        );
        let value = wire.value.as_ref().map_or("", |value| value.as_str());
        add(wire.value.is_some(), format!("the value in a reply is {value}"));
        add(wire.greeting.is_some(), "it greets each client".to_owned());
        let prompt = wire.prompt.as_ref().map_or(String::new(), Bytes::shown);
        add(wire.prompt.is_some(), format!("it prompts with {prompt}"));
        let spaced = if wire.spaced == Some(true) { "wants" } else { "takes no" };
        add(wire.spaced.is_some(), format!("it {spaced} spaces around operators"));
        let quit = wire.quit.as_ref().map_or(String::new(), Bytes::shown);
        add(wire.quit.is_some(), format!("{quit} ends the connection"));
        let requests = wire.requests().unwrap_or(0);
        add(requests > 0, format!("a connection is for {requests} request(s)"));
        let clients = wire.clients_per_life.unwrap_or(0);
        add(clients > 0, format!("it ends after {clients} client(s), with exit code 0"));
        words
    }
}
