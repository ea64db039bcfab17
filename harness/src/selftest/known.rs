//! Known-answer server (`harness known ANSWER HOST PORT`), with one thread and one epoll instance.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use servers::Service;
use socket2::SockRef;

use super::answer::Behaviour;
use super::client::ClientConnection;
use super::lines::Lines;
use crate::contract::Contract;
use crate::server::{LaunchSpec, Launcher, raise_descriptor_limit};
use crate::stdio;

const BACKLOG: i32 = 4096;

/// Duration of busy waiting before the scheduled time of a reply. The kernel may wake a sleeping
/// thread a hundred microseconds late, and on a virtual machine two hundred.
const BUSY_WAIT: Duration = Duration::from_micros(250);

/// Size of the receive buffer, in bytes.
const BUFFER: usize = 64 * 1024;

/// Maximum number of events per wait.
const EVENTS: usize = 256;

/// Returns the launch spec of a known-answer server.
pub fn spec(launcher: &Launcher, answer: &str) -> LaunchSpec {
    let command = format!("harness known {answer} {{host}} {{port}}");
    let mut spec = LaunchSpec::external(&command, Contract::undeclared(Service::Echo))
        .expect("a command with {host} and {port}");
    spec.command[0] = launcher.program();
    spec.name = format!("known {answer}");
    spec
}

/// Serves until the process is killed.
///
/// # Errors
/// The server cannot listen, or the kernel denies it a resource.
pub fn serve(behaviour: Behaviour, host: &str, port: u16) -> Result<ExitCode> {
    raise_descriptor_limit();
    let listener = TcpListener::bind((host, port))
        .with_context(|| format!("cannot listen on {host}, port {port}"))?;
    SockRef::from(&listener).listen(BACKLOG)?;
    let address = listener.local_addr()?;
    stdio::line(&format!("known-answer server listens on {address}; stop it with Ctrl-C"));
    KnownAnswerServer::new(behaviour, listener)?.run().context("the server failed")?;
    Ok(ExitCode::SUCCESS)
}

struct KnownAnswerServer {
    epoll: Epoll,
    listener: TcpListener,
    /// Number of clients accepted so far.
    accepted: usize,
    /// Clients, by descriptor.
    clients: Vec<Option<ClientConnection>>,
    /// Scheduled times of replies, with the client's descriptor. The client may have disconnected.
    due: BTreeSet<(Instant, usize)>,
    lines: Lines,
    buffer: Box<[u8]>,
}

impl KnownAnswerServer {
    fn new(behaviour: Behaviour, listener: TcpListener) -> io::Result<KnownAnswerServer> {
        listener.set_nonblocking(true)?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let listener_key = listener.as_raw_fd() as u64;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, listener_key))?;
        Ok(KnownAnswerServer {
            epoll,
            listener,
            accepted: 0,
            clients: Vec::new(),
            due: BTreeSet::new(),
            lines: Lines::new(behaviour),
            buffer: vec![0; BUFFER].into(),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let listener_key = self.listener.as_raw_fd() as usize;
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = self.wait(&mut events)?;
            let woke = Instant::now();
            while self.due.first().is_some_and(|(at, _)| *at <= woke) {
                let (_, key) = self.due.pop_first().expect("a scheduled reply");
                self.serve_client(key, EpollFlags::empty())?;
            }
            for event in &events[..count] {
                self.lines.stay_frozen();
                match event.data() as usize {
                    key if key == listener_key => self.accept()?,
                    key => self.serve_client(key, event.events())?,
                }
            }
            self.lines.pad();
        }
    }

    /// Waits until an event occurs or a reply is due.
    fn wait(&self, events: &mut [EpollEvent]) -> io::Result<usize> {
        let mut timeout = EpollTimeout::NONE;
        if let Some((at, _)) = self.due.first() {
            timeout = EpollTimeout::ZERO;
            let rest = at.saturating_duration_since(Instant::now()).saturating_sub(BUSY_WAIT);
            if !rest.is_zero() {
                // The timeout of epoll_wait is in milliseconds, which is too coarse.
                let mut polled = [PollFd::new(self.epoll.0.as_fd(), PollFlags::POLLIN)];
                match ppoll(&mut polled, Some(rest.into()), None) {
                    Ok(_) | Err(Errno::EINTR) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        match self.epoll.wait(events, timeout) {
            Err(Errno::EINTR) => Ok(0),
            other => Ok(other?),
        }
    }

    /// Accepts one client. Level-triggered epoll reports further clients again.
    fn accept(&mut self) -> io::Result<()> {
        let client = match self.listener.accept() {
            Ok((client, _)) => client,
            Err(error) => {
                return match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted => Ok(()),
                    _ => Err(error),
                };
            }
        };
        self.accepted += 1;
        if matches!(self.lines.behaviour, Behaviour::First(count) if self.accepted > count) {
            return SockRef::from(&client).set_linger(Some(Duration::ZERO));
        }
        client.set_nonblocking(true)?;
        client.set_nodelay(true)?;
        let key = client.as_raw_fd() as usize;
        self.epoll.add(&client, EpollEvent::new(ClientConnection::events(), key as u64))?;
        if self.clients.len() <= key {
            self.clients.resize_with(key + 1, || None);
        }
        self.clients[key] = Some(ClientConnection::new(client));
        Ok(())
    }

    /// Handles the input and output of a client. Drops the client on any error.
    fn serve_client(&mut self, key: usize, events: EpollFlags) -> io::Result<()> {
        let Some(slot) = self.clients.get_mut(key) else { return Ok(()) };
        let Some(client) = slot else { return Ok(()) };
        match client.serve(events, &mut self.lines, &mut self.buffer) {
            Err(_) => *slot = None,
            Ok(()) if client.is_done() => *slot = None,
            Ok(()) => {
                self.due.extend(client.next_due().map(|at| (at, key)));
                if client.has_more() {
                    // Re-arms the edge trigger, so that other clients are served first.
                    let mut again = EpollEvent::new(ClientConnection::events(), key as u64);
                    self.epoll.modify(&client.stream, &mut again)?;
                }
            }
        }
        Ok(())
    }
}
