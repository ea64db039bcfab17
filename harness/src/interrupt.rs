//! Handles SIGINT (Ctrl-C) and SIGTERM: the program writes partial results before it exits.

use std::process::{ExitCode, exit};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicBool, AtomicU8, Ordering::Acquire, Ordering::Relaxed, Ordering::Release,
};
use std::thread;

use nix::sys::signal::{SigSet, Signal};

/// Returns the exit code if SIGINT or SIGTERM has arrived: 128 plus the signal number, as in
/// shells. The code is 130 after SIGINT and 143 after SIGTERM.
pub(crate) fn exit_code() -> Option<ExitCode> {
    flag().load(Acquire).then(|| ExitCode::from(CODE.load(Relaxed)))
}

static FLAG: AtomicBool = AtomicBool::new(false);

/// Exit code. Valid only once the flag is set.
static CODE: AtomicU8 = AtomicU8::new(0);

fn code(signal: Signal) -> u8 {
    128 + signal as u8
}

/// Returns the flag that SIGINT or SIGTERM sets. A second signal exits the program at once. The
/// first call of this function takes over both signals, see [`watch`].
pub(crate) fn flag() -> &'static AtomicBool {
    static WATCH: OnceLock<()> = OnceLock::new();
    WATCH.get_or_init(|| {
        watch(|signals| {
            while let Ok(signal) = signals.wait() {
                if FLAG.load(Relaxed) {
                    exit(code(signal).into());
                }
                CODE.store(code(signal), Relaxed);
                FLAG.store(true, Release);
            }
        });
    });
    &FLAG
}

/// On SIGINT or SIGTERM, calls `finish` and exits with 128 plus the signal number. A second signal
/// ends the program at once. Takes over both signals, see [`watch`].
pub(crate) fn before_exit(finish: impl FnOnce() + Send + 'static) {
    watch(|signals| {
        if let Ok(signal) = signals.wait() {
            // From now on, a signal has its default action, and ends the program.
            let _ = signals.thread_unblock();
            finish();
            exit(code(signal).into());
        }
    });
}

/// Blocks SIGINT and SIGTERM, and starts a thread that receives them by `wait`. The mask covers the
/// calling thread, and the threads and processes that it starts later. Supervisors and servers
/// unblock the signals when they start.
fn watch(wait: impl FnOnce(SigSet) + Send + 'static) {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    let name = "signals".to_owned();
    // On failure, a signal has its default action, and ends the program.
    if signals.thread_block().is_ok()
        && thread::Builder::new().name(name).spawn(move || wait(signals)).is_err()
    {
        let _ = signals.thread_unblock();
    }
}
