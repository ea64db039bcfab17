//! Reads a report from `report.json`.

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::report::{FORMAT, Report};
use crate::config_source::read_text;

/// Reason why a report could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// Error of the operating system.
        error: io::Error,
    },
    /// The report has another format version.
    #[error(
        "{} has format {found}, but this version of the harness reads format {FORMAT}: \
         write the report again with this version", path.display()
    )]
    Format {
        /// Path of the file.
        path: PathBuf,
        /// Format version of the report.
        found: u64,
    },
    /// The file is not a report.
    #[error("{} is not a report of the harness (report.json): {error}", path.display())]
    Content {
        /// Path of the file.
        path: PathBuf,
        /// Error of the JSON parser, with line and column.
        error: serde_json::Error,
    },
}

/// The part of a report that every format version has.
#[derive(Deserialize)]
struct Version {
    format: u64,
}

impl Report {
    /// Reads a report from a `report.json` of format [`FORMAT`].
    ///
    /// Unknown fields are ignored: a later version may add fields without a new format. An unknown
    /// value, such as another verdict, is an error: it requires a new format.
    ///
    /// # Errors
    /// The file cannot be read, is not a report, or has another format.
    pub fn read(path: &Path) -> Result<Report, ReadError> {
        let text =
            read_text(path).map_err(|error| ReadError::File { path: path.to_owned(), error })?;
        let content = |error| ReadError::Content { path: path.to_owned(), error };
        let Version { format } = serde_json::from_str(&text).map_err(content)?;
        if format != u64::from(FORMAT) {
            return Err(ReadError::Format { path: path.to_owned(), found: format });
        }
        serde_json::from_str(&text).map_err(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(content: &str) -> String {
        let folder = tempfile::tempdir().expect("a directory");
        let path = folder.path().join("report.json");
        std::fs::write(&path, content).expect("a file");
        let error = Report::read(&path).expect_err(content);
        error.to_string().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn another_format_is_rejected_with_both_version_numbers() {
        let message = error("{\"format\": 3, \"servers\": [{\"server\": \"a\"}]}");
        assert!(message.starts_with("FILE has format 3, but this version of the harness reads"));
        assert!(message.contains(&format!("reads format {FORMAT}:")), "{message}");
    }

    #[test]
    fn a_file_that_is_not_a_report_is_rejected_with_its_path() {
        let empty = format!("{{\"format\": {FORMAT}}}");
        for content in ["", "[]", "{}", &empty] {
            assert!(error(content).starts_with("FILE is not a report of the harness"), "{content}");
        }
        let missing = Report::read(Path::new("/no/such/report.json")).expect_err("no file");
        assert!(missing.to_string().starts_with("cannot read /no/such/report.json: "));
    }
}
