//! Writing a report into its folder: created before anything is run, so that a path that cannot
//! be written is known in the first second, and written again after each step, so that an
//! interrupted run keeps what it had.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{EXPORTERS, Report};

/// The folder of a report.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
}

impl Output {
    /// Creates the folder and tries to write in it.
    ///
    /// # Errors
    /// The path cannot be a folder to write in.
    pub fn create(folder: &Path) -> Result<Output> {
        let output = Output { folder: folder.to_path_buf() };
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the folder {} (--output names another)", folder.display())
        })?;
        output.put("report.json", "").map(|()| output)
    }

    /// Writes every format.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, report: &Report) -> Result<()> {
        EXPORTERS
            .iter()
            .try_for_each(|exporter| self.put(exporter.file_name, &(exporter.render)(report)))
    }

    /// Where a person begins to read.
    pub fn page(&self) -> PathBuf {
        self.folder.join("index.html")
    }

    /// Replaces a file as a whole: a reader never sees half of one.
    fn put(&self, name: &str, content: &str) -> Result<()> {
        let (file, new) = (self.folder.join(name), self.folder.join(format!(".{name}.new")));
        fs::write(&new, content)
            .and_then(|()| {
                if content.is_empty() { fs::remove_file(&new) } else { fs::rename(&new, &file) }
            })
            .with_context(|| {
                format!("cannot write {} (--output names another folder)", file.display())
            })
    }
}
