//! Output directory of a report.
//!
//! The directory is created before the first server starts, so that an unwritable path fails
//! immediately. The report is written several times during the run, so that an interrupted run
//! keeps its results.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result, bail};

use super::exporter::Document;
use super::exporters::{EXPORTERS, FOLDERS};
use super::folder::Evidence;
use super::replace_file::{is_special, put};
use super::{folder_writer, junit};
use crate::comparison::{ReportComparison, Settings};
use crate::results::Report;

/// The output directory of a report.
#[derive(Debug)]
pub struct Output {
    folder: PathBuf,
    evidence: Evidence,
    /// Earlier reports with which the page compares this one.
    baseline: Vec<Report>,
}

impl Output {
    /// Creates the directory and checks that it is writable.
    ///
    /// # Errors
    /// The directory cannot be created or written to.
    pub fn create(folder: &Path) -> Result<Output> {
        let output = Output {
            folder: folder.to_path_buf(),
            evidence: Evidence::default(),
            baseline: Vec::new(),
        };
        fs::create_dir_all(folder).with_context(|| {
            format!("cannot create the folder {}; choose another with --output", folder.display())
        })?;
        output.put("report.json", "").map(|()| output)
    }

    /// Sets which evidence is kept.
    pub fn with_evidence(self, evidence: Evidence) -> Output {
        Output { evidence, ..self }
    }

    /// Sets the earlier reports with which the page compares this one.
    pub fn with_baseline(self, baseline: Vec<Report>) -> Output {
        Output { baseline, ..self }
    }

    /// Writes all files of the report, and removes the old files of formats that have no content.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn write(&self, report: &Report) -> Result<()> {
        let comparison = (!self.baseline.is_empty()).then(|| {
            let new = std::slice::from_ref(report);
            ReportComparison::of(&self.baseline, new, Settings::default())
        });
        self.write_files(Document { report, baseline: comparison.as_ref() })?;
        FOLDERS.iter().try_for_each(|format| {
            let files = (format.files)(report, self.evidence);
            folder_writer::write(&self.folder, format, &files).with_context(|| {
                format!(
                    "cannot write the files of {} into {}; choose another folder with --output",
                    format.name,
                    self.folder.display()
                )
            })
        })
    }

    /// Writes the report without the formats that have several files, and without a comparison:
    /// with thousands of files, a write would take too long to repeat it during a run.
    ///
    /// # Errors
    /// A file cannot be written or removed.
    pub fn write_draft(&self, report: &Report) -> Result<()> {
        self.write_files(Document::of(report))
    }

    fn write_files(&self, document: Document<'_>) -> Result<()> {
        EXPORTERS.iter().try_for_each(|exporter| match (exporter.render)(document) {
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
