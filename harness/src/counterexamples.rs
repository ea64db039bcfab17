//! Saved counterexamples.

use std::fmt::Display;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config_source::read_text;
use crate::conformance::cases;
use crate::renamed;
use crate::results::CaseResult;
use crate::server::LaunchSpec;
use crate::text::file_name;
use crate::usage_error::UsageError;

/// Format version. Increase it when this program can no longer read older files.
const FORMAT: u32 = 1;

/// A failed case and the input for which the case failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CounterexampleFile {
    /// [`FORMAT`].
    format: u32,
    /// Name of the server, for information.
    server: String,
    /// Arguments of `harness check` that select the server and declare its properties.
    pub(crate) check: String,
    pub(crate) case: String,
    pub(crate) seed: u64,
    /// The input, in the format of the case.
    pub(crate) counterexample: Value,
}

/// A counterexample, and the command that reproduces it.
pub(crate) struct Reproduction {
    pub(crate) counterexample: Value,
    pub(crate) command: String,
}

/// Checks that the directory for counterexamples can be created, without creating it.
///
/// # Errors
/// The path, or one of its parents, is not a directory.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    match folder.ancestors().find(|ancestor| ancestor.exists()) {
        Some(existing) if !existing.is_dir() => bail!(
            "cannot save counterexamples in {}: {} is not a directory; choose another directory \
             with --counterexamples or --output",
            folder.display(),
            existing.display()
        ),
        _ => Ok(()),
    }
}

/// Saves the counterexample of a case result, if any, and adds the command that reproduces the
/// failure to the result. Creates the directory if it does not exist.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn save(
    folder: &Path,
    spec: &LaunchSpec,
    seed: u64,
    result: &mut CaseResult,
) -> Result<()> {
    let Some(counterexample) = &result.counterexample else { return Ok(()) };
    let content = CounterexampleFile {
        format: FORMAT,
        server: spec.name.clone(),
        check: spec.check_arguments.clone(),
        case: result.name.to_owned(),
        seed,
        counterexample: counterexample.clone(),
    };
    let name = format!("{}-{}.json", file_name(&spec.name), file_name(&result.name));
    let (file, text) = (folder.join(name), serde_json::to_string_pretty(&content)?);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text + "\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    result.reproduce = command(&file);
    Ok(())
}

/// Returns the command that reproduces a saved counterexample.
pub(crate) fn command(file: &Path) -> String {
    let file = file.display().to_string();
    let quoted = shlex::try_quote(&file).map_or(file.clone(), Into::into);
    format!("harness replay {quoted}")
}

const HELP: &str = "`harness replay` takes a counterexample file: `harness check` and `harness \
                    run` write one to `counterexamples/` when a server fails on a random input";

impl CounterexampleFile {
    /// Reads a counterexample file.
    ///
    /// # Errors
    /// The file cannot be read, or is not a counterexample file of this format.
    pub(crate) fn read(file: &Path) -> Result<CounterexampleFile> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let invalid = |message: String| file_error(file, &message);
        let with_help = |error: &dyn Display| invalid(format!("{error}\n{HELP}"));
        let text = read_text(file).map_err(|error| with_help(&error))?;
        let Format { format } = serde_json::from_str(&text)
            .map_err(|error| with_help(&format!("the file is no counterexample: {error}")))?;
        if format != FORMAT {
            return Err(invalid(format!(
                "format {format} is unknown; this version reads format {FORMAT}; run the check \
                 again to get a new file"
            ))
            .into());
        }
        let content: CounterexampleFile =
            serde_json::from_str(&text).map_err(|error| with_help(&error))?;
        let is_case = |name: &str| cases().any(|case| case.name == name);
        if !is_case(&content.case) {
            let case = &content.case;
            let hint = renamed::hint(case, is_case);
            let message = format!("there is no case `{case}`: see `harness list cases`");
            return Err(invalid(hint.unwrap_or(message)).into());
        }
        Ok(content)
    }
}

/// Returns a usage error about a file.
pub(crate) fn file_error(file: &Path, message: &str) -> UsageError {
    UsageError(format!("{}: {message}", file.display()))
}
