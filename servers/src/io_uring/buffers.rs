//! Receive buffers shared by all connections (a provided buffer ring). The kernel takes a buffer
//! when input arrives, so idle connections need no buffer.

use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Size of a buffer in bytes: as much as other patterns read per event.
pub const BUFFER: usize = crate::event_loop::READ_SIZE;

/// Maximum number of buffers: 4 MiB in total.
pub const MAX_BUFFERS: u16 = 1024;

/// Initial number of buffers. The number doubles each time that the buffers are exhausted.
const FIRST_BUFFERS: u16 = 128;

/// Buffer group id.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;

/// The buffers of a ring. The kernel may use their memory as long as the ring exists.
pub(super) struct Buffers {
    /// Queue of the buffers that the kernel may use (the buffer ring).
    queue: Memory,
    bytes: Memory,
    tail: u16,
    /// Number of buffers.
    count: u16,
    /// Whether buffers were added in this iteration. If so, other operations that ended with
    /// ENOBUFS may now succeed without more buffers.
    has_grown: bool,
}

impl Buffers {
    /// Registers buffers with the ring. The buffers must outlive the ring.
    #[allow(unsafe_code, reason = "memory is registered with the kernel")]
    pub(super) fn new(uring: &IoUring) -> io::Result<Buffers> {
        let queue = Memory::zeroed(usize::from(MAX_BUFFERS) * size_of::<BufRingEntry>());
        // The kernel allocates pages at the first use.
        let bytes = Memory::uninitialised(usize::from(MAX_BUFFERS) * BUFFER);
        let address = queue.start.as_ptr() as u64;
        // SAFETY: the queue has MAX_BUFFERS entries, is page-aligned, and lives until the ring is
        // closed, which `Ring::drop` ensures.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(address, MAX_BUFFERS, GROUP, 0)?;
        }
        let mut buffers = Buffers { queue, bytes, tail: 0, count: 0, has_grown: false };
        buffers.add(FIRST_BUFFERS);
        Ok(buffers)
    }

    /// Adds buffers after an ENOBUFS.
    pub(super) fn provide_more(&mut self) {
        if !std::mem::replace(&mut self.has_grown, true) {
            self.add(self.count.min(MAX_BUFFERS - self.count));
        }
    }

    /// Starts a new iteration.
    pub(super) fn next_round(&mut self) {
        self.has_grown = false;
    }

    fn add(&mut self, number: u16) {
        for buffer in self.count..self.count + number {
            self.provide(buffer);
        }
        self.count += number;
    }

    /// Gives a new or used buffer to the kernel.
    #[allow(unsafe_code, reason = "the queue is shared with the kernel")]
    pub(super) fn provide(&mut self, buffer: u16) {
        let queue = self.queue.start.as_ptr().cast::<BufRingEntry>();
        let position = usize::from(self.tail % MAX_BUFFERS);
        let address = self.bytes.start.as_ptr() as usize + usize::from(buffer) * BUFFER;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the position is inside the queue. The kernel does not read entries beyond the
        // tail. The queue has an entry for each buffer, so this entry is unused. The tail lies
        // where the kernel expects it, aligned for a u16, and is stored with release ordering, so
        // the kernel sees the entry first.
        unsafe {
            let entry = &mut *queue.add(position);
            entry.set_addr(address as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(queue).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
    }

    /// Leaks the memory, for operations that may still use it after the ring is closed.
    pub(super) fn leak(&mut self) {
        self.queue.is_leaked = true;
        self.bytes.is_leaked = true;
    }

    /// Returns the received bytes of a buffer that is not provided to the kernel again yet.
    #[allow(unsafe_code, reason = "the kernel has written to the buffer")]
    pub(super) fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        let start = usize::from(buffer) * BUFFER;
        assert!(buffer < self.count && count <= BUFFER, "an unknown buffer");
        // SAFETY: the range is inside the memory, and the kernel has written `count` bytes. The
        // kernel does not access the buffer until it is provided again, which needs `&mut self`.
        unsafe { std::slice::from_raw_parts(self.bytes.start.as_ptr().add(start), count) }
    }
}

/// Page-aligned memory.
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
        let layout = Layout::from_size_align(size, PAGE).expect("a valid layout");
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
            // SAFETY: the memory was allocated with this layout, and no other pointer to it is
            // left.
            unsafe { dealloc(self.start.as_ptr(), self.layout) }
        }
    }
}
