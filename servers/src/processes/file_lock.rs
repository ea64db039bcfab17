//! A record lock shared by processes (fcntl(2)). The kernel releases the lock when its holder dies.
//! The pattern `prefork-lock` lists the pitfalls.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::shutdown::Shutdown;

/// A record lock on an unnamed file. The owner of such a lock is the process, not the descriptor,
/// so all children can use the descriptor that they inherit.
#[derive(Debug)]
pub struct FileLock(OwnedFd);

/// Guard that releases the lock when it is dropped.
struct FileLockGuard<'l>(&'l FileLock);

impl FileLock {
    /// Returns an unlocked lock.
    ///
    /// # Errors
    /// No descriptor or memory is left.
    pub fn new() -> io::Result<FileLock> {
        Ok(FileLock(memfd_create("accept lock", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Waits for the lock and holds it during `work`. Returns `None` at shutdown, without `work`.
    ///
    /// # Errors
    /// Those of `work` and of fcntl(2).
    pub fn hold<T>(
        &self,
        shutdown: Shutdown,
        work: impl FnOnce() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        while !shutdown.is_requested() {
            match self.set(libc::F_WRLCK) {
                Ok(()) => {
                    let _guard = FileLockGuard(self);
                    return work();
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn set(&self, kind: libc::c_int) -> nix::Result<()> {
        let whole_file = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&self.0, FcntlArg::F_SETLKW(&whole_file)).map(drop)
    }
}

impl AsRawFd for FileLock {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for FileLockGuard<'_> {
    fn drop(&mut self) {
        // Releasing a held lock does not fail.
        let _ = self.0.set(libc::F_UNLCK);
    }
}
