//! Minimal use of io_uring for a closed loop. The sockets are known in advance. One system call
//! submits all sends and collects all completions. Sent bytes are static, and never freed.

#![allow(unsafe_code, reason = "the kernel is told of memory, and shares a queue")]

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

use crate::PATIENCE;

/// Id of the buffer group, and size of each buffer in bytes.
const GROUP: u16 = 0;
const BUFFER: usize = 512;

const PAGE: usize = 4096;

/// Marks the completion of a send, in the user data next to the socket's index.
const SENT: u64 = 1 << 32;

/// A ring with its receive buffers.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Buffers,
}

impl Ring {
    /// Creates a ring for this thread only, which receives from all of these sockets. The ring
    /// keeps them open.
    pub(crate) fn new(sockets: Vec<TcpStream>) -> io::Result<Ring> {
        // In a turn each socket has at most one send and one new receive.
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

    /// Submits the queue, waits for completions, and queues the replies to received bytes.
    pub(crate) fn turn(
        &mut self,
        mut reply: impl FnMut(usize, &[u8]) -> Result<Option<&'static [u8]>>,
    ) -> Result<()> {
        let patience = Timespec::from(PATIENCE);
        let arguments = SubmitArgs::new().timespec(&patience);
        match self.uring.submitter().submit_with_args(1, &arguments) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                return Err(error).context("waiting for what the server sends");
            }
            _ => {}
        }
        let (_, mut queue, completions) = self.uring.split();
        for one in completions {
            let (socket, result) = ((one.user_data() & !SENT) as usize, one.result());
            if one.user_data() & SENT != 0 {
                bail!("sending failed: {}", io::Error::from_raw_os_error(-result));
            }
            // Without a free buffer nothing was received.
            if result != -ENOBUFS {
                ensure!(result >= 0, io::Error::from_raw_os_error(-result));
                let buffer = cqueue::buffer_select(one.flags());
                let buffer = buffer.context("the server has closed a connection")?;
                if let Some(bytes) = reply(socket, self.buffers.bytes(buffer, result as usize))? {
                    push(&mut queue, &sending(socket, bytes));
                }
                self.buffers.provide(buffer);
            }
            if !cqueue::more(one.flags()) {
                push(&mut queue, &receiving(socket));
            }
        }
        Ok(())
    }
}

fn receiving(socket: usize) -> Entry {
    opcode::RecvMulti::new(Fixed(socket as u32), GROUP).build().user_data(socket as u64)
}

/// Posts a completion only on failure. A partial send is a failure (WAITALL).
fn sending(socket: usize, bytes: &'static [u8]) -> Entry {
    opcode::Send::new(Fixed(socket as u32), bytes.as_ptr(), bytes.len() as u32)
        .flags(MSG_WAITALL)
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(SENT | socket as u64)
}

fn push(queue: &mut SubmissionQueue<'_>, entry: &Entry) {
    // SAFETY: all entries are made above. The bytes to send are static, the receive buffers are
    // never freed, and the sockets belong to the ring, because they are registered.
    unsafe { queue.push(entry) }.expect("there is room for two of each socket");
}

/// Receive buffers of the kernel.
struct Buffers {
    /// Ring of the buffers that the kernel may use.
    queue: NonNull<BufRingEntry>,
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
        let place = usize::from(self.tail % self.count);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: both are within their memory. The kernel does not read an entry beyond the tail,
        // and there are no more buffers than entries, so this entry is used up. The tail is where
        // the kernel expects it and aligned for a u16. It is written with release ordering so that
        // the kernel sees the entry first.
        unsafe {
            let entry = self.queue.add(place).as_mut();
            entry.set_addr(self.bytes.add(usize::from(buffer) * BUFFER).as_ptr() as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.queue.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
    }

    /// Returns the bytes that the kernel has put into a buffer that was not provided again.
    fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < self.count && count <= BUFFER, "the kernel keeps to the buffers");
        // SAFETY: the slice is within the memory, which was zero before the kernel wrote to it. The
        // buffer is not provided again before the next use of `&mut self`.
        unsafe {
            let start = self.bytes.add(usize::from(buffer) * BUFFER);
            std::slice::from_raw_parts(start.as_ptr(), count)
        }
    }
}
