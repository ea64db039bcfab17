//! Handles completions: updates the connections, and reports to the user of the ring.

use std::net::TcpStream;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use io_uring::cqueue;

use super::operation::{Completion, Operation};
use super::{BUFFER, OpState, Ring, SPARE_OUTPUTS};
use crate::event_loop::Key;

impl<C: AsFd> Ring<'_, C> {
    /// Returns the next completed operation, if any.
    pub fn next_completion(&mut self) -> Option<Completion> {
        loop {
            self.recycle_buffer();
            let completion = if let Some(key) = self.skip_success_done.pop() {
                self.in_flight -= 1;
                let count = self.clients[key].output.len();
                self.complete_send(key, Ok(count))
            } else {
                let entry = self.completions.pop_front()?;
                self.complete(&entry)
            };
            if completion.is_some() {
                return completion;
            }
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry) -> Option<Completion> {
        let (operation, key) = Operation::from_tag(entry.user_data());
        let is_last = !cqueue::more(entry.flags());
        if is_last && operation != Operation::Cancel {
            self.in_flight -= 1;
        }
        let result = match entry.result() {
            result @ 0.. => Ok(result as usize),
            error => Err(-error),
        };
        match operation {
            Operation::Accept => self.complete_accept(result, is_last),
            Operation::PollListener => (!self.is_ending).then_some(Completion::Acceptable),
            Operation::PollShutdown => None,
            Operation::Receive => {
                self.complete_receive(key, result, cqueue::buffer_select(entry.flags()), is_last)
            }
            Operation::Send => self.complete_send(key, result),
            Operation::Cancel => {
                self.retry_cancel(key, result);
                None
            }
        }
    }

    fn complete_accept(&mut self, result: Result<usize, i32>, is_last: bool) -> Option<Completion> {
        match result {
            Ok(descriptor) => {
                let client = into_owned(descriptor);
                if is_last && !self.is_ending {
                    self.accept();
                }
                Some(Completion::Accepted(client))
            }
            Err(_) => (!self.is_ending).then_some(Completion::AcceptEnded),
        }
    }

    fn complete_receive(
        &mut self,
        key: Key,
        result: Result<usize, i32>,
        buffer: Option<u16>,
        is_last: bool,
    ) -> Option<Completion> {
        self.current_buffer = buffer.map(|buffer| (buffer, result.unwrap_or(0)));
        let slot = &mut self.clients[key];
        if is_last {
            slot.receiving = OpState::Idle;
        }
        let completion = match result {
            Ok(count) => {
                slot.has_ended = count == 0;
                Some(Completion::Received(key))
            }
            Err(libc::ENOBUFS) => {
                self.buffers.provide_more();
                None
            }
            Err(libc::ECANCELED | libc::EINTR | libc::EAGAIN) => None,
            Err(_) => {
                slot.has_ended = true;
                Some(Completion::Lost(key))
            }
        };
        let is_closing = slot.is_closing;
        self.start_receive(key);
        self.free_if_idle(key);
        completion.filter(|_| !is_closing)
    }

    fn complete_send(&mut self, key: Key, result: Result<usize, i32>) -> Option<Completion> {
        let slot = &mut self.clients[key];
        let may_retry = slot.sending == OpState::InFlight && !self.is_ending;
        slot.sending = OpState::Idle;
        if may_retry && matches!(result, Err(libc::EAGAIN | libc::EINTR)) {
            // The client does not read, so the kernel must wait for the client.
            self.start_send(key, OpState::InFlight);
            return None;
        }
        let mut output = std::mem::take(&mut slot.output);
        if output.capacity() <= BUFFER && self.spare_outputs.len() < SPARE_OUTPUTS {
            output.clear();
            self.spare_outputs.push(output);
        }
        let is_closing = slot.is_closing;
        self.free_if_idle(key);
        match result {
            _ if is_closing => None,
            Ok(count) => Some(Completion::Sent(key, count)),
            Err(libc::ECANCELED | libc::EAGAIN | libc::EINTR) => None,
            Err(_) => Some(Completion::Lost(key)),
        }
    }

    /// Returns a connection, and the input of the current completion. Empty input is the end of the
    /// stream.
    pub fn received(&mut self, key: Key) -> Option<(&mut C, &[u8])> {
        let bytes = self
            .current_buffer
            .map_or(&[][..], |(buffer, count)| self.buffers.bytes(buffer, count));
        Some((self.clients.get_mut(key)?.client.as_mut()?, bytes))
    }

    /// Retries a failed cancellation, unless the operation has completed.
    fn retry_cancel(&mut self, key: Key, result: Result<usize, i32>) {
        let (key, operation) = (key >> 1, [Operation::Receive, Operation::Send][key & 1]);
        let Some(slot) = self.clients.get(key) else { return };
        let state = if operation == Operation::Send { slot.sending } else { slot.receiving };
        // On ENOENT, the operation may still be in flight: it may be moving between queues.
        if state == OpState::Cancelling && result.is_err() {
            self.cancel(operation, key);
        }
    }
}

#[allow(unsafe_code, reason = "a completion has a descriptor as a number")]
fn into_owned(accepted: usize) -> TcpStream {
    // SAFETY: the kernel has opened the descriptor for this completion, which is handled once.
    TcpStream::from(unsafe { OwnedFd::from_raw_fd(accepted as i32) })
}
