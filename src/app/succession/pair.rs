//! The pair of sockets between the old process and the new one: packets of a message, bytes and descriptors.
//!
//! Packets keep their bounds, so nothing has to be framed. What was received may hold a token and is wiped.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionbio};
use rustix::net::sockopt::socket_type;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, SocketFlags, SocketType, recvmsg, sendmsg, shutdown, socketpair,
};
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::time::{sleep, timeout};
use zeroize::Zeroizing;

use super::Message;
use crate::http::session::handing::MOST_AHEAD;

/// The longest packet, in bytes: what was read ahead of one connection, and a message. The kernel takes more than that.
const LONGEST: usize = MOST_AHEAD + 32 * 1024;

/// Most descriptors in one packet: the three listeners'.
const MOST_DESCRIPTORS: usize = 4;

/// How long to wait when too many descriptors are on their way already (`ETOOMANYREFS`).
const CROWDED: Duration = Duration::from_millis(5);

/// How long the other process may take to make room for a packet, and to answer when it is asked something. It does nothing
/// else meanwhile, so one that takes longer is stuck.
pub(super) const ANSWER: Duration = Duration::from_secs(5);

/// One end.
pub(super) struct Pair {
    /// It is of the kind SEQPACKET, which tokio has no type for; whoever waits for it does not care.
    end: UnixDatagram,
    /// Where packets arrive, one after another.
    room: Mutex<Zeroizing<Vec<u8>>>,
}

/// What came in one packet.
pub(super) struct Packet {
    pub(super) message: Message,
    pub(super) bytes: Zeroizing<Vec<u8>>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Two ends that know only each other.
pub(super) fn ends() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?)
}

impl Pair {
    /// Inside a runtime.
    ///
    /// # Errors
    /// It is no end of a pair.
    pub(super) fn new(end: OwnedFd) -> io::Result<Self> {
        if socket_type(&end)? != SocketType::SEQPACKET {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        ioctl_fionbio(&end, true)?;
        let end = UnixDatagram::from_std(end.into())?;
        Ok(Self { end, room: Mutex::new(Zeroizing::new(vec![0; LONGEST])) })
    }

    /// The end itself, for another runtime.
    ///
    /// # Errors
    /// What the kernel says.
    pub(super) fn into_end(self) -> io::Result<OwnedFd> {
        Ok(self.end.into_std()?.into())
    }

    /// Says nothing more: for the other process this one is gone.
    pub(super) fn close(&self) {
        // Whoever is gone needs no word of it.
        let _ = shutdown(&self.end, Shutdown::Both);
    }

    /// Sends a message.
    ///
    /// # Errors
    /// The other process is gone or stuck.
    pub(super) async fn say(&self, message: &Message) -> io::Result<()> {
        self.send(message, &[], &[]).await
    }

    /// Sends a message with bytes and descriptors.
    ///
    /// # Errors
    /// The other process is gone or stuck, or this is too long for a packet.
    pub(super) async fn send(&self, message: &Message, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut head = serde_json::to_vec(message)?;
        head.push(b'\n');
        timeout(ANSWER, self.send_packet(&head, bytes, descriptors)).await?
    }

    async fn send_packet(&self, head: &[u8], bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
        loop {
            self.end.writable().await?;
            let sent = self.end.try_io(Interest::WRITABLE, || {
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
                let mut control = SendAncillaryBuffer::new(&mut space);
                if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let parts = [IoSlice::new(head), IoSlice::new(bytes)];
                Ok(sendmsg(&self.end, &parts, &mut control, SendFlags::NOSIGNAL)?)
            });
            match sent {
                Ok(_) => return Ok(()),
                // They leave the kernel as the other process takes them.
                Err(error) if Errno::from_io_error(&error) == Some(Errno::TOOMANYREFS) => sleep(CROWDED).await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The next message; `None` when the other process is gone. Giving up this wait loses nothing.
    ///
    /// # Errors
    /// What came is no message of ours.
    pub(super) async fn receive(&self) -> io::Result<Option<Packet>> {
        loop {
            self.end.readable().await?;
            let received = self.end.try_io(Interest::READABLE, || {
                // Nobody else receives, and nothing waits in here.
                let mut bytes = self.room.lock().unwrap_or_else(PoisonError::into_inner);
                let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let parts = &mut [IoSliceMut::new(&mut bytes)];
                let received = recvmsg(&self.end, parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
                let mut descriptors = Vec::new();
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        descriptors.extend(rights);
                    }
                }
                if received.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let packet = &bytes[..received.bytes];
                if packet.is_empty() {
                    return Ok(None);
                }
                let end = memchr::memchr(b'\n', packet).ok_or(io::ErrorKind::InvalidData)?;
                let message = serde_json::from_slice(&packet[..end])?;
                Ok(Some(Packet { message, bytes: Zeroizing::new(packet[end + 1..].to_vec()), descriptors }))
            });
            match received {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                received => return received,
            }
        }
    }
}
