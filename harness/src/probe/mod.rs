//! `harness probe`: detects the protocol, the limits and the concurrency model of an unknown
//! server, prints the results, and writes a manifest entry.

mod dialect;
mod instance;
mod places;
mod reply;
mod speech;

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::concurrency::{self, Seen};
use crate::config_source::inline;
use crate::conformance::{Case, Runner, cases};
use crate::contract::Expected;
use crate::manifest::{self, Command, Entry, Port};
use crate::server::raise_descriptor_limit;
use crate::server::{LaunchError, Launcher};
use crate::stdio;
use crate::usage_error::UsageError;
use crate::wire::Bytes;
use dialect::Found as Calculates;
use instance::Origin;
use speech::{Speech, Unknown};

/// Experiments on a server whose protocol is known. The results of the first three determine how
/// the others can be run.
#[derive(Clone, Copy)]
enum Experiment {
    Pipelining,
    Life,
    Dialect,
    Quit,
    Mechanism,
    Contract(&'static Case),
}

/// Result of an experiment, if any.
enum Outcome {
    Pipelining(Option<bool>),
    Life(Option<u32>),
    Dialect(Calculates),
    Quit(Option<Bytes>),
    Mechanism(Option<Box<Seen>>),
    Contract(Option<Box<places::Observation>>),
}

/// Arguments of `harness probe`.
#[derive(Clone, Debug)]
pub struct Request {
    /// Command that starts the server.
    pub cmd: Option<String>,
    /// Address of a server that already runs.
    pub connect: Option<SocketAddr>,
    /// Name in the manifest.
    pub name: Option<String>,
    /// Manifest to append the entry to, instead of standard output.
    pub output: Option<PathBuf>,
}

/// Probes a server and prints the results.
///
/// # Errors
/// The arguments are wrong, or the server cannot be launched or connected to.
pub fn probe(arguments: &Request) -> Result<ExitCode> {
    raise_descriptor_limit();
    if let (Some(file), Some(command)) = (&arguments.output, &arguments.cmd) {
        check_output(file, &name_in(arguments, command))?;
    }
    let launcher = Launcher::this_program()?.bounded();
    let origin = match (&arguments.cmd, arguments.connect) {
        (Some(command), _) => {
            Origin::of_command(launcher, command).map_err(|error| explained(error, command))
        }
        (None, Some(address)) => Origin::elsewhere(launcher, address),
        (None, None) => Err(UsageError("give it --cmd or --connect".to_owned()).into()),
    };
    let mut origin = origin?;
    // Some of the text is quoted from the server.
    let tell = |words: &str| stdio::error_line(visible(words));
    tell(&origin.words());
    let mut speech = match speech::find_out(&mut origin) {
        Ok(speech) => speech,
        Err(Unknown::Launch(error)) => {
            return Err(explained(error.into(), arguments.cmd.as_deref().unwrap_or_default()));
        }
        Err(Unknown::Otherwise(words)) => {
            tell(&words);
            tell(
                "where it wants words before the first request, or around each, describe it in a \
                 manifest: `handshake`, `request`",
            );
            return Ok(ExitCode::from(1));
        }
    };
    let first = [Experiment::Life, Experiment::Pipelining, Experiment::Dialect];
    let mut calculates = None;
    for found in origin.each(&first, |it| it.run(&origin, &speech)) {
        match found {
            Outcome::Pipelining(takes_two) => speech.wire.pipelining = takes_two.filter(|it| !it),
            Outcome::Life(clients) => speech.wire.clients_per_life = clients,
            Outcome::Dialect(found) => calculates = Some(found),
            _ => {}
        }
    }
    let contract = &mut origin.spec.contract;
    contract.service = speech.service;
    contract.wire = speech.wire.clone();
    contract.dialect = calculates.as_ref().map(|it| it.dialect).unwrap_or_default();
    let is_of_it =
        |case: &&Case| case.name.starts_with("contract/") && case.name != "contract/mechanism";
    let contract = cases().filter(is_of_it).map(Experiment::Contract);
    let experiments: Vec<Experiment> =
        contract.chain([Experiment::Mechanism, Experiment::Quit]).collect();
    let (mut observations, mut seen) = (Vec::new(), None);
    // The experiments fill an external server, which all of them share, so they must not overlap.
    let one_by_one = Origin { serves_several: false, ..origin.clone() };
    for found in one_by_one.each(&experiments, |it| it.run(&origin, &speech)) {
        match found {
            Outcome::Quit(word) => speech.wire.quit = word,
            Outcome::Mechanism(found) => seen = found,
            Outcome::Contract(found) => observations.extend(found.map(|it| *it)),
            _ => {}
        }
    }
    speech.words().iter().for_each(|words| tell(words));
    calculates.iter().flat_map(|it| &it.words).for_each(|words| tell(words));
    if let Some(seen) = &seen {
        tell(&format!("it is built as `{}`: {}", seen.mechanism, seen.words));
    }
    let mut told: Vec<&str> = Vec::new();
    for observation in &observations {
        // Two cases may observe the same.
        if !told.contains(&observation.seen.as_str()) {
            tell(&observation.seen);
            told.push(&observation.seen);
        }
    }
    let expect = seen.and_then(|seen| {
        let word = Expected::from_str(seen.mechanism.name()).ok()?;
        seen.meets(word).is_ok().then_some(word)
    });
    let Some(command) = &arguments.cmd else { return Ok(ExitCode::SUCCESS) };
    let entry = Entry {
        name: name_in(arguments, command),
        command: Command::Line(command.clone()),
        folder: None,
        environment: Default::default(),
        port: origin.spec.fixed_port.map(Port::Fixed),
        input: origin.spec.input.clone(),
        service: speech.service,
        expect,
        contract: places::places(&observations, &speech.example),
        dialect: origin.spec.contract.dialect,
        wire: speech.wire,
    };
    write(arguments.output.as_deref(), entry)?;
    Ok(ExitCode::SUCCESS)
}

impl Experiment {
    fn run(self, origin: &Origin, speech: &Speech) -> Outcome {
        match self {
            Experiment::Pipelining => Outcome::Pipelining(speech::takes_two(origin, speech)),
            Experiment::Life => Outcome::Life(speech::life(origin, speech)),
            Experiment::Dialect => Outcome::Dialect(dialect::find_out(origin, speech)),
            Experiment::Quit => Outcome::Quit(speech::quit(origin, speech)),
            Experiment::Mechanism => Outcome::Mechanism(mechanism(origin)),
            Experiment::Contract(case) => {
                let judge = Runner::new(origin.launcher.clone(), 1);
                Outcome::Contract(places::observe(&judge, &origin.spec, case).map(Box::new))
            }
        }
    }
}

/// Detects the concurrency model with a fresh instance.
fn mechanism(origin: &Origin) -> Option<Box<Seen>> {
    if origin.is_elsewhere() {
        return None;
    }
    let mut instance = origin.instance().ok()?;
    instance.server().ok().map(|server| Box::new(concurrency::see(server)))
}

/// Adds advice to a launch error.
fn explained(error: anyhow::Error, command: &str) -> anyhow::Error {
    match error.downcast::<LaunchError>() {
        Ok(LaunchError::NotRun(words)) => UsageError(words).into(),
        Ok(error @ LaunchError::Exited { .. }) => {
            let hint = match command.contains("{port}") {
                true => {
                    "run the command by hand, with a host and a port in place of {host} and {port}"
                }
                false => "if it is told its port, write {host} and {port} where it expects them",
            };
            anyhow::Error::msg(format!("{error}; {hint}"))
        }
        Ok(error) => error.into(),
        Err(error) => error,
    }
}

/// Returns the text with control characters escaped for a terminal.
fn visible(words: &str) -> String {
    let shown = |letter: char| match letter.is_control() {
        true => letter.escape_default().to_string(),
        false => letter.to_string(),
    };
    words.chars().map(shown).collect()
}

fn name_in(arguments: &Request, command: &str) -> String {
    arguments.name.clone().unwrap_or_else(|| name_of(command))
}

/// Checks before the experiments that an entry with this name can be added to the file.
///
/// # Errors
/// The file is not a manifest, or already has a server with that name.
fn check_output(file: &Path, name: &str) -> Result<()> {
    if file.metadata().map_or(true, |metadata| metadata.is_file() && metadata.len() == 0) {
        return Ok(());
    }
    if manifest::specs(file, &[])?.iter().any(|spec| spec.name == name) {
        return Err(UsageError(format!(
            "{} has a server `{name}` already: choose another name with --name, or another file \
             with --output",
            file.display()
        ))
        .into());
    }
    Ok(())
}

/// Returns a server name for a command: the name of the file that it runs.
fn name_of(command: &str) -> String {
    let words = shlex::split(command).unwrap_or_default();
    // An address such as 127.0.0.1 is not a file.
    let is_file = |word: &&String| {
        let extension = Path::new(word).extension().and_then(|it| it.to_str()).unwrap_or_default();
        extension.contains(|it: char| it.is_ascii_alphabetic()) && !word.contains('{')
    };
    let word = words.iter().find(is_file).or(words.first()).map_or("server", String::as_str);
    let stem = Path::new(word).file_stem().and_then(|stem| stem.to_str()).unwrap_or("server");
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    if servers::find(&name).is_some() { format!("my-{name}") } else { name }
}

/// Writes the entry to standard output, or appends it to a file.
fn write(file: Option<&Path>, mut entry: Entry) -> Result<()> {
    if let Some(folder) = file.and_then(Path::parent).filter(|folder| *folder != Path::new("")) {
        // The server must start in the directory in which the command was given.
        let here = std::env::current_dir()?;
        entry.folder = (folder.canonicalize().ok().as_ref() != Some(&here)).then_some(here);
    }
    let entry = toml::Table::try_from(entry).context("the manifest entry")?;
    let text = written("server", &entry, "[[server]]");
    match file {
        None => stdio::print(&text),
        Some(path) => {
            let cannot = |error| {
                UsageError(format!("cannot write {}: {error}; name another file", path.display()))
            };
            let mut file =
                OpenOptions::new().create(true).append(true).open(path).map_err(cannot)?;
            let is_begun = file.metadata().is_ok_and(|file| file.len() > 0);
            let text = if is_begun { format!("\n{text}") } else { text };
            file.write_all(text.as_bytes()).map_err(cannot)?;
            stdio::error_line(format_args!("written: {}", path.display()));
        }
    }
    Ok(())
}

/// Formats a table and its sections, with one line per key.
fn written(name: &str, table: &toml::Table, header: &str) -> String {
    const FIRST: &[&str] = &["name", "command", "folder", "port", "input", "service", "expect"];
    let mut text = format!("{header}\n");
    let rank = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut rows: Vec<(&String, &toml::Value)> = table.iter().collect();
    rows.sort_by_key(|(key, _)| rank(key));
    let is_section = |name: &str| ["contract", "dialect", "wire", "environment"].contains(&name);
    for (key, value) in rows.into_iter().filter(|(key, _)| !is_section(key)) {
        text.push_str(&format!("{key} = {}\n", inline(value)));
    }
    for (key, value) in table.iter().filter(|(key, _)| is_section(key)) {
        if let toml::Value::Table(inner) = value {
            let path = format!("{name}.{key}");
            text.push_str(&format!("\n{}", written(&path, inner, &format!("[{path}]"))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{name_of, visible};

    #[test]
    fn what_a_server_says_reaches_no_terminal_as_it_is() {
        assert_eq!(visible("value \u{1b}[2J\u{7}µ"), "value \\u{1b}[2J\\u{7}µ");
    }

    #[test]
    fn a_server_is_named_after_its_file() {
        for (command, name) in [
            ("python3 my server.py {port}", "server"),
            ("python3 a/chat_2.py {host} {port}", "chat-2"),
            ("./calc {port}", "calc"),
            ("node select.mjs", "my-select"),
            ("./calc 127.0.0.1 {port}", "calc"),
            ("", "server"),
        ] {
            assert_eq!(name_of(command), name);
        }
    }
}
