//! TOML files that users write. Error messages name the line, the field and the valid values.

use std::borrow::Cow;
use std::io::Read;
use std::path::Path;
use std::{fs, io};

use serde::de::DeserializeOwned;
use toml_writer::{ToTomlValue, TomlStringBuilder};

use crate::renamed;
use crate::workflow_commands::defused_json;

/// A kind of file that users write.
#[derive(Debug)]
pub(crate) struct FileKind {
    /// Flag that names the file.
    pub(crate) flag: &'static str,
    /// Name of the table array, such as `server` for `[[server]]`.
    pub(crate) entries: &'static str,
    /// Describes the expected content.
    pub(crate) help: &'static str,
}

/// Name and text of a file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) kind: &'static FileKind,
}

/// Maximum size of an input file. Reading a device such as /dev/zero would never end.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// Reads an input file as text.
///
/// # Errors
/// The file cannot be read, has more than 64 MiB, or is not UTF-8.
pub(crate) fn read_text(file: &Path) -> io::Result<String> {
    let mut text = String::new();
    let size = fs::File::open(file)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if size as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file has more than 64 MiB"));
    }
    Ok(text)
}

impl Source {
    /// Reads the file that a flag names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(file: &Path, kind: &'static FileKind) -> Result<Source, String> {
        let name = file.display().to_string();
        let FileKind { flag, help, .. } = kind;
        match read_text(file) {
            Ok(text) => Ok(Source { name, text, kind }),
            Err(error) => Err(format!("cannot read {name} ({flag}): {error}\n{help}")),
        }
    }

    /// Returns the file name and the line of a byte offset.
    pub(crate) fn location(&self, at: usize) -> String {
        let line = self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        format!("{}, line {line}", self.name)
    }

    /// Adds the location of a byte offset to an error message, and the name of the field whose
    /// value is at the offset.
    pub(crate) fn error_at(&self, at: usize, message: &str) -> String {
        let begin = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let line = self.text[begin..].lines().next().unwrap_or_default();
        match line.split_once('=') {
            Some((field, _)) => format!("{} (`{}`): {message}", self.location(at), field.trim()),
            None => format!("{}: {message}", self.location(at)),
        }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// The message names the line. If the file has the old name of a key or a value, the message
    /// gives the new name. If the file has no entries, the message describes the expected content.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        toml::from_str(&self.text).map_err(|error| {
            let span = error.span().unwrap_or_default();
            let name = self.text.get(span.clone()).unwrap_or_default();
            let hint = renamed::hint(name.trim_matches(['"', '\'']), |_| true);
            let message = self.error_at(span.start, hint.as_deref().unwrap_or(error.message()));
            if self.has_entries() { message } else { format!("{message}\n{}", self.kind.help) }
        })
    }

    fn has_entries(&self) -> bool {
        self.text.parse::<toml::Table>().is_ok_and(|table| table.contains_key(self.kind.entries))
    }
}

/// Formats a value on one line. A string with backslashes becomes a literal string (in single
/// quotes) if possible. `harness probe` prints strings of servers, so workflow commands of CI
/// systems are defused.
pub(crate) fn inline(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => {
            let string = TomlStringBuilder::new(text);
            let basic = string.as_basic().to_toml_value();
            if let Cow::Owned(defused) = defused_json(&basic) {
                return defused;
            }
            let literal = string.as_literal().filter(|_| text.contains('\\'));
            literal.map_or(basic, |literal| literal.to_toml_value())
        }
        toml::Value::Array(list) => {
            format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", "))
        }
        toml::Value::Table(table) => {
            let row = |(key, value)| format!("{key} = {}", inline(value));
            format!("{{ {} }}", table.iter().map(row).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_of_a_server_is_no_workflow_command() {
        for text in ["##[error]a\\b", "\n::error::", "##", "a\\b"] {
            let formatted = inline(&text.into());
            assert!(!formatted.contains("##[") && !formatted.contains('\n'), "{formatted}");
            let table: toml::Table = format!("a = {formatted}").parse().expect("a table");
            assert_eq!(table["a"].as_str(), Some(text));
        }
    }

    #[test]
    fn values_are_formatted_on_one_line_and_parse_back() {
        for text in ["{}\r\n", "\0", "^\\[\\d+\\] = (.*)$", "it's \\ \"so\"", "ü"] {
            let value = toml::Value::String(text.to_owned());
            let line = format!("a = {{ b = [{}] }}", inline(&value));
            let read: toml::Table = line.parse().expect(&line);
            assert_eq!(read["a"]["b"][0], value, "{line}");
        }
    }
}
