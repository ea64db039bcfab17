//! Read-only file system: mounts that only the confined server sees.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::super::namespace;

/// Directory that a server with a read-only file system may write to. Its content is in memory and
/// vanishes with the server.
const TMP: &str = "/tmp";
/// Mount point of named shared memory (shm_overview(7)), which is writable too. Python's semaphores
/// need it.
const SHARED_MEMORY: &str = "/dev/shm";
/// Mount options of the writable directories.
const TMPFS_OPTIONS: &str = "size=16m,nr_inodes=8192,mode=1777";

/// Devices that a confined server may open. Other devices include disks and terminals of users.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

// Constants of linux/mount.h.
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NODEV: u64 = 0x4;

/// Makes the file system read-only for this process and its children, except for a private /tmp and
/// /dev/shm. The process must have a single thread.
///
/// # Errors
/// The system does not permit the mounts.
pub(super) fn make_read_only(folder: &Path, command: &[String]) -> io::Result<()> {
    enter_mount_namespace()?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    // Mount each device separately, so that it can have different attributes.
    let devices = DEVICES.iter().filter(|device| {
        mount(Some(**device), **device, nothing, MsFlags::MS_BIND, nothing).is_ok()
    });
    let devices: Vec<_> = devices.collect();
    set_attributes("/", libc::AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0)?;
    for device in devices {
        set_attributes(device, 0, 0, MOUNT_ATTR_NODEV)?;
    }
    // Open the files that the server needs and that the new mounts will hide.
    let hidden_files: Vec<(PathBuf, File)> = needed(folder, command)
        .into_iter()
        .map(|path| {
            let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path)?;
            Ok((path, opened))
        })
        .collect::<io::Result<_>>()?;
    for directory in [TMP, SHARED_MEMORY] {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        if Path::new(directory).is_dir() {
            mount(Some("tmpfs"), directory, Some("tmpfs"), flags, Some(TMPFS_OPTIONS))?;
        }
    }
    for (path, opened) in hidden_files {
        if opened.metadata()?.is_dir() {
            fs::create_dir_all(&path)?;
        } else {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(TMP)))?;
            File::create(&path)?;
        }
        let source = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(source.as_str()), &path, nothing, flags, nothing)?;
    }
    // Enter the server's directory through the new mounts.
    std::env::set_current_dir(folder)
}

fn enter_mount_namespace() -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => {
            namespace::enter_user_namespace()?;
            Ok(unshare(CloneFlags::CLONE_NEWNS)?)
        }
        other => Ok(other?),
    }
}

/// Returns the paths below /tmp that the server needs: its working directory, the directories in
/// its command, and the directories of the files in its command.
fn needed(folder: &Path, command: &[String]) -> Vec<PathBuf> {
    let named = command.iter().filter_map(|word| folder.join(word).canonicalize().ok());
    let named = named.map(|path| match path.parent() {
        // A program may need the files next to it.
        Some(parent) if path.is_file() && parent != Path::new(TMP) => parent.to_path_buf(),
        _ => path,
    });
    let mut needed: Vec<PathBuf> = named.chain([folder.to_path_buf()]).collect();
    needed.retain(|path| path.starts_with(TMP) && path != Path::new(TMP));
    needed.sort_unstable();
    // The mount of a directory includes the paths below it.
    needed.dedup_by(|path, previous| path.starts_with(previous));
    needed
}

/// `struct mount_attr` (mount_setattr(2)).
#[repr(C)]
struct Attributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

#[allow(unsafe_code, reason = "neither nix nor rustix has mount_setattr(2)")]
fn set_attributes(path: &str, flags: i32, set: u64, clear: u64) -> io::Result<()> {
    let path = CString::new(path)?;
    let attributes = Attributes { set, clear, propagation: 0, user_namespace: 0 };
    // SAFETY: the path and the attributes outlive the call, and the size is the size of the
    // attributes.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_directories_below_tmp_are_found() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let path = folder.path().canonicalize().expect("the path of the folder");
        let elsewhere = tempfile::tempdir_in("/tmp").expect("a folder");
        let script = elsewhere.path().join("server.py");
        fs::write(&script, "").expect("a file");
        fs::write(path.join("own.py"), "").expect("a file");
        let words = ["python3", "own.py", &script.display().to_string(), "/", "/tmp", "5000"];
        let mut both =
            vec![path.clone(), elsewhere.path().canonicalize().expect("the path of the folder")];
        both.sort_unstable();
        assert_eq!(needed(&path, &words.map(str::to_owned)), both);
        assert!(needed(Path::new("/"), &["bin".to_owned()]).is_empty());
    }
}
