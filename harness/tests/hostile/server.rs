//! A hostile server with a selectable behaviour.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use harness::server::MAX_TASKS;
use nix::sys::signal::{SigHandler, Signal, signal};
use servers::Service;
use socket2::SockRef;

/// Behaviour of a hostile server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Malice {
    RepliesWithoutEnd,
    SendsNoNewline,
    RepliesAGigabyteInOneLine,
    SendsAByteEveryTwoSeconds,
    ClosesAtOnce,
    ResetsAtOnce,
    AnswersInUtf16,
    ChangesItsAnswers,
    FloodsUnasked,
    AnswersOnceAndNeverAgain,
    NeverAccepts,
    NeverListens,
    ClosesItsListener,
    IgnoresSignals,
    LeavesChildrenThatIgnoreSignals,
    FillsStderr,
    FillsStderrWithoutNewline,
    KeepsFiftyThreadsForEachClient,
}

/// Returns the name of a behaviour on the command line.
pub(crate) fn name(malice: Malice) -> String {
    malice.to_possible_value().expect("a variant that is not hidden").get_name().to_owned()
}

/// Returns whether the server never answers a plain request with one line before the timeout.
pub(crate) fn answers_nothing(malice: Malice) -> bool {
    use Malice::*;
    matches!(
        malice,
        SendsNoNewline
            | RepliesAGigabyteInOneLine
            | SendsAByteEveryTwoSeconds
            | ClosesAtOnce
            | ResetsAtOnce
            | NeverAccepts
            | NeverListens
    )
}

/// Returns the exit code of a check: 1 for failed cases, or 2 if the server contradicts its declaration.
pub(crate) fn exit_code(malice: Malice) -> i32 {
    match malice {
        Malice::SendsNoNewline => 2,
        _ => 1,
    }
}

/// Returns flags of `harness check`. For the server with the most threads, they lower the number of
/// parallel cases, so that the machine has enough threads.
pub(crate) fn flags(malice: Malice) -> &'static [&'static str] {
    if malice == Malice::KeepsFiftyThreadsForEachClient { &["--jobs", "3"] } else { &[] }
}

/// Runs the server and exits, if this process was started as one: `hostile MALICE HOST PORT`.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let ["hostile", malice, host, port] = words[..] {
        let malice = Malice::from_str(malice, false).expect("a behaviour");
        let served = serve(malice, host, port.parse().expect("a port"));
        served.expect("a free port");
        std::process::exit(0);
    }
}

fn serve(malice: Malice, host: &str, port: u16) -> io::Result<()> {
    if malice == Malice::NeverListens {
        sleep_forever();
    }
    let listener = TcpListener::bind((host, port))?;
    match malice {
        Malice::NeverAccepts => sleep_forever(),
        Malice::IgnoresSignals => ignore_signals(),
        Malice::FillsStderr => fill_stderr(b"all is well\n"),
        Malice::FillsStderrWithoutNewline => fill_stderr(b"all is well, "),
        _ => {}
    }
    while let Ok((client, _)) = listener.accept() {
        if malice == Malice::ClosesItsListener {
            drop(listener);
            // The listener is closed, so this client is the only one.
            let _ = answer(malice, client);
            sleep_forever();
        }
        thread::spawn(move || answer(malice, client));
    }
    Ok(())
}

/// Serves one client until it disconnects.
fn answer(malice: Malice, mut client: TcpStream) -> io::Result<()> {
    static ANSWERS: AtomicUsize = AtomicUsize::new(0);
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let connected = Arc::new(Mutex::new(()));
    // The threads of this client exit when the guard is dropped.
    let _guard = connected.lock().unwrap_or_else(PoisonError::into_inner);
    match malice {
        Malice::ClosesAtOnce => return Ok(()),
        Malice::ResetsAtOnce => return SockRef::from(&client).set_linger(Some(Duration::ZERO)),
        Malice::FloodsUnasked => send_without_end(&mut client, b"news\n")?,
        Malice::LeavesChildrenThatIgnoreSignals => {
            for _ in 0..2 {
                // The child has a separate process group, and is never reaped. Ignored signals stay
                // ignored across exec.
                Command::new("sh")
                    .args(["-c", "trap '' TERM INT HUP QUIT; exec sleep 600"])
                    .process_group(0)
                    .spawn()?;
            }
        }
        Malice::KeepsFiftyThreadsForEachClient => {
            for _ in 0..50 {
                // Exceeds the limit by 100 only, because other programs need threads.
                if THREADS.fetch_add(1, Relaxed) < MAX_TASKS + 100 {
                    let connected = Arc::clone(&connected);
                    let wait = move || {
                        drop(connected.lock());
                        THREADS.fetch_sub(1, Relaxed);
                    };
                    thread::Builder::new().stack_size(64 * 1024).spawn(wait)?;
                } else {
                    THREADS.fetch_sub(1, Relaxed);
                }
            }
        }
        _ => {}
    }
    let mut lines = BufReader::new(client.try_clone()?);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line)? > 0 {
        let number = ANSWERS.fetch_add(1, Relaxed);
        match malice {
            Malice::RepliesWithoutEnd => send_without_end(&mut client, &reply_to(&line))?,
            Malice::SendsNoNewline => client.write_all(line.trim_ascii_end())?,
            Malice::RepliesAGigabyteInOneLine => {
                let piece = vec![b'1'; 1024 * 1024];
                (0..1024).try_for_each(|_| client.write_all(&piece))?;
                client.write_all(b"\n")?;
            }
            Malice::SendsAByteEveryTwoSeconds => {
                for byte in &reply_to(&line) {
                    thread::sleep(Duration::from_secs(2));
                    client.write_all(&[*byte])?;
                }
            }
            Malice::AnswersInUtf16 => {
                let text = String::from_utf8_lossy(&line).into_owned();
                let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
                client.write_all(&units)?;
            }
            Malice::ChangesItsAnswers => client.write_all(format!("{number}\n").as_bytes())?,
            Malice::AnswersOnceAndNeverAgain if number > 0 => {}
            _ => client.write_all(&reply_to(&line))?,
        }
        line.clear();
    }
    Ok(())
}

fn reply_to(line: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    Service::Calc.answer(line.trim_ascii_end(), &mut reply);
    reply.push(b'\n');
    reply
}

/// Sends a line repeatedly until the connection fails.
fn send_without_end(client: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    let lines = line.repeat(1000);
    loop {
        client.write_all(&lines)?;
    }
}

fn fill_stderr(text: &'static [u8]) {
    thread::spawn(move || {
        let text = text.repeat(1000);
        while io::stderr().write_all(&text).is_ok() {}
    });
}

#[allow(unsafe_code, reason = "signal(2)")]
fn ignore_signals() {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("a signal that can be ignored");
    }
}

fn sleep_forever() -> ! {
    loop {
        thread::park();
    }
}
