//! The signal handlers, and the flags that they share with the server.

use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU32, Ordering::SeqCst};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use super::registry;
use super::signal_safe::{
    exit, exit_with_error, notify, restore_default, start_timer, terminate_by,
};

/// Deadline of a drain, from the first signal, in milliseconds.
pub const DRAIN_DEADLINE_MS: u32 = 3_000;

/// Period of the drain timer, in milliseconds.
const TICK_MS: u32 = 20;

const DRAIN_TIMED_OUT: &[u8] = b"drain timeout exceeded; closing the remaining connections\n";

static TICKS: AtomicU32 = AtomicU32::new(0);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static IS_CHILD: AtomicBool = AtomicBool::new(false);
static HAS_NOTHING_TO_DRAIN: AtomicBool = AtomicBool::new(false);
/// The eventfd to notify.
static EVENT: AtomicI32 = AtomicI32::new(-1);

/// Installs the handlers of SIGTERM, SIGINT and SIGALRM. A signal makes `event` readable.
pub(super) fn install(event: RawFd) -> io::Result<()> {
    EVENT.store(event, SeqCst);
    handle_all(SaFlags::SA_RESTART)
}

/// Resets the state that a child process inherited.
pub(super) fn reset_in_child() {
    IS_CHILD.store(true, SeqCst);
    REQUESTED.store(false, SeqCst);
    TICKS.store(0, SeqCst);
    registry::clear();
}

/// Installs the handlers in a child process, without SA_RESTART: a call that blocks on a shared
/// descriptor then fails with EINTR.
pub(super) fn install_in_child() -> io::Result<()> {
    handle_all(SaFlags::empty())
}

pub(super) fn is_requested() -> bool {
    REQUESTED.load(SeqCst)
}

/// If `value` is true, the first signal exits a child process with code 0 at once.
pub(super) fn set_nothing_to_drain(value: bool) {
    HAS_NOTHING_TO_DRAIN.store(value, SeqCst);
}

extern "C" fn on_shutdown_signal(signal: libc::c_int) {
    let errno = Errno::last_raw();
    if REQUESTED.swap(true, SeqCst) {
        if !IS_CHILD.load(SeqCst) {
            // The second signal was pending when the first handler restored the default action.
            terminate_by(signal);
        }
        return;
    }
    if !IS_CHILD.load(SeqCst) {
        restore_default(libc::SIGTERM);
        restore_default(libc::SIGINT);
    } else if HAS_NOTHING_TO_DRAIN.load(SeqCst) {
        exit(0);
    }
    start_timer(TICK_MS);
    notify(EVENT.load(SeqCst));
    registry::shut_all();
    Errno::set_raw(errno);
}

extern "C" fn on_tick(_: libc::c_int) {
    if TICKS.fetch_add(1, SeqCst) >= DRAIN_DEADLINE_MS / TICK_MS {
        exit_with_error(DRAIN_TIMED_OUT)
    }
}

fn handle_all(flags: SaFlags) -> io::Result<()> {
    handle(Signal::SIGALRM, on_tick, flags)?;
    handle(Signal::SIGTERM, on_shutdown_signal, flags)?;
    handle(Signal::SIGINT, on_shutdown_signal, flags)
}

#[allow(unsafe_code, reason = "the kernel's interface to signal handlers")]
fn handle(signal: Signal, handler: extern "C" fn(libc::c_int), flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: both handlers only touch atomics and make the system calls of `signal_safe`, and the
    // shutdown handler restores errno.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}
