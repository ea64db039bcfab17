//! Buffers: input without a line end yet, and replies that are not yet written.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use super::MAX_LINE;
use crate::broken::fault::Fault;

/// The received part of a line that is not yet complete.
#[derive(Default)]
pub(super) struct LineBuffer {
    pub(super) bytes: Vec<u8>,
    /// Whether the line is too long. Then the rest of the line is discarded.
    discarding: bool,
}

impl LineBuffer {
    /// Adds input and answers the complete lines. Returns false if a line is too long.
    pub(super) fn take(
        &mut self,
        fault: Fault,
        received: &[u8],
        mut answer: impl FnMut(&[u8]),
    ) -> bool {
        let mut fits = true;
        for piece in received.split_inclusive(|&byte| byte == b'\n') {
            let text = piece.strip_suffix(b"\n");
            if !self.discarding {
                self.bytes.extend_from_slice(text.unwrap_or(piece));
            }
            // One more byte than `MAX_LINE` is permitted, because it may be a carriage return. With
            // this fault, the server checks the length of complete lines only.
            if self.bytes.len() > MAX_LINE + 1 && fault != Fault::BuffersAnEndlessLine {
                answer(&self.bytes);
                self.bytes.clear();
                // With this fault, the buffer is cleared, and the rest counts as a new line.
                self.discarding = fault != Fault::AnswersTheRestOfALongLine;
                fits = false;
            }
            if text.is_some() {
                if !self.discarding {
                    answer(&self.bytes);
                }
                fits &= self.bytes.len() <= MAX_LINE;
                self.bytes.clear();
                self.discarding = false;
            }
        }
        fits
    }
}

/// An unbounded queue of replies with a thread that writes them.
#[derive(Default)]
pub(super) struct ReplyQueue {
    queue: Option<mpsc::Sender<Vec<u8>>>,
    writer: Option<thread::JoinHandle<()>>,
}

impl ReplyQueue {
    pub(super) fn to(mut client: TcpStream) -> ReplyQueue {
        let (queue, queued) = mpsc::channel::<Vec<u8>>();
        let writer = thread::spawn(move || {
            let _ = queued.into_iter().try_for_each(|replies| client.write_all(&replies));
        });
        ReplyQueue { queue: Some(queue), writer: Some(writer) }
    }

    pub(super) fn push(&self, replies: &[u8]) {
        for reply in replies.split_inclusive(|&byte| byte == b'\n') {
            let mut queued = vec![0; 256];
            queued[..reply.len()].copy_from_slice(reply);
            queued.truncate(reply.len());
            let _ = self.queue.iter().try_for_each(|queue| queue.send(queued.clone()));
        }
    }
}

impl Drop for ReplyQueue {
    /// Waits until all replies are written.
    fn drop(&mut self) {
        self.queue.take();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}
