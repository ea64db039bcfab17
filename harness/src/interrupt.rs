//! Handles Ctrl-C during a measurement: the results so far are written before the program exits.

use std::process::{ExitCode, exit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Exit code after Ctrl-C, as in shells: 128 plus the signal number.
pub(crate) const INTERRUPTED: u8 = 130;

/// Returns the exit code if the program was interrupted.
pub(crate) fn exit_code() -> Option<ExitCode> {
    flag().load(Relaxed).then(|| ExitCode::from(INTERRUPTED))
}

static FLAG: AtomicBool = AtomicBool::new(false);

/// Returns the flag that SIGINT or SIGTERM sets; a second signal exits at once. The first call
/// blocks both signals in the calling thread, and in threads that it starts later, and starts a
/// thread that waits for them. Child processes inherit the mask; supervisors and servers unblock
/// the signals when they start.
pub(crate) fn flag() -> &'static AtomicBool {
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
        let wait = move || {
            while signals.wait().is_ok() {
                if FLAG.swap(true, Relaxed) {
                    exit(INTERRUPTED.into());
                }
            }
        };
        // On failure, a signal ends the program as by default.
        if signals.thread_block().is_ok()
            && thread::Builder::new().name("signals".to_owned()).spawn(wait).is_err()
        {
            let _ = signals.thread_unblock();
        }
    });
    &FLAG
}
