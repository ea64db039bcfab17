//! Preflight checks: whether a server can be launched and matches its declaration.
//!
//! Without these checks, every case would fail for the same reason.

use std::path::Path;
use std::time::Duration;

use servers::Service;

use super::context::{SHORT_TIMEOUT, TestContext};
use super::failure::{Failure, SPINNING_HINT};
use super::requests::request;
use super::settings::Runner;
use crate::client::ClientError;
use crate::results::{Fault, LaunchFindings};
use crate::server::{LaunchError, LaunchSpec, Limit, NetworkLease};
use crate::text::printable;
use crate::wire::ReplyFraming;

/// A request that calculators and echo servers answer differently.
const SUM: &[u8] = b"17+25";

/// The reply of a calculator to [`SUM`].
const SUM_REPLY: &[u8] = b"42";

/// File extensions of scripts and other programs that an interpreter or virtual machine runs.
const SCRIPT_EXTENSIONS: &[&str] =
    &["py", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "lua", "sh", "jar", "exs", "r", "tcl"];

/// Why the cases cannot run on a server.
#[derive(Debug)]
pub struct PreflightFailure {
    /// The problem and its remedy.
    pub message: String,
    /// Where the cause is.
    pub blame: Blame,
    /// The cases that cannot run.
    pub blocks: Blocks,
    /// Whether the server was launched, so that only its declaration is wrong.
    pub(super) is_launched: bool,
    /// The problem in the form of a case's failure.
    pub(super) failure: Failure,
}

/// The cases that cannot run after a [`PreflightFailure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// All cases.
    All,
    /// The cases that judge replies.
    Replies,
}

/// Where the cause of a [`PreflightFailure`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// In the command line or the manifest: the command, the address or the declaration.
    Usage,
    /// In the server: it does not start.
    Server,
    /// In the machine or the harness, or no server listens at the address.
    NoServer,
}

impl Runner {
    /// Launches a server and sends it one request. Returns what the harness found at the launch.
    ///
    /// # Errors
    /// The cases cannot run on this server.
    pub fn preflight(&self, spec: &LaunchSpec) -> Result<LaunchFindings, Box<PreflightFailure>> {
        // The lease must outlive the server.
        let launched = NetworkLease::take(spec)
            .and_then(|lease| self.launcher.launch(spec).map(|server| (lease, server)));
        let (lease, server) = launched.map_err(|error| Box::new(not_launched(spec, error)))?;
        let spec = &*spec.as_seen(server.process.findings());
        let ctx = TestContext::new(self, spec, server, &lease);
        let received = reply_to_sum(&ctx);
        let preflight_failure = match &received {
            Err(error) => unreachable(spec, error),
            Ok(reply) => wrong_declaration(spec, reply),
        };
        let preflight_failure = preflight_failure.or_else(|| match received {
            Ok(Reply::Value(_)) => unlike_the_service(&ctx),
            _ => None,
        });
        let findings = ctx.finish().process.end(Duration::ZERO).report.findings;
        preflight_failure.map_or(Ok(findings), |failure| Err(Box::new(failure)))
    }
}

/// The reply to [`SUM`].
enum Reply {
    /// The value of a complete reply.
    Value(Vec<u8>),
    /// Bytes without the declared end of a reply.
    Unterminated(Vec<u8>),
    /// Only the bytes that a client gets before its first request.
    Greeting(Vec<u8>),
    /// No bytes, or a client error other than a failed connection.
    Nothing,
}

/// Sends [`SUM`] and waits for the reply.
///
/// # Errors
/// The connection fails.
fn reply_to_sum(ctx: &TestContext<'_>) -> Result<Reply, ClientError> {
    let mut client = ctx.clients().try_connect()?;
    let mut partial = Vec::new();
    let received = client.try_request(SUM).and_then(|()| {
        match client.reply_until_asleep(ctx.with_round_trips(SHORT_TIMEOUT)) {
            // The server has sent part of its reply and may be slow.
            Err(ClientError::Silent(_, bytes)) if !bytes.is_empty() => {
                partial = bytes;
                client.reply()
            }
            received => received,
        }
    });
    let bytes = match received {
        Ok(value) => return Ok(Reply::Value(value)),
        Err(ClientError::Silent(_, bytes)) if !bytes.is_empty() && bytes == partial => bytes,
        Err(ClientError::Closed(bytes)) if !bytes.is_empty() => bytes,
        // The cases test these errors.
        Err(_) => return Ok(Reply::Nothing),
    };
    client.close();
    let timeout = ctx.with_round_trips(SHORT_TIMEOUT);
    let unasked =
        ctx.clients().try_connect().and_then(|mut client| client.reply_until_asleep(timeout));
    Ok(match unasked {
        Err(ClientError::Silent(_, greeting)) if greeting == bytes => Reply::Greeting(bytes),
        _ => Reply::Unterminated(bytes),
    })
}

/// Describes a launch that failed.
fn not_launched(spec: &LaunchSpec, error: LaunchError) -> PreflightFailure {
    let message = error.to_string();
    let (blame, remedy) = match &error {
        LaunchError::Exited { .. } => match missing_file(spec) {
            Some(file) => {
                let folder = directory_of(spec);
                let remedy = format!(
                    "there is no `{file}` in {folder}: correct the path, or run the harness in the \
                     directory that the path is relative to"
                );
                (Blame::Usage, Some(remedy))
            }
            None => {
                let remedy =
                    "run the command by hand to see why it exits; the harness passes only \
                              some environment variables (docs/manifest.md)"
                        .to_owned();
                (Blame::Server, Some(remedy))
            }
        },
        LaunchError::Killed { limit, .. } => {
            let remedy = match limit {
                Limit::Spinning => SPINNING_HINT,
                _ => "raise the limit, or let the server start within it",
            };
            (Blame::Server, Some(remedy.to_owned()))
        }
        LaunchError::NotReady { .. } => {
            let remedy = "let the server print the text when it serves, and flush its output";
            (Blame::Server, Some(remedy.to_owned()))
        }
        LaunchError::NotListening { .. } => {
            let remedy =
                "let the server listen on {port} before it does anything slow, or permit more time";
            (Blame::Server, Some(remedy.to_owned()))
        }
        LaunchError::WrongPort { found, .. } => {
            let port = found.port();
            let remedy = format!(
                "pass {{port}} to the server; if it always listens on {port}, use --port {port} (in \
                 a manifest: port = {port})"
            );
            (Blame::Usage, Some(remedy))
        }
        // The error already contains the remedy.
        LaunchError::NotRun(_) => (Blame::Usage, None),
        LaunchError::NotVisible { .. } => {
            let remedy = "start the server by hand, and test it with --connect";
            (Blame::NoServer, Some(remedy.to_owned()))
        }
        LaunchError::NoPort(_) | LaunchError::Supervisor(_) | LaunchError::NoThread(_) => {
            (Blame::NoServer, None)
        }
    };
    let failure = Failure::not_launched(error);
    let failure = match &remedy {
        Some(remedy) => failure.hint(remedy),
        None => failure,
    };
    let message = match remedy {
        Some(remedy) => format!("{message}\n{remedy}"),
        None => message,
    };
    PreflightFailure { message, blame, blocks: Blocks::All, is_launched: false, failure }
}

/// Returns the first script of the command that does not exist.
fn missing_file(spec: &LaunchSpec) -> Option<&str> {
    let folder = spec.folder.as_deref().unwrap_or(Path::new(""));
    let is_file = |word: &&str| {
        let extension = Path::new(word).extension().and_then(|it| it.to_str());
        let is_plain =
            !word.starts_with('-') && !word.contains("{port}") && !word.contains("{host}");
        is_plain
            && extension
                .is_some_and(|it| SCRIPT_EXTENSIONS.contains(&it.to_ascii_lowercase().as_str()))
    };
    let files = spec.command.iter().skip(1).map(String::as_str).filter(is_file);
    files.into_iter().find(|file| !folder.join(file).exists())
}

fn directory_of(spec: &LaunchSpec) -> String {
    let folder = spec.folder.clone().or_else(|| std::env::current_dir().ok());
    folder.map_or("this directory".to_owned(), |folder| folder.display().to_string())
}

/// Describes a failed connection to a server that the harness did not launch (`--connect`).
///
/// Returns `None` for a launched server: the cases test its connections.
fn unreachable(spec: &LaunchSpec, error: &ClientError) -> Option<PreflightFailure> {
    let address = spec.running_at?;
    let message = match error {
        ClientError::Refused => {
            format!(
                "no server listens on {address} (connection refused): start it first, or correct the host and port"
            )
        }
        ClientError::Local(error) => format!("cannot connect to {address}: {}", error.text()),
        other => format!("cannot connect to {address}: {other}: correct the host and port"),
    };
    let failure = Failure::fail("a server that listens", &message).fault(Fault::LaunchSilent);
    let (blame, blocks) = (Blame::NoServer, Blocks::All);
    Some(PreflightFailure { message, blame, blocks, is_launched: false, failure })
}

/// Describes a server that does not match its declaration.
fn wrong_declaration(spec: &LaunchSpec, reply: &Reply) -> Option<PreflightFailure> {
    let sum = printable(SUM);
    let (fault, expected, observed, remedy) = match (spec.contract.service, reply) {
        (Service::Calc, Reply::Value(value)) if value == SUM => {
            let observed =
                format!("it is an echo server: the reply to {sum} is {}", printable(value));
            let remedy = "use --service echo (in a manifest: service = \"echo\")";
            (Fault::OtherService, service_of(Service::Calc), observed, remedy.to_owned())
        }
        (Service::Echo, Reply::Value(value)) if value.trim_ascii() == SUM_REPLY => {
            let observed =
                format!("it is a calculator: the reply to {sum} is {}", printable(value));
            let remedy = "use --service calc (in a manifest: service = \"calc\")";
            (Fault::OtherService, service_of(Service::Echo), observed, remedy.to_owned())
        }
        (_, Reply::Greeting(greeting)) if spec.contract.wire.greeting.is_none() => {
            let greeting = printable(greeting);
            let observed = format!(
                "it sends {greeting} before a request, and does not reply to {sum}: the contract \
                 has no greeting"
            );
            let remedy = format!(
                "reply to each request; if the greeting is intended, write a manifest entry with: {}",
                probe_command(spec)
            );
            (Fault::NoReply, "a reply to each request", observed, remedy)
        }
        (_, Reply::Unterminated(bytes))
            if spec.contract.wire.reply_end == ReplyFraming::default() =>
        {
            let observed = format!(
                "its replies are not lines: the reply to {sum} is {}, without a line feed",
                printable(bytes)
            );
            let remedy = format!(
                "end each reply with \\n; or detect the protocol and write a manifest entry with: \
                 {}",
                probe_command(spec)
            );
            (Fault::UnterminatedReply, "replies that are lines", observed, remedy)
        }
        _ => return None,
    };
    let message = format!("{observed}\n{remedy}");
    let failure = Failure::fail(expected, observed).fault(fault).hint(remedy);
    let (blame, blocks) = (Blame::Usage, Blocks::All);
    Some(PreflightFailure { message, blame, blocks, is_launched: true, failure })
}

/// Sends plain requests, and describes a server whose replies do not depend on the request, or are
/// all errors.
fn unlike_the_service(ctx: &TestContext<'_>) -> Option<PreflightFailure> {
    let contract = ctx.contract;
    if contract.wire.requests().is_some() {
        // Each request could need a new connection, and so a free connection slot.
        return None;
    }
    let mut client = ctx.clients().try_connect().ok()?;
    let timeout = ctx.with_round_trips(SHORT_TIMEOUT);
    let requests = [request(1), request(2), request(3)];
    let mut replies = Vec::new();
    for request in &requests {
        client.try_request(request).ok()?;
        replies.push(client.reply_until_asleep(timeout).ok()?);
    }
    let are_equal = replies.iter().all(|reply| *reply == replies[0]);
    let are_errors = replies.iter().all(|reply| contract.is_error(reply) == Some(true));
    let is_busy = replies.iter().any(|reply| contract.is_busy(reply));
    if is_busy || !are_equal && !are_errors {
        return None;
    }
    let (first, second) = (printable(&requests[0]), printable(&requests[1]));
    let (service, received) = (service_of(contract.service), printable(&replies[0]));
    let observed = format!(
        "the server does not answer plain requests as {service} does: the replies to {first} and \
         {second} are {}",
        match are_equal {
            true => format!("both {received}"),
            false => format!("the errors {received} and {}", printable(&replies[1])),
        }
    );
    let remedy = "cases that judge replies are not judged: complete the entry, for example how a \
                  request begins and ends (docs/manifest.md), or correct the server";
    let message = format!("{observed}\n{remedy}");
    let failure = Failure::inconclusive(format!("not judged: {observed}: complete the entry"));
    let (blame, blocks) = (Blame::Usage, Blocks::Replies);
    Some(PreflightFailure { message, blame, blocks, is_launched: true, failure })
}

fn service_of(service: Service) -> &'static str {
    match service {
        Service::Calc => "a calculator",
        Service::Echo => "an echo server",
    }
}

/// Returns the `harness probe` command that detects the server's protocol.
fn probe_command(spec: &LaunchSpec) -> String {
    let quoted = |text: &str| shlex::try_quote(text).map_or(text.to_owned(), Into::into);
    if let Some(address) = spec.running_at {
        return format!("harness probe --connect {address}");
    }
    let probe = format!("harness probe --cmd {}", quoted(&spec.shown_command));
    match &spec.folder {
        Some(folder) => format!("cd {} && {probe}", quoted(&folder.display().to_string())),
        None => probe,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Contract;

    #[test]
    fn a_server_that_exceeds_a_limit_at_its_launch_is_at_fault() {
        let address = "127.0.0.1:5000".parse().expect("an address");
        let spec = LaunchSpec::already_running(address, Contract::undeclared(Service::Calc));
        for limit in [Limit::Spinning, Limit::Tasks] {
            let failure = not_launched(&spec, LaunchError::Killed { limit, log: String::new() });
            assert_eq!(failure.blame, Blame::Server, "{limit:?}");
        }
    }
}
