//! A server that means ill, in one of many ways.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use harness::server::MOST_TASKS;
use nix::sys::signal::{SigHandler, Signal, signal};
use servers::Service;
use socket2::SockRef;

/// What a hostile server does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Malice {
    RepliesWithoutEnd,
    SendsNoNewline,
    RepliesAGigabyteInOneLine,
    SendsAByteASecond,
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

/// As it is written on the command line.
pub(crate) fn name(malice: Malice) -> String {
    malice.to_possible_value().expect("none is hidden").get_name().to_owned()
}

/// Whether no plain request gets one line in time.
pub(crate) fn answers_nothing(malice: Malice) -> bool {
    use Malice::*;
    matches!(
        malice,
        SendsNoNewline
            | RepliesAGigabyteInOneLine
            | SendsAByteASecond
            | ClosesAtOnce
            | ResetsAtOnce
            | NeverAccepts
            | NeverListens
    )
}

/// The exit code of a check: that of a verdict, unless it cannot be judged at all.
pub(crate) fn exit_code(malice: Malice) -> i32 {
    match malice {
        Malice::SendsNoNewline => 2,
        Malice::NeverListens => 3,
        _ => 1,
    }
}

/// How many of it are judged at a time, where that must be less than usual: together they may not
/// have so many threads that the machine has none left.
pub(crate) fn jobs(malice: Malice) -> &'static [&'static str] {
    if malice == Malice::KeepsFiftyThreadsForEachClient { &["--jobs", "3"] } else { &[] }
}

/// Serves for ever, if that is what this process was started for.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["hostile", malice, host, port] => {
            let malice = Malice::from_str(malice, false).expect("a malice");
            let served = serve(malice, host, port.parse().expect("a port"));
            served.expect("a place to listen");
            std::process::exit(0);
        }
        ["hostile-child"] => loop {
            ignore_signals();
            thread::park();
        },
        _ => {}
    }
}

fn serve(malice: Malice, host: &str, port: u16) -> io::Result<()> {
    if malice == Malice::NeverListens {
        sleep_for_ever();
    }
    let listener = TcpListener::bind((host, port))?;
    match malice {
        Malice::NeverAccepts => sleep_for_ever(),
        Malice::IgnoresSignals => ignore_signals(),
        Malice::FillsStderr => fill_stderr(b"all is well\n"),
        Malice::FillsStderrWithoutNewline => fill_stderr(b"all is well, "),
        _ => {}
    }
    while let Ok((client, _)) = listener.accept() {
        if malice == Malice::ClosesItsListener {
            drop(listener);
            // The client may go, and come back in vain.
            let _ = answer(malice, client);
            sleep_for_ever();
        }
        thread::spawn(move || answer(malice, client));
    }
    Ok(())
}

/// Talks to one client until that goes.
fn answer(malice: Malice, mut client: TcpStream) -> io::Result<()> {
    static ANSWERS: AtomicUsize = AtomicUsize::new(0);
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    let stay = Arc::new(Mutex::new(()));
    let _until_the_client_goes = stay.lock().unwrap_or_else(PoisonError::into_inner);
    match malice {
        Malice::ClosesAtOnce => return Ok(()),
        Malice::ResetsAtOnce => return SockRef::from(&client).set_linger(Some(Duration::ZERO)),
        Malice::FloodsUnasked => without_end(&mut client, b"news\n")?,
        Malice::LeavesChildrenThatIgnoreSignals => {
            for _ in 0..2 {
                // In a group of its own, and nobody waits for it.
                Command::new(std::env::current_exe()?)
                    .arg("hostile-child")
                    .process_group(0)
                    .spawn()?;
            }
        }
        Malice::KeepsFiftyThreadsForEachClient => {
            for _ in 0..50 {
                // More than it may have, and no more: others on this machine need threads, too.
                if THREADS.fetch_add(1, Relaxed) < MOST_TASKS + 100 {
                    let stay = Arc::clone(&stay);
                    let wait = move || {
                        drop(stay.lock());
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
            Malice::RepliesWithoutEnd => without_end(&mut client, &calculated(&line))?,
            Malice::SendsNoNewline => client.write_all(line.trim_ascii_end())?,
            Malice::RepliesAGigabyteInOneLine => {
                let piece = vec![b'1'; 1024 * 1024];
                (0..1024).try_for_each(|_| client.write_all(&piece))?;
                client.write_all(b"\n")?;
            }
            Malice::SendsAByteASecond => {
                for byte in &calculated(&line) {
                    thread::sleep(Duration::from_secs(1));
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
            _ => client.write_all(&calculated(&line))?,
        }
        line.clear();
    }
    Ok(())
}

fn calculated(line: &[u8]) -> Vec<u8> {
    let mut reply = Vec::new();
    Service::Calc.answer(line.trim_ascii_end(), &mut reply);
    reply.push(b'\n');
    reply
}

fn without_end(client: &mut TcpStream, line: &[u8]) -> io::Result<()> {
    let lines = line.repeat(1000);
    loop {
        client.write_all(&lines)?;
    }
}

fn fill_stderr(words: &'static [u8]) {
    thread::spawn(move || {
        let words = words.repeat(1000);
        while io::stderr().write_all(&words).is_ok() {}
    });
}

#[allow(unsafe_code, reason = "signal(2)")]
fn ignore_signals() {
    for number in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT] {
        // SAFETY: no handler is installed.
        unsafe { signal(number, SigHandler::SigIgn) }.expect("it can be ignored");
    }
}

fn sleep_for_ever() -> ! {
    loop {
        thread::park();
    }
}
