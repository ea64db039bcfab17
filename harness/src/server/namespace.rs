//! Namespaces (namespaces(7)) for those who are not root.

use std::fs;
use std::io;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use rustix::process::{getegid, geteuid};

/// Where this is 1, who is not root gets a user namespace that is good for nothing.
const RESTRICTED: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// Gives this process a user namespace of its own, in which it may have others. User and group stay
/// what they are.
///
/// # Errors
/// It has more than one thread, or the system lets no ordinary user do that.
pub(super) fn own_user() -> io::Result<()> {
    if fs::read_to_string(RESTRICTED).is_ok_and(|value| value.trim() == "1") {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "kernel.apparmor_restrict_unprivileged_userns is 1",
        ));
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(CloneFlags::CLONE_NEWUSER)?;
    // Who is not root may map no group before this (user_namespaces(7)).
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Whether it is not permitted here, rather than that something is lacking at the moment.
pub(super) fn is_not_permitted(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    error.kind() == io::ErrorKind::PermissionDenied
        || matches!(number, Some(Errno::EPERM | Errno::EINVAL | Errno::ENOSYS))
}
