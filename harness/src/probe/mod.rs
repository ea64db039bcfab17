//! `harness probe`: meets a server that nobody described, works out by experiment how it speaks, what
//! it keeps and how it is built, tells it in words, and writes the entry of a manifest.

mod acquaintance;
mod dialect;
mod places;
mod reply;
mod speech;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::str::FromStr;

use anyhow::{Context, Result};

use crate::cli::Probe;
use crate::manifest::{Command, Entry, Port};
use crate::mechanism::{self, Expected};
use crate::role::{self, Usage};
use crate::server::Launcher;
use crate::stdio;
use crate::written::inline;
use acquaintance::Acquaintance;

/// Probes.
///
/// # Errors
/// Bad usage, or there is no server to talk to.
pub fn probe(arguments: &Probe) -> Result<ExitCode> {
    role::raise_descriptor_limit();
    let launcher = Launcher::this_program()?.bounded();
    let mut met = match (&arguments.cmd, arguments.connect) {
        (Some(command), _) => Acquaintance::launch(launcher.clone(), command)?,
        (None, Some(address)) => Acquaintance::elsewhere(launcher.clone(), address),
        (None, None) => return Err(Usage("give it --cmd or --connect".to_owned()).into()),
    };
    let tell = |words: &str| stdio::error_line(words);
    tell(&met.words());
    let speech = match speech::find_out(&mut met) {
        Ok(speech) => speech,
        Err(words) => {
            tell(&words);
            tell(
                "where it wants words before the first request, or around each, describe it in a \
                 manifest: `handshake`, `request`",
            );
            return Ok(ExitCode::from(1));
        }
    };
    speech.words().iter().for_each(|words| tell(words));
    let mut spec = met.spec.clone();
    spec.contract.service = speech.service;
    spec.contract.wire = speech.wire.clone();
    let dialect = dialect::find_out(&mut met, &speech);
    spec.contract.dialect = dialect.dialect;
    dialect.words.iter().for_each(|words| tell(words));
    // One that has served nobody yet.
    met.forget()?;
    let seen = (!met.is_elsewhere()).then(|| met.server().map(mechanism::see));
    let seen = seen.transpose()?;
    if let Some(seen) = &seen {
        tell(&format!("it is built as `{}`: {}", seen.mechanism, seen.words));
    }
    drop(met);
    let places = places::find_out(&launcher, &spec, tell)?;
    let expect = seen.and_then(|seen| {
        let word = Expected::from_str(seen.mechanism.name()).ok()?;
        word.met_by(&seen).is_ok().then_some(word)
    });
    let Some(command) = &arguments.cmd else { return Ok(ExitCode::SUCCESS) };
    let entry = Entry {
        name: arguments.name.clone().unwrap_or_else(|| name_of(command)),
        command: Command::Line(command.clone()),
        folder: None,
        environment: Default::default(),
        port: spec.fixed_port.map(Port::Fixed),
        input: spec.input.clone(),
        service: speech.service,
        expect,
        contract: places,
        dialect: spec.contract.dialect,
        wire: spec.contract.wire.clone(),
    };
    write(arguments.output.as_deref(), entry)?;
    Ok(ExitCode::SUCCESS)
}

/// A name for a command: that of the file that it runs.
fn name_of(command: &str) -> String {
    let words = shlex::split(command).unwrap_or_default();
    let is_file = |word: &&String| Path::new(word).extension().is_some() && !word.contains('{');
    let word = words.iter().find(is_file).or(words.first()).map_or("server", String::as_str);
    let stem = Path::new(word).file_stem().and_then(|stem| stem.to_str()).unwrap_or("server");
    let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter } else { '-' };
    let name: String = stem.chars().map(plain).collect();
    if servers::find(&name).is_some() { format!("my-{name}") } else { name }
}

/// Writes the entry to standard output, or behind what a file has.
fn write(file: Option<&Path>, mut entry: Entry) -> Result<()> {
    if let Some(folder) = file.and_then(Path::parent).filter(|folder| *folder != Path::new("")) {
        // It is started where the command was given.
        let here = std::env::current_dir()?;
        entry.folder = (folder.canonicalize().ok().as_ref() != Some(&here)).then_some(here);
    }
    let entry = toml::Table::try_from(entry).context("the manifest entry")?;
    let text = written("server", &entry, "[[server]]");
    match file {
        None => stdio::print(&text),
        Some(path) => {
            let cannot = |error| {
                Usage(format!("cannot write {}: {error}; name another file", path.display()))
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

/// A table and those in it, each key on a line of its own.
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
    use super::name_of;

    #[test]
    fn a_server_is_named_after_its_file() {
        for (command, name) in [
            ("python3 my server.py {port}", "server"),
            ("python3 a/chat_2.py {host} {port}", "chat-2"),
            ("./calc {port}", "calc"),
            ("node select.mjs", "my-select"),
            ("", "server"),
        ] {
            assert_eq!(name_of(command), name);
        }
    }
}
