//! Writing a report into its folder: created before anything is run, so that a path that cannot
//! be written is known in the first second, and written again after each step, so that an
//! interrupted run keeps what it had.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::document::Report;
use super::exporters::EXPORTERS;
use super::junit;

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

    /// Writes every format that has something to say, and removes what an earlier report had to say
    /// in one that has not.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn write(&self, report: &Report) -> Result<()> {
        EXPORTERS.iter().try_for_each(|exporter| match (exporter.render)(report) {
            Some(content) => self.put(exporter.file_name, &content),
            None => self.remove(exporter.file_name),
        })
    }

    /// Where a person begins to read.
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

/// The file of `--junit`.
#[derive(Debug)]
pub struct Junit {
    folder: PathBuf,
    name: String,
}

impl Junit {
    /// Creates the file's folder and tries to write in it.
    ///
    /// # Errors
    /// The path cannot be a file to write.
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

    /// Writes the report's verdicts.
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

/// Replaces a file as a whole: a reader never sees half of one. Without content, only tries to.
fn put(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let (file, new) = (folder.join(name), folder.join(format!(".{name}.new")));
    let put = fs::write(&new, content).and_then(|()| match content {
        "" => fs::remove_file(&new),
        _ => fs::rename(&new, &file),
    });
    // What could not take its place is of no use to anyone.
    put.inspect_err(|_| drop(fs::remove_file(&new)))
}
