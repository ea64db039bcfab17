//! Commands whose output is a terminal.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait_long_until;

/// A running command whose standard output and standard error are a new terminal.
pub(crate) struct InTerminal {
    child: Child,
    output: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl InTerminal {
    /// Starts the command in a terminal that is wide enough for every line of progress.
    pub(crate) fn start(mut command: Command) -> InTerminal {
        let size = Winsize { ws_row: 40, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        let OpenptyResult { master, slave } = openpty(&size, None).expect("a terminal");
        let copy = || Stdio::from(slave.try_clone().expect("a copy of a descriptor"));
        command.stdin(Stdio::null()).stdout(copy()).stderr(copy());
        let child = command.spawn().expect("the command starts");
        // The reader ends with EIO when no descriptor of the terminal is left.
        drop((command, slave));
        let output = Arc::<Mutex<Vec<u8>>>::default();
        let read = Arc::clone(&output);
        let reader = thread::spawn(move || {
            let (mut terminal, mut bytes) = (File::from(master), [0; 4096]);
            while let Ok(size @ 1..) = terminal.read(&mut bytes) {
                read.lock().unwrap_or_else(PoisonError::into_inner).extend(&bytes[..size]);
            }
        });
        InTerminal { child, output, reader }
    }

    /// Returns the output so far, with control sequences.
    pub(crate) fn output(&self) -> String {
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&output).into_owned()
    }

    /// Waits until the output contains each of these texts.
    pub(crate) fn wait_until_shown(&self, texts: &[&str]) {
        for text in texts {
            wait_long_until(&format!("{text:?} is shown"), || self.output().contains(text));
        }
    }

    pub(crate) fn interrupt(&self) {
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGINT).expect("a signal");
    }

    /// Waits until the command has exited. Returns its status and its whole output.
    pub(crate) fn wait(self) -> (ExitStatus, String) {
        self.end(|_| ())
    }

    /// Like [`wait`](Self::wait), but interrupts the command repeatedly.
    pub(crate) fn interrupt_until_exit(self) -> (ExitStatus, String) {
        self.end(InTerminal::interrupt)
    }

    fn end(mut self, act: impl Fn(&InTerminal)) -> (ExitStatus, String) {
        let mut status = None;
        wait_long_until("the command exits", || {
            // The process is not reaped yet, so that the signal cannot reach another process.
            act(&self);
            status = self.child.try_wait().expect("a status");
            status.is_some()
        });
        self.reader.join().expect("no panic in the thread");
        let output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        (status.expect("a status"), String::from_utf8_lossy(&output).into_owned())
    }
}
