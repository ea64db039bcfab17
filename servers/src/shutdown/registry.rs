//! The sockets that a thread may block on, so that the signal handler can shut them down.
//!
//! The registry has one bit for each descriptor. A list would need a lock, and a signal handler
//! must not take locks.

use std::os::fd::RawFd;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};

use super::signal_safe::shutdown_read;

/// Descriptors below this number can be registered: the default of `fs.nr_open`, the limit of a
/// process. If the limit was raised and a thread blocks on a higher descriptor, the drain timer
/// ends the process.
const MAX_DESCRIPTORS: usize = 1 << 20;

static REGISTERED: [AtomicU64; MAX_DESCRIPTORS / 64] =
    [const { AtomicU64::new(0) }; MAX_DESCRIPTORS / 64];
/// Number of words of [`REGISTERED`] that may have a bit set. A child process copies each page that
/// it touches, so it scans only these words.
static USED_WORDS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn insert(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        USED_WORDS.fetch_max(word + 1, SeqCst);
        REGISTERED[word].fetch_or(bit, SeqCst);
    }
}

pub(super) fn remove(fd: RawFd) {
    if let Some((word, bit)) = position(fd) {
        REGISTERED[word].fetch_and(!bit, SeqCst);
    }
}

pub(super) fn clear() {
    let words = USED_WORDS.swap(0, SeqCst);
    REGISTERED[..words].iter().for_each(|word| word.store(0, SeqCst));
}

/// Shuts every registered socket for reading. Async-signal-safe.
pub(super) fn shut_all() {
    let words = USED_WORDS.load(SeqCst);
    for (index, word) in REGISTERED[..words].iter().enumerate() {
        let mut bits = word.load(SeqCst);
        while bits != 0 {
            // If the descriptor was closed and reused, it is another connection, which must also
            // end, or not a socket: then shutdown(2) fails.
            shutdown_read((index * 64) as RawFd + bits.trailing_zeros() as RawFd);
            bits &= bits - 1;
        }
    }
}

fn position(fd: RawFd) -> Option<(usize, u64)> {
    let fd = usize::try_from(fd).ok()?;
    (fd < MAX_DESCRIPTORS).then(|| (fd / 64, 1 << (fd % 64)))
}
