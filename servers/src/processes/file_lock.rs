//! Locks between processes, given back by the kernel when their holder dies, and left alone by
//! whoever is to end.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::shutdown::Shutdown;

/// A record lock on a file without a name (fcntl(2)). It belongs to a process, not to the
/// descriptor, so that the children of a server can all use the one that they inherit.
#[derive(Debug)]
pub struct FileLock(OwnedFd);

/// The lock, held. Dropping it gives it back.
struct Held<'l>(&'l FileLock);

impl FileLock {
    /// One that nobody holds.
    ///
    /// # Errors
    /// When the kernel has no descriptor or memory left.
    pub fn new() -> io::Result<FileLock> {
        Ok(FileLock(memfd_create("accept lock", MFdFlags::MFD_CLOEXEC)?))
    }

    /// Waits for the lock, and holds it while it does the work. `None` when the process is to end.
    ///
    /// # Errors
    /// Those of the work, and what the kernel says.
    pub fn hold<T>(
        &self,
        shutdown: Shutdown,
        work: impl FnOnce() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        while !shutdown.is_requested() {
            match self.set(libc::F_WRLCK) {
                Ok(()) => {
                    let _held = Held(self);
                    return work();
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    fn set(&self, kind: libc::c_int) -> nix::Result<()> {
        let whole = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 0,
            l_len: 0,
            l_pid: 0,
        };
        fcntl(&self.0, FcntlArg::F_SETLKW(&whole)).map(drop)
    }
}

impl AsRawFd for FileLock {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It fails for no lock that is held.
        let _ = self.0.set(libc::F_UNLCK);
    }
}
