//! io_uring for one thread and its clients, with an interface that cannot be misused.
//!
//! What to do is queued, and one system call ([`Ring::wait`]) hands all of it to the kernel and
//! waits for what is done. The kernel reads and writes memory until it says that it is done with
//! it, so that memory belongs to this module: what is received lies in a ring of buffers, what is
//! sent is copied. A client belongs to it too, and is dropped, and its socket closed, when nothing
//! is under way for it any more. Dropping the ring cancels all that is under way, and waits for it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use super::buffers::{self, BUFFER, Buffers};
use super::setup::{BACK_OFF, completions, set_up};
use crate::event_loop::Key;
use crate::sockets::Listener;

/// What can be queued before it has to be handed over. More takes another system call.
const QUEUE: u32 = 1024;

/// The most that is copied, to be sent at once.
const SEND_SIZE: usize = 16 * 1024;

/// Buffers for sending that are kept for the next, each of at most [`BUFFER`] bytes.
const SPARE: usize = 128;

/// How long the end of a ring may take. What is then still under way keeps its memory for ever.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// A ring, and the clients that it is for.
pub struct Ring<'l, C: AsFd> {
    uring: IoUring,
    buffers: Buffers,
    listener: BorrowedFd<'l>,
    clients: Vec<Slot<C>>,
    free: Vec<Key>,
    queued: Vec<Entry>,
    /// Operations that were queued and whose last completion has not come.
    in_flight: usize,
    /// Completions that were not looked at yet.
    done: VecDeque<cqueue::Entry>,
    /// Connections for whom something is sent silently, and those for whom it was.
    silent: Vec<Key>,
    silent_done: Vec<Key>,
    /// What the last event brought.
    current_buffer: Option<(u16, usize)>,
    spare: Vec<Vec<u8>>,
    is_ending: bool,
}

struct Slot<C> {
    /// None if the slot is free.
    client: Option<C>,
    /// What the client sends is to be received.
    wanted: bool,
    receiving: OpState,
    /// The client has ended its side.
    has_ended: bool,
    sending: OpState,
    /// What the kernel reads while it sends.
    output: Vec<u8>,
    /// The client is to be dropped when nothing is under way for it.
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpState {
    Idle,
    InFlight,
    /// It has no completion unless it fails, and is over when it was handed over.
    InFlightSilent,
    Cancelling,
}

/// What has been done.
#[derive(Debug)]
pub enum Event {
    /// A client was accepted.
    Accepted(TcpStream),
    /// Nothing is accepted any more until that is [asked](Ring::accept) for again, which helps if
    /// there is a descriptor: the listener knows what to do.
    AcceptEnded,
    /// A client waits to be accepted, as was [asked](Ring::watch) for.
    Acceptable,
    /// A client has sent something, which is [to be had](Ring::received) until the next event.
    Received(Key),
    /// So much of a client's output was sent.
    Sent(Key, usize),
    /// The connection is over.
    Lost(Key),
}

/// What a completion is about, beside the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Operation {
    Accept,
    Watch,
    Shutdown,
    Receive,
    Send,
    /// A cancellation: it comes only if that failed.
    Cancel,
}

impl Operation {
    const ALL: [Operation; 6] = [
        Operation::Accept,
        Operation::Watch,
        Operation::Shutdown,
        Operation::Receive,
        Operation::Send,
        Operation::Cancel,
    ];

    fn tag(self, key: Key) -> u64 {
        (key as u64) << 3 | self as u64
    }

    fn of(tag: u64) -> (Operation, Key) {
        (Operation::ALL[(tag & 7) as usize], (tag >> 3) as Key)
    }
}

impl<C> Slot<C> {
    fn free() -> Slot<C> {
        Slot {
            client: None,
            wanted: false,
            receiving: OpState::Idle,
            has_ended: false,
            sending: OpState::Idle,
            output: Vec::new(),
            closes: false,
        }
    }
}

impl<'l, C: AsFd> Ring<'l, C> {
    /// A ring for this thread and for so many clients at most. It wakes when the server is to end, and accepts nothing yet.
    ///
    /// # Errors
    /// The kernel refuses it: [`unavailable`] says why.
    pub fn new(listener: &'l Listener, clients: usize) -> io::Result<Ring<'l, C>> {
        let (uring, buffers) = set_up(QUEUE, completions(clients))?;
        let mut ring = Ring {
            uring,
            buffers,
            listener: listener.as_fd(),
            clients: Vec::new(),
            free: Vec::new(),
            queued: Vec::new(),
            in_flight: 0,
            done: VecDeque::new(),
            silent: Vec::new(),
            silent_done: Vec::new(),
            current_buffer: None,
            spare: Vec::new(),
            is_ending: false,
        };
        let shutdown = Fd(listener.shutdown().fd().as_raw_fd());
        let entry = opcode::PollAdd::new(shutdown, libc::POLLIN as u32).build();
        ring.queue(entry, Operation::Shutdown, 0);
        Ok(ring)
    }

    /// Accepts whoever comes, one after the other.
    pub fn accept(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(listener).flags(flags).build();
        self.queue(entry, Operation::Accept, 0);
    }

    /// Waits until somebody can be accepted, once, and needs no descriptor for that.
    pub fn watch(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::PollAdd::new(listener, libc::POLLIN as u32).build();
        self.queue(entry, Operation::Watch, 0);
    }

    /// Takes a client in, for which nothing is done yet.
    pub fn add(&mut self, client: C) -> Key {
        let key = self.free.pop().unwrap_or_else(|| {
            self.clients.push(Slot::free());
            self.clients.len() - 1
        });
        self.clients[key].client = Some(client);
        key
    }

    /// A client that is there, and not about to be closed. It keeps its socket: the kernel knows
    /// that one.
    pub fn client(&mut self, key: Key) -> Option<&mut C> {
        let slot = self.clients.get_mut(key)?;
        if slot.closes { None } else { slot.client.as_mut() }
    }

    /// Whether to receive what a client sends. After a no, nothing arrives that was not received
    /// by the kernel before the next [`wait`](Self::wait) hands the no over. With every wait one
    /// client gets at most as much as there are [buffers](super::MAX_BUFFERS); kernels of late stop at
    /// 32 of them.
    pub fn receive(&mut self, key: Key, wanted: bool) {
        if self.client(key).is_none() {
            return;
        }
        let slot = &mut self.clients[key];
        slot.wanted = wanted;
        if !wanted && slot.receiving == OpState::InFlight {
            slot.receiving = OpState::Cancelling;
            self.cancel(Operation::Receive, key);
        } else {
            self.start_receive(key);
        }
    }

    fn start_receive(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        if slot.wanted && slot.receiving == OpState::Idle && !slot.has_ended && !self.is_ending {
            let Some(client) = &slot.client else { return };
            let socket = Fd(client.as_fd().as_raw_fd());
            slot.receiving = OpState::InFlight;
            let entry = opcode::RecvMulti::new(socket, buffers::GROUP).build();
            self.queue(entry, Operation::Receive, key);
        }
    }

    /// Sends a client its output, or the beginning of it, unless something is being sent.
    ///
    /// A send that the kernel takes at once can be silent: it wakes nobody, and the event that it
    /// was sent comes with the next one that happens. That is for those for whom nothing is to be
    /// done then, and spares every other system call.
    pub fn send(&mut self, key: Key, silently: bool, output: impl FnOnce(&C) -> &[u8]) {
        let Some(slot) = self.clients.get_mut(key).filter(|slot| !slot.closes) else { return };
        let Some(client) = &slot.client else { return };
        if slot.sending != OpState::Idle || self.is_ending {
            return;
        }
        let output = output(client);
        let part = &output[..output.len().min(SEND_SIZE)];
        if part.is_empty() {
            return;
        }
        let silently = silently && part.len() == output.len();
        slot.output = self.spare.pop().unwrap_or_default();
        slot.output.extend_from_slice(part);
        if silently {
            self.silent.push(key);
            self.start_send(key, OpState::InFlightSilent);
        } else {
            self.start_send(key, OpState::InFlight);
        }
    }

    fn start_send(&mut self, key: Key, doing: OpState) {
        let slot = &mut self.clients[key];
        let Some(client) = &slot.client else { return };
        let socket = Fd(client.as_fd().as_raw_fd());
        let entry = opcode::Send::new(socket, slot.output.as_ptr(), slot.output.len() as u32);
        let entry = match doing {
            // Never left for later (DONTWAIT), and a failure unless everything is sent (WAITALL).
            OpState::InFlightSilent => entry
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                .build()
                .flags(Flags::SKIP_SUCCESS),
            _ => entry.build(),
        };
        slot.sending = doing;
        self.queue(entry, Operation::Send, key);
    }

    /// Drops a client, as soon as nothing is under way for it.
    pub fn close(&mut self, key: Key) {
        if self.client(key).is_none() {
            return;
        }
        self.receive(key, false);
        let slot = &mut self.clients[key];
        slot.closes = true;
        if slot.sending == OpState::InFlight {
            slot.sending = OpState::Cancelling;
            self.cancel(Operation::Send, key);
        }
        self.free_if_idle(key);
    }

    fn free_if_idle(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        let is_idle = slot.receiving == OpState::Idle && slot.sending == OpState::Idle;
        if slot.closes && is_idle && slot.client.is_some() {
            *slot = Slot::free();
            self.free.push(key);
        }
    }

    /// From now on nothing is begun, and what is under way is cancelled. Events still come until
    /// the ring [is idle](Self::is_idle).
    pub fn cancel_all(&mut self) {
        self.is_ending = true;
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// The clients that are there, and not about to be closed. To be called of an idle ring.
    pub fn into_clients(mut self) -> Vec<C> {
        assert!(self.is_idle(), "something is under way for a client");
        let slots = std::mem::take(&mut self.clients);
        slots.into_iter().filter(|slot| !slot.closes).filter_map(|slot| slot.client).collect()
    }

    /// Hands over what is queued, and waits until something is done.
    ///
    /// # Errors
    /// The kernel refuses the ring its service. That a signal came, or the time is over, is no
    /// error.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.recycle_buffer();
        self.buffers.next_round();
        if self.is_ending && self.in_flight > 0 {
            // Repeated as long as it takes: what is just being done cannot be cancelled.
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            let tag = Operation::Cancel.tag(0);
            self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
        }
        let entered = loop {
            self.pass_to_idle();
            let submitter = self.uring.submitter();
            let entered = match timeout.map(Timespec::from) {
                _ if !self.queued.is_empty() => submitter.submit(),
                None => submitter.submit_and_wait(1),
                Some(left) => submitter.submit_with_args(1, &SubmitArgs::new().timespec(&left)),
            };
            if entered.is_err() || self.queued.is_empty() {
                break entered;
            }
        };
        self.done.extend(self.uring.completion());
        self.settle_silent_sends();
        match entered.as_ref().map_err(io::Error::raw_os_error) {
            // At EBUSY the kernel has more completions than room for them: look at those first.
            Ok(_) | Err(Some(libc::EINTR | libc::ETIME | libc::EBUSY)) => Ok(()),
            Err(Some(libc::EAGAIN | libc::ENOMEM)) => {
                thread::sleep(BACK_OFF);
                Ok(())
            }
            Err(_) => entered.map(drop),
        }
    }

    /// Finds out what was sent silently: all of which no failure is told, once it was handed over.
    fn settle_silent_sends(&mut self) {
        for done in &self.done {
            let (about, key) = Operation::of(done.user_data());
            if about == Operation::Send && self.clients[key].sending == OpState::InFlightSilent {
                self.clients[key].sending = OpState::InFlight;
                self.silent.retain(|&one| one != key);
            }
        }
        let submission = self.uring.submission();
        if self.queued.is_empty() && submission.is_empty() && !submission.cq_overflow() {
            drop(submission);
            self.silent_done.append(&mut self.silent);
        }
    }

    /// What was done, if there is more.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            self.recycle_buffer();
            let event = if let Some(key) = self.silent_done.pop() {
                self.in_flight -= 1;
                let count = self.clients[key].output.len();
                self.sent(key, Ok(count))
            } else {
                let done = self.done.pop_front()?;
                self.completed(&done)
            };
            if event.is_some() {
                return event;
            }
        }
    }

    fn completed(&mut self, done: &cqueue::Entry) -> Option<Event> {
        let (about, key) = Operation::of(done.user_data());
        let is_last = !cqueue::more(done.flags());
        if is_last && about != Operation::Cancel {
            self.in_flight -= 1;
        }
        let result = match done.result() {
            result @ 0.. => Ok(result as usize),
            error => Err(-error),
        };
        match about {
            Operation::Accept => self.accepted(result, is_last),
            Operation::Watch => (!self.is_ending).then_some(Event::Acceptable),
            Operation::Shutdown => None,
            Operation::Receive => {
                self.arrived(key, result, cqueue::buffer_select(done.flags()), is_last)
            }
            Operation::Send => self.sent(key, result),
            Operation::Cancel => {
                self.cancel_again(key, result);
                None
            }
        }
    }

    fn accepted(&mut self, result: Result<usize, i32>, is_last: bool) -> Option<Event> {
        match result {
            Ok(descriptor) => {
                let client = own(descriptor);
                if is_last && !self.is_ending {
                    self.accept();
                }
                Some(Event::Accepted(client))
            }
            Err(_) => (!self.is_ending).then_some(Event::AcceptEnded),
        }
    }

    fn arrived(
        &mut self,
        key: Key,
        result: Result<usize, i32>,
        buffer: Option<u16>,
        is_last: bool,
    ) -> Option<Event> {
        self.current_buffer = buffer.map(|buffer| (buffer, result.unwrap_or(0)));
        let slot = &mut self.clients[key];
        if is_last {
            slot.receiving = OpState::Idle;
        }
        let event = match result {
            Ok(count) => {
                slot.has_ended = count == 0;
                Some(Event::Received(key))
            }
            Err(libc::ENOBUFS) => {
                self.buffers.provide_more();
                None
            }
            Err(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => None,
            Err(_) => {
                slot.has_ended = true;
                Some(Event::Lost(key))
            }
        };
        let closes = slot.closes;
        self.start_receive(key);
        self.free_if_idle(key);
        event.filter(|_| !closes)
    }

    fn sent(&mut self, key: Key, result: Result<usize, i32>) -> Option<Event> {
        let slot = &mut self.clients[key];
        let goes_on = slot.sending == OpState::InFlight && !self.is_ending;
        slot.sending = OpState::Idle;
        if goes_on && matches!(result, Err(libc::EAGAIN | libc::EINTR)) {
            // The client does not read, or not now: from here on the kernel waits for it.
            self.start_send(key, OpState::InFlight);
            return None;
        }
        let mut output = std::mem::take(&mut slot.output);
        if output.capacity() <= BUFFER && self.spare.len() < SPARE {
            output.clear();
            self.spare.push(output);
        }
        let closes = slot.closes;
        self.free_if_idle(key);
        match result {
            _ if closes => None,
            Ok(count) => Some(Event::Sent(key, count)),
            Err(libc::ECANCELED | libc::EAGAIN | libc::EINTR) => None,
            Err(_) => Some(Event::Lost(key)),
        }
    }

    /// What the last event brought, and whose it is. Nothing is the client's end.
    pub fn received(&mut self, key: Key) -> Option<(&mut C, &[u8])> {
        let bytes = self
            .current_buffer
            .map_or(&[][..], |(buffer, count)| self.buffers.bytes(buffer, count));
        Some((self.clients.get_mut(key)?.client.as_mut()?, bytes))
    }

    fn recycle_buffer(&mut self) {
        if let Some((buffer, _)) = self.current_buffer.take() {
            self.buffers.provide(buffer);
        }
    }

    fn cancel(&mut self, about: Operation, key: Key) {
        let entry = opcode::AsyncCancel::new(about.tag(key)).build();
        let tag = Operation::Cancel.tag(key << 1 | usize::from(about == Operation::Send));
        self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
    }

    /// What was just being done could not be cancelled.
    fn cancel_again(&mut self, key: Key, result: Result<usize, i32>) {
        let (key, about) = (key >> 1, [Operation::Receive, Operation::Send][key & 1]);
        let Some(slot) = self.clients.get(key) else { return };
        let doing = if about == Operation::Send { slot.sending } else { slot.receiving };
        // Not found does not mean over: it may be on its way from one place to another.
        if doing == OpState::Cancelling && result.is_err() {
            self.cancel(about, key);
        }
    }

    fn queue(&mut self, entry: Entry, about: Operation, key: Key) {
        self.queued.push(entry.user_data(about.tag(key)));
        self.in_flight += 1;
    }

    /// Moves what is queued to where the kernel finds it, as far as there is room.
    #[allow(unsafe_code, reason = "the kernel is told of memory and descriptors")]
    fn pass_to_idle(&mut self) {
        let mut submission = self.uring.submission();
        let room = submission.capacity() - submission.len();
        let count = self.queued.len().min(room);
        // SAFETY: an entry names the buffers of this ring, or an output, which is not touched
        // until its completion has come; a slot is not freed, and the ring's memory not either,
        // before. Its descriptor is the listener's, which outlives the ring, the stop event's,
        // which is never closed, or a client's, which is dropped only when nothing is under way.
        let pushed = unsafe { submission.push_multiple(&self.queued[..count]) };
        pushed.expect("there is room");
        drop(submission);
        self.queued.drain(..count);
    }
}

impl<C: AsFd> Drop for Ring<'_, C> {
    fn drop(&mut self) {
        self.cancel_all();
        let deadline = Instant::now() + END_DEADLINE;
        while !self.is_idle() {
            if Instant::now() > deadline || self.wait(Some(BACK_OFF)).is_err() {
                // The kernel may still use it.
                self.buffers.leak();
                std::mem::forget(std::mem::take(&mut self.clients));
                return;
            }
            while self.next_event().is_some() {}
        }
    }
}

#[allow(unsafe_code, reason = "a completion brings a descriptor as a number")]
fn own(accepted: usize) -> TcpStream {
    // SAFETY: the kernel has just opened the descriptor for this completion alone, which is looked
    // at once.
    TcpStream::from(unsafe { OwnedFd::from_raw_fd(accepted as i32) })
}
