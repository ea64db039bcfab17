//! Saved counterexamples.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::conformance::{CaseResult, cases};
use crate::server::LaunchSpec;
use crate::usage_error::UsageError;

/// Format version; raised when older files can no longer be read.
const FORMAT: u32 = 1;

/// Maximum length of a server's name in a file name, in characters.
const LONGEST_NAME: usize = 80;

/// A failed case and the input for which it failed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recorded {
    /// [`FORMAT`].
    format: u32,
    /// Name of the server, for information.
    server: String,
    /// Arguments that select the server in `harness check`, and its declared properties.
    pub(crate) check: String,
    pub(crate) case: String,
    pub(crate) seed: u64,
    /// The input, in the format of the case.
    pub(crate) counterexample: Value,
}

/// A counterexample to reproduce, and the command that does so.
pub(crate) struct Again {
    pub(crate) value: Value,
    pub(crate) command: String,
}

/// Checks that the folder for counterexamples can be created. It is created only when needed.
///
/// # Errors
/// The path, or one of its parents, is not a folder.
pub(crate) fn check_folder(folder: &Path) -> Result<()> {
    match folder.ancestors().find(|one| one.exists()) {
        Some(there) if !there.is_dir() => bail!(
            "cannot keep counterexamples in {}: {} is no folder (--replays or --output names \
             another)",
            folder.display(),
            there.display()
        ),
        _ => Ok(()),
    }
}

/// Saves the counterexample of a case result, if there is one, and creates the folder if needed.
/// Adds the command that reproduces it to the result.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn keep(
    folder: &Path,
    spec: &LaunchSpec,
    seed: u64,
    judgement: &mut CaseResult,
) -> Result<()> {
    let Some(counterexample) = &judgement.counterexample else { return Ok(()) };
    let recorded = Recorded {
        format: FORMAT,
        server: spec.name.clone(),
        check: spec.check_arguments.clone(),
        case: judgement.name.to_owned(),
        seed,
        counterexample: counterexample.clone(),
    };
    let name = format!("{}-{}.json", clean(&spec.name), clean(judgement.name));
    let (file, text) = (folder.join(name), serde_json::to_string_pretty(&recorded)?);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&file, text + "\n"))
        .with_context(|| format!("cannot write {}", file.display()))?;
    judgement.replay = command(&file);
    Ok(())
}

pub(crate) fn command(file: &Path) -> String {
    let file = file.display().to_string();
    let quoted = shlex::try_quote(&file).map_or(file.clone(), Into::into);
    format!("harness replay {quoted}")
}

impl Recorded {
    pub(crate) fn read(file: &Path) -> Result<Recorded> {
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let wrong = |words: String| in_file(file, &words);
        let text = fs::read_to_string(file).map_err(|error| wrong(error.to_string()))?;
        let Format { format } =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if format != FORMAT {
            let words = format!("format {format} is unknown; this harness reads format {FORMAT}");
            return Err(wrong(words).into());
        }
        let recorded: Recorded =
            serde_json::from_str(&text).map_err(|error| wrong(error.to_string()))?;
        if !cases().any(|case| case.name == recorded.case) {
            let words = format!("there is no case `{}`: see `harness list cases`", recorded.case);
            return Err(wrong(words).into());
        }
        Ok(recorded)
    }
}

pub(crate) fn in_file(file: &Path, words: &str) -> UsageError {
    UsageError(format!("{}: {words}", file.display()))
}

/// Returns a name with only those characters that need no quoting in file systems and shells.
fn clean(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '.';
    let words = name.split(|letter| !plain(letter)).map(|word| word.trim_matches('.'));
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    match words.join("-") {
        name if name.is_empty() => "server".to_owned(),
        name => name.chars().take(LONGEST_NAME).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_a_plain_name_whatever_the_server_is_called() {
        for (name, plain) in [
            ("select-echo", "select-echo"),
            ("python3 './my server.py' {host} {port}", "python3-my-server.py-host-port"),
            ("../../etc/passwd", "etc-passwd"),
            ("…", "server"),
        ] {
            assert_eq!(clean(name), plain);
        }
        assert_eq!(clean(&"x".repeat(1000)).len(), LONGEST_NAME);
    }
}
