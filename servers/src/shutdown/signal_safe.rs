//! System calls for signal handlers: only functions that signal-safety(7) lists as async-signal-safe.

use std::os::fd::RawFd;

/// Restores the default action of a signal.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn restore_default(signal: libc::c_int) {
    // SAFETY: signal(2) is async-signal-safe and takes no pointer.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Terminates the process by the default action of a signal.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn terminate_by(signal: libc::c_int) {
    restore_default(signal);
    // SAFETY: raise(3) is async-signal-safe and takes no pointer. The signal stays blocked until its
    // handler returns; the default action then terminates the process.
    unsafe { libc::raise(signal) };
}

/// Starts a timer that raises SIGALRM every `interval_ms` milliseconds (below one second).
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn start_timer(interval_ms: u32) {
    let tick = libc::timeval { tv_sec: 0, tv_usec: (interval_ms * 1000).into() };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: setitimer(2) is a plain system call. It reads the value, which lives in this frame, and
    // writes nothing to a null pointer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Makes an eventfd readable.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn notify(event: RawFd) {
    let one = 1u64;
    // SAFETY: write(2) is async-signal-safe; the pointer is to eight bytes that live in this frame.
    // The descriptor is never closed.
    unsafe { libc::write(event, (&raw const one).cast(), size_of::<u64>()) };
}

/// Shuts a socket down for reading. A call that blocks on it returns.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn shutdown_read(fd: RawFd) {
    // SAFETY: shutdown(2) takes no pointer; on anything but a socket it fails and changes nothing.
    // signal-safety(7) lists it as async-signal-safe.
    unsafe { libc::shutdown(fd, libc::SHUT_RD) };
}

/// Prints a message to standard error and exits with code 1.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn exit_with_error(message: &'static [u8]) -> ! {
    // SAFETY: write(2) is async-signal-safe; the pointer and the length are those of a static slice.
    unsafe { libc::write(libc::STDERR_FILENO, message.as_ptr().cast(), message.len()) };
    exit(1)
}

/// Exits at once, without running exit handlers.
#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
pub(super) fn exit(code: libc::c_int) -> ! {
    // SAFETY: _exit(2) is async-signal-safe and takes no pointer.
    unsafe { libc::_exit(code) }
}
