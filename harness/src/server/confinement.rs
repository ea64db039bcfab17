//! Confinement: resource limits and isolation of a server that may be malicious.
//!
//! This is no security boundary against exploits of the kernel. It protects the machine and the
//! harness from the usual defects of a first server.

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

/// The only directory that a server with a read-only file system may write to, with
/// [`SHARED_MEMORY`]. Its content is in memory and vanishes with the server.
const WRITABLE: &str = "/tmp";
/// Mount point of named shared memory (shm_overview(7)); Python's semaphores need it.
const SHARED_MEMORY: &str = "/dev/shm";
const ROOM: &str = "size=16m,nr_inodes=8192,mode=1777";

/// Devices that a confined server may open. Others would let it write to a disk, or to a user's
/// terminal.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// Factor of the task limit for RLIMIT_NPROC, on top of the tasks that already run. The kernel
/// counts all tasks of a user, including those of other servers, so this is a second line of
/// defence.
const TASKS_OF_OTHERS: u64 = 32;

// Constants of linux/mount.h and linux/landlock.h.
const MOUNT_ATTR_RDONLY: u64 = 0x1;
const MOUNT_ATTR_NODEV: u64 = 0x4;
const LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 0x1;
const LANDLOCK_SCOPE_SIGNAL: u64 = 0x2;

/// Resource limits and isolation of a server. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// Address space of each process, in bytes (RLIMIT_AS).
    pub memory_bytes: Option<u64>,
    /// Total number of threads and processes at a time; the server is killed when it exceeds it.
    pub tasks: Option<usize>,
    /// CPU time of each process, in seconds (RLIMIT_CPU).
    pub cpu_seconds: Option<u64>,
    /// Size of each written file, in bytes (RLIMIT_FSIZE).
    pub file_bytes: Option<u64>,
    /// Lifetime; the server is killed at its end.
    pub lifetime: Option<Duration>,
    /// The server runs in a network namespace and reaches no other address.
    pub network_alone: bool,
    /// The server may write only to a /tmp of its own, which is small and vanishes with it.
    pub read_only: bool,
}

impl Confinement {
    /// Returns limits for servers from strangers, far above the needs of a regular server under
    /// test.
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

    /// Returns whether the server is isolated from other processes, beside its resource limits.
    pub(super) fn is_shut_in(&self) -> bool {
        self.network_alone || self.read_only
    }

    /// Returns the limits for setrlimit(2): resource, soft and hard limit.
    pub(super) fn resources(&self) -> Vec<(Resource, rlim_t, rlim_t)> {
        let mut limits = Vec::new();
        let mut limit = |resource, soft: Option<u64>, more: u64| {
            // A limit that cannot be read cannot be set either. No hard limit is raised.
            if let (Some(soft), Ok((_, most))) = (soft, getrlimit(resource)) {
                limits.push((resource, soft.min(most), soft.saturating_add(more).min(most)));
            }
        };
        limit(Resource::RLIMIT_AS, self.memory_bytes, 0);
        limit(Resource::RLIMIT_FSIZE, self.file_bytes, 0);
        // SIGXCPU at the soft limit ends most processes; SIGKILL follows a second later.
        limit(Resource::RLIMIT_CPU, self.cpu_seconds, 1);
        // The kernel does not apply RLIMIT_NPROC to root.
        let tasks = self.tasks.filter(|_| !geteuid().is_root()).and_then(|tasks| {
            let there = proc::tasks_of_all()? as u64;
            Some((tasks as u64).saturating_mul(TASKS_OF_OTHERS).saturating_add(there))
        });
        limit(Resource::RLIMIT_NPROC, tasks, 0);
        if *self != Confinement::default() {
            // A core dump would be written to the disk.
            limit(Resource::RLIMIT_CORE, Some(0), 0);
        }
        limits
    }
}

/// Isolation that a supervisor has applied to the server that it is about to start.
pub(super) struct Shut {
    /// Landlock domain that the server must enter itself, before exec.
    pub(super) scope: Option<Scope>,
    /// Descriptions of the isolation that could not be applied.
    pub(super) undone: Vec<String>,
}

/// Isolates this process, which must have a single thread, and all its children from the file
/// system and from privileges. The server runs in `folder`.
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

/// Drops all capabilities but the one for privileged ports: root could undo the isolation.
fn drop_privileges() -> io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for number in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if capability == CapabilitySet::NET_BIND_SERVICE {
            continue;
        }
        match remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel has no capability with this number.
            Err(rustix::io::Errno::INVAL) => break,
            // A process that may not change its bounding set has no capabilities.
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
    // A separate mount each, so that it can have other attributes.
    let devices = DEVICES.iter().filter(|device| {
        mount(Some(**device), **device, nothing, MsFlags::MS_BIND, nothing).is_ok()
    });
    let devices: Vec<_> = devices.collect();
    set_attributes("/", libc::AT_RECURSIVE, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV, 0)?;
    for device in devices {
        set_attributes(device, 0, 0, MOUNT_ATTR_NODEV)?;
    }
    // Files that the new mounts hide and the server needs.
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
    // Enter the same directory through the new mounts.
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

/// Returns the paths below the temporary directory that the server needs to see: its working
/// directory, and the directories of the files in its command.
fn needed(folder: &Path, command: &[String]) -> Vec<PathBuf> {
    let named = command.iter().filter_map(|word| folder.join(word).canonicalize().ok());
    let named = named.map(|path| match path.parent() {
        // Files next to a program are part of it.
        Some(parent) if path.is_file() && parent != Path::new(WRITABLE) => parent.to_path_buf(),
        _ => path,
    });
    let mut needed: Vec<PathBuf> = named.chain([folder.to_path_buf()]).collect();
    needed.retain(|path| path.starts_with(WRITABLE) && path != Path::new(WRITABLE));
    needed.sort_unstable();
    // A path below another one in the list is visible with that.
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
    // SAFETY: the path and the attributes live as long as the call, and the size is that of the
    // attributes.
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

/// Restricts this process permanently to signals to itself and to its descendants. A process other
/// than root must give up the privileges of setuid programs for that (`no_new_privs`). So it only
/// works for root, and for a server that is isolated anyway.
///
/// # Errors
/// The kernel does not support it.
pub(super) fn signal_descendants_only(limits: &Confinement) -> io::Result<()> {
    if limits.is_shut_in() {
        rustix::thread::set_no_new_privs(true)?;
    }
    Scope::of(LANDLOCK_SCOPE_SIGNAL)?.enter()
}

/// A Landlock domain: its processes cannot signal or trace processes outside (landlock(7)).
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
        // SAFETY: the kernel has just opened the descriptor, and no other value owns it.
        Ok(Scope(unsafe { OwnedFd::from_raw_fd(ruleset as i32) }))
    }

    /// Moves this process into the domain permanently. Does not allocate and takes no lock.
    #[allow(unsafe_code, reason = "landlock_restrict_self(2), which no library here has")]
    pub(super) fn enter(&self) -> io::Result<()> {
        // SAFETY: the call takes only numbers.
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
