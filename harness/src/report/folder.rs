//! A format of the report with several files in a subdirectory.

use crate::results::Report;

/// The evidence that a report keeps, determined by `--evidence`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Evidence {
    /// Only of results that need attention.
    #[default]
    Failures,
    /// Also of passed cases, in a file for each.
    All,
}

impl Evidence {
    /// All values, in the order of the help.
    pub const ALL: &[Evidence] = &[Evidence::Failures, Evidence::All];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Evidence::Failures => "failures",
            Evidence::All => "all",
        }
    }
}

/// A format with several files in a subdirectory of the report's directory.
#[derive(Debug)]
pub struct Folder {
    /// Name of the subdirectory.
    pub name: &'static str,
    /// Names of the files in the subdirectory, as a pattern.
    pub pattern: &'static str,
    /// Extension of all files.
    pub extension: &'static str,
    /// Content and purpose of the files, in one line.
    pub summary: &'static str,
    /// Returns the files of a report, with different names.
    pub files: fn(&Report, Evidence) -> Vec<FolderFile>,
}

/// A file of a [`Folder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FolderFile {
    /// Name in the subdirectory: safe for any server name, with at most one `/`.
    pub name: String,
    /// Name of the server.
    pub server: String,
    /// Name of the workload or case.
    pub subject: String,
    /// `None` if the report in memory no longer has the content: a file of an earlier write is
    /// kept.
    pub content: Option<String>,
}
