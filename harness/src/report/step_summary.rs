//! Step summary of GitHub Actions: a Markdown file that the page of a workflow run shows.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};

use super::document::Report;
use super::markdown;

/// Environment variable with the path of the step summary, set by the runner.
const VARIABLE: &str = "GITHUB_STEP_SUMMARY";

/// Maximum size of the file in bytes. GitHub discards larger summaries.
const LIMIT: usize = 1024 * 1024;

const CUT: &str = "\n**Cut here: a step summary holds 1 MiB. The report has the rest.**\n";

/// Appends the Markdown summary of the report, if the environment names a file.
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
    let room = LIMIT.saturating_sub(usize::try_from(file.metadata()?.len())?);
    file.write_all(cut(markdown::render(report), room).as_bytes())?;
    Ok(())
}

/// Truncates a text to `room` bytes at a line end, with a note that it is truncated.
fn cut(mut text: String, room: usize) -> String {
    if text.len() > room {
        let mut end = room.saturating_sub(CUT.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(text[..end].rfind('\n').map_or(0, |line| line + 1));
        text.push_str(if room < CUT.len() { "" } else { CUT });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_at_the_end_of_a_line() {
        let text = "first ✓\nsecond ✓\n".to_owned();
        assert_eq!(cut(text.clone(), text.len()), text);
        for room in 0..text.len() {
            assert_eq!(cut(text.clone(), room), "", "there is no room to say it");
        }
        let long = "line ✓\n".repeat(100);
        for room in [CUT.len(), CUT.len() + 3, 300, long.len() - 1] {
            let cut = cut(long.clone(), room);
            assert!(cut.len() <= room && cut.ends_with(CUT), "{cut}");
            let kept = cut.strip_suffix(CUT).expect("it does");
            assert!(kept.is_empty() || kept.ends_with("✓\n"), "{kept}");
        }
    }
}
