//! Handing a client's socket to another process over a Unix socket (SCM_RIGHTS of unix(7)).

use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::cmsg_space;
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

/// What has come.
#[derive(Debug)]
pub enum Passed {
    /// A client.
    Client(TcpStream),
    /// A client for whom this process had no descriptor. The kernel has closed the connection.
    Lost,
    /// Nothing, and no more will.
    End,
}

/// Passes a client. Never blocks. The caller closes its own descriptor.
///
/// # Errors
/// The other side takes no more.
pub fn pass(channel: &UnixStream, client: &TcpStream) -> io::Result<()> {
    let client = [client.as_raw_fd()];
    // Without a byte at least, there would be no message.
    let byte = [IoSlice::new(&[0])];
    let rights = [ControlMessage::ScmRights(&client)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    sendmsg::<()>(channel.as_raw_fd(), &byte, &rights, flags, None)?;
    Ok(())
}

/// Waits for a client.
///
/// # Errors
/// What the kernel says of the channel.
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

/// The one descriptor, which is not there if the message was cut short.
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
