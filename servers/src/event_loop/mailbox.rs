//! A bounded queue into an event loop: other threads put things in, and a descriptor that the loop
//! waits for becomes readable.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// The queue and its descriptor.
#[derive(Debug)]
pub struct Mailbox<T> {
    sender: Sender<T>,
    receiver: Receiver<T>,
    wakeup: EventFd,
}

impl<T> Mailbox<T> {
    /// One that holds at most `bound` things.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new(bound: usize) -> io::Result<Mailbox<T>> {
        Mailbox::over(bounded(bound))
    }

    /// One for things of which there are not too many by nature, such as clients that have a place.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn unbounded() -> io::Result<Mailbox<T>> {
        Mailbox::over(unbounded())
    }

    fn over((sender, receiver): (Sender<T>, Receiver<T>)) -> io::Result<Mailbox<T>> {
        let wakeup = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Mailbox { sender, receiver, wakeup })
    }

    /// Puts something in and wakes the loop. Never blocks.
    ///
    /// # Errors
    /// It is full: the thing comes back.
    pub fn put(&self, thing: T) -> Result<(), T> {
        self.sender.try_send(thing).map_err(|error| error.into_inner())?;
        // It fails only when so many wake-ups wait already that one more changes nothing.
        let _ = self.wakeup.write(1);
        Ok(())
    }

    /// Takes one thing out, if there is one. The descriptor stays ready as long as there is.
    pub fn take(&self) -> Option<T> {
        if let Ok(thing) = self.receiver.try_recv() {
            return Some(thing);
        }
        let _ = self.wakeup.read();
        // What was put in meanwhile may not be alone, and its wake-up is gone.
        let thing = self.receiver.try_recv().ok()?;
        let _ = self.wakeup.write(1);
        Some(thing)
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
    fn the_descriptor_is_ready_until_the_inbox_was_seen_empty() {
        let mailbox = Mailbox::new(2).expect("an mailbox");
        assert!(!is_ready(&mailbox));
        assert_eq!((mailbox.put(1), mailbox.put(2), mailbox.put(3)), (Ok(()), Ok(()), Err(3)));
        for thing in [1, 2] {
            assert!(is_ready(&mailbox));
            assert_eq!(mailbox.take(), Some(thing));
        }
        assert_eq!(mailbox.take(), None);
        assert!(!is_ready(&mailbox));
    }
}
