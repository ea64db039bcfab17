//! The detected protocol: sends plain requests and reads the replies.

use std::ops::ControlFlow;
use std::time::Instant;

use servers::Service;

use super::syntax::Syntax;
use crate::client::Client;
use crate::contract::{Broadcast, Transform};
use crate::figures::counted;
use crate::probe::instance::Instance;
use crate::probe::received::Received;
use crate::probe::reply;
use crate::text::printable;
use crate::wire::{Bytes, Wire};

/// What an echo server does to its requests.
#[derive(Clone)]
pub(crate) enum Echo {
    /// The replies are transformed; `None` if they are identical to the requests.
    Transformed(Option<Transform>),
    /// The replies have no known relation to the requests: an example, escaped for display.
    Unknown(String),
}

/// Detected protocol of a server.
#[derive(Clone)]
pub(crate) struct Protocol {
    pub(crate) service: Service,
    pub(crate) wire: Wire,
    /// Syntax of expressions.
    pub(crate) syntax: Syntax,
    /// What an echo server does to its requests; `None` if not yet known.
    pub(crate) echo: Option<Echo>,
    /// The clients that receive a client's messages; `None` if only the sender gets a reply.
    pub(crate) broadcast: Option<Broadcast>,
    /// What a connection gets while the server is full, if it gets anything.
    pub(crate) busy: Option<Vec<u8>>,
    /// Reply to the first request.
    pub(crate) example: Vec<u8>,
}

impl Protocol {
    /// Returns the plain request with this number, and its value. Different numbers give different
    /// requests.
    pub(super) fn request(&self, number: usize) -> (Vec<u8>, String) {
        let (first, value) = (40 + number, 41 + number);
        let request = self.syntax.written(&format!("{first}+1"));
        let value = match self.service {
            Service::Calc => value.to_string(),
            Service::Echo => {
                let echo = self.transform().map_or(request.clone(), |it| it.apply(&request));
                String::from_utf8_lossy(&echo).into_owned()
            }
        };
        (request, value)
    }

    /// Returns the transformation of an echo server, if any.
    pub(crate) fn transform(&self) -> Option<Transform> {
        match self.echo {
            Some(Echo::Transformed(transform)) => transform,
            _ => None,
        }
    }

    /// Returns whether the replies are the requests with further text around them.
    pub(super) fn is_echo_with_text(&self) -> bool {
        // Text after a line feed looks like a prompt.
        let has_text = self.wire.value.is_some() || self.wire.prompt.is_some();
        self.service == Service::Echo && has_text
    }

    /// Returns whether a server that is full may have sent this: nothing, or its busy line.
    fn is_rejected(&self, received: &Received) -> bool {
        let is_busy = |busy: &Vec<u8>| received.bytes == *busy;
        received.is_closed && (received.bytes.is_empty() || self.busy.as_ref().is_some_and(is_busy))
    }

    /// Opens a connection and checks that it is served. The server may not yet have noticed that
    /// earlier clients disconnected. So waits while the connection is queued, and connects again if
    /// it is rejected.
    pub(super) fn connect(&self, instance: &mut Instance<'_>) -> Option<Client> {
        instance.until_served(|instance, deadline| {
            let Some(client) = instance.connect() else { return ControlFlow::Break(None) };
            match self.check_service_until(instance, client, deadline) {
                None => ControlFlow::Continue(()),
                client => ControlFlow::Break(client),
            }
        })
    }

    /// Same as [`check_service`](Self::check_service), but waits until `deadline` while the
    /// connection stays open without a reply.
    fn check_service_until(
        &self,
        instance: &Instance<'_>,
        mut client: Client,
        deadline: Instant,
    ) -> Option<Client> {
        let (request, value) = self.request(1);
        read_greeting(instance, &mut client, &self.wire);
        let sent = self.wire.sent(&request);
        let mut received =
            instance.ask(&mut client, &sent, |bytes| is_complete(&self.wire, bytes))?;
        while received.bytes.is_empty() && !received.is_closed && Instant::now() < deadline {
            received = instance.receive(&mut client);
        }
        (reply::has_value(&received.bytes, &value) && !received.is_closed).then_some(client)
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
        let (reply, is_closed) = send_request(instance, &mut client, &self.wire, &request)?;
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
        match &self.echo {
            Some(Echo::Transformed(Some(transform))) => {
                lines.push(format!("replies are the transformed requests: {transform}"));
            }
            Some(Echo::Unknown(example)) => {
                lines.push(format!("replies differ from the requests, and not as `transform` can describe: {example}"));
            }
            _ => {}
        }
        match self.broadcast {
            Some(Broadcast::All) => {
                lines.push("broadcast: all clients receive the messages of each client".to_owned());
            }
            Some(Broadcast::Others) => {
                let line =
                    "broadcast: all clients but the sender receive the messages of each client";
                lines.push(line.to_owned());
            }
            None => {}
        }
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
    if protocol.wire.requests() != Some(1) {
        // An earlier request may have ended the service, which says nothing about this request.
        let mut client = match protocol.connect(instance) {
            Some(client) => client,
            None => {
                instance.relaunch()?;
                protocol.connect(instance)?
            }
        };
        let reply = send_request(instance, &mut client, &protocol.wire, request);
        instance.disconnect(client);
        return reply.map(|(value, _)| value);
    }
    // The connection takes only one request, so none can be sent to check the connection.
    let sent = protocol.wire.sent(request);
    instance.until_served(|instance, _| {
        let Some(mut client) = instance.connect() else { return ControlFlow::Break(None) };
        read_greeting(instance, &mut client, &protocol.wire);
        let is_complete = |bytes: &[u8]| is_complete(&protocol.wire, bytes);
        let received = instance.ask(&mut client, &sent, is_complete);
        instance.disconnect(client);
        match received {
            Some(received) if !protocol.is_rejected(&received) => {
                let value = value_of(&protocol.wire, received).map(|(value, _)| value);
                ControlFlow::Break(value)
            }
            // A request that the server does not support can also close the connection.
            _ if protocol.busy.is_none() => ControlFlow::Break(None),
            _ => ControlFlow::Continue(()),
        }
    })
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
    value_of(wire, received)
}

/// Returns the value of a received reply, and whether the server closed the connection.
fn value_of(wire: &Wire, received: Received) -> Option<(Vec<u8>, bool)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ReplyRegex;

    #[test]
    fn only_an_echo_without_further_text_is_plain() {
        let with_text = |service, wire| {
            let (syntax, example) = (Syntax::default(), Vec::new());
            let protocol = Protocol {
                service,
                wire,
                syntax,
                echo: None,
                broadcast: None,
                busy: None,
                example,
            };
            protocol.is_echo_with_text()
        };
        // `41+1 = undefined`, and `41+1\n = undefined`.
        let value = || Some(ReplyRegex::new("^(.*) = undefined$").expect("a valid expression"));
        let prompt = Some(Bytes::from(&b" = undefined"[..]));
        assert!(with_text(Service::Echo, Wire { value: value(), ..Wire::default() }));
        assert!(with_text(Service::Echo, Wire { prompt, ..Wire::default() }));
        assert!(!with_text(Service::Echo, Wire::default()));
        assert!(!with_text(Service::Calc, Wire { value: value(), ..Wire::default() }));
    }
}
