//! A pthread mutex in memory that processes share.

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZero;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::shutdown::Shutdown;

const SIZE: NonZero<usize> =
    NonZero::new(size_of::<libc::pthread_mutex_t>()).expect("a size above 0");

/// A mutex that a server shares with the children that it forks later. Without contention, locking
/// and unlocking need no system call.
///
/// The mutex is robust (pthread_mutexattr_setrobust(3)). If the holder dies, or a waiter dies
/// between its wake-up and taking the mutex, the kernel wakes another waiter. The mutex guards no
/// data that could be left inconsistent.
#[derive(Debug)]
pub struct SharedMutex(NonNull<libc::pthread_mutex_t>);

/// Guard that unlocks the mutex when it is dropped. Callers never get the guard, because they could
/// leak it: the thread's list of robust mutexes would then point to memory that may be unmapped.
struct SharedMutexGuard<'m>(&'m SharedMutex);

impl SharedMutex {
    /// Returns an unlocked mutex.
    ///
    /// # Errors
    /// No memory is left.
    pub fn new() -> io::Result<SharedMutex> {
        let mutex = SharedMutex(map()?.cast());
        mutex.initialise()?;
        Ok(mutex)
    }

    /// Waits for the mutex and holds it during `work`. Returns `None`, without `work`, if the
    /// shutdown was requested before. A signal does not interrupt the wait: the signal handler
    /// exits a child that waits here, because it has nothing to drain.
    ///
    /// # Errors
    /// Those of `work`, and EDEADLK if `work` takes the mutex again.
    pub fn hold<T>(
        &self,
        shutdown: Shutdown,
        work: impl FnOnce() -> io::Result<Option<T>>,
    ) -> io::Result<Option<T>> {
        // If the child exits just after it has taken the mutex, it dies as the holder, and another
        // waiter is woken.
        let Some(guard) = shutdown.wait_with_nothing_to_drain(|| self.lock()) else {
            return Ok(None);
        };
        let _guard = guard?;
        work()
    }

    #[allow(unsafe_code, reason = "pthread_mutex_init(3)")]
    fn initialise(&self) -> io::Result<()> {
        let mut attributes = MaybeUninit::uninit();
        let attributes: *mut libc::pthread_mutexattr_t = attributes.as_mut_ptr();
        // SAFETY: the attributes live in this frame and are initialised before use. The mutex lies
        // in memory of its size and alignment that is not shared yet.
        unsafe {
            check(libc::pthread_mutexattr_init(attributes))?;
            let initialise = || {
                check(libc::pthread_mutexattr_setpshared(
                    attributes,
                    libc::PTHREAD_PROCESS_SHARED,
                ))?;
                check(libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST))?;
                // Reports a self-deadlock as an error.
                check(libc::pthread_mutexattr_settype(attributes, libc::PTHREAD_MUTEX_ERRORCHECK))?;
                check(libc::pthread_mutex_init(self.0.as_ptr(), attributes))
            };
            let result = initialise();
            libc::pthread_mutexattr_destroy(attributes);
            result
        }
    }

    #[allow(unsafe_code, reason = "pthread_mutex_lock(3)")]
    fn lock(&self) -> io::Result<SharedMutexGuard<'_>> {
        // SAFETY: the mutex is initialised and does not move as long as `self` lives.
        let taken = match unsafe { libc::pthread_mutex_lock(self.0.as_ptr()) } {
            // SAFETY: as above; this thread holds the mutex.
            libc::EOWNERDEAD => unsafe { libc::pthread_mutex_consistent(self.0.as_ptr()) },
            taken => taken,
        };
        check(taken).map(|()| SharedMutexGuard(self))
    }
}

impl Drop for SharedMutexGuard<'_> {
    #[allow(unsafe_code, reason = "pthread_mutex_unlock(3)")]
    fn drop(&mut self) {
        // SAFETY: the mutex is initialised and borrowed. Unlocking does not fail for a mutex that
        // this thread holds, and a guard does not leave its thread.
        unsafe { libc::pthread_mutex_unlock(self.0.0.as_ptr()) };
    }
}

impl Drop for SharedMutex {
    #[allow(unsafe_code, reason = "munmap(2)")]
    fn drop(&mut self) {
        // The mutex is not destroyed: other processes may still use their mappings of it.
        // SAFETY: `new` mapped the memory, and holders of the mutex borrow `self`.
        let _ = unsafe { munmap(self.0.cast(), SIZE.get()) };
    }
}

#[allow(unsafe_code, reason = "mmap(2)")]
fn map() -> io::Result<NonNull<libc::c_void>> {
    let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses replaces no existing one.
    Ok(unsafe { mmap_anonymous(None, SIZE, access, MapFlags::MAP_SHARED) }?)
}

/// Converts the return value of a pthread function to a result.
fn check(error: libc::c_int) -> io::Result<()> {
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutex_is_released_after_errors_and_panics() {
        let shutdown = Shutdown::install().expect("handlers");
        let mutex = SharedMutex::new().expect("memory");
        assert_eq!(mutex.hold(shutdown, || Ok(Some(1))).expect("a free mutex"), Some(1));
        mutex
            .hold(shutdown, || Err::<Option<()>, _>(io::Error::other("on purpose")))
            .expect_err("the error of `work`");
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            mutex.hold(shutdown, || -> io::Result<Option<()>> { panic!("on purpose") })
        }))
        .expect_err("the panic of `work`");
        assert_eq!(mutex.hold(shutdown, || Ok(Some(2))).expect("a free mutex"), Some(2));
    }

    #[test]
    fn locking_a_mutex_twice_is_an_error() {
        let shutdown = Shutdown::install().expect("handlers");
        let mutex = SharedMutex::new().expect("memory");
        let error =
            mutex.hold(shutdown, || mutex.hold(shutdown, || Ok(Some(())))).expect_err("a deadlock");
        assert_eq!(error.raw_os_error(), Some(libc::EDEADLK));
    }
}
