//! A ring and its connections.
//!
//! Operations are queued, and one system call ([`Ring::wait`]) submits all of them and waits for
//! completions. The kernel accesses memory until it reports completion, so that memory belongs to
//! this module: input lies in a buffer ring, output is copied. The connections belong to it too; a
//! connection is dropped, and its socket closed, when no operation on it is in flight. Dropping the
//! ring cancels all operations and waits for them.

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

/// Size of the submission queue. More operations take another system call.
const QUEUE: u32 = 1024;

/// Maximum size of one send, which is copied.
const SEND_SIZE: usize = 16 * 1024;

/// Maximum number of send buffers kept for reuse, each of at most [`BUFFER`] bytes.
const SPARE: usize = 128;

/// Deadline for closing a ring. Memory of operations still in flight then is leaked.
const END_DEADLINE: Duration = Duration::from_secs(1);

/// A ring with its connections.
pub struct Ring<'l, C: AsFd> {
    uring: IoUring,
    buffers: Buffers,
    listener: BorrowedFd<'l>,
    clients: Vec<Slot<C>>,
    free: Vec<Key>,
    queued: Vec<Entry>,
    /// Queued operations whose last completion has not arrived.
    in_flight: usize,
    /// Completions that are not handled yet.
    done: VecDeque<cqueue::Entry>,
    /// Connections with a silent send in flight, and those whose silent send has completed.
    silent: Vec<Key>,
    silent_done: Vec<Key>,
    /// Buffer and length of the current event's input.
    current_buffer: Option<(u16, usize)>,
    spare: Vec<Vec<u8>>,
    is_ending: bool,
}

struct Slot<C> {
    /// None if the slot is free.
    client: Option<C>,
    /// Whether to receive input.
    wants_input: bool,
    receiving: OpState,
    /// The client has closed its side.
    has_ended: bool,
    sending: OpState,
    /// Output that the kernel reads while it sends.
    output: Vec<u8>,
    /// To be dropped when no operation is in flight.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpState {
    Idle,
    InFlight,
    /// Completes only on failure; otherwise done once it was submitted.
    InFlightSilent,
    Cancelling,
}

/// A completed operation.
#[derive(Debug)]
pub enum Event {
    /// A connection was accepted.
    Accepted(TcpStream),
    /// The multishot accept has ended and must be [restarted](Ring::accept), which helps once a
    /// descriptor is free. The listener has a spare one.
    AcceptEnded,
    /// A connection can be accepted, after [`watch`](Ring::watch).
    Acceptable,
    /// Input has arrived. [`received`](Ring::received) returns it until the next event.
    Received(Key),
    /// This many bytes of a connection's output were sent.
    Sent(Key, usize),
    /// The connection is gone.
    Lost(Key),
}

/// The kind of a completed operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
enum Operation {
    Accept,
    Watch,
    Shutdown,
    Receive,
    Send,
    /// A cancellation; it completes only if it failed.
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
            wants_input: false,
            receiving: OpState::Idle,
            has_ended: false,
            sending: OpState::Idle,
            output: Vec::new(),
            is_closing: false,
        }
    }
}

impl<'l, C: AsFd> Ring<'l, C> {
    /// Returns a ring for this thread and at most `clients` connections. It wakes at shutdown and
    /// accepts nothing yet.
    ///
    /// # Errors
    /// The kernel refuses it: [`unavailable`](super::unavailable) explains why.
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

    /// Accepts connections continuously (multishot).
    pub fn accept(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(listener).flags(flags).build();
        self.queue(entry, Operation::Accept, 0);
    }

    /// Waits once until a connection can be accepted; this needs no descriptor.
    pub fn watch(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::PollAdd::new(listener, libc::POLLIN as u32).build();
        self.queue(entry, Operation::Watch, 0);
    }

    /// Adds a connection, without any operation.
    pub fn add(&mut self, client: C) -> Key {
        let key = self.free.pop().unwrap_or_else(|| {
            self.clients.push(Slot::free());
            self.clients.len() - 1
        });
        self.clients[key].client = Some(client);
        key
    }

    /// Returns a connection unless it is closing. It must keep its socket, which operations refer
    /// to.
    pub fn client(&mut self, key: Key) -> Option<&mut C> {
        let slot = self.clients.get_mut(key)?;
        if slot.is_closing { None } else { slot.client.as_mut() }
    }

    /// Starts or stops receiving. After a stop, only input that the kernel had received before the
    /// next [`wait`](Self::wait) arrives. Per wait, one connection gets at most as much as there
    /// are [buffers](super::MAX_BUFFERS); recent kernels stop after 32 of them.
    pub fn receive(&mut self, key: Key, wants_input: bool) {
        if self.client(key).is_none() {
            return;
        }
        let slot = &mut self.clients[key];
        slot.wants_input = wants_input;
        if !wants_input && slot.receiving == OpState::InFlight {
            slot.receiving = OpState::Cancelling;
            self.cancel(Operation::Receive, key);
        } else {
            self.start_receive(key);
        }
    }

    fn start_receive(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        if slot.wants_input && slot.receiving == OpState::Idle && !slot.has_ended && !self.is_ending
        {
            let Some(client) = &slot.client else { return };
            let socket = Fd(client.as_fd().as_raw_fd());
            slot.receiving = OpState::InFlight;
            let entry = opcode::RecvMulti::new(socket, buffers::GROUP).build();
            self.queue(entry, Operation::Receive, key);
        }
    }

    /// Sends the output of a connection, or its beginning, unless a send is in flight.
    ///
    /// A send that the kernel takes at once may be silent: it wakes no thread, and its event is
    /// delivered with the next one. That suits connections for which nothing is to be done after
    /// the send, and saves every second system call.
    pub fn send(&mut self, key: Key, silently: bool, output: impl FnOnce(&C) -> &[u8]) {
        let Some(slot) = self.clients.get_mut(key).filter(|slot| !slot.is_closing) else { return };
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
            // DONTWAIT: never deferred. WAITALL: fails unless everything is sent.
            OpState::InFlightSilent => entry
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                .build()
                .flags(Flags::SKIP_SUCCESS),
            _ => entry.build(),
        };
        slot.sending = doing;
        self.queue(entry, Operation::Send, key);
    }

    /// Drops a connection as soon as no operation on it is in flight.
    pub fn close(&mut self, key: Key) {
        if self.client(key).is_none() {
            return;
        }
        self.receive(key, false);
        let slot = &mut self.clients[key];
        slot.is_closing = true;
        if slot.sending == OpState::InFlight {
            slot.sending = OpState::Cancelling;
            self.cancel(Operation::Send, key);
        }
        self.free_if_idle(key);
    }

    fn free_if_idle(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        let is_idle = slot.receiving == OpState::Idle && slot.sending == OpState::Idle;
        if slot.is_closing && is_idle && slot.client.is_some() {
            *slot = Slot::free();
            self.free.push(key);
        }
    }

    /// Starts no further operation and cancels those in flight. Events still arrive until the ring
    /// [is idle](Self::is_idle).
    pub fn cancel_all(&mut self) {
        self.is_ending = true;
    }

    /// Returns whether no operation is in flight.
    pub fn is_idle(&self) -> bool {
        self.in_flight == 0
    }

    /// Returns the connections that are not closing. The ring must be idle.
    pub fn into_connections(mut self) -> Vec<C> {
        assert!(self.is_idle(), "operations are in flight");
        let slots = std::mem::take(&mut self.clients);
        slots.into_iter().filter(|slot| !slot.is_closing).filter_map(|slot| slot.client).collect()
    }

    /// Submits the queued operations and waits for a completion.
    ///
    /// # Errors
    /// Those of io_uring_enter(2) other than an interruption or the timeout.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.recycle_buffer();
        self.buffers.next_round();
        if self.is_ending && self.in_flight > 0 {
            // Repeated until the ring is idle: an operation in progress cannot be cancelled.
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
            // EBUSY: the completion queue has overflowed; handle completions first.
            Ok(_) | Err(Some(libc::EINTR | libc::ETIME | libc::EBUSY)) => Ok(()),
            Err(Some(libc::EAGAIN | libc::ENOMEM)) => {
                thread::sleep(BACK_OFF);
                Ok(())
            }
            Err(_) => entered.map(drop),
        }
    }

    /// Completes the silent sends that were submitted and have not failed.
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

    /// Returns the next completed operation, if any.
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
        let is_closing = slot.is_closing;
        self.start_receive(key);
        self.free_if_idle(key);
        event.filter(|_| !is_closing)
    }

    fn sent(&mut self, key: Key, result: Result<usize, i32>) -> Option<Event> {
        let slot = &mut self.clients[key];
        let goes_on = slot.sending == OpState::InFlight && !self.is_ending;
        slot.sending = OpState::Idle;
        if goes_on && matches!(result, Err(libc::EAGAIN | libc::EINTR)) {
            // The client does not read: from now on the kernel waits for it.
            self.start_send(key, OpState::InFlight);
            return None;
        }
        let mut output = std::mem::take(&mut slot.output);
        if output.capacity() <= BUFFER && self.spare.len() < SPARE {
            output.clear();
            self.spare.push(output);
        }
        let is_closing = slot.is_closing;
        self.free_if_idle(key);
        match result {
            _ if is_closing => None,
            Ok(count) => Some(Event::Sent(key, count)),
            Err(libc::ECANCELED | libc::EAGAIN | libc::EINTR) => None,
            Err(_) => Some(Event::Lost(key)),
        }
    }

    /// Returns the current event's input and its connection. No bytes mean the end of the stream.
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

    /// Retries the cancellation of an operation that was in progress.
    fn cancel_again(&mut self, key: Key, result: Result<usize, i32>) {
        let (key, about) = (key >> 1, [Operation::Receive, Operation::Send][key & 1]);
        let Some(slot) = self.clients.get(key) else { return };
        let doing = if about == Operation::Send { slot.sending } else { slot.receiving };
        // ENOENT does not mean completed: the operation may be moving between queues.
        if doing == OpState::Cancelling && result.is_err() {
            self.cancel(about, key);
        }
    }

    fn queue(&mut self, entry: Entry, about: Operation, key: Key) {
        self.queued.push(entry.user_data(about.tag(key)));
        self.in_flight += 1;
    }

    /// Moves queued operations to the submission queue, as far as there is room.
    #[allow(unsafe_code, reason = "entries refer to memory and descriptors")]
    fn pass_to_idle(&mut self) {
        let mut submission = self.uring.submission();
        let room = submission.capacity() - submission.len();
        let count = self.queued.len().min(room);
        // SAFETY: an entry refers to the buffers of this ring or to an output, which is not touched
        // before its completion; neither a slot nor the ring's memory is freed before. Its
        // descriptor is the listener's, which outlives the ring, the shutdown event's, which is
        // never closed, or a connection's, which is dropped only when no operation on it is in
        // flight.
        let pushed = unsafe { submission.push_multiple(&self.queued[..count]) };
        pushed.expect("a complete write");
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
                // The kernel may still use them.
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
    // SAFETY: the kernel has just opened the descriptor for this completion alone, which is handled
    // once.
    TcpStream::from(unsafe { OwnedFd::from_raw_fd(accepted as i32) })
}
