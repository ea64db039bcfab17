//! The detected protocol: sends plain requests and reads the replies.

use std::time::{Duration, Instant};

use servers::Service;

use crate::client::Client;
use crate::figures::counted;
use crate::probe::instance::Instance;
use crate::probe::reply;
use crate::text::printable;
use crate::wire::{Bytes, Wire};

/// Timeout for a new connection to be served, after earlier clients have disconnected.
pub(super) const SERVED_TIMEOUT: Duration = Duration::from_secs(3);

/// Detected protocol of a server.
#[derive(Clone)]
pub(crate) struct Protocol {
    pub(crate) service: Service,
    pub(crate) wire: Wire,
    /// Whether requests have spaces around operators.
    pub(crate) spaced: bool,
    /// Reply to the first request.
    pub(crate) example: Vec<u8>,
}

impl Protocol {
    /// Returns the plain request with this number, and its value. Different numbers give different requests.
    pub(super) fn request(&self, number: usize) -> (String, String) {
        let (first, value) = (40 + number, 41 + number);
        let request = if self.spaced { format!("{first} + 1") } else { format!("{first}+1") };
        match self.service {
            Service::Calc => (request, value.to_string()),
            Service::Echo => (request.clone(), request),
        }
    }

    /// Opens a connection and checks that it is served. Retries, because the server may not yet
    /// have noticed that earlier clients disconnected.
    pub(super) fn connect(&self, instance: &mut Instance<'_>) -> Option<Client> {
        let deadline = Instant::now() + SERVED_TIMEOUT;
        loop {
            let client = instance.connect()?;
            let client = self.check_service(instance, client);
            if client.is_some() || Instant::now() > deadline {
                return client;
            }
        }
    }

    /// Sends a plain request. Returns the client if it gets the right reply and the connection
    /// stays open.
    pub(super) fn check_service(
        &self,
        instance: &Instance<'_>,
        mut client: Client,
    ) -> Option<Client> {
        let (request, value) = self.request(1);
        read_greeting(instance, &mut client, &self.wire);
        let (reply, is_closed) =
            send_request(instance, &mut client, &self.wire, request.as_bytes())?;
        (reply::has_value(&reply, &value) && !is_closed).then_some(client)
    }

    /// Describes the protocol, one line per property.
    pub(crate) fn lines(&self) -> Vec<String> {
        let wire = &self.wire;
        let mut lines = vec![
            format!("service: {}", self.service.name()),
            format!("request: {}", wire.request.description()),
            format!(
                "replies {}, such as {}",
                wire.reply_end.description(),
                printable(&self.example)
            ),
        ];
        let mut add_if = |condition: bool, line: String| {
            if condition {
                lines.push(line);
            }
        };
        add_if(
            !wire.is_delimited(),
            "requests have no terminator: the bytes of one read are a request".to_owned(),
        );
        add_if(
            wire.pipelining == Some(false),
            "no pipelining: two requests that arrive at once do not both get the right reply"
                .to_owned(),
        );
        let value = wire.value.as_ref().map_or("", |value| value.as_str());
        add_if(
            wire.value.is_some(),
            format!("regular expression for the value in a reply: {value}"),
        );
        add_if(wire.greeting.is_some(), "the server sends a greeting on connect".to_owned());
        let prompt = wire.prompt.as_ref().map_or(String::new(), Bytes::shown);
        add_if(wire.prompt.is_some(), format!("prompt: {prompt}"));
        let spaced = if wire.spaced == Some(true) { "required" } else { "not accepted" };
        add_if(wire.spaced.is_some(), format!("spaces around operators: {spaced}"));
        let quit = wire.quit.as_ref().map_or(String::new(), Bytes::shown);
        add_if(wire.quit.is_some(), format!("{quit} closes the connection"));
        let requests = wire.requests().unwrap_or(0);
        add_if(requests > 0, format!("requests per connection: {requests}"));
        let connections = wire.connections_before_exit.unwrap_or(0);
        let exits = format!("exits with code 0 after {}", counted(connections, "connection"));
        add_if(connections > 0, exits);
        lines
    }
}

/// Sends one request on a new connection and returns the value of the reply.
pub(crate) fn ask(
    instance: &mut Instance<'_>,
    protocol: &Protocol,
    request: &[u8],
) -> Option<Vec<u8>> {
    let mut client = match protocol.wire.requests() {
        // The connection takes only one request, so none can be sent to check the connection.
        Some(1) => {
            let mut client = instance.connect()?;
            read_greeting(instance, &mut client, &protocol.wire);
            client
        }
        _ => protocol.connect(instance)?,
    };
    let reply = send_request(instance, &mut client, &protocol.wire, request);
    instance.disconnect(client);
    reply.map(|(value, _)| value)
}

/// Receives the greeting and the prompt, if the protocol has any.
pub(super) fn read_greeting(instance: &Instance<'_>, client: &mut Client, wire: &Wire) {
    if wire.greeting.is_some() || wire.prompt.is_some() {
        let is_complete = |bytes: &[u8]| {
            let length = match &wire.greeting {
                Some(greeting) => greeting.length(bytes),
                None => Some(0),
            };
            let Some(rest) = length.and_then(|length| bytes.get(length..)) else { return false };
            wire.prompt.as_ref().is_none_or(|prompt| rest.ends_with(prompt))
        };
        instance.greeting(client, is_complete);
    }
}

/// Sends a request. Returns the value of the reply, and whether the server closed the connection.
fn send_request(
    instance: &Instance<'_>,
    client: &mut Client,
    wire: &Wire,
    request: &[u8],
) -> Option<(Vec<u8>, bool)> {
    let received = instance.ask(client, &wire.sent(request), |bytes| is_complete(wire, bytes))?;
    let mut bytes = wire.without_prompt(received.bytes);
    let reply = match wire.reply_end.take(&mut bytes) {
        Ok(Some(reply)) => reply,
        _ => bytes,
    };
    (!reply.is_empty()).then(|| (wire.value_of(reply), received.is_closed))
}

/// Returns whether the bytes are a complete reply and, if the protocol has one, a prompt.
pub(super) fn is_complete(wire: &Wire, bytes: &[u8]) -> bool {
    let mut rest = bytes.to_vec();
    matches!(wire.reply_end.take(&mut rest), Ok(Some(_)))
        && wire.prompt.as_ref().is_none_or(|prompt| rest.ends_with(prompt))
}
