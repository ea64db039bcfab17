//! How a server speaks, found out by speaking to it.

use servers::Service;

use super::acquaintance::{Acquaintance, Heard};
use super::reply;
use crate::client::{Client, printable};
use crate::wire::{Bytes, Greeting, Template, Wire};

/// What is asked for: written without spaces and with, and what it comes to.
pub(super) const ASKED: &[(&str, &str, &str)] =
    &[("41+1", "41 + 1", "42"), ("1000+24", "1000 + 24", "1024"), ("3+4", "3 + 4", "7")];

/// What may end a request, beside nothing.
const ENDS: &[&[u8]] = &[b"\n", b"\r\n", b"\0", b";"];

/// How often is asked on a connection to see whether it lasts.
const LASTING: usize = 5;

/// Words that end a connection with some servers, and one that ends it with none.
const QUITS: &[&str] = &["quit", "exit", "bye", "q", "close", "end", "stop", "QUIT", "EXIT"];
const NO_QUIT: &str = "zzz";

/// How many clients a server is sent to see whether it lives on.
const LIVES: u32 = 3;

/// How a server speaks.
pub(super) struct Speech {
    pub(super) service: Service,
    pub(super) wire: Wire,
    /// What it said to the first request.
    example: Vec<u8>,
}

/// A way to ask that gets an answer.
struct Way {
    service: Service,
    end: &'static [u8],
    spaced: bool,
    /// What it is greeted with.
    greeting: Vec<u8>,
}

/// Speaks to a server in all ways that are known.
///
/// # Errors
/// Nothing is answered as a calculator or an echo does: in words, what was.
pub(super) fn find_out(met: &mut Acquaintance) -> Result<Speech, String> {
    let way = find_way(met)?;
    learn(met, way).ok_or_else(|| "it no longer answers what it has answered before".to_owned())
}

fn learn(met: &mut Acquaintance, way: Way) -> Option<Speech> {
    let raw = Wire { request: template(way.end), ..Wire::default() };
    let mut replies = Vec::new();
    for (compact, spaced, value) in ASKED {
        let asked = if way.spaced { spaced } else { compact };
        let value = if way.service == Service::Echo { asked } else { value };
        let mut client = met.connect()?;
        met.hear(&mut client);
        client.send(&raw.sent(asked.as_bytes())).ok()?;
        replies.push((met.hear(&mut client), *value));
    }
    let example = replies[0].0.bytes.clone();
    let form = reply::form(&replies);
    let mut wire = Wire {
        reply_end: form.end,
        value: form.value,
        prompt: form.prompt.map(|prompt| Bytes::from(&prompt[..])),
        ..raw
    };
    wire.greeting = greeting(met, &way.greeting, &wire);
    wire.requests_per_connection = lasting(met, &wire, &way);
    let other = if way.spaced { ASKED[1].0 } else { ASKED[1].1 };
    let value = if way.service == Service::Echo { other } else { ASKED[1].2 };
    if way.service == Service::Calc && !says(met, &wire, other, value) {
        wire.spaced = Some(way.spaced);
    }
    let may_have_two = wire.is_delimited() && wire.requests() != Some(1);
    wire.pipelining = (may_have_two && !takes_two(met, &wire, &way)).then_some(false);
    wire.quit = quit(met, &wire);
    wire.clients_per_life = life(met, &wire, &way);
    Some(Speech { service: way.service, wire, example })
}

fn template(end: &[u8]) -> Template {
    Template { before: Bytes::default(), after: Bytes::from(end) }
}

/// The first way to ask that is answered rightly.
fn find_way(met: &mut Acquaintance) -> Result<Way, String> {
    let (compact, spaced, value) = ASKED[0];
    let mut otherwise = None;
    for (is_spaced, asked) in [(false, compact), (true, spaced)] {
        for &end in [&b""[..]].iter().chain(ENDS) {
            let mut client = met.connect().ok_or("nobody can connect to it")?;
            let greeting = met.hear(&mut client);
            if greeting.is_over || client.send(&[asked.as_bytes(), end].concat()).is_err() {
                continue;
            }
            let heard = met.hear(&mut client);
            let way =
                |service| Way { service, end, spaced: is_spaced, greeting: greeting.bytes.clone() };
            if reply::has_number(&heard.bytes, value) {
                return Ok(way(Service::Calc));
            }
            let is_echo = heard.bytes.windows(asked.len()).any(|some| some == asked.as_bytes());
            if is_echo && reply::is_plain_echo(&heard.bytes, asked.as_bytes()) {
                return Ok(way(Service::Echo));
            }
            if !heard.bytes.is_empty() {
                let (asked, said) = (printable(asked.as_bytes()), printable(&heard.bytes));
                otherwise.get_or_insert(format!("asked {asked} it says {said}"));
            }
        }
    }
    Err(otherwise.unwrap_or_else(|| {
        "it answers nothing: no line, text or number that was tried got a reply".to_owned()
    }))
}

/// Where the greeting ends, if there is one beside the prompt.
fn greeting(met: &mut Acquaintance, first: &[u8], wire: &Wire) -> Option<Greeting> {
    let greeting = wire.without_prompt(first.to_vec());
    if greeting.is_empty() {
        return None;
    }
    if greeting.ends_with(b"\n") {
        return Some(Greeting::Lines(greeting.iter().filter(|byte| **byte == b'\n').count()));
    }
    // The end that two greetings have in common.
    let mut client = met.connect()?;
    let second = wire.without_prompt(met.hear(&mut client).bytes);
    let common = greeting.iter().rev().zip(second.iter().rev()).take_while(|(a, b)| a == b).count();
    let end = &greeting[greeting.len() - common..];
    let line = end.iter().rposition(|&byte| byte == b'\n').map_or(end, |at| &end[at + 1..]);
    let is_first = |end: &[u8]| Bytes::from(end).find_end(&greeting) == Some(greeting.len());
    match line {
        [] => Some(Greeting::Quiet(std::time::Duration::from_millis(250))),
        line if is_first(line) => Some(Greeting::Until(Bytes::from(line))),
        _ => Some(Greeting::Until(Bytes::from(&greeting[..]))),
    }
}

/// Asks once on a new connection, and gives the value of the reply.
pub(super) fn ask(met: &mut Acquaintance, wire: &Wire, request: &[u8]) -> Option<Vec<u8>> {
    let mut client = met.connect()?;
    greeted(met, &mut client, wire)?;
    answer(met, &mut client, wire, request).map(|(value, _)| value)
}

/// Reads the greeting, if there is one.
fn greeted(met: &Acquaintance, client: &mut Client, wire: &Wire) -> Option<()> {
    if wire.greeting.is_some() || wire.prompt.is_some() {
        met.hear(client);
    }
    Some(())
}

/// The value of the reply, and whether the connection is over then.
fn answer(
    met: &Acquaintance,
    client: &mut Client,
    wire: &Wire,
    request: &[u8],
) -> Option<(Vec<u8>, bool)> {
    client.send(&wire.sent(request)).ok()?;
    let heard = met.hear(client);
    let mut bytes = wire.without_prompt(heard.bytes);
    let reply = match wire.reply_end.take(&mut bytes) {
        Ok(Some(reply)) => reply,
        _ => bytes,
    };
    (!reply.is_empty()).then(|| (wire.value_of(reply), heard.is_over))
}

fn says(met: &mut Acquaintance, wire: &Wire, request: &str, value: &str) -> bool {
    ask(met, wire, request.as_bytes()).is_some_and(|reply| reply::has_number(&reply, value))
}

impl Way {
    /// A request, unlike others of other numbers.
    fn request(&self, number: usize) -> String {
        if self.spaced { format!("{} + 1", 40 + number) } else { format!("{}+1", 40 + number) }
    }
}

/// For how many requests a connection is, if it ends after few.
fn lasting(met: &mut Acquaintance, wire: &Wire, way: &Way) -> Option<u32> {
    let mut client = met.connect()?;
    greeted(met, &mut client, wire)?;
    for number in 1..=LASTING {
        match answer(met, &mut client, wire, way.request(number).as_bytes()) {
            None => return (number > 1).then_some(number as u32 - 1),
            Some((_, true)) => return Some(number as u32),
            Some((_, false)) => {}
        }
    }
    None
}

/// Whether two requests that are sent at once get two replies.
fn takes_two(met: &mut Acquaintance, wire: &Wire, way: &Way) -> bool {
    let Some(mut client) = met.connect() else { return false };
    greeted(met, &mut client, wire);
    let both = [1, 2].map(|number| wire.sent(way.request(number).as_bytes())).concat();
    if client.send(&both).is_err() {
        return false;
    }
    let heard: Heard = met.hear(&mut client);
    let found = [1, 2].map(|number| match way.service {
        Service::Calc => (41 + number).to_string(),
        Service::Echo => way.request(number),
    });
    let text = String::from_utf8_lossy(&heard.bytes).into_owned();
    let first = text.find(&found[0]);
    first.is_some_and(|at| text[at + found[0].len()..].contains(&found[1]))
}

/// A word that ends the connection.
fn quit(met: &mut Acquaintance, wire: &Wire) -> Option<Bytes> {
    if wire.requests() == Some(1) {
        return None;
    }
    let mut ends = |word: &str| {
        let mut client = met.connect()?;
        greeted(met, &mut client, wire)?;
        let sent = wire.sent(word.as_bytes());
        client.send(&sent).ok()?;
        met.hear(&mut client).is_over.then_some(sent)
    };
    if ends(NO_QUIT).is_some() {
        return None;
    }
    QUITS.iter().find_map(|word| ends(word)).map(|sent| Bytes::from(&sent[..]))
}

/// After how many clients it ends with exit code 0, if it does.
fn life(met: &mut Acquaintance, wire: &Wire, way: &Way) -> Option<u32> {
    if met.is_elsewhere() {
        return None;
    }
    met.forget().ok()?;
    for number in 1..=LIVES {
        ask(met, wire, way.request(1).as_bytes())?;
        if let Some(exit) = met.exit() {
            return (exit == crate::server::Exit::Code(0)).then_some(number);
        }
    }
    None
}

impl Speech {
    /// What was found out, a line each.
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
