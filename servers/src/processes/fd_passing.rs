//! Passes connections to another process over a Unix socket (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// The result of [`receive`].
#[derive(Debug)]
pub enum Received {
    /// A connection.
    Client(TcpStream),
    /// A connection that the kernel has closed, because this process had no free descriptor.
    Lost,
    /// The end of the stream: the other process has closed the channel.
    End,
}

/// Passes a copy of the connection's descriptor. Never blocks.
///
/// # Errors
/// The channel is full or closed.
pub fn pass(channel: &UnixStream, client: &TcpStream) -> io::Result<()> {
    let client = [client.as_raw_fd()];
    // A message needs at least one byte of data.
    let byte = [IoSlice::new(&[0])];
    let rights = [ControlMessage::ScmRights(&client)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(channel.as_raw_fd(), &byte, &rights, flags, None)?;
    Ok(())
}

/// Waits for a connection.
///
/// # Errors
/// Those of the channel.
pub fn receive(channel: &UnixStream) -> io::Result<Received> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let message = loop {
        let (space, flags) = (Some(&mut space[..]), MsgFlags::MSG_CMSG_CLOEXEC);
        match recvmsg::<()>(channel.as_raw_fd(), &mut bytes, space, flags) {
            Ok(message) => break (message.bytes, passed_descriptor(message.cmsgs())),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Ok(match message {
        (0, _) => Received::End,
        (_, Some(client)) => Received::Client(TcpStream::from(into_owned(client))),
        (_, None) => Received::Lost,
    })
}

/// Returns the passed descriptor, or `None` if the message was truncated.
fn passed_descriptor(
    messages: nix::Result<impl Iterator<Item = ControlMessageOwned>>,
) -> Option<RawFd> {
    messages.ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    })
}

#[allow(unsafe_code, reason = "recvmsg(2) has no wrapper that returns an owned descriptor")]
fn into_owned(received: RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just opened the descriptor, and nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(received) }
}
