//! A ring and its connections.
//!
//! Operations are queued, and one system call ([`Ring::wait`]) submits all of them and waits for
//! completions. The kernel accesses the memory of an operation until the operation completes.
//! Therefore the ring owns this memory: input is in a buffer ring, and output is copied. The ring
//! also owns the connections. It drops a connection, which closes the socket, when no operation on
//! it is in flight. Dropping the ring cancels all operations and waits for them.

mod completion;
mod operation;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use io_uring::squeue::{Entry, Flags};
use io_uring::types::{CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};

use super::buffers::{self, BUFFER, Buffers};
use super::setup::{BACK_OFF, completions, set_up};
use crate::event_loop::Key;
use crate::sockets::Listener;
pub use operation::Completion;
use operation::Operation;

/// Size of the submission queue. More operations need another system call.
const SUBMISSIONS: u32 = 1024;

/// Maximum size of a send, whose output is copied.
const SEND_SIZE: usize = 16 * 1024;

/// Maximum number of send buffers that are kept for reuse, each of at most [`BUFFER`] bytes.
const SPARE_OUTPUTS: usize = 128;

/// Deadline for closing a ring. Afterwards the memory of operations in flight is leaked.
const CLOSE_DEADLINE: Duration = Duration::from_secs(1);

/// A ring with its connections.
pub struct Ring<'l, C: AsFd> {
    uring: IoUring,
    buffers: Buffers,
    listener: BorrowedFd<'l>,
    clients: Vec<Slot<C>>,
    free: Vec<Key>,
    queued: Vec<Entry>,
    /// Number of queued or submitted operations whose last completion is not handled.
    in_flight: usize,
    /// Completions that are not handled yet.
    completions: VecDeque<cqueue::Entry>,
    /// Connections with a `skip_success` send in flight.
    skip_success: Vec<Key>,
    /// Connections whose `skip_success` send has completed.
    skip_success_done: Vec<Key>,
    /// Buffer and length of the current completion's input.
    current_buffer: Option<(u16, usize)>,
    spare_outputs: Vec<Vec<u8>>,
    /// Whether all operations are being cancelled.
    is_ending: bool,
}

struct Slot<C> {
    /// `None` if the slot is free.
    client: Option<C>,
    /// Whether to receive input.
    wants_input: bool,
    receiving: OpState,
    /// Whether the input has ended.
    has_ended: bool,
    sending: OpState,
    /// Output that the kernel reads while it sends.
    output: Vec<u8>,
    /// Whether to drop the connection when no operation on it is in flight.
    is_closing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum OpState {
    Idle,
    InFlight,
    /// In flight; posts a completion only on failure. Without a failure, it is complete once
    /// submitted.
    InFlightSkipSuccess,
    Cancelling,
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
    /// Returns a ring for this thread and at most `clients` connections. The ring wakes at
    /// shutdown, but accepts no connections yet.
    ///
    /// # Errors
    /// The kernel refuses the ring: [`unavailable`](super::unavailable) explains why.
    pub fn new(listener: &'l Listener, clients: usize) -> io::Result<Ring<'l, C>> {
        let (uring, buffers) = set_up(SUBMISSIONS, completions(clients))?;
        let mut ring = Ring {
            uring,
            buffers,
            listener: listener.as_fd(),
            clients: Vec::new(),
            free: Vec::new(),
            queued: Vec::new(),
            in_flight: 0,
            completions: VecDeque::new(),
            skip_success: Vec::new(),
            skip_success_done: Vec::new(),
            current_buffer: None,
            spare_outputs: Vec::new(),
            is_ending: false,
        };
        let shutdown = Fd(listener.shutdown().fd().as_raw_fd());
        let entry = opcode::PollAdd::new(shutdown, libc::POLLIN as u32).build();
        ring.queue(entry, Operation::PollShutdown, 0);
        Ok(ring)
    }

    /// Accepts connections continuously (multishot).
    pub fn accept(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(listener).flags(flags).build();
        self.queue(entry, Operation::Accept, 0);
    }

    /// Reports once that a connection can be accepted. Unlike accept, this needs no descriptor.
    pub fn watch(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::PollAdd::new(listener, libc::POLLIN as u32).build();
        self.queue(entry, Operation::PollListener, 0);
    }

    /// Adds a connection, without starting an operation.
    pub fn add(&mut self, client: C) -> Key {
        let key = self.free.pop().unwrap_or_else(|| {
            self.clients.push(Slot::free());
            self.clients.len() - 1
        });
        self.clients[key].client = Some(client);
        key
    }

    /// Returns a connection unless it is closing. Do not replace its socket, because operations
    /// refer to the socket's descriptor.
    pub fn client(&mut self, key: Key) -> Option<&mut C> {
        let slot = self.clients.get_mut(key)?;
        if slot.is_closing { None } else { slot.client.as_mut() }
    }

    /// Starts or stops receiving. After a stop, only input that the kernel has received before the
    /// next [`wait`](Self::wait) is delivered. Per wait, one connection gets at most the input that
    /// fits in the [buffers](super::MAX_BUFFERS). Recent kernels stop after 32 buffers.
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

    /// Sends the beginning of a connection's output, unless a send is in flight.
    ///
    /// With `skip_success`, a send that completes at once posts no completion
    /// (IOSQE_CQE_SKIP_SUCCESS). [`Sent`](Completion::Sent) is then delivered with the next
    /// completion. This saves every second system call. Use it if nothing must happen right after
    /// the send.
    pub fn send(&mut self, key: Key, skip_success: bool, output: impl FnOnce(&C) -> &[u8]) {
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
        let skip_success = skip_success && part.len() == output.len();
        slot.output = self.spare_outputs.pop().unwrap_or_default();
        slot.output.extend_from_slice(part);
        if skip_success {
            self.skip_success.push(key);
            self.start_send(key, OpState::InFlightSkipSuccess);
        } else {
            self.start_send(key, OpState::InFlight);
        }
    }

    fn start_send(&mut self, key: Key, state: OpState) {
        let slot = &mut self.clients[key];
        let Some(client) = &slot.client else { return };
        let socket = Fd(client.as_fd().as_raw_fd());
        let entry = opcode::Send::new(socket, slot.output.as_ptr(), slot.output.len() as u32);
        let entry = match state {
            // MSG_DONTWAIT: the kernel does not wait for the client. MSG_WAITALL: a partial send is
            // a failure.
            OpState::InFlightSkipSuccess => entry
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                .build()
                .flags(Flags::SKIP_SUCCESS),
            _ => entry.build(),
        };
        slot.sending = state;
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

    /// Cancels the operations in flight, and starts no others. Completions still arrive until the
    /// ring [is idle](Self::is_idle).
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
    /// Those of io_uring_enter(2), except EINTR, ETIME, EBUSY, EAGAIN and ENOMEM.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.recycle_buffer();
        self.buffers.next_round();
        if self.is_ending && self.in_flight > 0 {
            // Repeated until the ring is idle, because a cancellation misses operations that the
            // kernel is executing.
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            let tag = Operation::Cancel.tag(0);
            self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
        }
        let entered = loop {
            self.fill_submission_queue();
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
        self.completions.extend(self.uring.completion());
        self.complete_skip_success_sends();
        match entered.as_ref().map_err(io::Error::raw_os_error) {
            // EBUSY: the completion queue has overflowed, so completions must be handled first.
            Ok(_) | Err(Some(libc::EINTR | libc::ETIME | libc::EBUSY)) => Ok(()),
            Err(Some(libc::EAGAIN | libc::ENOMEM)) => {
                thread::sleep(BACK_OFF);
                Ok(())
            }
            Err(_) => entered.map(drop),
        }
    }

    /// Completes the `skip_success` sends that were submitted and have not failed.
    fn complete_skip_success_sends(&mut self) {
        for completion in &self.completions {
            let (operation, key) = Operation::from_tag(completion.user_data());
            if operation == Operation::Send
                && self.clients[key].sending == OpState::InFlightSkipSuccess
            {
                self.clients[key].sending = OpState::InFlight;
                self.skip_success.retain(|&sending| sending != key);
            }
        }
        let submission = self.uring.submission();
        if self.queued.is_empty() && submission.is_empty() && !submission.cq_overflow() {
            drop(submission);
            self.skip_success_done.append(&mut self.skip_success);
        }
    }

    fn recycle_buffer(&mut self) {
        if let Some((buffer, _)) = self.current_buffer.take() {
            self.buffers.provide(buffer);
        }
    }

    fn cancel(&mut self, operation: Operation, key: Key) {
        let entry = opcode::AsyncCancel::new(operation.tag(key)).build();
        let tag = Operation::Cancel.tag(key << 1 | usize::from(operation == Operation::Send));
        self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
    }

    fn queue(&mut self, entry: Entry, operation: Operation, key: Key) {
        self.queued.push(entry.user_data(operation.tag(key)));
        self.in_flight += 1;
    }

    /// Moves queued operations to the submission queue, as far as there is room.
    #[allow(unsafe_code, reason = "entries refer to memory and descriptors")]
    fn fill_submission_queue(&mut self) {
        let mut submission = self.uring.submission();
        let room = submission.capacity() - submission.len();
        let count = self.queued.len().min(room);
        // SAFETY: an entry refers to memory and to a descriptor. The memory is a buffer of this
        // ring or the output of a slot. It is neither changed nor freed before the operation
        // completes. The descriptor is that of the listener, the shutdown event or a connection.
        // The listener outlives the ring, and the shutdown event is never closed. A connection is
        // dropped only when no operation on it is in flight.
        let pushed = unsafe { submission.push_multiple(&self.queued[..count]) };
        pushed.expect("room in the submission queue");
        drop(submission);
        self.queued.drain(..count);
    }
}

impl<C: AsFd> Drop for Ring<'_, C> {
    fn drop(&mut self) {
        self.cancel_all();
        let deadline = Instant::now() + CLOSE_DEADLINE;
        while !self.is_idle() {
            if Instant::now() > deadline || self.wait(Some(BACK_OFF)).is_err() {
                // The kernel may still use the buffers and outputs.
                self.buffers.leak();
                std::mem::forget(std::mem::take(&mut self.clients));
                return;
            }
            while self.next_completion().is_some() {}
        }
    }
}
