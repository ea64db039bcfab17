//! User namespaces (user_namespaces(7)) for processes other than root.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

/// If the file contains 1, AppArmor removes the capabilities that an unprivileged process would
/// have in a new user namespace.
const APPARMOR_RESTRICTION: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Moves this process into a new user namespace, in which it may create other namespaces. User and
/// group ids stay the same.
///
/// # Errors
/// The process has more than one thread, or the system denies it to ordinary users.
pub(super) fn enter_user_namespace() -> io::Result<()> {
    if fs::read_to_string(APPARMOR_RESTRICTION).is_ok_and(|value| value.trim() == "1") {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "kernel.apparmor_restrict_unprivileged_userns is 1",
        ));
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // Required before an unprivileged process may map groups (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Returns whether the machine does not permit the operation. Other errors, such as a lack of
/// resources, are temporary.
pub(super) fn is_not_permitted(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    error.kind() == io::ErrorKind::PermissionDenied
        || matches!(number, Some(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS))
}
