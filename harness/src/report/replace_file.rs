//! Atomic replacement of files.

use std::io::Write as _;
use std::path::Path;
use std::{fs, io};

/// Returns whether a path is a device, a pipe or a socket, which must not be replaced.
pub(super) fn is_special(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|it| !it.is_file() && !it.is_dir())
}

/// Replaces a file atomically, so that no reader sees a partial file. With empty content, only
/// checks that the directory is writable. If the file is a symbolic link, replaces the target of
/// the link. If it is a device or a pipe, writes to it.
pub(super) fn put(folder: &Path, name: &str, content: &str) -> io::Result<()> {
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
