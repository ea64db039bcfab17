//! io_uring in the least way that a closed loop needs: sockets that are known beforehand, one
//! system call for all that is to be sent and for what has come, nothing sent from memory that is
//! ever freed.

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

/// The name of the buffers in operations, and the size of each in bytes.
const GROUP: u16 = 0;
const BUFFER: usize = 512;

const PAGE: usize = 4096;

/// Tells a send from a receive, beside the number of the socket.
const SENT: u64 = 1 << 32;

/// A ring, and what it receives into.
pub(crate) struct Ring {
    uring: IoUring,
    buffers: Buffers,
}

impl Ring {
    /// A ring for this thread alone, which receives from all of these sockets. They are open as
    /// long as it is.
    pub(crate) fn new(sockets: Vec<TcpStream>) -> io::Result<Ring> {
        // In a turn a socket is sent to once, and received from anew once at the most.
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

    /// Queues what a socket is to send.
    pub(crate) fn send(&mut self, socket: usize, bytes: &'static [u8]) {
        push(&mut self.uring.submission(), &sending(socket, bytes));
    }

    /// Hands over what is queued, waits until something has come, and queues what it is replied
    /// by.
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
            // Without a buffer nothing was received yet.
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

/// It is told only if it fails, which it does unless everything is sent (WAITALL).
fn sending(socket: usize, bytes: &'static [u8]) -> Entry {
    opcode::Send::new(Fixed(socket as u32), bytes.as_ptr(), bytes.len() as u32)
        .flags(MSG_WAITALL)
        .build()
        .flags(Flags::SKIP_SUCCESS)
        .user_data(SENT | socket as u64)
}

fn push(queue: &mut SubmissionQueue<'_>, entry: &Entry) {
    // SAFETY: all entries are made above. What they send is static, what they receive into is
    // never freed, and the sockets are the ring's own, since they are registered.
    unsafe { queue.push(entry) }.expect("there is room for two of each socket");
}

/// Where the kernel puts what it receives.
struct Buffers {
    /// In which it finds those that it may use.
    queue: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    count: u16,
    tail: u16,
}

#[derive(Clone)]
#[repr(C, align(4096))]
struct Page([u8; PAGE]);

impl Buffers {
    /// So many, a power of two. They are never freed: a ring that is dropped ends what is under
    /// way some time later, and until then the kernel may write to them.
    fn new(uring: &IoUring, count: u16) -> io::Result<Buffers> {
        let memory = |size: usize| {
            NonNull::from(vec![Page([0; PAGE]); size.div_ceil(PAGE)].leak()).cast::<u8>()
        };
        let queue = memory(usize::from(count) * size_of::<BufRingEntry>()).cast();
        let bytes = memory(usize::from(count) * BUFFER);
        let address = queue.as_ptr() as u64;
        // SAFETY: the queue is of so many entries, on a page boundary, and is never freed.
        unsafe { uring.submitter().register_buf_ring_with_flags(address, count, GROUP, 0)? };
        let mut buffers = Buffers { queue, bytes, count, tail: 0 };
        (0..count).for_each(|buffer| buffers.provide(buffer));
        Ok(buffers)
    }

    /// The kernel may use the buffer, for the first time or again.
    fn provide(&mut self, buffer: u16) {
        let place = usize::from(self.tail % self.count);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: both are within their memory. The kernel does not look at an entry beyond the
        // tail, and there are no more buffers than entries, so this one was used up. The tail lies
        // where the kernel expects it, aligned for a u16, and is written with release so that the
        // kernel sees the entry first.
        unsafe {
            let entry = self.queue.add(place).as_mut();
            entry.set_addr(self.bytes.add(usize::from(buffer) * BUFFER).as_ptr() as u64);
            entry.set_len(BUFFER as u32);
            entry.set_bid(buffer);
            let tail = BufRingEntry::tail(self.queue.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Release);
        }
    }

    /// What the kernel has put into a buffer that was not provided again.
    fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < self.count && count <= BUFFER, "the kernel keeps to the buffers");
        // SAFETY: it is within the memory, which was zero before the kernel wrote to it, and it is
        // not provided again before `&mut self` is to be had.
        unsafe {
            let start = self.bytes.add(usize::from(buffer) * BUFFER);
            std::slice::from_raw_parts(start.as_ptr(), count)
        }
    }
}
