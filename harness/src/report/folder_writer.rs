//! Writes the files of a [`Folder`], and removes the old ones.
//!
//! The subdirectory has a list of the files that the harness wrote (`files.json`). Only listed
//! files are removed, because users may put their own files there.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::folder::{Folder, FolderFile};
use super::replace_file::put;

/// Name of the list.
const LIST: &str = "files.json";

/// Entry of the list: file names do not show the exact names of servers.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Entry {
    file: String,
    server: String,
    /// Name of the workload or case.
    subject: String,
}

/// Writes the files, and removes the other files of earlier reports.
///
/// # Errors
/// A file cannot be written or removed.
pub(super) fn write(report_folder: &Path, format: &Folder, files: &[FolderFile]) -> io::Result<()> {
    let folder = report_folder.join(format.name);
    let old = listed(&folder, format);
    let entry = |file: &FolderFile| Entry {
        file: file.name.clone(),
        server: file.server.clone(),
        subject: file.subject.clone(),
    };
    let is_old = |file: &FolderFile| old.iter().any(|entry| entry.file == file.name);
    let kept = files.iter().filter(|file| file.content.is_some() || is_old(file));
    let new: BTreeSet<Entry> = kept.map(entry).collect();
    if old.is_empty() && new.is_empty() {
        return Ok(());
    }
    // Lists each file before it exists, so that an interrupted write leaves no file that is not
    // listed.
    write_list(&folder, &old.union(&new).cloned().collect())?;
    for file in files {
        if let Some(content) = &file.content {
            write_file(&folder, &file.name, content)?;
        }
    }
    let names: BTreeSet<&str> = new.iter().map(|entry| entry.file.as_str()).collect();
    for entry in old.iter().filter(|entry| !names.contains(entry.file.as_str())) {
        remove(&folder, &entry.file)?;
    }
    write_list(&folder, &new)
}

/// Returns the files of the list that the harness can have written. The list may have been edited.
fn listed(folder: &Path, format: &Folder) -> BTreeSet<Entry> {
    let text = fs::read_to_string(folder.join(LIST)).unwrap_or_default();
    let entries: Vec<Entry> = serde_json::from_str(&text).unwrap_or_default();
    let extension = format!(".{}", format.extension);
    let is_ours = |entry: &Entry| {
        is_safe(&entry.file) && entry.file.ends_with(&extension) && entry.file != LIST
    };
    entries.into_iter().filter(is_ours).collect()
}

/// Returns whether a path has at most one `/`, and neither leaves the directory nor names a hidden
/// file.
fn is_safe(path: &str) -> bool {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let is_name = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && part.chars().all(is_plain)
    };
    path.split('/').count() <= 2 && path.split('/').all(is_name)
}

fn write_list(folder: &Path, entries: &BTreeSet<Entry>) -> io::Result<()> {
    if entries.is_empty() {
        let removed = fs::remove_file(folder.join(LIST));
        // The directory stays if it has files of the user.
        let _ = fs::remove_dir(folder);
        return removed;
    }
    let lines: Vec<String> = entries
        .iter()
        .map(|entry| serde_json::to_string(entry).expect("an entry can be serialized"))
        .collect();
    write_file(folder, LIST, &format!("[\n{}\n]\n", lines.join(",\n")))
}

/// Writes a file, unless it has this content already: most files do not change between two writes.
fn write_file(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let file = folder.join(name);
    if fs::read(&file).is_ok_and(|old| old == content.as_bytes()) {
        return Ok(());
    }
    let parent = file.parent().unwrap_or(folder);
    fs::create_dir_all(parent)?;
    put(parent, &file.file_name().unwrap_or_default().to_string_lossy(), content)
}

/// Removes a file of an earlier report, and its directory if no file is left in it.
fn remove(folder: &Path, name: &str) -> io::Result<()> {
    let file = folder.join(name);
    let parent = file.parent().unwrap_or(folder);
    // A link could lead out of the directory.
    if !fs::symlink_metadata(parent).is_ok_and(|it| it.is_dir()) {
        return Ok(());
    }
    match fs::remove_file(&file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if parent != folder {
        let _ = fs::remove_dir(parent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORMAT: Folder = Folder {
        name: "sub",
        pattern: "NAME.txt",
        extension: "txt",
        summary: "",
        files: |_, _| Vec::new(),
    };

    fn file(name: &str, content: Option<&str>) -> FolderFile {
        FolderFile {
            name: name.to_owned(),
            server: String::new(),
            subject: String::new(),
            content: content.map(str::to_owned),
        }
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            match path.is_dir() {
                true => names.extend(self::names(&path).iter().map(|it| format!("{name}/{it}"))),
                false => names.push(name),
            }
        }
        names.sort();
        names
    }

    #[test]
    fn only_files_that_the_harness_wrote_are_removed() {
        let folder = tempfile::tempdir().expect("a directory");
        let sub = folder.path().join("sub");
        let write = |files: &[FolderFile]| write(folder.path(), &FORMAT, files).expect("files");
        write(&[]);
        assert!(!sub.exists(), "a directory without files");
        write(&[file("a.txt", Some("1")), file("b/c.txt", Some("2"))]);
        assert_eq!(names(&sub), ["a.txt", "b/c.txt", LIST]);
        fs::write(sub.join("own.txt"), "of the user").expect("a file");
        write(&[file("a.txt", None), file("missing.txt", None), file("d.txt", Some("3"))]);
        assert_eq!(names(&sub), ["a.txt", "d.txt", LIST, "own.txt"]);
        assert_eq!(fs::read_to_string(sub.join("a.txt")).expect("a file"), "1");
        write(&[]);
        assert_eq!(names(&sub), ["own.txt"]);
        fs::remove_file(sub.join("own.txt")).expect("a file");
        write(&[file("a.txt", Some("1"))]);
        write(&[]);
        assert!(!sub.exists(), "an empty directory");
    }

    #[test]
    fn an_edited_list_cannot_remove_other_files() {
        let folder = tempfile::tempdir().expect("a directory");
        let (sub, outside) = (folder.path().join("sub"), folder.path().join("outside"));
        for folder in [&sub, &outside] {
            fs::create_dir(folder).expect("a directory");
        }
        std::os::unix::fs::symlink(&outside, sub.join("link")).expect("a link");
        let files = ["report.txt", "outside/x.txt", "sub/keep.md", "sub/.hidden.txt"];
        for name in files {
            fs::write(folder.path().join(name), "").expect("a file");
        }
        let absolute = folder.path().join("report.txt").display().to_string();
        let listed = [
            "../report.txt",
            "link/x.txt",
            "keep.md",
            ".hidden.txt",
            "a/../../report.txt",
            &absolute,
            "sub/../../report.txt",
        ];
        let entry = |file: &&str| Entry {
            file: (*file).to_owned(),
            server: String::new(),
            subject: String::new(),
        };
        let list: Vec<Entry> = listed.iter().map(entry).collect();
        fs::write(sub.join(LIST), serde_json::to_string(&list).expect("a list")).expect("a file");
        write(folder.path(), &FORMAT, &[file("a.txt", Some("1"))]).expect("files");
        write(folder.path(), &FORMAT, &[]).expect("files");
        for name in files {
            assert!(folder.path().join(name).exists(), "{name}");
        }
    }
}
