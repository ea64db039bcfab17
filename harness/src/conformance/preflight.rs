//! Preflight checks: whether a server can be launched and matches its declaration.
//!
//! If not, every case would fail for this one reason.

use std::path::Path;

use servers::Service;

use super::context::{PROMPT, TestContext};
use super::failure::Failure;
use super::settings::Runner;
use crate::client::ClientError;
use crate::server::{LaunchError, LaunchSpec, Place};
use crate::text::printable;
use crate::wire::ReplyEnd;

/// A request that calculators and echo servers answer differently, and the calculator's reply.
const SUM: &[u8] = b"17+25";
const VALUE: &[u8] = b"42";

/// File extensions of scripts that an interpreter runs.
const SCRIPTS: &[&str] =
    &["py", "js", "mjs", "cjs", "ts", "rb", "pl", "php", "lua", "sh", "jar", "exs", "r", "tcl"];

/// Why the cases cannot run on a server.
#[derive(Debug)]
pub struct Obstacle {
    /// The problem and its remedy.
    pub words: String,
    /// Where the user must look for the cause.
    pub blame: Blame,
    /// Whether a server is running.
    pub(super) is_launched: bool,
    /// The same problem as the failure of a case.
    pub(super) finding: Failure,
}

/// Where the cause of an obstacle is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The command line or the manifest: the command, the address or the declaration.
    Usage,
    /// The server or the machine.
    NoServer,
}

impl Runner {
    /// Launches a server and sends it one request.
    ///
    /// # Errors
    /// The cases cannot run on this server.
    pub fn preflight(&self, spec: &LaunchSpec) -> Result<(), Box<Obstacle>> {
        // The port lease is held until the server is stopped.
        let launched = Place::take(spec)
            .and_then(|place| self.launcher.launch(spec).map(|server| (place, server)));
        let (place, server) = launched.map_err(|error| Box::new(not_launched(spec, error)))?;
        let ctx = TestContext::new(self, spec, server, &place);
        let replied = reply(&ctx);
        drop(ctx);
        let obstacle = match replied {
            Err(trouble) => unreachable(spec, &trouble),
            Ok(reply) => mistaken(spec, &reply),
        };
        obstacle.map_or(Ok(()), |obstacle| Err(Box::new(obstacle)))
    }
}

/// The reply to the request.
enum Reply {
    /// The value of a complete reply.
    Value(Vec<u8>),
    /// Bytes without the delimiter of a reply.
    Unended(Vec<u8>),
    /// No reply, or an error.
    Nothing,
}

/// Sends one request and waits for the reply.
///
/// # Errors
/// The connection fails.
fn reply(ctx: &TestContext<'_>) -> Result<Reply, ClientError> {
    let mut client = ctx.try_connect()?;
    let mut begun = Vec::new();
    let heard = client.tell(SUM).and_then(|()| match client.hear(PROMPT) {
        // The server has begun its reply and may be slow.
        Err(ClientError::Silent(_, bytes)) if !bytes.is_empty() => {
            begun = bytes;
            client.line()
        }
        heard => heard,
    });
    Ok(match heard {
        Ok(value) => Reply::Value(value),
        Err(ClientError::Silent(_, bytes)) if !bytes.is_empty() && bytes == begun => {
            Reply::Unended(bytes)
        }
        Err(ClientError::Closed(bytes)) if !bytes.is_empty() => Reply::Unended(bytes),
        // The cases test such errors.
        Err(_) => Reply::Nothing,
    })
}

/// Describes a launch that failed.
fn not_launched(spec: &LaunchSpec, error: LaunchError) -> Obstacle {
    let words = error.to_string();
    let (blame, remedy) = match &error {
        LaunchError::Exited { .. } => match missing_file(spec) {
            Some(file) => {
                let folder = folder_of(spec);
                let remedy = format!(
                    "there is no `{file}` in {folder}: correct the path, or start from the folder \
                     that it is relative to"
                );
                (Blame::Usage, Some(remedy))
            }
            None => {
                let remedy = "does the command run by hand?".to_owned();
                (Blame::NoServer, Some(remedy))
            }
        },
        LaunchError::NotListening { .. } => {
            let remedy = "does it listen on {port} before it does anything that takes long?";
            (Blame::NoServer, Some(remedy.to_owned()))
        }
        LaunchError::Elsewhere { found, .. } => {
            let port = found.port();
            let remedy = format!(
                "pass {{port}} on to it; if it always listens there, use --port {port} (in a \
                 manifest: port = {port})"
            );
            (Blame::Usage, Some(remedy))
        }
        // The error already contains the remedy.
        LaunchError::NotRun(_) => (Blame::Usage, None),
        LaunchError::NoPort(_) | LaunchError::Supervisor(_) | LaunchError::NoThread(_) => {
            (Blame::NoServer, None)
        }
    };
    let finding = Failure::from(error);
    let finding = match &remedy {
        Some(remedy) => finding.hint(remedy),
        None => finding,
    };
    let words = remedy.map_or(words.clone(), |remedy| format!("{words}\n{remedy}"));
    Obstacle { words, blame, is_launched: false, finding }
}

/// Returns a script that the command names and that does not exist.
fn missing_file(spec: &LaunchSpec) -> Option<&str> {
    let folder = spec.folder.as_deref().unwrap_or(Path::new(""));
    let is_file = |word: &&str| {
        let ending = Path::new(word).extension().and_then(|ending| ending.to_str());
        let is_plain =
            !word.starts_with('-') && !word.contains("{port}") && !word.contains("{host}");
        is_plain && ending.is_some_and(|it| SCRIPTS.contains(&it.to_ascii_lowercase().as_str()))
    };
    let files = spec.command.iter().skip(1).map(String::as_str).filter(is_file);
    files.into_iter().find(|file| !folder.join(file).exists())
}

fn folder_of(spec: &LaunchSpec) -> String {
    let folder = spec.folder.clone().or_else(|| std::env::current_dir().ok());
    folder.map_or("this folder".to_owned(), |folder| folder.display().to_string())
}

/// Describes a failed connection to a running server.
///
/// If the harness launched the server, the cases test the failed connection instead.
fn unreachable(spec: &LaunchSpec, trouble: &ClientError) -> Option<Obstacle> {
    let address = spec.elsewhere?;
    let words = match trouble {
        ClientError::Refused => {
            format!(
                "no server listens on {address} (connection refused): start it first, or correct host and port"
            )
        }
        other => format!("cannot connect to {address}: {other}: correct host and port"),
    };
    let finding = Failure::fail("a server that listens", &words);
    Some(Obstacle { words, blame: Blame::NoServer, is_launched: false, finding })
}

/// Describes a server that does not match its declaration.
fn mistaken(spec: &LaunchSpec, reply: &Reply) -> Option<Obstacle> {
    let sum = printable(SUM);
    let (expected, seen, remedy) = match (spec.contract.service, reply) {
        (Service::Calc, Reply::Value(value)) if value == SUM => {
            let seen = format!("it echoes: {sum} was answered {}", printable(value));
            let remedy = "use --service echo (in a manifest: service = \"echo\")";
            ("a calculator", seen, remedy.to_owned())
        }
        (Service::Echo, Reply::Value(value)) if value.trim_ascii() == VALUE => {
            let seen = format!("it calculates: {sum} was answered {}", printable(value));
            let remedy = "use --service calc (in a manifest: service = \"calc\")";
            ("an echo server", seen, remedy.to_owned())
        }
        (_, Reply::Unended(bytes)) if spec.contract.wire.reply_end == ReplyEnd::default() => {
            let seen = format!(
                "its replies are not lines: {sum} was answered {}, without a line feed",
                printable(bytes)
            );
            let remedy = format!(
                "end each reply with \\n; or have its protocol detected, and described in a \
                 manifest, by: {}",
                probe(spec)
            );
            ("replies that are lines", seen, remedy)
        }
        _ => return None,
    };
    let words = format!("{seen}\n{remedy}");
    let finding = Failure::fail(expected, seen).hint(remedy);
    Some(Obstacle { words, blame: Blame::Usage, is_launched: true, finding })
}

/// Returns the command that detects the server's protocol.
fn probe(spec: &LaunchSpec) -> String {
    let quoted = |text: &str| shlex::try_quote(text).map_or(text.to_owned(), Into::into);
    if let Some(address) = spec.elsewhere {
        return format!("harness probe --connect {address}");
    }
    let probe = format!("harness probe --cmd {}", quoted(&spec.shown));
    match &spec.folder {
        Some(folder) => format!("cd {} && {probe}", quoted(&folder.display().to_string())),
        None => probe,
    }
}
