//! Ending a server by signal: SIGTERM or SIGINT asks it to drain and leave with exit code 0, a
//! second one ends it at once.
//!
//! Two ways to learn of it, for the two ways of waiting. An event loop adds [`Stop::fd`] to what
//! it waits for. A call that blocks on a socket (accept, read) cannot wait for two things, so the
//! socket is enrolled, and the signal handler shuts it for reading: accept then returns EINVAL,
//! and read returns 0 once everything received before the signal has been read. No thread polls,
//! and no system call more is made per request. What a client that was accepted has sent is
//! answered; those that still wait in the accept queue are reset.
//!
//! A drain that does not end (a client that never reads its replies) is cut by a timer, and the
//! exit code is then 1: replies were lost.
//!
//! A child process has a request of its own (`Stop::begin_child`). What it shares with its
//! siblings, a listener or a lock, it must not shut; there a blocking call ends with EINTR. A
//! signal that comes just before the call would be missed by it, and the timer, which ticks as
//! long as the drain lasts, interrupts it again. No signal ends the wait for a mutex: a child that
//! waits for one says so (`Stop::leave_at_once_while`), and having nothing to drain it is ended by
//! the handler. A second signal does nothing to a child: one from the terminal or to the whole
//! process group reaches it beside its parent's. What ends a server at once ends the parent, and
//! the children with it.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicI32, AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst,
};

use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, raise, sigaction};
use nix::unistd::dup3_raw;

/// How long a server may take to drain after the first signal, in milliseconds.
pub const DRAIN_DEADLINE_MS: u32 = 3_000;

/// How often the timer ticks during a drain, in milliseconds.
const TICK_MS: u32 = 20;

const CUT: &[u8] = b"drain took too long: the remaining connections are cut\n";

/// Descriptors that can be enrolled: the default of `fs.nr_open`, the most that a process may
/// hold. Where that was raised, a thread that blocks on one beyond is ended by the timer.
const MOST_DESCRIPTORS: usize = 1 << 20;

static TICKS: AtomicU32 = AtomicU32::new(0);
/// The server has asked itself.
static ASKED: AtomicBool = AtomicBool::new(false);
static REQUESTED: AtomicBool = AtomicBool::new(false);
static IS_CHILD: AtomicBool = AtomicBool::new(false);
/// It waits, and nobody would miss a child that does so.
static HAS_NOTHING_TO_DRAIN: AtomicBool = AtomicBool::new(false);
static EVENT: AtomicI32 = AtomicI32::new(-1);
/// A bit for each descriptor that a thread may be blocked on. A bitmap rather than a list behind
/// a lock, because a signal handler may not take one.
static ENROLLED: [AtomicU64; MOST_DESCRIPTORS / 64] =
    [const { AtomicU64::new(0) }; MOST_DESCRIPTORS / 64];
/// No bit is set in any word from this one on. To look no further saves a child process from
/// touching, and so from having, the pages of all the others.
static ENROLLED_BELOW: AtomicUsize = AtomicUsize::new(0);

/// The request to stop, of which a process has one.
#[derive(Clone, Copy, Debug)]
pub struct Stop(&'static OwnedFd);

impl Stop {
    /// Takes over SIGTERM and SIGINT. Calling it again changes nothing.
    ///
    /// # Errors
    /// When the kernel has no descriptor left, or refuses the handler.
    pub fn install() -> io::Result<Stop> {
        static INSTALLED: OnceLock<OwnedFd> = OnceLock::new();
        if let Some(event) = INSTALLED.get() {
            return Ok(Stop(event));
        }
        let event: OwnedFd =
            EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?.into();
        // Of two threads that come here at once, one sees its own event closed: the handler is told
        // of the event that stays.
        let event = INSTALLED.get_or_init(|| event);
        EVENT.store(event.as_raw_fd(), SeqCst);
        handle_all(SaFlags::SA_RESTART)?;
        Ok(Stop(event))
    }

    /// To be called first of all in a child process, with SIGTERM, SIGINT and SIGALRM blocked
    /// since before the fork: what was asked of the parent was not asked of the child, and nothing
    /// that the parent blocks on is the child's to shut.
    ///
    /// # Errors
    /// When the kernel has no descriptor left, or refuses the handlers.
    pub(crate) fn begin_child(self) -> io::Result<()> {
        IS_CHILD.store(true, SeqCst);
        REQUESTED.store(false, SeqCst);
        ASKED.store(false, SeqCst);
        TICKS.store(0, SeqCst);
        let words = ENROLLED_BELOW.swap(0, SeqCst);
        ENROLLED[..words].iter().for_each(|word| word.store(0, SeqCst));
        let own = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        renumber(&own, self.0.as_raw_fd())?;
        // Without SA_RESTART: a call that blocks on what is shared ends with EINTR.
        handle_all(SaFlags::empty())
    }

    /// The signals that begin a drain, and the one of its timer.
    pub(crate) fn signals() -> SigSet {
        SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM])
    }

    /// Ends the server with exit code 1, as a drain that takes too long does: replies were lost.
    pub(crate) fn give_up(self, words: &'static str) -> ! {
        cut(words.as_bytes())
    }

    /// Does what a first signal does, for a server that cannot go on.
    pub fn request(self) {
        // Once: what a second signal does is meant for users.
        if !self.requested() && !ASKED.swap(true, SeqCst) {
            // It fails only for signals that do not exist.
            let _ = raise(Signal::SIGTERM);
        }
    }

    /// Whether the first signal has come.
    pub fn requested(self) -> bool {
        REQUESTED.load(SeqCst)
    }

    /// Waits where no signal would end the wait. `None` when the first signal has come already.
    /// If it comes meanwhile to a child process, it ends the child at once, with exit code 0; in
    /// any other process it changes nothing. A child has one thread, so that it does nothing else.
    pub(crate) fn leave_at_once_while<T>(self, wait: impl FnOnce() -> T) -> Option<T> {
        HAS_NOTHING_TO_DRAIN.store(true, SeqCst);
        // The handler may have run just before that.
        let waited = (!self.requested()).then(wait);
        HAS_NOTHING_TO_DRAIN.store(false, SeqCst);
        waited
    }

    /// Becomes readable, and stays so, when the first signal has come.
    pub fn fd(self) -> BorrowedFd<'static> {
        self.0.as_fd()
    }

    /// Lets the signal end calls that block on this socket, in any thread, until
    /// [`discharge`](Self::discharge). Enrolling it again changes nothing.
    pub(crate) fn enroll_for_good(self, socket: &impl AsFd) {
        let fd = socket.as_fd().as_raw_fd();
        set_bit(fd);
        // The handler may have run just before the bit was set.
        if self.requested() {
            shut_for_reading(fd);
        }
    }

    /// To be called before an enrolled socket is closed.
    pub(crate) fn discharge(self, socket: &impl AsFd) {
        clear_bit(socket.as_fd().as_raw_fd());
    }

    /// Lets the signal end a call that blocks on this socket, for as long as the guard lives.
    pub fn enroll<'s>(self, socket: &'s impl AsFd) -> Enrolled<'s> {
        self.enroll_for_good(socket);
        Enrolled(socket.as_fd())
    }
}

/// A socket that the signal will shut for reading. It borrows the socket, so the bit is cleared
/// before the descriptor can be closed.
#[derive(Debug)]
pub struct Enrolled<'s>(BorrowedFd<'s>);

impl Drop for Enrolled<'_> {
    fn drop(&mut self) {
        clear_bit(self.0.as_raw_fd());
    }
}

fn set_bit(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        ENROLLED_BELOW.fetch_max(word + 1, SeqCst);
        ENROLLED[word].fetch_or(bit, SeqCst);
    }
}

fn clear_bit(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        ENROLLED[word].fetch_and(!bit, SeqCst);
    }
}

fn position(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok()?;
    (fd < MOST_DESCRIPTORS).then(|| (fd / 64, 1 << (fd % 64)))
}

extern "C" fn begin_the_drain(signal: libc::c_int) {
    let errno = nix::errno::Errno::last_raw();
    if REQUESTED.swap(true, SeqCst) {
        if !IS_CHILD.load(SeqCst) {
            // The second signal came before the first had been handled, and its handler was due.
            end_by(signal);
        }
        return;
    }
    if !IS_CHILD.load(SeqCst) {
        restore_default(libc::SIGTERM);
        restore_default(libc::SIGINT);
    } else if HAS_NOTHING_TO_DRAIN.load(SeqCst) {
        leave(0);
    }
    start_timer();
    notify(EVENT.load(SeqCst));
    let words = ENROLLED_BELOW.load(SeqCst);
    for (index, word) in ENROLLED[..words].iter().enumerate() {
        let mut bits = word.load(SeqCst);
        while bits != 0 {
            // A descriptor closed and reused in between is a connection that is to end too, or
            // no socket at all, for which shutdown does nothing.
            shut_for_reading((index * 64) as RawFd + bits.trailing_zeros() as RawFd);
            bits &= bits - 1;
        }
    }
    nix::errno::Errno::set_raw(errno);
}

extern "C" fn tick(_: libc::c_int) {
    if TICKS.fetch_add(1, SeqCst) >= DRAIN_DEADLINE_MS / TICK_MS {
        cut(CUT)
    }
}

fn handle_all(flags: SaFlags) -> io::Result<()> {
    handle(Signal::SIGALRM, tick, flags)?;
    handle(Signal::SIGTERM, begin_the_drain, flags)?;
    handle(Signal::SIGINT, begin_the_drain, flags)
}

#[allow(unsafe_code, reason = "the kernel's interface to signal handlers")]
fn handle(signal: Signal, handler: extern "C" fn(libc::c_int), flags: SaFlags) -> io::Result<()> {
    let action = SigAction::new(SigHandler::Handler(handler), flags, SigSet::empty());
    // SAFETY: both handlers do nothing but touch atomics and make system calls that signal(7)
    // lists as safe, and the drain's handler restores errno.
    unsafe { sigaction(signal, &action) }?;
    Ok(())
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn restore_default(signal: libc::c_int) {
    // SAFETY: signal(2) is async-signal-safe and takes no pointer.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn end_by(signal: libc::c_int) {
    restore_default(signal);
    // SAFETY: raise(3) is async-signal-safe and takes no pointer. The signal is blocked until its
    // handler returns, and then does what it does by default.
    unsafe { libc::raise(signal) };
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn start_timer() {
    let tick = libc::timeval { tv_sec: 0, tv_usec: (TICK_MS * 1000).into() };
    let timer = libc::itimerval { it_interval: tick, it_value: tick };
    // SAFETY: setitimer(2) is a plain system call; it reads the value, which lives in this frame,
    // and writes nothing to a null pointer.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

/// Makes `number` another name of `own`'s descriptor, whatever it was before.
#[allow(unsafe_code, reason = "a descriptor is replaced under its number")]
fn renumber(own: &EventFd, number: RawFd) -> io::Result<()> {
    // SAFETY: the number is that of the event of this module, which stays open and owned: in a
    // child it now names the child's event.
    let renumbered = unsafe { dup3_raw(own, number, nix::fcntl::OFlag::O_CLOEXEC) }?;
    // Its owner is the one that the number had before.
    let _ = renumbered.into_raw_fd();
    Ok(())
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn notify(event: RawFd) {
    let one = 1u64;
    // SAFETY: write(2) is async-signal-safe; the pointer is to eight bytes that live in this
    // frame. The descriptor is never closed.
    unsafe { libc::write(event, (&raw const one).cast(), size_of::<u64>()) };
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn shut_for_reading(fd: RawFd) {
    // SAFETY: shutdown(2) is async-signal-safe and takes no pointer; on anything but a socket
    // it fails and changes nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_RD) };
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn cut(words: &'static [u8]) -> ! {
    // SAFETY: write(2) is async-signal-safe; the pointer and length are of a static slice.
    unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
    leave(1)
}

#[allow(unsafe_code, reason = "called in a signal handler: plain system calls")]
fn leave(code: libc::c_int) -> ! {
    // SAFETY: _exit(2) is async-signal-safe and takes no pointer.
    unsafe { libc::_exit(code) }
}
