//! Passes connections to another process over a Unix socket (SCM_RIGHTS, unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// A received message.
#[derive(Debug)]
pub enum Passed {
    /// A connection.
    Client(TcpStream),
    /// A connection for which this process had no free descriptor; the kernel has closed it.
    Lost,
    /// The end of the stream.
    End,
}

/// Passes a connection. Never blocks. The caller closes its own descriptor.
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
pub fn receive(channel: &UnixStream) -> io::Result<Passed> {
    let mut byte = [0];
    let mut bytes = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!(RawFd);
    let message = loop {
        let (space, flags) = (Some(&mut space[..]), MsgFlags::MSG_CMSG_CLOEXEC);
        match recvmsg::<()>(channel.as_raw_fd(), &mut bytes, space, flags) {
            Ok(message) => break (message.bytes, first_of(message.cmsgs())),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    };
    Ok(match message {
        (0, _) => Passed::End,
        (_, Some(client)) => Passed::Client(TcpStream::from(own(client))),
        (_, None) => Passed::Lost,
    })
}

/// Returns the descriptor, which is missing if the message was truncated.
fn first_of(messages: nix::Result<impl Iterator<Item = ControlMessageOwned>>) -> Option<RawFd> {
    messages.ok()?.find_map(|message| match message {
        ControlMessageOwned::ScmRights(descriptors) => descriptors.first().copied(),
        _ => None,
    })
}

#[allow(unsafe_code, reason = "recvmsg(2) has no wrapper that gives an owned descriptor")]
fn own(received: RawFd) -> OwnedFd {
    // SAFETY: recvmsg has just opened the descriptor for this call alone.
    unsafe { OwnedFd::from_raw_fd(received) }
}
