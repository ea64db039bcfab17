//! How a server is loaded that does not speak the line protocol: what its replies look like is
//! learned from it, so that under load checking one is a comparison of bytes as ever.

use std::net::SocketAddr;
use std::time::Duration;

use servers::Service;

use super::connections::LONGEST_OPENING;
use super::exchange::Exchange;
use crate::client::{Client, Transcript, Trouble, Window};
use crate::server::Contract;
use crate::wire::{Bytes, ReplyEnd, Wire};

/// How long each thing may take that a server says while it is learned from.
const PATIENCE: Duration = Duration::from_secs(5);

/// After how much silence a reply is taken to be whole.
const QUIET: Duration = Duration::from_millis(150);

/// What is asked to learn from it: values of different lengths.
const ASKED: &[(&str, &str)] = &[("41+1", "42"), ("1000+24", "1024"), ("3+4", "7")];

/// How a server is asked, and what its replies are.
#[derive(Clone, Debug)]
pub struct Dialog {
    contract: Contract,
    /// What stands around the value in a reply, ends and prompt included.
    before: Vec<u8>,
    after: Vec<u8>,
    /// With what replies of one size are filled up.
    filling: u8,
    /// What is sent and received on each connection before the first request.
    pub opening: Exchange,
}

impl Dialog {
    /// That of a server with this contract: of the line protocol, or as it is learned from the
    /// server that listens there.
    ///
    /// # Errors
    /// Why it cannot be loaded, in words.
    pub fn of(contract: &Contract, address: SocketAddr) -> Result<Dialog, String> {
        let mut dialog = Dialog {
            contract: contract.clone(),
            before: Vec::new(),
            after: b"\n".to_vec(),
            filling: b' ',
            opening: Exchange { request: Vec::new(), reply: Vec::new() },
        };
        if contract.wire == Wire::default() {
            return Ok(dialog);
        }
        let cannot = |what: &str| {
            let what = what.to_owned();
            move |trouble: Trouble| format!("{what}: {trouble}")
        };
        let mut known = Vec::new();
        for (asked, value) in ASKED {
            let mut client = connect(address).map_err(cannot("it is not connected to"))?;
            dialog.opening = dialog.opened(&mut client).map_err(cannot("it does not greet"))?;
            if dialog.opening.reply.len().max(dialog.opening.request.len()) > LONGEST_OPENING {
                return Err("what it says before the first request is too long".to_owned());
            }
            let sent = contract.sent(asked.as_bytes());
            client.send(&sent).map_err(cannot("it takes no request"))?;
            let reply = match client.listen(QUIET) {
                Ok(reply) | Err(Trouble::Closed(reply)) => reply,
                Err(trouble) => return Err(cannot("it does not answer")(trouble)),
            };
            let value = if contract.service == Service::Echo { asked } else { value };
            known.push(dialog.around(reply, value)?);
        }
        if known.iter().any(|one| *one != known[0]) {
            return Err("what stands around the value in its replies is not always the same".into());
        }
        (dialog.before, dialog.after, dialog.filling) = known.swap_remove(0);
        Ok(dialog)
    }

    /// What is said before the first request, by both.
    fn opened(&self, client: &mut Client) -> Result<Exchange, Trouble> {
        let wire = &self.contract.wire;
        let mut opening = Exchange { request: Vec::new(), reply: Vec::new() };
        if let Some(greeting) = &wire.greeting {
            opening.reply = client.greeting(greeting, PATIENCE)?;
        }
        for step in &wire.handshake {
            client.send(&step.send)?;
            opening.request.extend_from_slice(&step.send);
            let until = Wire {
                reply_end: ReplyEnd::Bytes(Bytes::from(&step.expect[..])),
                ..Wire::default()
            };
            opening.reply.extend(client.reply_within(&until, PATIENCE)?);
            opening.reply.extend_from_slice(&step.expect);
        }
        if let Some(prompt) = &wire.prompt {
            // It comes before each request, the first too.
            let prompted = client.listen(QUIET)?;
            if *prompted == **prompt {
                opening.reply.extend(prompted);
            }
        }
        Ok(opening)
    }

    /// What stands around a value in a reply.
    fn around(&self, reply: Vec<u8>, value: &str) -> Result<(Vec<u8>, Vec<u8>, u8), String> {
        let wire = &self.contract.wire;
        let filling = reply.last().copied().filter(|byte| *byte == 0).unwrap_or(b' ');
        let mut rest = wire.without_prompt(reply);
        let body = match wire.reply_end.take(&mut rest) {
            Ok(Some(body)) => body,
            _ => std::mem::take(&mut rest),
        };
        let place = match &wire.value {
            Some(pattern) => pattern.place_in(&body),
            None => Some(0..body.len()),
        };
        let said = place.clone().and_then(|place| body.get(place)).unwrap_or_default();
        let place = place.filter(|_| said.starts_with(value.as_bytes()));
        let Some(place) = place.filter(|_| rest.is_empty()) else {
            let said = crate::client::printable(&body);
            return Err(format!("its reply {said} is not the one that was expected"));
        };
        // A number may be written as 42.0.
        let end = place.start + value.len();
        let mut after = body[end..].to_vec();
        if let ReplyEnd::Bytes(end) = &wire.reply_end {
            after.extend_from_slice(end);
        }
        if let Some(prompt) = &wire.prompt {
            after.extend_from_slice(prompt);
        }
        Ok((body[..place.start].to_vec(), after, filling))
    }

    /// An exchange of the line protocol's as this server has it.
    pub fn exchange(&self, lines: &Exchange) -> Exchange {
        let text = |line: &[u8]| line.strip_suffix(b"\n").unwrap_or(line).to_vec();
        let (asked, value) = (text(&lines.request), text(&lines.reply));
        let mut reply = [&self.before[..], &value, &self.after].concat();
        match &self.contract.wire.reply_end {
            ReplyEnd::Size(size) => reply.resize(*size, self.filling),
            ReplyEnd::Length(length) => reply = [length.written(reply.len()), reply].concat(),
            _ => {}
        }
        Exchange { request: self.contract.sent(&asked), reply }
    }

    /// Some exchanges of the line protocol's.
    pub(super) fn all(&self, lines: &[Exchange]) -> Vec<Exchange> {
        lines.iter().map(|one| self.exchange(one)).collect()
    }
}

fn connect(address: SocketAddr) -> Result<Client, Trouble> {
    Client::connect(1, address, Window::Usual, PATIENCE, &Transcript::begin())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// What is learned of a server that greets, and answers each line of a sum with what `reply`
    /// makes of it.
    fn learned(wire: &str, reply: fn(i64) -> Vec<u8>) -> Result<Dialog, String> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        thread::spawn(move || {
            for client in listener.incoming().take(ASKED.len()).flatten() {
                let mut to = client.try_clone().expect("a clone");
                to.write_all(b"hello\n").expect("it is taken");
                let mut lines = BufReader::new(client).lines().map_while(Result::ok);
                if let Some(line) = lines.next() {
                    let sum = line.split('+').flat_map(str::parse::<i64>).sum();
                    let _ = to.write_all(&reply(sum));
                }
            }
        });
        let wire: Wire = toml::from_str(wire).expect("it is right");
        let contract = Contract { wire, ..Contract::undeclared(Service::Calc) };
        Dialog::of(&contract, address)
    }

    #[test]
    fn replies_are_known_beforehand_once_their_form_is_learned() {
        let lines = Exchange { request: b"2+3\n".to_vec(), reply: b"5\n".to_vec() };
        let prompted =
            learned("greeting = { lines = 1 }\nvalue = '^= (.*)$'\nprompt = '> '", |sum| {
                format!("= {sum}.0\n> ").into_bytes()
            })
            .expect("it is learned");
        assert_eq!(prompted.opening.reply, b"hello\n");
        assert_eq!(prompted.exchange(&lines).reply, b"= 5.0\n> ");
        let sized = learned("greeting = { lines = 1 }\nreply-end = { size = 6 }", |sum| {
            format!("{sum:<6}").into_bytes()
        });
        assert_eq!(sized.expect("it is learned").exchange(&lines).reply, b"5     ");
        let long = learned("greeting = { lines = 1 }\nreply-end = { length = 'u16-be' }", |sum| {
            let text = sum.to_string().into_bytes();
            [vec![0, text.len() as u8], text].concat()
        });
        assert_eq!(long.expect("it is learned").exchange(&lines).reply, b"\0\x015");
    }

    #[test]
    fn replies_that_are_never_alike_or_wrong_cannot_be_known() {
        let varied = learned("greeting = { lines = 1 }\nvalue = '= (.*)$'", |sum| {
            format!("[{}] = {sum}\n", sum * 7).into_bytes()
        });
        assert!(varied.expect_err("it varies").contains("always the same"));
        let wrong =
            learned("greeting = { lines = 1 }", |sum| format!("{}\n", sum + 1).into_bytes());
        assert!(wrong.expect_err("it is wrong").contains("expected"));
    }
}
