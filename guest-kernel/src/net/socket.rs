//! What every kind of socket offers, and the file it is behind.

use crate::errno::{Errno, Result};
use crate::fs::file::{File, OpenFile};
use crate::fs::inode::{DeviceNumber, FileKind, InodeId, Metadata};
use crate::fs::owner::Owner;
use crate::io::{Destination, Source};
use crate::ipc::anon;
use crate::mm::AddressSpace;
use crate::net::address::Address;
use crate::net::options::Options;
use crate::net::registry::Entry;
use crate::sync::Lock;
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::Arc;
use alloc::vec::Vec;
use bitflags::bitflags;
use core::any::Any;

bitflags! {
    /// Flags of send and receive calls.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MessageFlags: u32 {
        #[allow(missing_docs)] const OOB = 0x1;
        #[allow(missing_docs)] const PEEK = 0x2;
        #[allow(missing_docs)] const DONTROUTE = 0x4;
        #[allow(missing_docs)] const CTRUNC = 0x8;
        #[allow(missing_docs)] const TRUNC = 0x20;
        #[allow(missing_docs)] const DONTWAIT = 0x40;
        #[allow(missing_docs)] const EOR = 0x80;
        #[allow(missing_docs)] const WAITALL = 0x100;
        #[allow(missing_docs)] const CONFIRM = 0x800;
        #[allow(missing_docs)] const ERRQUEUE = 0x2000;
        #[allow(missing_docs)] const NOSIGNAL = 0x4000;
        #[allow(missing_docs)] const MORE = 0x8000;
        #[allow(missing_docs)] const WAITFORONE = 0x10000;
        #[allow(missing_docs)] const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// Socket types (`SOCK_*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum SocketType {
    Stream = 1,
    Datagram = 2,
    Raw = 3,
    SeqPacket = 5,
}

impl SocketType {
    /// Whether sends are byte streams, not messages.
    pub fn is_stream(self) -> bool {
        self == SocketType::Stream
    }
}

/// States of a connection (include/net/tcp_states.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ConnectionState {
    Established = 1,
    SynSent = 2,
    FinWait2 = 5,
    Close = 7,
    CloseWait = 8,
    Listen = 10,
}

/// Which sides of a connection `shutdown` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// No more receiving.
    pub read: bool,
    /// No more sending.
    pub write: bool,
}

/// Who a process is: `struct ucred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// Process id.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What goes beside the bytes of a message.
#[derive(Clone, Default)]
pub struct Ancillary {
    /// SCM_RIGHTS.
    pub rights: Vec<Arc<OpenFile>>,
    /// SCM_CREDENTIALS, or who sent it.
    pub credentials: Option<Credentials>,
}

/// What a send call says beside its bytes.
#[derive(Default)]
pub struct Outgoing {
    /// Destination, if given.
    pub to: Option<Address>,
    /// Control messages. Taken when the first byte is sent.
    pub ancillary: Ancillary,
}

/// What came of a receive call.
#[derive(Default)]
pub struct Received {
    /// Bytes stored.
    pub bytes: usize,
    /// Bytes the message had (more than `bytes` when it was cut).
    pub length: usize,
    /// Sender, where the protocol tells.
    pub from: Option<Address>,
    /// What came beside.
    pub ancillary: Ancillary,
    /// It was urgent data.
    pub urgent: bool,
}

/// A socket. As with [`File`], nothing blocks: EAGAIN means wait on [`Socket::queue`].
///
/// A socket ends when it is dropped: kinds that have peers tell them then.
pub trait Socket: Send + Sync {
    /// Address family.
    fn domain(&self) -> u16;
    /// Type.
    fn socket_type(&self) -> SocketType;
    /// Protocol number, as SO_PROTOCOL tells it.
    fn protocol(&self) -> u32;
    /// Options that are only remembered.
    fn options(&self) -> &Lock<Options>;
    /// Woken when readiness may have grown.
    fn queue(&self) -> &WaitQueue;
    /// What is ready.
    fn poll(&self) -> PollEvents;

    /// Gives it a local address.
    fn bind(&self, address: Address) -> Result<()>;

    /// Makes it accept connections.
    fn listen(&self, backlog: usize) -> Result<()> {
        let _ = backlog;
        Err(Errno::EOPNOTSUPP)
    }

    /// Takes the oldest connection that waits.
    fn accept(&self) -> Result<Arc<dyn Socket>> {
        Err(Errno::EOPNOTSUPP)
    }

    /// Connects, or (datagrams) sets the default destination. EINPROGRESS: wait for OUT, then
    /// SO_ERROR tells. EAGAIN: try again after OUT.
    fn connect(&self, address: Address) -> Result<()>;

    /// Ends one or both directions.
    fn shutdown(&self, how: Shutdown) -> Result<()>;

    /// getsockname.
    fn local_address(&self) -> Address;
    /// getpeername; ENOTCONN.
    fn peer_address(&self) -> Result<Address>;

    /// Sends: a whole message, or for a stream as many bytes as there is room for.
    fn send(
        &self,
        src: &mut Source<'_>,
        message: &mut Outgoing,
        flags: MessageFlags,
    ) -> Result<usize>;

    /// Receives one message, or for a stream what there is; 0 bytes: end of the stream.
    fn receive(&self, dst: &mut Destination<'_>, flags: MessageFlags) -> Result<Received>;

    /// SO_ERROR: the pending error, which is then no more.
    fn take_error(&self) -> Option<Errno> {
        None
    }

    /// Its place in the list of all sockets.
    fn entry(&self) -> &Entry;

    /// How its connection stands, as TCP numbers states; the other kinds use some of them, too.
    fn connection_state(&self) -> ConnectionState;

    /// Of a listener: how many connections wait to be accepted, and how many may.
    fn backlog(&self) -> Option<(usize, usize)> {
        None
    }

    /// Messages that found no room.
    fn drops(&self) -> u64 {
        0
    }

    /// SO_ACCEPTCONN.
    fn listening(&self) -> bool {
        false
    }

    /// SO_PEERCRED.
    fn peer_credentials(&self) -> Option<Credentials> {
        None
    }

    /// Bytes that can be read (FIONREAD), and that are sent but not received (SIOCOUTQ).
    fn queued(&self) -> (usize, usize);

    /// SIOCATMARK: whether what is read next is, or was, urgent.
    fn at_mark(&self) -> Result<bool> {
        Err(Errno::ENOTTY)
    }

    /// Who is told of urgent data, of kinds that have it.
    fn owner(&self) -> Option<&Owner> {
        None
    }

    /// For what only one kind has.
    fn as_any(&self) -> &dyn Any;
}

/// A socket as an open file.
pub struct SocketFile {
    id: InodeId,
    socket: Arc<dyn Socket>,
}

impl SocketFile {
    /// A file for `socket`.
    pub fn new(socket: Arc<dyn Socket>) -> Arc<SocketFile> {
        let id = InodeId::anonymous(DeviceNumber::SOCKETS);
        socket.options().lock().inode = id.ino;
        Arc::new(SocketFile { id, socket })
    }

    /// The socket behind it.
    pub fn socket(&self) -> &Arc<dyn Socket> {
        &self.socket
    }
}

impl File for SocketFile {
    fn deadlines(&self) -> [Option<u64>; 2] {
        let options = self.socket.options().lock();
        [options.receive_deadline(), options.send_deadline()]
    }

    fn read_at(&self, dst: &mut Destination<'_>, _offset: u64) -> Result<usize> {
        if dst.remaining() == 0 && self.socket.socket_type().is_stream() {
            return Ok(0);
        }
        self.socket
            .receive(dst, MessageFlags::empty())
            .map(|received| received.bytes)
    }

    fn write_at(&self, src: &mut Source<'_>, _offset: u64) -> Result<usize> {
        self.socket
            .send(src, &mut Outgoing::default(), MessageFlags::empty())
    }

    fn owner(&self) -> Option<&Owner> {
        self.socket.owner()
    }

    fn poll(&self) -> PollEvents {
        self.socket.poll()
    }

    fn wait_queue(&self) -> Option<&WaitQueue> {
        Some(self.socket.queue())
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::anonymous(self.id, FileKind::Socket, 0o777))
    }

    fn ioctl(&self, space: &AddressSpace, command: u32, arg: u64) -> Result<u64> {
        /// How many bytes are sent but not received.
        const SIOCOUTQ: u32 = 0x5411;
        const FIOSETOWN: u32 = 0x8901;
        const SIOCSPGRP: u32 = 0x8902;
        const FIOGETOWN: u32 = 0x8903;
        const SIOCGPGRP: u32 = 0x8904;
        const SIOCATMARK: u32 = 0x8905;
        match command {
            FIOSETOWN | SIOCSPGRP => {
                let who: i32 = space.read_obj(arg)?;
                let owner = self.socket.owner().ok_or(Errno::EINVAL)?;
                owner.set_signed(who).map(|()| 0)
            }
            FIOGETOWN | SIOCGPGRP => {
                let who = self.socket.owner().map_or(0, Owner::get_signed);
                space.write_obj(arg, &who).map(|()| 0)
            }
            SIOCATMARK => anon::put_int(space, arg, self.socket.at_mark()?.into()),
            anon::FIONREAD if self.socket.listening() => Err(Errno::EINVAL),
            anon::FIONREAD => anon::put_int(space, arg, self.socket.queued().0),
            SIOCOUTQ => anon::put_int(space, arg, self.socket.queued().1),
            _ => crate::net::inet::interface::ioctl(space, command, arg),
        }
    }

    fn describe(&self) -> Vec<u8> {
        anon::describe("socket", self.id)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
