//! Reads a history file, and appends to it.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::run::{FORMAT, Run};

/// Maximum size of a history file, some 10,000 runs of all servers.
const MAX_BYTES: u64 = 1024 * 1024 * 1024;

/// Reason why a history file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be opened or read.
    #[error("cannot read the history {}: {error}", path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// A line is not a run.
    #[error(
        "{}, line {line} is not a run of a history: {error}; correct or remove the line (an append \
         that was killed leaves an incomplete last line)", path.display()
    )]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Error of the JSON parser.
        error: serde_json::Error,
    },
    /// A line has another format version.
    #[error(
        "{}, line {line} has format {found}, but this version of the harness reads format {FORMAT}",
        path.display()
    )]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Format version of the line.
        found: u32,
    },
    /// A line cannot be appended. The file is as before.
    #[error("cannot append to the history {}: {error}; the file is unchanged", path.display())]
    Append {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
}

/// A history file, open for appending and locked, so that two processes do not append the same run.
#[derive(Debug)]
pub struct HistoryFile {
    path: PathBuf,
    file: File,
    runs: Vec<Run>,
    /// Whether the last line ends with a line feed.
    is_terminated: bool,
}

impl HistoryFile {
    /// Returns the runs of a history file, in the order of its lines.
    ///
    /// # Errors
    /// The file cannot be read, or a line is not a run.
    pub fn read(path: &Path) -> Result<Vec<Run>, HistoryError> {
        let file = check_regular(path).and_then(|()| File::open(path));
        let content = file.and_then(|file| content(&file));
        parse(path, &content.map_err(|error| HistoryError::Read { path: path.to_owned(), error })?)
    }

    /// Opens a history file, or creates it, and waits until no other process appends to it.
    ///
    /// # Errors
    /// The file cannot be opened or read, or a line is not a run.
    pub fn open(path: &Path) -> Result<HistoryFile, HistoryError> {
        let opened = || -> io::Result<(File, Vec<u8>)> {
            check_regular(path)?;
            let file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
            file.lock()?;
            let content = content(&file)?;
            Ok((file, content))
        };
        let (file, content) =
            opened().map_err(|error| HistoryError::Read { path: path.to_owned(), error })?;
        let is_terminated = content.last().is_none_or(|&byte| byte == b'\n');
        Ok(HistoryFile { runs: parse(path, &content)?, path: path.to_owned(), file, is_terminated })
    }

    /// Appends a run, unless the file has it already. Returns whether the run was appended.
    ///
    /// The whole line is written by one system call to the end of the file, and then to the disk.
    /// So an interruption never changes earlier lines.
    ///
    /// # Errors
    /// The line cannot be written. Then the file is as before.
    pub fn append(&mut self, run: &Run) -> Result<bool, HistoryError> {
        if self.runs.iter().any(|other| other.is_same_run(run)) {
            return Ok(false);
        }
        self.write(run).map_err(|error| HistoryError::Append { path: self.path.clone(), error })?;
        self.runs.push(run.clone());
        self.is_terminated = true;
        Ok(true)
    }

    fn write(&mut self, run: &Run) -> io::Result<()> {
        let begin = if self.is_terminated { "" } else { "\n" };
        let line = format!("{begin}{}\n", serde_json::to_string(run)?);
        let size = self.file.metadata()?.len();
        let written = loop {
            match self.file.write(line.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(count) if count < line.len() => {
                    break Err(io::Error::new(
                        io::ErrorKind::WriteZero,
                        "only a part of the line could be written (is the disk full?)",
                    ));
                }
                other => break other.map(drop),
            }
        };
        written
            .and_then(|()| self.file.sync_all())
            // A part of a line would make the next line unreadable too.
            .inspect_err(|_| drop(self.file.set_len(size)))
    }
}

/// Checks that the file does not exist, or is a regular file: reading a pipe would block.
fn check_regular(path: &Path) -> io::Result<()> {
    match path.metadata() {
        Ok(metadata) if !metadata.is_file() => {
            Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
        }
        _ => Ok(()),
    }
}

/// Reads the file as bytes: an interrupted append may end within a character.
fn content(file: &File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file.take(MAX_BYTES + 1).read_to_end(&mut bytes)? as u64 > MAX_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the file has more than 1 GiB"));
    }
    Ok(bytes)
}

/// The part of a line that every format version has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

fn parse(path: &Path, content: &[u8]) -> Result<Vec<Run>, HistoryError> {
    let lines = content.split(|&byte| byte == b'\n').zip(1..);
    let lines = lines.filter(|(line, _)| !line.trim_ascii().is_empty());
    let run = |(text, line): (&[u8], usize)| {
        let path = || path.to_owned();
        let error = |error| HistoryError::Line { path: path(), line, error };
        match serde_json::from_slice(text).map_err(error)? {
            Version { format: FORMAT } => serde_json::from_slice(text).map_err(error),
            Version { format } => Err(HistoryError::Format { path: path(), line, found: format }),
        }
    };
    lines.map(run).collect()
}
