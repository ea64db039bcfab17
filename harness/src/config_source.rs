//! Files that people write in TOML: errors name the line, the field, and what may stand there.

use std::fs;
use std::path::Path;

use serde::de::DeserializeOwned;

/// A file's name and text.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Source {
    /// Reads a file that a flag names.
    ///
    /// # Errors
    /// It cannot be read.
    pub(crate) fn read(file: &Path, flag: &str) -> Result<Source, String> {
        let name = file.display().to_string();
        match fs::read_to_string(file) {
            Ok(text) => Ok(Source { name, text }),
            Err(error) => Err(format!("cannot read {name} ({flag}): {error}")),
        }
    }

    /// The file and the line of a byte.
    pub(crate) fn place(&self, at: usize) -> String {
        let line = self.text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1;
        format!("{}, line {line}", self.name)
    }

    /// Words about what stands at a byte, with the field if it is one's value.
    pub(crate) fn wrong(&self, at: usize, words: &str) -> String {
        let begin = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let before = self.text[begin..].lines().next().unwrap_or_default();
        match before.split_once('=') {
            Some((field, _)) => format!("{} (`{}`): {words}", self.place(at), field.trim()),
            None => format!("{}: {words}", self.place(at)),
        }
    }

    /// What is written.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, String> {
        toml::from_str(&self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            self.wrong(at, error.message())
        })
    }
}

/// A value in one line.
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
