//! A queue into an event loop. While it has messages, a descriptor in the loop's interest list is
//! readable.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The queue and its eventfd.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    wakeup: EventFd,
}

impl<T> Mailbox<T> {
    /// Returns a mailbox for at most `capacity` messages.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new(capacity: usize) -> io::Result<Mailbox<T>> {
        Mailbox::with_channel(bounded(capacity))
    }

    /// Returns an unbounded mailbox, for messages whose number has another bound, such as
    /// connections with a permit.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn unbounded() -> io::Result<Mailbox<T>> {
        Mailbox::with_channel(unbounded())
    }

    fn with_channel((sender, receiver): (Sender<T>, Receiver<T>)) -> io::Result<Mailbox<T>> {
        let wakeup = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Mailbox { sender, receiver, wakeup })
    }

    /// Sends a message and wakes the loop. Never blocks.
    ///
    /// # Errors
    /// Returns the message if the mailbox is full.
    pub fn put(&self, message: T) -> Result<(), T> {
        self.sender.try_send(message).map_err(|error| error.into_inner())?;
        // Fails only if the counter is at its maximum: then the descriptor is already readable.
        let _ = self.wakeup.write(1);
        Ok(())
    }

    /// Receives a message, if any. The descriptor stays readable while there are more messages.
    pub fn take(&self) -> Option<T> {
        if let Ok(message) = self.receiver.try_recv() {
            return Some(message);
        }
        let _ = self.wakeup.read();
        // A message that arrived after the first check has lost its wake-up to the read. More
        // messages may follow it, so restore the wake-up.
        let message = self.receiver.try_recv().ok()?;
        let _ = self.wakeup.write(1);
        Some(message)
    }
}

impl<T> AsFd for Mailbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wakeup.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn is_ready(mailbox: &Mailbox<u32>) -> bool {
        poll(&mut [PollFd::new(mailbox.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO) == Ok(1)
    }

    #[test]
    fn the_descriptor_is_readable_until_the_mailbox_is_empty() {
        let mailbox = Mailbox::new(2).expect("a mailbox");
        assert!(!is_ready(&mailbox));
        assert_eq!((mailbox.put(1), mailbox.put(2), mailbox.put(3)), (Ok(()), Ok(()), Err(3)));
        for message in [1, 2] {
            assert!(is_ready(&mailbox));
            assert_eq!(mailbox.take(), Some(message));
        }
        assert_eq!(mailbox.take(), None);
        assert!(!is_ready(&mailbox));
    }
}
