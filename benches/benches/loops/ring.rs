//! Minimal use of io_uring for a closed loop. The sockets are known in advance. One system call
//! submits all sends and waits for completions. The bytes to send are static, so never freed.

#![allow(unsafe_code, reason = "io_uring: the kernel accesses memory of this process")]

use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

use anyhow::{Context, Result, bail, ensure};
use io_uring::squeue::{Entry, Flags, SubmissionQueue};
use io_uring::types::{BufRingEntry, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode};
use nix::libc::{ENOBUFS, MSG_WAITALL};

use crate::TIMEOUT;

/// Id of the buffer group.
const GROUP: u16 = 0;

/// Size of each receive buffer, in bytes.
const BUFFER: usize = 512;

const PAGE: usize = 4096;

/// Flag in the user data of a send. The other bits are the index of the socket.
const SENT: u64 = 1 << 32;

/// A ring with its receive buffers.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Buffers,
}

impl Ring {
    /// Creates a ring that receives from these sockets and keeps them open. Only the calling thread
    /// may use the ring.
    pub(crate) fn new(sockets: Vec<TcpStream>) -> io::Result<Ring> {
        // In a turn, each socket has at most one send and one new receive.
        let room = (2 * sockets.len() as u32).next_power_of_two();
        let mut uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .build(room)?;
        let descriptors: Vec<_> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        uring.submitter().register_files(&descriptors)?;
        let buffers = Buffers::new(&uring, (sockets.len() as u16).next_power_of_two())?;
        let mut queue = uring.submission();
        (0..sockets.len()).for_each(|socket| push(&mut queue, &receiving(socket)));
        drop(queue);
        Ok(Ring { uring, buffers })
    }

    /// Queues a send on a socket.
    pub(crate) fn send(&mut self, socket: usize, bytes: &'static [u8]) {
        push(&mut self.uring.submission(), &sending(socket, bytes));
    }

    /// Submits the queue and waits for completions. Calls `reply` with the socket and the received
    /// bytes, and queues a send of the result.
    pub(crate) fn turn(
        &mut self,
        mut reply: impl FnMut(usize, &[u8]) -> Result<Option<&'static [u8]>>,
    ) -> Result<()> {
        let timeout = Timespec::from(TIMEOUT);
        let arguments = SubmitArgs::new().timespec(&timeout);
        match self.uring.submitter().submit_with_args(1, &arguments) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(error).context("cannot wait for replies of the server");
            }
            _ => {}
        }
        let (_, mut queue, completions) = self.uring.split();
        for completion in completions {
            let (data, result) = (completion.user_data(), completion.result());
            let socket = (data & !SENT) as usize;
            if data & SENT != 0 {
                bail!("sending failed: {}", io::Error::from_raw_os_error(-result));
            }
            // With ENOBUFS, no buffer was free and nothing was received.
            if result != -ENOBUFS {
                ensure!(result >= 0, io::Error::from_raw_os_error(-result));
                let buffer = cqueue::buffer_select(completion.flags());
                let buffer = buffer.context("the server has closed a connection")?;
                if let Some(bytes) = reply(socket, self.buffers.bytes(buffer, result as usize))? {
                    push(&mut queue, &sending(socket, bytes));
                }
                self.buffers.provide(buffer);
            }
            if !cqueue::more(completion.flags()) {
                push(&mut queue, &receiving(socket));
            }
        }
        Ok(())
    }
}

fn receiving(socket: usize) -> Entry {
    opcode::RecvMulti::new(Fixed(socket as u32), GROUP).build().user_data(socket as u64)
}

/// Returns a send that posts a completion only on failure. With MSG_WAITALL, a partial send is a
/// failure.
fn sending(socket: usize, bytes: &'static [u8]) -> Entry {
    opcode::Send::new(Fixed(socket as u32), bytes.as_ptr(), bytes.len() as u32)
        .flags(MSG_WAITALL)
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(SENT | socket as u64)
}

fn push(queue: &mut SubmissionQueue<'_>, entry: &Entry) {
    // SAFETY: `receiving` and `sending` make all entries. The bytes to send are static, the receive
    // buffers are never freed, and the registered sockets belong to the ring.
    unsafe { queue.push(entry) }.expect("room for two entries per socket");
}

/// Receive buffers that are provided to the kernel.
struct Buffers {
    /// Ring of the entries for buffers that the kernel may use.
    queue: NonNull<BufRingEntry>,
    /// Memory of all buffers.
    bytes: NonNull<u8>,
    count: u16,
    tail: u16,
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

impl Buffers {
    /// Creates `count` buffers, a power of two. They are never freed: the operations of a dropped
    /// ring end some time later, and until then the kernel may write to them.
    fn new(uring: &IoUring, count: u16) -> io::Result<Buffers> {
        let memory = |size: usize| {
            NonNull::from(vec![Page([0; PAGE]); size.div_ceil(PAGE)].leak()).cast::<u8>()
        };
        let queue = memory(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let bytes = memory(usize::from(count) * BUFFER);
        let address = queue.as_ptr() as u64;
        // SAFETY: the queue has `count` entries, starts on a page boundary, and is never freed.
        unsafe { uring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let mut buffers = Buffers { queue, bytes, count, tail: 0 };
        (0..count).for_each(|buffer| buffers.provide(buffer));
        Ok(buffers)
    }

    /// Provides a buffer to the kernel, for the first time or again.
    fn provide(&mut self, buffer: u16) {
        let position = usize::from(self.tail % self.count);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the entry and the buffer are within their memory. The kernel does not read
        // entries beyond the tail. The ring has an entry for each buffer, so the kernel has
        // consumed this entry. `BufRingEntry::tail` returns the kernel's address of the tail,
        // aligned for a u16. The release ordering makes the entry visible to the kernel before the
        // new tail.
        unsafe {
            let entry = self.queue.add(position).as_mut();
            entry.set_addr(self.bytes.add(usize::from(buffer) * BUFFER).as_ptr() as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.queue.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
    }

    /// Returns the received bytes in a buffer. Call this before the buffer is provided again.
    fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(
            buffer < self.count && count <= BUFFER,
            "a buffer id and a length within the bounds"
        );
        // SAFETY: the slice is within the memory, which is initialized: it was zero before the
        // kernel wrote to it. The buffer is not provided again before the next use of `&mut self`.
        unsafe {
            let start = self.bytes.add(usize::from(buffer) * BUFFER);
            std::slice::from_raw_parts(start.as_ptr(), count)
        }
    }
}
