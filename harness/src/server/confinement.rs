//! What a server that may mean ill cannot do and have.
//!
//! This is no prison: whoever looks for a hole in the kernel is not held. It keeps what goes wrong
//! with somebody's first server from the machine, and from the harness.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, getrlimit, rlim_t};

use rustix::process::geteuid;
use rustix::thread::{CapabilitySet, remove_capability_from_bounding_set};
use serde::{Deserialize, Serialize};

use super::{namespace, proc};

/// The only place that a server with a read-only file system may write to, and what it may keep
/// there: in memory, and gone with the server.
const WRITABLE: &str = "/tmp";
/// Where shared memory has its names (shm_overview(7)), semaphores of Python's among it.
const SHARED_MEMORY: &str = "/dev/shm";
const ROOM: &str = "size=16m,nr_inodes=8192,mode=1777";

/// Devices that a confined server may open. Through others it could write to a disk, or to the
/// terminal of a user.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// The kernel counts all tasks of a user, this server's and those of others: as a second line it
/// allows so many times as many as the server may have, beside what is there already.
const TASKS_OF_OTHERS: u64 = 32;

// Constants of linux/mount.h and linux/landlock.h.
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 0x1;
const LANDLOCK_SCOPE_SIGNAL: u64 = 0x2;

/// What a server may not do and have. By default nothing is kept from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Memory that each of its processes may have, in bytes (RLIMIT_AS).
    pub memory_bytes: Option<u64>,
    /// Threads and processes that it may have at a time, all together: with more it is ended.
    pub tasks: Option<usize>,
    /// Processor time that each of its processes may use, in seconds (RLIMIT_CPU).
    pub cpu_seconds: Option<u64>,
    /// How large a file it writes may become, in bytes (RLIMIT_FSIZE).
    pub file_bytes: Option<u64>,
    /// How long it may live: then it is ended.
    pub lifetime: Option<Duration>,
    /// It has a network of its own, and reaches nobody beyond it.
    pub network_alone: bool,
    /// It may write to /tmp only, which is its own, small, and gone with it.
    pub read_only: bool,
}

impl Confinement {
    /// For servers of strangers: far more than an honest one needs while it is judged.
    pub fn strict() -> Confinement {
        Confinement {
            // A thousand threads have 8 MiB of stack each.
            memory_bytes: Some(12 << 30),
            tasks: Some(2000),
            cpu_seconds: Some(300),
            file_bytes: Some(16 << 20),
            lifetime: Some(Duration::from_secs(10 * 60)),
            network_alone: true,
            read_only: true,
        }
    }

    /// Whether it is to be kept from others, and not only from having too much.
    pub(super) fn is_shut_in(&self) -> bool {
        self.network_alone || self.read_only
    }

    /// The kernel's limits, for setrlimit(2).
    pub(super) fn resources(&self) -> Vec<(Resource, rlim_t, rlim_t)> {
        let mut limits = Vec::new();
        let mut limit = |resource, soft: Option<u64>, more: u64| {
            // What cannot be asked for cannot be limited either. Nobody may have more than before.
            if let (Some(soft), Ok((_, most))) = (soft, getrlimit(resource)) {
                limits.push((resource, soft.min(most), soft.saturating_add(more).min(most)));
            }
        };
        limit(Resource::RLIMIT_AS, self.memory_bytes, 0);
        limit(Resource::RLIMIT_FSIZE, self.file_bytes, 0);
        // First it is told, which ends it usually; a second later it is killed.
        limit(Resource::RLIMIT_CPU, self.cpu_seconds, 1);
        // Root has as many as there are.
        let tasks = self.tasks.filter(|_| !geteuid().is_root()).and_then(|tasks| {
            let there = proc::tasks_of_all()? as u64;
            Some((tasks as u64).saturating_mul(TASKS_OF_OTHERS).saturating_add(there))
        });
        limit(Resource::RLIMIT_NPROC, tasks, 0);
        if *self != Confinement::default() {
            // What is left of a process that died would go to the disk.
            limit(Resource::RLIMIT_CORE, Some(0), 0);
        }
        limits
    }
}

/// What a supervisor has done to confine the server that it is about to start.
pub(super) struct Shut {
    /// What the server must do itself, before it is one.
    pub(super) scope: Option<Scope>,
    /// What could not be done.
    pub(super) undone: Vec<String>,
}

/// Confines this process, which has one thread, and with it all that it starts: the file system
/// and privileges. The server runs in `folder`.
pub(super) fn shut_in(limits: &Confinement, folder: &Path, command: &[String]) -> Shut {
    let mut shut = Shut { scope: None, undone: Vec::new() };
    if !limits.is_shut_in() {
        return shut;
    }
    if limits.read_only
        && let Err(error) = make_read_only(folder, command)
    {
        shut.undone.push(format!("it can write to the file system: {error}"));
    }
    if let Err(error) = drop_privileges() {
        shut.undone.push(format!("it keeps the privileges of the harness: {error}"));
    }
    match Scope::of(LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | LANDLOCK_SCOPE_SIGNAL) {
        Ok(scope) => shut.scope = Some(scope),
        Err(error) => {
            let words = "it can send signals to processes of the same user that are not its own";
            shut.undone.push(format!("{words}: {error} (Landlock, Linux 6.12)"));
        }
    }
    shut
}

/// Whoever is root could undo all of it.
fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if capability == CapabilitySet::NET_BIND_SERVICE {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no more of them.
            Err(rustix::io::Errno::INVAL) => break,
            // Who may not change theirs has none.
            Err(rustix::io::Errno::PERM) if !geteuid().is_root() => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn make_read_only(folder: &Path, command: &[String]) -> io::Result<()> {
    own_mounts()?;
    let nothing: Option<&str> = None;
    mount(nothing, "/", nothing, MsFlags::MS_REC | MsFlags::MS_PRIVATE, nothing)?;
    // A mount each, to be treated differently.
    let devices = DEVICES.iter().filter(|device| {
        mount(Some(**device), **device, nothing, MsFlags::MS_BIND, nothing).is_ok()
    });
    let devices: Vec<_> = devices.collect();
    set_attributes("/", libc::AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0)?;
    for device in devices {
        set_attributes(device, 0, 0, MOUNT_ATTR_NODEV)?;
    }
    // What is needed of the folder that the new one hides.
    let kept: Vec<(PathBuf, File)> = needed(folder, command)
        .into_iter()
        .map(|path| {
            let opened = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(&path)?;
            Ok((path, opened))
        })
        .collect::<io::Result<_>>()?;
    for place in [WRITABLE, SHARED_MEMORY] {
        let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        if Path::new(place).is_dir() {
            mount(Some("tmpfs"), place, Some("tmpfs"), flags, Some(ROOM))?;
        }
    }
    for (path, opened) in kept {
        if opened.metadata()?.is_dir() {
            fs::create_dir_all(&path)?;
        } else {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(WRITABLE)))?;
            File::create(&path)?;
        }
        let hidden = format!("/proc/self/fd/{}", opened.as_raw_fd());
        let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
        mount(Some(hidden.as_str()), &path, nothing, flags, nothing)?;
    }
    // The same folder, by way of what is there now.
    std::env::set_current_dir(folder)
}

fn own_mounts() -> io::Result<()> {
    match unshare(CloneFlags::CLONE_NEWNS) {
        Err(Errno::EPERM) => {
            namespace::own_user()?;
            Ok(unshare(CloneFlags::CLONE_NEWNS)?)
        }
        other => Ok(other?),
    }
}

/// What the server needs to see of the folder for temporary files: its own folder, and where the
/// files are that its command names.
fn needed(folder: &Path, command: &[String]) -> Vec<PathBuf> {
    let named = command.iter().filter_map(|word| folder.join(word).canonicalize().ok());
    let named = named.map(|path| match path.parent() {
        // What is beside a program is part of it.
        Some(parent) if path.is_file() && parent != Path::new(WRITABLE) => parent.to_path_buf(),
        _ => path,
    });
    let mut needed: Vec<PathBuf> = named.chain([folder.to_path_buf()]).collect();
    needed.retain(|path| path.starts_with(WRITABLE) && path != Path::new(WRITABLE));
    needed.sort_unstable();
    // What is in one of them is there with it.
    needed.dedup_by(|path, before| path.starts_with(before));
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

#[allow(unsafe_code, reason = "mount_setattr(2), which neither nix nor rustix has")]
fn set_attributes(path: &str, flags: i32, set: u64, clear: u64) -> io::Result<()> {
    let path = CString::new(path)?;
    let attributes = Attributes { set, clear, propagation: 0, user_namespace: 0 };
    // SAFETY: the path and the attributes live as long as the call, and their size is the given one.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &raw const attributes,
            size_of::<Attributes>(),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Puts this process, for good, where it can send signals to itself and to its descendants, and to
/// nobody else. Who is not root gives up privileges of programs for that (`no_new_privs`): so it is
/// done for root, and for whoever is shut in anyway.
///
/// # Errors
/// The kernel cannot do that.
pub(super) fn signal_descendants_only(limits: &Confinement) -> io::Result<()> {
    if limits.is_shut_in() {
        rustix::thread::set_no_new_privs(true)?;
    }
    Scope::of(LANDLOCK_SCOPE_SIGNAL)?.enter()
}

/// Those in it can send signals to nobody outside, and trace nobody there (landlock(7)).
#[derive(Debug)]
pub(super) struct Scope(OwnedFd);

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct Rules {
    files: u64,
    ports: u64,
    scoped: u64,
}

impl Scope {
    #[allow(unsafe_code, reason = "landlock_create_ruleset(2), which no library here has")]
    fn of(scoped: u64) -> io::Result<Scope> {
        let rules = Rules { files: 0, ports: 0, scoped };
        let (rules, size) = (&raw const rules, size_of::<Rules>());
        // SAFETY: the rules live as long as the call, and their size is the given one.
        let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, rules, size, 0) };
        if ruleset < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it, and nobody else has it.
        Ok(Scope(unsafe { OwnedFd::from_raw_fd(ruleset as i32) }))
    }

    /// Puts this process into it, for good. It allocates nothing and takes no lock.
    #[allow(unsafe_code, reason = "landlock_restrict_self(2), which no library here has")]
    pub(super) fn enter(&self) -> io::Result<()> {
        // SAFETY: it takes numbers only.
        let done =
            unsafe { libc::syscall(libc::SYS_landlock_restrict_self, self.0.as_raw_fd(), 0) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_needs_of_the_hidden_folder_is_seen() {
        let folder = tempfile::tempdir_in("/tmp").expect("a folder");
        let path = folder.path().canonicalize().expect("its name");
        let elsewhere = tempfile::tempdir_in("/tmp").expect("a folder");
        let script = elsewhere.path().join("server.py");
        fs::write(&script, "").expect("a file");
        fs::write(path.join("own.py"), "").expect("a file");
        let words = ["python3", "own.py", &script.display().to_string(), "/", "/tmp", "5000"];
        let mut both = vec![path.clone(), elsewhere.path().canonicalize().expect("its name")];
        both.sort_unstable();
        assert_eq!(needed(&path, &words.map(str::to_owned)), both);
        assert!(needed(Path::new("/"), &["bin".to_owned()]).is_empty());
    }

    #[test]
    fn nothing_is_limited_by_default() {
        assert_eq!(Confinement::default().resources(), []);
        assert!(!Confinement::default().is_shut_in());
    }
}
