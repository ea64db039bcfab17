//! Output directory of a report.
//!
//! The directory is created before the first server starts, so that an unwritable path fails at
//! once. The report is rewritten while the run proceeds, so that an interrupted run keeps its
//! results.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::document::Report;
use super::exporters::EXPORTERS;
use super::junit;

/// The output directory of a report.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
}

impl Output {
    /// Creates the directory and checks that it is writable.
    ///
    /// # Errors
    /// The directory cannot be created or written to.
    pub fn create(folder: &Path) -> Result<Output> {
        let output = Output { folder: folder.to_path_buf() };
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the folder {} (--output names another)", folder.display())
        })?;
        output.put("report.json", "").map(|()| output)
    }

    /// Writes the file of every format, and removes stale files of formats without content.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn write(&self, report: &Report) -> Result<()> {
        EXPORTERS.iter().try_for_each(|exporter| match (exporter.render)(report) {
            Some(content) => self.put(exporter.file_name, &content),
            None => self.remove(exporter.file_name),
        })
    }

    /// Returns the path of the HTML page.
    pub fn page(&self) -> PathBuf {
        self.folder.join("index.html")
    }

    fn remove(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.folder.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error)
                .with_context(|| format!("cannot remove {name} from {}", self.folder.display())),
            _ => Ok(()),
        }
    }

    fn put(&self, name: &str, content: &str) -> Result<()> {
        put(&self.folder, name, content).with_context(|| {
            format!(
                "cannot write {name} into {} (--output names another folder)",
                self.folder.display()
            )
        })
    }
}

/// The JUnit XML file of `--junit`.
#[derive(Debug)]
pub struct Junit {
    folder: PathBuf,
    name: String,
}

impl Junit {
    /// Creates the file's directory and checks that the file can be written.
    ///
    /// # Errors
    /// The path is a directory, or the file cannot be written.
    pub fn create(file: &Path) -> Result<Junit> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.with_context(|| format!("{} (--junit) is no file", file.display()))?;
        if file.is_dir() {
            bail!("{} (--junit) is a folder: name a file in it", file.display());
        }
        let junit = Junit { folder: file.with_file_name(""), name };
        if !junit.folder.as_os_str().is_empty() {
            fs::create_dir_all(&junit.folder).with_context(|| junit.trouble())?;
        }
        junit.put("").map(|()| junit)
    }

    /// Writes the verdicts of the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, report: &Report) -> Result<()> {
        self.put(&junit::render(report))
    }

    fn put(&self, content: &str) -> Result<()> {
        put(&self.folder, &self.name, content).with_context(|| self.trouble())
    }

    fn trouble(&self) -> String {
        format!(
            "cannot write {} (--junit names another file)",
            self.folder.join(&self.name).display()
        )
    }
}

/// Replaces a file atomically, so that a reader never sees a partial file. Empty content only
/// checks that the directory is writable.
fn put(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let (file, new) = (folder.join(name), folder.join(format!(".{name}.new")));
    let put = fs::write(&new, content).and_then(|()| match content {
        "" => fs::remove_file(&new),
        _ => fs::rename(&new, &file),
    });
    // A temporary file that cannot replace its target is useless.
    put.inspect_err(|_| drop(fs::remove_file(&new)))
}
