//! The manifest entry of a probed server: derives its name, formats it, and writes it to a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::iter;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::config_source::inline;
use crate::manifest::{Command, Entry, Manifest};
use crate::stdio;
use crate::usage_error::UsageError;

/// Returns the name of the server: the given one, or one derived from the command that no other
/// server of the file has. Call this function before the experiments, which take long.
///
/// # Errors
/// The file is not a manifest, or already has a server with the given name.
pub(super) fn choose_name(
    given: Option<String>,
    command: &str,
    file: Option<&Path>,
) -> Result<String> {
    let taken = match file {
        Some(file) if file.metadata().is_ok_and(|it| !it.is_file() || it.len() > 0) => {
            Manifest::read(file)?.names()
        }
        _ => Vec::new(),
    };
    match given {
        Some(name) if taken.contains(&name) => Err(UsageError(format!(
            "{} already has a server `{name}`: choose another name with --name, or another file \
             with --output",
            file.unwrap_or(Path::new("")).display()
        ))
        .into()),
        Some(name) => Ok(name),
        None => Ok(unused_name(&name_of(command), &taken)),
    }
}

/// Returns the name, with a number if it is taken.
fn unused_name(name: &str, taken: &[String]) -> String {
    let numbered = (2..).map(|number| format!("{name}-{number}"));
    let mut names = iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).expect("endless names")
}

/// Derives a server name from a command: the name of the program or script file.
pub(super) fn name_of(command: &str) -> String {
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

/// Returns the lines of the entry.
pub(super) fn lines(entry: Entry) -> Result<Vec<String>> {
    Ok(text(entry)?.lines().map(str::to_owned).collect())
}

fn text(entry: Entry) -> Result<String> {
    let entry = toml::Table::try_from(entry).context("cannot format the manifest entry")?;
    Ok(formatted("server", &entry, "[[server]]"))
}

/// Writes the entry to standard output, or appends it to a file.
pub(super) fn write(file: Option<&Path>, mut entry: Entry) -> Result<()> {
    let here = std::env::current_dir()?;
    let needs_folder = match file.map(|file| file.parent().unwrap_or(Path::new(""))) {
        Some(folder) if folder == Path::new("") => false,
        // The command may have relative paths, so the server must start in this directory.
        Some(folder) => folder.canonicalize().ok().as_ref() != Some(&here),
        // Standard output may be a file in any directory.
        None => has_relative_file(&entry.command, &here),
    };
    entry.folder = needs_folder.then_some(here);
    let text = text(entry)?;
    match file {
        None => stdio::print(&text),
        Some(path) => {
            let write_error = |error| {
                UsageError(format!("cannot write {}: {error}; name another file", path.display()))
            };
            let mut file =
                OpenOptions::new().create(true).append(true).open(path).map_err(write_error)?;
            let has_content = file.metadata().is_ok_and(|file| file.len() > 0);
            let text = if has_content { format!("\n{text}") } else { text };
            file.write_all(text.as_bytes()).map_err(write_error)?;
            stdio::error_line(format_args!("entry written to {}", path.display()));
        }
    }
    Ok(())
}

/// Returns whether the command names a file in this directory, with or without its extension:
/// `chat.py`, or `Chat` for `Chat.class`.
fn has_relative_file(command: &Command, here: &Path) -> bool {
    let words = match command {
        Command::Words(words) => words.clone(),
        Command::Line(line) => shlex::split(line).unwrap_or_default(),
    };
    let files: Vec<PathBuf> =
        here.read_dir().map_or(Vec::new(), |it| it.flatten().map(|it| it.path()).collect());
    let is_stem = |word: &str| files.iter().any(|it| it.file_stem() == Some(word.as_ref()));
    words.iter().map(String::as_str).any(|word| {
        !word.is_empty()
            && Path::new(word).is_relative()
            && (here.join(word).exists() || is_stem(word))
    })
}

/// Formats a table and its sections, with one line per key.
fn formatted(name: &str, table: &toml::Table, header: &str) -> String {
    const FIRST_KEYS: &[&str] =
        &["name", "command", "folder", "port", "input", "service", "concurrency-model"];
    let mut text = format!("{header}\n");
    let rank = |key: &str| FIRST_KEYS.iter().position(|it| *it == key).unwrap_or(FIRST_KEYS.len());
    let mut rows: Vec<(&String, &toml::Value)> = table.iter().collect();
    rows.sort_by_key(|(key, _)| rank(key));
    let is_section = |name: &str| ["contract", "dialect", "wire", "environment"].contains(&name);
    for (key, value) in rows.into_iter().filter(|(key, _)| !is_section(key)) {
        text.push_str(&format!("{key} = {}\n", inline(value)));
    }
    for (key, value) in table.iter().filter(|(key, _)| is_section(key)) {
        if let toml::Value::Table(inner) = value {
            let path = format!("{name}.{key}");
            text.push_str(&format!("\n{}", formatted(&path, inner, &format!("[{path}]"))));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_derived_name_that_is_taken_gets_a_number() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("servers.toml");
        let name = |given: Option<&str>| {
            choose_name(given.map(str::to_owned), "python3 chat.py {port}", Some(&file))
        };
        assert_eq!(name(None)?, "chat");
        let entry =
            |name: &str| format!("[[server]]\nname = \"{name}\"\ncommand = \"./x {{port}}\"\n");
        std::fs::write(&file, entry("chat"))?;
        assert_eq!(name(None)?, "chat-2");
        std::fs::write(&file, entry("chat") + &entry("chat-2"))?;
        assert_eq!(name(None)?, "chat-3");
        assert_eq!(name(Some("other"))?, "other");
        assert!(name(Some("chat")).is_err());
        Ok(())
    }

    #[test]
    fn a_command_with_a_file_of_the_current_directory_needs_this_directory() -> Result<()> {
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("chat.py"), "")?;
        std::fs::write(folder.path().join("Chat.class"), "")?;
        for (command, needs_folder) in [
            ("python3 chat.py {port}", true),
            ("python3 -m chat {port}", true),
            ("./chat.py {host} {port}", true),
            ("java Chat", true),
            ("python3 other.py {port}", false),
            ("/usr/bin/env true", false),
        ] {
            let found = has_relative_file(&Command::Line(command.to_owned()), folder.path());
            assert_eq!(found, needs_folder, "{command}");
        }
        Ok(())
    }
}
