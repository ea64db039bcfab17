//! User namespaces (user_namespaces(7)) for processes other than root.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

/// If this is 1, AppArmor gives unprivileged processes user namespaces without capabilities.
const RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Moves this process into a new user namespace, in which it may create others. User and group ids
/// stay the same.
///
/// # Errors
/// The process has more than one thread, or the system denies it to ordinary users.
pub(super) fn own_user() -> io::Result<()> {
    if fs::read_to_string(RESTRICTED).is_ok_and(|value| value.trim() == "1") {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "kernel.apparmor_restrict_unprivileged_userns is 1",
        ));
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // An unprivileged process may map no group before this (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Returns whether the operation is not permitted here, as opposed to a temporary lack of
/// resources.
pub(super) fn is_not_permitted(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    error.kind() == io::ErrorKind::PermissionDenied
        || matches!(number, Some(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS))
}
