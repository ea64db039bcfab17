//! Step summary of GitHub Actions: a Markdown file that is shown on the page of a workflow run.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::markdown;
use crate::results::Report;

/// Environment variable with the path of the step summary, set by the runner.
const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// Maximum size of the file in bytes. GitHub discards larger summaries.
const MAX_SIZE: usize = 1024 * 1024;

/// Note at the end of a truncated summary.
const TRUNCATED: &str =
    "\n**Truncated: a step summary has at most 1 MiB. The report has all results.**\n";

/// Appends the Markdown summary of the report to the step summary, if the environment variable is
/// set.
///
/// # Errors
/// The file cannot be written.
pub fn append(report: &Report) -> Result<()> {
    match std::env::var_os(VARIABLE) {
        Some(file) if !file.is_empty() => append_to(Path::new(&file), report).with_context(|| {
            format!("cannot append to {} ({VARIABLE})", Path::new(&file).display())
        }),
        _ => Ok(()),
    }
}

fn append_to(path: &Path, report: &Report) -> Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let max_size = MAX_SIZE.saturating_sub(usize::try_from(file.metadata()?.len())?);
    file.write_all(truncated(markdown::render(report), max_size).as_bytes())?;
    Ok(())
}

/// Truncates a text to `max_size` bytes at a line end, and appends a note.
fn truncated(mut text: String, max_size: usize) -> String {
    if text.len() > max_size {
        let mut end = max_size.saturating_sub(TRUNCATED.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(text[..end].rfind('\n').map_or(0, |line| line + 1));
        text.push_str(if max_size < TRUNCATED.len() { "" } else { TRUNCATED });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_truncated_at_the_end_of_a_line() {
        let text = "first ✓\nsecond ✓\n".to_owned();
        assert_eq!(truncated(text.clone(), text.len()), text);
        for max_size in 0..text.len() {
            assert_eq!(truncated(text.clone(), max_size), "", "no space for the note");
        }
        let long = "line ✓\n".repeat(100);
        for max_size in [TRUNCATED.len(), TRUNCATED.len() + 3, 300, long.len() - 1] {
            let truncated = truncated(long.clone(), max_size);
            assert!(truncated.len() <= max_size && truncated.ends_with(TRUNCATED), "{truncated}");
            let kept = truncated.strip_suffix(TRUNCATED).expect("the note at the end");
            assert!(kept.is_empty() || kept.ends_with("✓\n"), "{kept}");
        }
    }
}
