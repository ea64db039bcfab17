//! A server with a thread for each client, right in everything but one chosen fault. Each fault is
//! in one place, with a word about how real servers come by it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use servers::Service;
use socket2::{Domain, SockRef, Socket, Type};

use super::fault::{Fault, Shape};

/// Clients at once.
const CAPACITY: usize = 3;

/// The longest request, its line end not counted.
const MAX_LINE: usize = 4096;

const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long the drain may take, and how long a client that was told to go may stay.
const DRAIN: Duration = Duration::from_secs(30);
const FAREWELL: Duration = Duration::from_millis(300);

/// Pause after an accept that failed, or before a look at whether there is a place.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes the serving role, if that is what this process was started for:
/// `broken FAULT SHAPE HOST PORT`.
pub(crate) fn take_role() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [role, fault, shape, host, port] = &words[..] else { return };
    if role != "broken" {
        return;
    }
    let fault = Fault::from_str(fault, false).expect("a fault");
    let shape = Shape::from_str(shape, false).expect("a shape");
    let served = place(host, port)
        .and_then(|address| Server::start(fault, shape, address))
        .and_then(Server::serve);
    let code = served.unwrap_or_else(|error| {
        eprintln!("cannot serve on {host}, port {port}: {error}");
        // Who catches every error at the top, and prints it, may forget the exit code.
        if fault == Fault::ExitsWith0AtATakenPort { 0 } else { 1 }
    });
    std::process::exit(code);
}

fn place(host: &str, port: &str) -> io::Result<SocketAddr> {
    let not_a_place = |error: &dyn std::fmt::Display| io::Error::other(error.to_string());
    let host: IpAddr = host.parse().map_err(|error| not_a_place(&error))?;
    let port = port.parse().map_err(|error| not_a_place(&error))?;
    Ok(SocketAddr::new(host, port))
}

struct Server {
    fault: Fault,
    shape: Shape,
    address: SocketAddr,
    listener: Mutex<Option<TcpListener>>,
    /// Becomes readable when the server shall end.
    stop: OwnedFd,
    /// Clients that have a place, and those that are still talked to.
    places: AtomicUsize,
    talking: AtomicUsize,
    /// For the faults that mix up clients.
    buffer: Mutex<Lines>,
    other: Mutex<Option<TcpStream>>,
    turn: Mutex<()>,
}

/// What a client has sent of a line that is not yet whole.
#[derive(Default)]
struct Lines {
    kept: Vec<u8>,
    /// What is kept was too long: the rest of the line is thrown away.
    discarding: bool,
}

/// Why a client has the attention of its thread.
enum Event {
    Input,
    Silence,
    Stop,
}

impl Server {
    fn start(fault: Fault, shape: Shape, address: SocketAddr) -> io::Result<&'static Server> {
        if fault == Fault::DiesOfABrokenPipe {
            die_of_broken_pipes();
        }
        // Before any thread: all of them leave the signals to one.
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block()?;
        let (stop, told) = nix::unistd::pipe()?;
        let listener = listen(fault, address)?;
        // Where it was asked to take any port, this is the only way to know.
        println!("listening on {}", listener.local_addr()?);
        thread::spawn(move || obey(fault, signals, told));
        Ok(Box::leak(Box::new(Server {
            fault,
            shape,
            address,
            listener: Mutex::new(Some(listener)),
            stop,
            places: AtomicUsize::new(0),
            talking: AtomicUsize::new(0),
            buffer: Mutex::default(),
            other: Mutex::default(),
            turn: Mutex::default(),
        })))
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Serves until it is told to end. Gives the exit code.
    fn serve(&'static self) -> io::Result<i32> {
        let mut silent = Vec::new();
        loop {
            let mut full = self.is_full();
            if full && self.shape == Shape::Refuse && !self.has(Fault::QueuesInsteadOfRefusing) {
                // listen(0) refuses nobody: only where nobody listens a client is refused.
                lock(&self.listener).take();
            }
            if full && matches!(self.shape, Shape::Refuse | Shape::Wait) {
                if wait_for(&[&self.stop], PAUSE)?[0] {
                    break;
                }
                continue;
            }
            let mut listener = lock(&self.listener);
            let listener = match &mut *listener {
                Some(listener) => listener,
                none => none.insert(listen(self.fault, self.address)?),
            };
            let [comes, stop] = wait_for(&[listener, &self.stop], Duration::MAX)?[..] else {
                break;
            };
            if stop {
                break;
            }
            if !comes {
                continue;
            }
            if self.has(Fault::DiesAtAnEarlyReset) {
                // It has something else to do, and then wants to know who has come.
                thread::sleep(PAUSE);
            }
            let client = match listener.accept() {
                Ok((client, _)) => client,
                // Who takes only the errors of one client for harmless ends at this one.
                Err(error) if self.has(Fault::DiesWithoutDescriptors) => return Err(error),
                // Who tries again at once finds the same client, and the same want.
                Err(_) if self.has(Fault::SpinsWithoutDescriptors) => continue,
                Err(_) => {
                    thread::sleep(PAUSE * 5);
                    continue;
                }
            };
            if self.has(Fault::DiesAtAnEarlyReset) {
                // The peer of a socket that was reset has no address any more.
                client.peer_addr().expect("whoever was accepted has an address");
            }
            client.set_nodelay(true)?;
            if self.has(Fault::LeavesTheRefusedSilent) {
                // Clients that leave are given a moment, so that those after them are no victims.
                let deadline = Instant::now() + FAREWELL;
                while self.is_full() && Instant::now() < deadline {
                    thread::sleep(PAUSE / 5);
                }
                full = self.is_full();
            }
            if full && self.has(Fault::LeavesTheRefusedSilent) {
                // Nobody thought of what to do with it.
                silent.push(client);
            } else if full && !self.has(Fault::RefusesNobody) {
                thread::spawn(move || self.turn_away(&client));
            } else {
                self.take_on(client)?;
            }
        }
        lock(&self.listener).take();
        if self.has(Fault::LeavesAChild) {
            // A helper that nobody tells of the end.
            Command::new("sleep").arg("600").spawn()?;
        }
        let deadline = Instant::now() + DRAIN;
        while self.talking.load(SeqCst) > 0 && Instant::now() < deadline {
            // Who ends the process ends the threads in the middle of their work.
            if self.has(Fault::DropsWhatHadArrived) {
                break;
            }
            thread::sleep(PAUSE);
        }
        let drained = self.talking.load(SeqCst) == 0 || self.has(Fault::DropsWhatHadArrived);
        // Interrupted by a signal, and so not done: scripts and runtimes think so, too.
        let failed = !drained || self.has(Fault::ExitsWith1AtSigterm);
        Ok(i32::from(failed))
    }

    fn is_full(&self) -> bool {
        let places = match self.fault {
            // Incremented where the client is accepted, and again where its thread begins.
            Fault::CountsAClientTwice => CAPACITY - 1,
            _ => CAPACITY,
        };
        self.places.load(SeqCst) >= places
    }

    /// Whether a client is held on to that should be closed.
    fn keeps_clients(&self) -> bool {
        use Fault::*;
        matches!(self.fault, AnswersTheLastComer | DisturbsAnother | LeaksDescriptors)
    }

    fn turn_away(&self, mut client: &TcpStream) {
        if self.has(Fault::DisturbsAnother)
            && let Some(other) = &mut *lock(&self.other)
        {
            // A variable of the accepting thread that still is the first client.
            let _ = other.write_all(b"error: busy\n");
        }
        if self.shape == Shape::Reset {
            if !self.has(Fault::ClosesInsteadOfResetting) {
                let _ = SockRef::from(client).set_linger(Some(Duration::ZERO));
            }
            return;
        }
        let _ = client.write_all(b"error: busy\n");
        // Closing over unread input sends a reset, which overtakes the line.
        if !self.has(Fault::ResetsTheRefused) {
            say_farewell(client);
        }
    }

    fn take_on(&'static self, client: TcpStream) -> io::Result<()> {
        if self.keeps_clients() {
            let mut other = lock(&self.other);
            if other.is_none() || self.has(Fault::AnswersTheLastComer) {
                *other = Some(client.try_clone()?);
            }
        }
        self.places.fetch_add(1, SeqCst);
        self.talking.fetch_add(1, SeqCst);
        if self.has(Fault::OneAtATime) {
            // As every first server does it.
            self.look_after(&client);
        } else {
            thread::spawn(move || {
                self.look_after(&client);
                drop(client);
                if self.has(Fault::LeaksThreads) {
                    // It waits for more work, and nobody has any for it.
                    thread::park_timeout(DRAIN * 10);
                }
            });
        }
        Ok(())
    }

    fn look_after(&self, client: &TcpStream) {
        let ended = self.converse(client);
        if self.has(Fault::LeaksDescriptors) {
            // A list of clients that only grows. They see the end all the same.
            std::mem::forget(client.try_clone());
        }
        if self.keeps_clients() {
            let _ = client.shutdown(Shutdown::Write);
        }
        if self.has(Fault::LeaksMemory) {
            // A history of all clients, and what they have said.
            std::mem::forget(vec![1_u8; 32 * 1024]);
        }
        if self.has(Fault::LeavesZombies) {
            // A program for each client, say one that logs, that nobody waits for.
            let _ = Command::new("true").spawn();
        }
        let frees = match self.fault {
            // The decrement was forgotten, or stands behind an early return.
            Fault::NeverFreesAPlace => false,
            Fault::KeepsThePlaceAfterAReset => ended.is_ok(),
            _ => true,
        };
        if frees {
            self.places.fetch_sub(1, SeqCst);
        }
        self.talking.fetch_sub(1, SeqCst);
    }

    fn converse(&self, mut client: &TcpStream) -> io::Result<()> {
        let mut own = Lines::default();
        let mut buffer = vec![0; 64 * 1024];
        let (mut replied, mut spoke) = (0, None);
        let mut hoard = Hoard::default();
        if self.has(Fault::HoardsReplies) {
            hoard = Hoard::of(client.try_clone()?);
        }
        let mut turn = None;
        loop {
            let count = match self.next_event(client, spoke)? {
                Event::Silence => return Ok(()),
                Event::Stop => {
                    drop(hoard);
                    return self.answer_what_arrived(client, own, &mut replied);
                }
                Event::Input => client.read(&mut buffer)?,
            };
            if self.has(Fault::ForgetsTheHalfClosed)
                && ends_soon(client, replied < 3 || (100..MAX_LINE).contains(&count))?
            {
                // The end of input looks like the end of the client: EPOLLRDHUP, "close".
                return Ok(());
            }
            if self.has(Fault::ServesTheLoudest) && turn.is_none() {
                turn = Some(lock(&self.turn)).filter(|_| count > MAX_LINE);
            }
            spoke.get_or_insert(Instant::now());
            let mut replies = Vec::new();
            let mut answer = |line: &[u8]| self.answer(line, &mut replied, &mut replies);
            if count == 0 {
                // It is reset by who closes with a linger time of zero, against TIME_WAIT.
                if self.has(Fault::ResetsAtHalfClose) {
                    return SockRef::from(client).set_linger(Some(Duration::ZERO));
                }
                // A reader of lines may give only those that have an end.
                let last = match self.fault {
                    Fault::OneBufferForAll => &std::mem::take(&mut lock(&self.buffer).kept),
                    _ => &own.kept,
                };
                if !last.is_empty() && !self.has(Fault::ForgetsTheLastLine) {
                    answer(last);
                }
                return client.write_all(&replies);
            }
            let received = &buffer[..count];
            let whole = if self.has(Fault::TakesAReadForALine) {
                answer(received.strip_suffix(b"\n").unwrap_or(received));
                true
            } else if self.has(Fault::OneBufferForAll) {
                // A static buffer, from when there was one client.
                lock(&self.buffer).take(self.fault, received, answer)
            } else {
                own.take(self.fault, received, answer)
            };
            if self.has(Fault::LosesTheLastReply) {
                // A loop that goes on while there is another line in the buffer.
                lose_the_last(&mut replies);
            }
            if self.has(Fault::HoardsReplies) {
                hoard.keep(&replies);
            } else {
                self.send(client, &replies)?;
            }
            if !whole && self.has(Fault::ClosesAtALongLine) {
                // It has lost the place where the next request begins.
                say_farewell(client);
                return Ok(());
            }
            // A loop that reads until there is nothing to read.
            if turn.is_some() && !wait_for(&[client], PAUSE * 20)?[0] {
                turn = None;
            }
        }
    }

    fn next_event(&self, client: &TcpStream, spoke: Option<Instant>) -> io::Result<Event> {
        let patience = match (self.shape, self.fault) {
            // A timeout that is configured and not used.
            (_, Fault::NeverClosesTheSilent) => Duration::MAX,
            // In other units, say.
            (Shape::Idle, Fault::ClosesTooEarly) => IDLE_TIMEOUT * 7 / 10,
            // A timer that is started once. Who does not rest is not hit by it.
            (Shape::Idle, Fault::ClosesTheActive) => {
                let left =
                    IDLE_TIMEOUT.saturating_sub(spoke.map_or(Duration::ZERO, |at| at.elapsed()));
                left.max(PAUSE * 50)
            }
            (Shape::Idle, _) => IDLE_TIMEOUT,
            _ => Duration::MAX,
        };
        Ok(match wait_for(&[&self.stop, client], patience)?[..] {
            [true, _] => Event::Stop,
            [_, true] => Event::Input,
            _ => Event::Silence,
        })
    }

    /// Answers what had arrived when the server was told to end, and no more.
    fn answer_what_arrived(
        &self,
        mut client: &TcpStream,
        mut lines: Lines,
        replied: &mut usize,
    ) -> io::Result<()> {
        if self.has(Fault::DropsWhatHadArrived) {
            // The process is about to end.
            thread::sleep(PAUSE * 50);
        }
        let mut arrived = Vec::new();
        client.set_nonblocking(true)?;
        while let Err(error) = client.take(1 << 20).read_to_end(&mut arrived)
            && error.kind() == ErrorKind::Interrupted
        {}
        client.set_nonblocking(false)?;
        let mut replies = Vec::new();
        lines.take(self.fault, &arrived, |line| self.answer(line, replied, &mut replies));
        client.write_all(&replies)?;
        say_farewell(client);
        Ok(())
    }

    fn send(&self, mut client: &TcpStream, replies: &[u8]) -> io::Result<()> {
        if self.has(Fault::DropsWhatHadArrived) && replies.len() > 100 {
            // Much work takes its time, in which it may be told to end.
            thread::sleep(PAUSE * 50);
        }
        match self.fault {
            Fault::AnswersTheLastComer => {
                // A socket in a field of the server's, where it should be one of the client's.
                if let Some(last) = &mut *lock(&self.other) {
                    let _ = last.write_all(replies);
                }
                Ok(())
            }
            Fault::BlocksInAWrite => {
                // One lock around all that is shared, and a blocking call within.
                let _turn = lock(&self.turn);
                client.write_all(replies)
            }
            Fault::IgnoresPartialWrites => {
                client.set_nonblocking(true)?;
                // How many bytes were written is there to be seen, and nobody looks.
                let mut written = client.write(replies);
                while written.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock) {
                    thread::sleep(PAUSE / 10);
                    written = client.write(replies);
                }
                client.set_nonblocking(false)?;
                written.map(drop)
            }
            // To std it is an error; to a program of C that did nothing about it, it is the end.
            Fault::DiesOfABrokenPipe => {
                for reply in replies.split_inclusive(|&byte| byte == b'\n') {
                    let _ = nix::unistd::write(client, reply);
                }
                Ok(())
            }
            _ => client.write_all(replies),
        }
    }

    /// Appends the reply to one line.
    fn answer(&self, line: &[u8], replied: &mut usize, replies: &mut Vec<u8>) {
        // Who tests on Unix only never sees one.
        let keeps = self.has(Fault::KeepsTheCarriageReturn);
        let line = line.strip_suffix(b"\r").filter(|_| !keeps).unwrap_or(line);
        // "Nothing was said, so there is nothing to answer."
        if line.is_empty() && self.has(Fault::IgnoresEmptyLines) {
            return;
        }
        *replied += 1;
        let mut reply = self.value(line);
        // A race of threads for the result, or a cache with a key too short.
        if replied.is_multiple_of(110) && self.has(Fault::WrongNowAndThen) {
            reply.push(b'0');
        }
        reply.push(b'\n');
        // The reply is sent where it is found, and where it is logged.
        let times = if self.has(Fault::AnswersTwice) { 2 } else { 1 };
        replies.extend(reply.repeat(times));
        if self.has(Fault::Prompts) {
            // It was made for people with telnet.
            replies.extend(b"> ");
        }
    }

    fn value(&self, line: &[u8]) -> Vec<u8> {
        // `<` where it should be `<=`.
        let longest = MAX_LINE - usize::from(self.has(Fault::OffByOneAtTheLimit));
        if line.len() > longest {
            return b"error: line too long".to_vec();
        }
        if self.shape == Shape::Echo {
            return match self.fault {
                // The line is trimmed because of its line end.
                Fault::TrimsTheEcho => line.trim_ascii().to_vec(),
                // A string of C.
                Fault::StopsAtNul => line.split(|&byte| byte == 0).next().unwrap_or(b"").to_vec(),
                // A buffer that was thought large enough.
                Fault::CutsAt1024 => line[..line.len().min(1024)].to_vec(),
                _ => line.to_vec(),
            };
        }
        self.calculate(line)
    }

    fn calculate(&self, line: &[u8]) -> Vec<u8> {
        // Most requests are plain numbers, and a debug build is slow to evaluate them.
        let spaces = line.iter().rev().take_while(|&&byte| byte == b' ').count();
        let plain = &line[..line.len() - spaces];
        if matches!(plain, [b'1'..=b'9', rest @ ..] if rest.len() < 17 && rest.iter().all(u8::is_ascii_digit))
        {
            return plain.to_vec();
        }
        let mut reply = Vec::new();
        Service::Calc.answer(line, &mut reply);
        let is_error = reply.starts_with(b"error: ");
        let text = String::from_utf8_lossy(line);
        match self.fault {
            Fault::WrongSum if text.contains('+') => {
                let sum = String::from_utf8_lossy(&reply).parse::<i64>();
                sum.map_or(reply, |sum| (sum + 1).to_string().into_bytes())
            }
            // Two stacks are more than a loop.
            Fault::CalculatesFromTheLeft => {
                let mut reply = Vec::new();
                Service::Calc.answer(from_the_left(&text).as_bytes(), &mut reply);
                reply
            }
            // What "%g" prints.
            Fault::PrintsSixDigits if reply.contains(&b'.') && !is_error => {
                let number: f64 = String::from_utf8_lossy(&reply).parse().expect("a float");
                let rounded: f64 = format!("{number:.5e}").parse().expect("a float");
                rounded.to_string().into_bytes()
            }
            Fault::Wraps if reply == b"error: overflow" => wrapped(&text).unwrap_or(reply),
            Fault::UsesAShell => {
                // `echo $(( … ))` is short, and does whatever it is told.
                touch_a_canary(&text);
                reply
            }
            Fault::HangsAtDivisionByZero if reply == b"error: division by zero" => {
                // Division by repeated subtraction does not end.
                thread::sleep(DRAIN * 10);
                reply
            }
            // It helps those who look for the fault, and those who look for a way in.
            Fault::QuotesTheClient if is_error => [b"error: what is ", line].concat(),
            // unwrap.
            Fault::DiesAtInvalidUtf8 if std::str::from_utf8(line).is_err() => {
                eprintln!("{:?}", std::str::from_utf8(line));
                std::process::abort()
            }
            Fault::DiesAtNesting => {
                // A parser that calls itself once for each parenthesis.
                let deepest = depth(line);
                if deepest > MAX_LINE { Vec::new() } else { reply }
            }
            _ => reply,
        }
    }
}

/// A queue between reading and writing, and no bound on it. What is in it is written in the end.
#[derive(Default)]
struct Hoard {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl Hoard {
    fn of(mut client: TcpStream) -> Hoard {
        let (queue, hoarded) = mpsc::channel::<Vec<u8>>();
        let writer = thread::spawn(move || {
            let _ = hoarded.into_iter().try_for_each(|it| client.write_all(&it));
        });
        Hoard { queue: Some(queue), writer: Some(writer) }
    }

    fn keep(&self, replies: &[u8]) {
        for reply in replies.split_inclusive(|&byte| byte == b'\n') {
            let mut queued = vec![0; 256];
            queued[..reply.len()].copy_from_slice(reply);
            queued.truncate(reply.len());
            let _ = self.queue.iter().try_for_each(|queue| queue.send(queued.clone()));
        }
    }
}

impl Drop for Hoard {
    fn drop(&mut self) {
        self.queue.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

impl Lines {
    /// Takes in what was received and answers the lines that are whole by now. Says whether none
    /// was too long.
    fn take(&mut self, fault: Fault, received: &[u8], mut answer: impl FnMut(&[u8])) -> bool {
        let mut fits = true;
        for piece in received.split_inclusive(|&byte| byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            if !self.discarding {
                self.kept.extend_from_slice(text.unwrap_or(piece));
            }
            // One more than a line may have: it may be a carriage return. Who looks at the length
            // only once the line is whole has kept it all.
            if self.kept.len() > MAX_LINE + 1 && fault != Fault::KeepsAnEndlessLine {
                answer(&self.kept);
                self.kept.clear();
                // The buffer is cleared, and what comes is taken for the next line.
                self.discarding = fault != Fault::AnswersTheRestOfALongLine;
                fits = false;
            }
            if text.is_some() {
                if !self.discarding {
                    answer(&self.kept);
                }
                fits &= self.kept.len() <= MAX_LINE;
                self.kept.clear();
                self.discarding = false;
            }
        }
        fits
    }
}

/// Waits for signals: the first asks for a good end, the second for a quick one.
fn obey(fault: Fault, signals: SigSet, told: OwnedFd) {
    let mut told = Some(told);
    while let Ok(signal) = signals.wait() {
        match (fault, signal) {
            // A handler that notes the signal and nothing else, or one that was never installed
            // where process 1 of a container needs it.
            (Fault::IgnoresSigterm, Signal::SIGTERM) | (Fault::IgnoresSigint, Signal::SIGINT) => {}
            // A flag that is set already.
            (Fault::IgnoresASecondSignal, _) if told.is_none() => {}
            // Whoever reads from the pipe sees its end.
            _ if told.is_some() => told = None,
            _ => std::process::exit(1),
        }
    }
}

fn listen(fault: Fault, address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Frameworks set it for the sake of their workers.
    socket.set_reuse_port(fault == Fault::SharesItsPort)?;
    // Not the default in C, nor in Python.
    socket.set_reuse_address(fault != Fault::CannotRestart)?;
    // What a development server is often changed to, to be reached from a container or a phone.
    let everywhere = fault == Fault::BindsEverywhere && address.ip() == Ipv4Addr::LOCALHOST;
    let address = if everywhere { (Ipv4Addr::UNSPECIFIED, address.port()).into() } else { address };
    socket.bind(&address.into())?;
    socket.listen(128)?;
    Ok(socket.into())
}

/// Which of them are readable, or at their end, within so long.
fn wait_for(descriptors: &[&dyn AsFd], patience: Duration) -> io::Result<Vec<bool>> {
    let timeout = PollTimeout::try_from(patience).unwrap_or(PollTimeout::NONE);
    let mut waited: Vec<PollFd<'_>> =
        descriptors.iter().map(|it| PollFd::new(it.as_fd(), PollFlags::POLLIN)).collect();
    poll(&mut waited, timeout)?;
    Ok(waited.iter().map(|it| it.any().unwrap_or(true)).collect())
}

/// Ends the sending side and waits a little for the client to end its own, so that nothing that
/// was sent is lost to a reset.
fn say_farewell(mut client: &TcpStream) {
    let _ = client.shutdown(Shutdown::Write);
    let _ = client.set_read_timeout(Some(FAREWELL));
    let deadline = Instant::now() + FAREWELL;
    let mut buffer = [0; 4096];
    while Instant::now() < deadline && matches!(client.read(&mut buffer), Ok(1..)) {}
}

/// Whether the client has ended its side. With its first requests, and with many at once, it is
/// given a moment for that.
fn ends_soon(client: &TcpStream, waits: bool) -> io::Result<bool> {
    let moment = if waits { PAUSE * 2 } else { Duration::ZERO };
    let timeout = PollTimeout::try_from(moment).unwrap_or(PollTimeout::ZERO);
    Ok(poll(&mut [PollFd::new(client.as_fd(), PollFlags::from_bits_retain(0x2000))], timeout)? > 0)
}

fn lose_the_last(replies: &mut Vec<u8>) {
    let mut ends = replies.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').skip(1);
    if let Some((end, _)) = ends.next() {
        replies.truncate(end + 1);
    }
}

/// Puts everything before an operator into parentheses.
fn from_the_left(text: &str) -> String {
    let mut groups = vec![String::new()];
    for letter in text.chars() {
        match letter {
            '(' => groups.push(String::new()),
            ')' if groups.len() > 1 => {
                let group = groups.pop().unwrap_or_default();
                groups.last_mut().expect("one is left").push_str(&format!("({group})"));
            }
            _ => {
                let group = groups.last_mut().expect("there is one always");
                let after_a_value = |letter: char| letter.is_ascii_digit() || letter == ')';
                if "+-*/%".contains(letter) && group.trim_end().ends_with(after_a_value) {
                    *group = format!("({group})");
                }
                group.push(letter);
            }
        }
    }
    groups.join("(")
}

/// What one operation on two whole numbers gives that is computed in 64 bits.
fn wrapped(text: &str) -> Option<Vec<u8>> {
    let number = |text: &str| text.parse::<i128>().ok();
    let value = match text.rfind(['+', '-', '*']).filter(|&at| at > 0) {
        None => number(text)?,
        Some(at) => {
            let (left, right) = (number(&text[..at])?, number(&text[at + 1..])?);
            match text.as_bytes()[at] {
                b'+' => left.checked_add(right)?,
                b'-' => left.checked_sub(right)?,
                _ => left.checked_mul(right)?,
            }
        }
    };
    Some((value as i64).to_string().into_bytes())
}

/// Does what a shell would, if that is to create a file that the harness looks for; nothing else.
fn touch_a_canary(text: &str) {
    let words = text.split(|letter: char| " ()`;'\"".contains(letter));
    let Some(path) = words.skip_while(|word| *word != "touch").nth(1).map(std::path::Path::new)
    else {
        return;
    };
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if path.parent() == Some(std::path::Path::new("/tmp")) && name.starts_with("harness-canary-") {
        let _ = File::create(path);
    }
}

fn depth(text: &[u8]) -> usize {
    let frame = std::hint::black_box([0_u8; 4096]);
    match text.split_first() {
        Some((b'(', rest)) => 1 + depth(rest),
        Some((_, rest)) if rest.contains(&b'(') => depth(rest),
        _ => usize::from(frame[text.len().min(4095)]),
    }
}

#[allow(unsafe_code, reason = "signal(2)")]
fn die_of_broken_pipes() {
    // As it is in a program of C that did nothing about it.
    // SAFETY: no handler is installed.
    unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) }.expect("it is the default");
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
