//! Output directory of a report.
//!
//! The directory is created before the first server starts, so that an unwritable path fails
//! immediately. The report is written several times during the run, so that an interrupted run
//! keeps its results.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::exporters::EXPORTERS;
use super::junit;
use crate::results::Report;

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
            format!("cannot create the folder {}; choose another with --output", folder.display())
        })?;
        output.put("report.json", "").map(|()| output)
    }

    /// Writes a file for each format that has content, and removes the old files of the other
    /// formats.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn write(&self, report: &Report) -> Result<()> {
        EXPORTERS.iter().try_for_each(|exporter| match (exporter.render)(report) {
            Some(content) => self.put(exporter.file_name, &content),
            None => self.remove(exporter.file_name),
        })
    }

    /// Returns the path of the report for programs.
    pub fn json(&self) -> PathBuf {
        self.folder.join("report.json")
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
                "cannot write {name} into {}; choose another folder with --output",
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
        let name = name
            .with_context(|| format!("--junit: `{}` is not the name of a file", file.display()))?;
        if file.is_dir() {
            bail!("--junit: {} is a folder; name a file in it", file.display());
        }
        let junit = Junit { folder: file.with_file_name(""), name };
        if !junit.folder.as_os_str().is_empty() {
            fs::create_dir_all(&junit.folder).with_context(|| junit.write_error())?;
        }
        junit.put("").map(|()| junit)
    }

    /// Writes the verdicts of the report.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, report: &Report) -> Result<()> {
        if !report.complete && is_special(&self.file()) {
            // Output to a pipe cannot be replaced, so write only the complete report.
            return Ok(());
        }
        self.put(&junit::render(report))
    }

    /// Returns the path of the file.
    pub fn file(&self) -> PathBuf {
        self.folder.join(&self.name)
    }

    fn put(&self, content: &str) -> Result<()> {
        put(&self.folder, &self.name, content).with_context(|| self.write_error())
    }

    fn write_error(&self) -> String {
        format!("cannot write {}; choose another file with --junit", self.file().display())
    }
}

/// Returns whether a path is a device, a pipe or a socket, which must not be replaced.
fn is_special(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| !it.is_file() && !it.is_dir())
}

/// Replaces a file atomically, so that no reader sees a partial file. With empty content, only
/// checks that the directory is writable. If the file is a symbolic link, replaces the target of
/// the link. If it is a device or a pipe, writes to it.
fn put(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let file = folder.join(name);
    if is_special(&file) {
        return fs::OpenOptions::new().write(true).open(&file)?.write_all(content.as_bytes());
    }
    // The target of a link may not exist yet.
    let target = || fs::read_link(&file).map(|target| folder.join(target));
    let file = fs::canonicalize(&file).or_else(|_| target()).unwrap_or(file);
    let mut new = std::ffi::OsString::from(".");
    new.push(file.file_name().unwrap_or_default());
    new.push(".new");
    let new = file.with_file_name(new);
    let put = fs::write(&new, content).and_then(|()| match content {
        "" => fs::remove_file(&new),
        _ => fs::rename(&new, &file),
    });
    // A temporary file that cannot replace its target is useless.
    put.inspect_err(|_| drop(fs::remove_file(&new)))
}
