//! Where the kernel puts what it receives: buffers that all clients share. The kernel takes one
//! when something has arrived, and not while a client is silent, so that there need not be one
//! for each client.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// The size of a buffer, in bytes: what one client gets per turn in other patterns.
pub const BUFFER: usize = crate::event_loop::READ_SIZE;

/// The most buffers that there will be: 4 MiB of them.
pub const MAX_BUFFERS: u16 = 1024;

/// Buffers that there are at first. Each time that they do not suffice, their number is doubled.
const FIRST_BUFFERS: u16 = 128;

/// The name of these buffers in operations.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;

/// The buffers of a ring. The kernel knows of their memory as long as the ring is there.
pub(super) struct Buffers {
    /// The queue in which the kernel finds those that it may use.
    queue: Memory,
    bytes: Memory,
    tail: u16,
    made: u16,
    /// More were provided in this round: others who found none then may find some now.
    has_grown: bool,
}

impl Buffers {
    /// Buffers that are known to the ring from now on, and must outlive it.
    #[allow(unsafe_code, reason = "the kernel is told of memory")]
    pub(super) fn new(uring: &IoUring) -> io::Result<Buffers> {
        let queue = Memory::zeroed(usize::from(MAX_BUFFERS) * size_of::<BufRingEntry>());
        // The kernel takes pages only when buffers are used.
        let bytes = Memory::uninitialised(usize::from(MAX_BUFFERS) * BUFFER);
        let address = queue.start.as_ptr() as u64;
        // SAFETY: the queue is of so many entries, on a page boundary, and is kept until the ring
        // is gone: the ring's drop sees to it.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(address, MAX_BUFFERS, GROUP, 0)?;
        }
        let mut buffers = Buffers { queue, bytes, tail: 0, made: 0, has_grown: false };
        buffers.make(FIRST_BUFFERS);
        Ok(buffers)
    }

    /// They did not suffice.
    pub(super) fn provide_more(&mut self) {
        if !std::mem::replace(&mut self.has_grown, true) {
            self.make(self.made.min(MAX_BUFFERS - self.made));
        }
    }

    /// The kernel is about to be asked again.
    pub(super) fn next_round(&mut self) {
        self.has_grown = false;
    }

    fn make(&mut self, count: u16) {
        for buffer in self.made..self.made + count {
            self.provide(buffer);
        }
        self.made += count;
    }

    /// The kernel may use the buffer, for the first time or again.
    #[allow(unsafe_code, reason = "the queue is shared with the kernel")]
    pub(super) fn provide(&mut self, buffer: u16) {
        let queue = self.queue.start.as_ptr().cast::<BufRingEntry>();
        let position = usize::from(self.tail % MAX_BUFFERS);
        let address = self.bytes.start.as_ptr() as usize + usize::from(buffer) * BUFFER;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the position is with_timeout the queue. The kernel does not look at an entry beyond
        // the tail, and there are no more buffers than entries, so this entry was used up. The
        // tail lies where the kernel expects it, aligned for a u16, and is written with release so
        // that the kernel sees the entry first.
        unsafe {
            let entry = &mut *queue.add(position);
            entry.set_addr(address as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(queue).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
    }

    /// The kernel may go on using them after the ring's end.
    pub(super) fn leak(&mut self) {
        self.queue.is_leaked = true;
        self.bytes.is_leaked = true;
    }

    /// What the kernel has put into a buffer. It must not have been provided again.
    #[allow(unsafe_code, reason = "the kernel has written to it")]
    pub(super) fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        let start = usize::from(buffer) * BUFFER;
        assert!(buffer < self.made && count <= BUFFER, "the kernel keeps to the buffers");
        // SAFETY: it is with_timeout the memory, the kernel has written so many bytes, and it has no
        // business there until the buffer is provided again, which takes `&mut self`.
        unsafe { std::slice::from_raw_parts(self.bytes.start.as_ptr().add(start), count) }
    }
}

/// Memory on a page boundary.
struct Memory {
    start: NonNull<u8>,
    layout: Layout,
    is_leaked: bool,
}

impl Memory {
    fn zeroed(size: usize) -> Memory {
        Memory::new(size, alloc_zeroed)
    }

    fn uninitialised(size: usize) -> Memory {
        Memory::new(size, alloc)
    }

    #[allow(unsafe_code, reason = "memory on a page boundary")]
    fn new(size: usize, allocate: unsafe fn(Layout) -> *mut u8) -> Memory {
        let layout = Layout::from_size_align(size, PAGE).expect("a sensible size");
        // SAFETY: the size is not zero.
        let start = unsafe { allocate(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        Memory { start, layout, is_leaked: false }
    }
}

impl Drop for Memory {
    #[allow(unsafe_code, reason = "memory on a page boundary")]
    fn drop(&mut self) {
        if !self.is_leaked {
            // SAFETY: it was allocated with this layout, and nothing points to it any more.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
