//! Ctrl-C in the middle of a measurement: what was measured is written, and then it ends.

use std::process::{ExitCode, exit};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// The exit code of a program that Ctrl-C ended, as shells have it: 128 and the signal's number.
pub(crate) const INTERRUPTED: u8 = 130;

/// The exit code, if it was interrupted.
pub(crate) fn exit_code() -> Option<ExitCode> {
    flag().load(Relaxed).then(|| ExitCode::from(INTERRUPTED))
}

static FLAG: AtomicBool = AtomicBool::new(false);

/// Whether SIGINT or SIGTERM has come; a second one ends the program at once. The calling thread
/// and those that it starts from now on leave the signals to a thread that waits for them. So do
/// child processes: supervisors and servers are given an empty mask when they begin.
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
        // Where it cannot be done, a signal ends the program as ever.
        if signals.thread_block().is_ok()
            && thread::Builder::new().name("signals".to_owned()).spawn(wait).is_err()
        {
            let _ = signals.thread_unblock();
        }
    });
    &FLAG
}
