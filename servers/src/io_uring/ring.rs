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
const SENT_AT_ONCE: usize = 16 * 1024;

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
    under_way: usize,
    /// Completions that were not looked at yet.
    done: VecDeque<cqueue::Entry>,
    /// Clients for whom something is sent quietly, and those for whom it was.
    quiet: Vec<Key>,
    quietly_done: Vec<Key>,
    /// What the last event brought.
    lent: Option<(u16, usize)>,
    spare: Vec<Vec<u8>>,
    ends: bool,
}

struct Slot<C> {
    /// None if the slot is free.
    client: Option<C>,
    /// What the client sends is to be received.
    wanted: bool,
    receiving: Doing,
    /// The client has ended its side.
    has_ended: bool,
    sending: Doing,
    /// What the kernel reads while it sends.
    output: Vec<u8>,
    /// The client is to be dropped when nothing is under way for it.
    closes: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    Nothing,
    UnderWay,
    /// It has no completion unless it fails, and is over when it was handed over.
    Quietly,
    Cancelled,
}

/// What has been done.
#[derive(Debug)]
pub enum Event {
    /// A client was accepted.
    Accepted(TcpStream),
    /// Nothing is accepted any more until that is [asked](Ring::accept) for again, which helps if
    /// there is a descriptor: the listener knows what to do.
    NotAccepted,
    /// A client waits to be accepted, as was [asked](Ring::watch) for.
    Waits,
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
enum About {
    Accept,
    Watch,
    Stop,
    Receive,
    Send,
    /// A cancellation: it comes only if that failed.
    Cancel,
}

impl About {
    const ALL: [About; 6] =
        [About::Accept, About::Watch, About::Stop, About::Receive, About::Send, About::Cancel];

    fn tag(self, key: Key) -> u64 {
        (key as u64) << 3 | self as u64
    }

    fn of(tag: u64) -> (About, Key) {
        (About::ALL[(tag & 7) as usize], (tag >> 3) as Key)
    }
}

impl<C> Slot<C> {
    fn free() -> Slot<C> {
        Slot {
            client: None,
            wanted: false,
            receiving: Doing::Nothing,
            has_ended: false,
            sending: Doing::Nothing,
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
            under_way: 0,
            done: VecDeque::new(),
            quiet: Vec::new(),
            quietly_done: Vec::new(),
            lent: None,
            spare: Vec::new(),
            ends: false,
        };
        let stop = Fd(listener.stop().fd().as_raw_fd());
        let entry = opcode::PollAdd::new(stop, libc::POLLIN as u32).build();
        ring.queue(entry, About::Stop, 0);
        Ok(ring)
    }

    /// Accepts whoever comes, one after the other.
    pub fn accept(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let entry = opcode::AcceptMulti::new(listener).flags(flags).build();
        self.queue(entry, About::Accept, 0);
    }

    /// Waits until somebody can be accepted, once, and needs no descriptor for that.
    pub fn watch(&mut self) {
        let listener = Fd(self.listener.as_raw_fd());
        let entry = opcode::PollAdd::new(listener, libc::POLLIN as u32).build();
        self.queue(entry, About::Watch, 0);
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
    /// client gets at most as much as there are [buffers](super::MOST_BUFFERS); kernels of late stop at
    /// 32 of them.
    pub fn receive(&mut self, key: Key, wanted: bool) {
        if self.client(key).is_none() {
            return;
        }
        let slot = &mut self.clients[key];
        slot.wanted = wanted;
        if !wanted && slot.receiving == Doing::UnderWay {
            slot.receiving = Doing::Cancelled;
            self.cancel(About::Receive, key);
        } else {
            self.begin_to_receive(key);
        }
    }

    fn begin_to_receive(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        if slot.wanted && slot.receiving == Doing::Nothing && !slot.has_ended && !self.ends {
            let Some(client) = &slot.client else { return };
            let socket = Fd(client.as_fd().as_raw_fd());
            slot.receiving = Doing::UnderWay;
            let entry = opcode::RecvMulti::new(socket, buffers::GROUP).build();
            self.queue(entry, About::Receive, key);
        }
    }

    /// Sends a client its output, or the beginning of it, unless something is being sent.
    ///
    /// A send that the kernel takes at once can be quiet: it wakes nobody, and the event that it
    /// was sent comes with the next one that happens. That is for those for whom nothing is to be
    /// done then, and spares every other system call.
    pub fn send(&mut self, key: Key, quietly: bool, output: impl FnOnce(&C) -> &[u8]) {
        let Some(slot) = self.clients.get_mut(key).filter(|slot| !slot.closes) else { return };
        let Some(client) = &slot.client else { return };
        if slot.sending != Doing::Nothing || self.ends {
            return;
        }
        let output = output(client);
        let part = &output[..output.len().min(SENT_AT_ONCE)];
        if part.is_empty() {
            return;
        }
        let quietly = quietly && part.len() == output.len();
        slot.output = self.spare.pop().unwrap_or_default();
        slot.output.extend_from_slice(part);
        if quietly {
            self.quiet.push(key);
            self.begin_to_send(key, Doing::Quietly);
        } else {
            self.begin_to_send(key, Doing::UnderWay);
        }
    }

    fn begin_to_send(&mut self, key: Key, doing: Doing) {
        let slot = &mut self.clients[key];
        let Some(client) = &slot.client else { return };
        let socket = Fd(client.as_fd().as_raw_fd());
        let entry = opcode::Send::new(socket, slot.output.as_ptr(), slot.output.len() as u32);
        let entry = match doing {
            // Never left for later (DONTWAIT), and a failure unless everything is sent (WAITALL).
            Doing::Quietly => entry
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL)
                .build()
                .flags(Flags::SKIP_SUCCESS),
            _ => entry.build(),
        };
        slot.sending = doing;
        self.queue(entry, About::Send, key);
    }

    /// Drops a client, as soon as nothing is under way for it.
    pub fn close(&mut self, key: Key) {
        if self.client(key).is_none() {
            return;
        }
        self.receive(key, false);
        let slot = &mut self.clients[key];
        slot.closes = true;
        if slot.sending == Doing::UnderWay {
            slot.sending = Doing::Cancelled;
            self.cancel(About::Send, key);
        }
        self.settle(key);
    }

    fn settle(&mut self, key: Key) {
        let slot = &mut self.clients[key];
        let is_idle = slot.receiving == Doing::Nothing && slot.sending == Doing::Nothing;
        if slot.closes && is_idle && slot.client.is_some() {
            *slot = Slot::free();
            self.free.push(key);
        }
    }

    /// From now on nothing is begun, and what is under way is cancelled. Events still come until
    /// the ring [is idle](Self::is_idle).
    pub fn end(&mut self) {
        self.ends = true;
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.under_way == 0
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
        self.give_back();
        self.buffers.next_round();
        if self.ends && self.under_way > 0 {
            // Repeated as long as it takes: what is just being done cannot be cancelled.
            let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build();
            let tag = About::Cancel.tag(0);
            self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
        }
        let entered = loop {
            self.hand_over();
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
        self.tell_quiet_from_failed();
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

    /// Finds out what was sent quietly: all of which no failure is told, once it was handed over.
    fn tell_quiet_from_failed(&mut self) {
        for done in &self.done {
            let (about, key) = About::of(done.user_data());
            if about == About::Send && self.clients[key].sending == Doing::Quietly {
                self.clients[key].sending = Doing::UnderWay;
                self.quiet.retain(|&one| one != key);
            }
        }
        let submission = self.uring.submission();
        if self.queued.is_empty() && submission.is_empty() && !submission.cq_overflow() {
            drop(submission);
            self.quietly_done.append(&mut self.quiet);
        }
    }

    /// What was done, if there is more.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            self.give_back();
            let event = if let Some(key) = self.quietly_done.pop() {
                self.under_way -= 1;
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
        let (about, key) = About::of(done.user_data());
        let is_last = !cqueue::more(done.flags());
        if is_last && about != About::Cancel {
            self.under_way -= 1;
        }
        let result = match done.result() {
            result @ 0.. => Ok(result as usize),
            error => Err(-error),
        };
        match about {
            About::Accept => self.accepted(result, is_last),
            About::Watch => (!self.ends).then_some(Event::Waits),
            About::Stop => None,
            About::Receive => {
                self.arrived(key, result, cqueue::buffer_select(done.flags()), is_last)
            }
            About::Send => self.sent(key, result),
            About::Cancel => {
                self.cancel_again(key, result);
                None
            }
        }
    }

    fn accepted(&mut self, result: Result<usize, i32>, is_last: bool) -> Option<Event> {
        match result {
            Ok(descriptor) => {
                let client = own(descriptor);
                if is_last && !self.ends {
                    self.accept();
                }
                Some(Event::Accepted(client))
            }
            Err(_) => (!self.ends).then_some(Event::NotAccepted),
        }
    }

    fn arrived(
        &mut self,
        key: Key,
        result: Result<usize, i32>,
        buffer: Option<u16>,
        is_last: bool,
    ) -> Option<Event> {
        self.lent = buffer.map(|buffer| (buffer, result.unwrap_or(0)));
        let slot = &mut self.clients[key];
        if is_last {
            slot.receiving = Doing::Nothing;
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
        self.begin_to_receive(key);
        self.settle(key);
        event.filter(|_| !closes)
    }

    fn sent(&mut self, key: Key, result: Result<usize, i32>) -> Option<Event> {
        let slot = &mut self.clients[key];
        let goes_on = slot.sending == Doing::UnderWay && !self.ends;
        slot.sending = Doing::Nothing;
        if goes_on && matches!(result, Err(libc::EAGAIN | libc::EINTR)) {
            // The client does not read, or not now: from here on the kernel waits for it.
            self.begin_to_send(key, Doing::UnderWay);
            return None;
        }
        let mut output = std::mem::take(&mut slot.output);
        if output.capacity() <= BUFFER && self.spare.len() < SPARE {
            output.clear();
            self.spare.push(output);
        }
        let closes = slot.closes;
        self.settle(key);
        match result {
            _ if closes => None,
            Ok(count) => Some(Event::Sent(key, count)),
            Err(libc::ECANCELED | libc::EAGAIN | libc::EINTR) => None,
            Err(_) => Some(Event::Lost(key)),
        }
    }

    /// What the last event brought, and whose it is. Nothing is the client's end.
    pub fn received(&mut self, key: Key) -> Option<(&mut C, &[u8])> {
        let bytes = self.lent.map_or(&[][..], |(buffer, count)| self.buffers.bytes(buffer, count));
        Some((self.clients.get_mut(key)?.client.as_mut()?, bytes))
    }

    fn give_back(&mut self) {
        if let Some((buffer, _)) = self.lent.take() {
            self.buffers.provide(buffer);
        }
    }

    fn cancel(&mut self, about: About, key: Key) {
        let entry = opcode::AsyncCancel::new(about.tag(key)).build();
        let tag = About::Cancel.tag(key << 1 | usize::from(about == About::Send));
        self.queued.push(entry.flags(Flags::SKIP_SUCCESS).user_data(tag));
    }

    /// What was just being done could not be cancelled.
    fn cancel_again(&mut self, key: Key, result: Result<usize, i32>) {
        let (key, about) = (key >> 1, [About::Receive, About::Send][key & 1]);
        let Some(slot) = self.clients.get(key) else { return };
        let doing = if about == About::Send { slot.sending } else { slot.receiving };
        // Not found does not mean over: it may be on its way from one place to another.
        if doing == Doing::Cancelled && result.is_err() {
            self.cancel(about, key);
        }
    }

    fn queue(&mut self, entry: Entry, about: About, key: Key) {
        self.queued.push(entry.user_data(about.tag(key)));
        self.under_way += 1;
    }

    /// Moves what is queued to where the kernel finds it, as far as there is room.
    #[allow(unsafe_code, reason = "the kernel is told of memory and descriptors")]
    fn hand_over(&mut self) {
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
        self.end();
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
