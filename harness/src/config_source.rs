//! TOML files of a user; error messages name the line, the field and the valid values.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Name and text of a file.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads the file that is the value of a flag.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn read(file: &Path, flag: &str) -> Result<Source, String> {
        let name = file.display().to_string();
        match fs::read_to_string(file) {
            Ok(text) => Ok(Source { name, text }),
            Err(error) => Err(format!("cannot read {name} ({flag}): {error}")),
        }
    }

    /// Returns the file and line of a byte offset.
    pub(crate) fn place(&self, at: usize) -> String {
        let line = self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        format!("{}, line {line}", self.name)
    }

    /// Returns an error message about a byte offset, with the name of the field whose value is
    /// there.
    pub(crate) fn wrong(&self, at: usize, words: &str) -> String {
        let begin = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = self.text[begin..].lines().next().unwrap_or_default();
        match before.split_once('=') {
            Some((field, _)) => format!("{} (`{}`): {words}", self.place(at), field.trim()),
            None => format!("{}: {words}", self.place(at)),
        }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// A message with the error and its line.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, error.message())
        })
    }
}

/// Formats a value on one line.
pub(crate) fn inline(value: &toml::Value) -> String {
    let quoted = |text: &str| {
        let escaped = text.chars().map(|letter| match letter {
            '"' | '\\' => format!("\\{letter}"),
            '\n' => "\\n".to_owned(),
            '\r' => "\\r".to_owned(),
            '\t' => "\\t".to_owned(),
            letter if letter.is_control() => format!("\\u{:04x}", u32::from(letter)),
            letter => letter.to_string(),
        });
        format!("\"{}\"", escaped.collect::<String>())
    };
    match value {
        toml::Value::String(text)
            if text.contains('\\') && !text.contains(|it: char| it == '\'' || it.is_control()) =>
        {
            format!("'{text}'")
        }
        toml::Value::String(text) => quoted(text),
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
    fn values_are_written_in_one_line_and_can_be_read_again() {
        for text in ["{}\r\n", "\0", "^\\[\\d+\\] = (.*)$", "it's \\ \"so\"", "ü"] {
            let value = toml::Value::String(text.to_owned());
            let written = format!("a = {{ b = [{}] }}", inline(&value));
            let read: toml::Table = written.parse().expect(&written);
            assert_eq!(read["a"]["b"][0], value, "{written}");
        }
    }
}
