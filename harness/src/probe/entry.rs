//! The manifest entry of a probed server: derives its name, formats it, and writes it to a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use crate::config_source::inline;
use crate::manifest::{self, Entry};
use crate::stdio;
use crate::usage_error::UsageError;

/// Checks that an entry with this name can be appended to the file. Call this function before the
/// experiments, which take long.
///
/// # Errors
/// The file is not a manifest, or already has a server with that name.
pub(super) fn check_output(file: &Path, name: &str) -> Result<()> {
    if file.metadata().map_or(true, |metadata| metadata.is_file() && metadata.len() == 0) {
        return Ok(());
    }
    if manifest::specs(file, &[])?.iter().any(|spec| spec.name == name) {
        return Err(UsageError(format!(
            "{} already has a server `{name}`: choose another name with --name, or another file \
             with --output",
            file.display()
        ))
        .into());
    }
    Ok(())
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
    let entry = toml::Table::try_from(entry).context("cannot format the manifest entry")?;
    Ok(formatted("server", &entry, "[[server]]").lines().map(str::to_owned).collect())
}

/// Writes the entry to standard output, or appends it to a file.
pub(super) fn write(file: Option<&Path>, mut entry: Entry) -> Result<()> {
    if let Some(folder) = file.and_then(Path::parent).filter(|folder| *folder != Path::new("")) {
        // The command may have relative paths, so the server must start in this directory.
        let here = std::env::current_dir()?;
        entry.folder = (folder.canonicalize().ok().as_ref() != Some(&here)).then_some(here);
    }
    let entry = toml::Table::try_from(entry).context("cannot format the manifest entry")?;
    let text = formatted("server", &entry, "[[server]]");
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
    use super::name_of;

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
