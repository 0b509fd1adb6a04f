//! AF_NETLINK, NETLINK_ROUTE: what interfaces and addresses there are.
//!
//! A request is answered while it is sent: the replies wait in the socket. Links, addresses, routes,
//! neighbours and rules can be dumped (the last three are empty); nothing can be changed.

use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::address::{Address, family};
use crate::net::buffer::{Buffer, Segment};
use crate::net::inet::interface;
use crate::net::options::{Kind, Options};
use crate::net::socket::{
    Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket, SocketType,
};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

/// NETLINK_ROUTE.
pub const ROUTE: i32 = 0;

/// Message types and flags (include/uapi/linux/netlink.h, rtnetlink.h).
mod nl {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEWLINK: u16 = 16;
    pub const GETLINK: u16 = 18;
    pub const NEWADDR: u16 = 20;
    pub const GETADDR: u16 = 22;
    pub const GETROUTE: u16 = 26;
    pub const GETNEIGH: u16 = 30;
    pub const GETRULE: u16 = 34;
    pub const REQUEST: u16 = 1;
    pub const MULTI: u16 = 2;
    pub const ACK: u16 = 4;
    pub const DUMP: u16 = 0x300;
}

/// Bytes of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Port ids in use.
static PORTS: Lock<BTreeSet<u32>> = Lock::new(Rank::Registry, BTreeSet::new());

/// A netlink socket.
pub struct NetlinkSocket {
    kind: SocketType,
    options: Lock<Options>,
    queue: WaitQueue,
    state: Lock<State>,
}

#[derive(Default)]
struct State {
    port: Option<u32>,
    groups: u32,
    incoming: Buffer,
}

#[derive(Clone, Copy)]
struct Header {
    length: usize,
    kind: u16,
    flags: u16,
    sequence: u32,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Header> {
        let word = |at: usize| {
            let bytes = bytes.get(at..)?.first_chunk()?;
            Some(u32::from_ne_bytes(*bytes))
        };
        let second = word(4)?;
        word(12)?;
        Some(Header {
            length: word(0)? as usize,
            kind: second as u16,
            flags: (second >> 16) as u16,
            sequence: word(8)?,
        })
    }
}

/// One message: header, fixed part, and attributes, each padded to four bytes.
fn message(kind: u16, flags: u16, sequence: u32, port: u32, body: &[u8]) -> Vec<u8> {
    let length = (HEADER + body.len()) as u32;
    let mut out = Vec::new();
    out.extend(length.to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(flags.to_ne_bytes());
    out.extend(sequence.to_ne_bytes());
    out.extend(port.to_ne_bytes());
    out.extend(body);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

fn attribute(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend((4 + value.len() as u16).to_ne_bytes());
    out.extend(kind.to_ne_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(4), 0);
}

/// The RTM_NEWLINK body of `lo`.
fn link() -> Vec<u8> {
    /// IFF_LOWER_UP, beside what the ioctl shows.
    const LOWER_UP: u32 = 0x10000;
    let mut out = alloc::vec![0, 0];
    out.extend(interface::HARDWARE.to_ne_bytes());
    out.extend(interface::INDEX.to_ne_bytes());
    out.extend((interface::FLAGS | LOWER_UP).to_ne_bytes());
    out.extend(0u32.to_ne_bytes());
    attribute(&mut out, 3, &[interface::NAME, b"\0"].concat());
    attribute(&mut out, 13, &interface::QUEUE.to_ne_bytes());
    attribute(&mut out, 4, &interface::MTU.to_ne_bytes());
    attribute(&mut out, 1, &[0; 6]);
    attribute(&mut out, 2, &[0; 6]);
    out
}

/// The RTM_NEWADDR bodies of family `wanted` (0: all).
fn addresses(wanted: u8) -> Vec<Vec<u8>> {
    /// IFA_F_PERMANENT.
    const PERMANENT: u8 = 0x80;
    /// RT_SCOPE_HOST.
    const HOST: u8 = 254;
    let (v4, v6) = (family::INET as u8, family::INET6 as u8);
    let mut all = Vec::new();
    if wanted == 0 || wanted == v4 {
        let mut out = alloc::vec![v4, 8, PERMANENT, HOST];
        out.extend(interface::INDEX.to_ne_bytes());
        attribute(&mut out, 1, &[127, 0, 0, 1]);
        attribute(&mut out, 2, &[127, 0, 0, 1]);
        attribute(&mut out, 3, &[interface::NAME, b"\0"].concat());
        all.push(out);
    }
    if wanted == 0 || wanted == v6 {
        let mut out = alloc::vec![v6, 128, PERMANENT, HOST];
        out.extend(interface::INDEX.to_ne_bytes());
        attribute(&mut out, 1, &core::net::Ipv6Addr::LOCALHOST.octets());
        all.push(out);
    }
    all
}

impl NetlinkSocket {
    /// A NETLINK_ROUTE socket, made by `owner`.
    pub fn new(kind: SocketType, owner: Credentials) -> Arc<NetlinkSocket> {
        Arc::new(NetlinkSocket {
            kind,
            options: Lock::new(Rank::Options, Options::new(Kind::Netlink, owner)),
            queue: WaitQueue::new(),
            state: Lock::new(Rank::File, Default::default()),
        })
    }

    /// Takes port id `wanted`; 0: the process id, or if that is taken a number no process has.
    fn bind_port(&self, wanted: u32) -> Result<u32> {
        if let Some(port) = self.state.lock().port {
            return if wanted == 0 || wanted == port {
                Ok(port)
            } else {
                Err(Errno::EINVAL)
            };
        }
        let own = self.options.lock().owner.pid;
        let mut ports = PORTS.lock();
        let port = match wanted {
            0 => {
                let other = (0x8000_0000..=u32::MAX).rev();
                core::iter::once(own)
                    .chain(other)
                    .find(|port| !ports.contains(port))
                    .ok_or(Errno::EADDRINUSE)?
            }
            port if ports.contains(&port) => return Err(Errno::EADDRINUSE),
            port => port,
        };
        ports.insert(port);
        drop(ports);
        self.state.lock().port = Some(port);
        Ok(port)
    }

    fn reply(&self, bytes: Vec<u8>) -> Result<()> {
        let kernel = Address::Netlink { port: 0, groups: 0 };
        self.state
            .lock()
            .incoming
            .push(Segment::of(bytes, Some(kernel)), false)
    }

    /// Answers one request.
    fn answer(&self, header: Header, request: &[u8], port: u32) -> Result<()> {
        let wanted = request.get(HEADER).copied().unwrap_or(0);
        let (reply, bodies) = match header.kind {
            nl::GETLINK => (nl::NEWLINK, alloc::vec![link()]),
            nl::GETADDR => (nl::NEWADDR, addresses(wanted)),
            nl::GETROUTE | nl::GETNEIGH | nl::GETRULE => (nl::DONE, Vec::new()),
            _ => return self.acknowledge(header, request, port, Errno::EOPNOTSUPP.code()),
        };
        let say = |kind, flags, body: &[u8]| message(kind, flags, header.sequence, port, body);
        if header.flags & nl::DUMP == nl::DUMP {
            let mut bytes: Vec<u8> = bodies
                .iter()
                .flat_map(|body| say(reply, nl::MULTI, body))
                .collect();
            bytes.extend(say(nl::DONE, nl::MULTI, &0u32.to_ne_bytes()));
            return self.reply(bytes);
        }
        // A single one can be asked for by index, which 16 bits into the fixed part follows.
        let index = request
            .get(HEADER + 4..)
            .and_then(|rest| rest.first_chunk());
        let index = index.map_or(0, |bytes| u32::from_ne_bytes(*bytes));
        match (header.kind, bodies.first()) {
            (nl::GETLINK, Some(body)) if index == interface::INDEX || index == 0 => {
                self.reply(say(reply, 0, body))?;
                if header.flags & nl::ACK == 0 {
                    return Ok(());
                }
                self.acknowledge(header, request, port, 0)
            }
            (nl::GETLINK, _) => self.acknowledge(header, request, port, Errno::ENODEV.code()),
            (nl::GETROUTE, _) => self.acknowledge(header, request, port, Errno::ENETUNREACH.code()),
            _ => self.acknowledge(header, request, port, Errno::EOPNOTSUPP.code()),
        }
    }

    /// NLMSG_ERROR: an error, or with 0 that all is well; repeats the request's header.
    fn acknowledge(&self, header: Header, request: &[u8], port: u32, errno: i32) -> Result<()> {
        let mut body = (-errno).to_ne_bytes().to_vec();
        let echoed = if errno == 0 { HEADER } else { request.len() };
        body.extend(request.iter().take(echoed));
        self.reply(message(nl::ERROR, 0, header.sequence, port, &body))
    }
}

impl Drop for NetlinkSocket {
    fn drop(&mut self) {
        if let Some(port) = self.state.lock().port {
            PORTS.lock().remove(&port);
        }
    }
}

impl Socket for NetlinkSocket {
    fn domain(&self) -> u16 {
        family::NETLINK
    }

    fn socket_type(&self) -> SocketType {
        self.kind
    }

    fn protocol(&self) -> u32 {
        ROUTE as u32
    }

    fn options(&self) -> &Lock<Options> {
        &self.options
    }

    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        let mut events = PollEvents::OUT | PollEvents::WRNORM | PollEvents::WRBAND;
        if !self.state.lock().incoming.is_empty() {
            events |= PollEvents::IN | PollEvents::RDNORM;
        }
        events
    }

    fn bind(&self, address: Address) -> Result<()> {
        let Address::Netlink { port, groups } = address else {
            return Err(Errno::EINVAL);
        };
        self.bind_port(port)?;
        // Nothing here ever changes, so groups of listeners hear nothing.
        self.state.lock().groups = groups;
        Ok(())
    }

    fn connect(&self, address: Address) -> Result<()> {
        match address {
            Address::Netlink { port: 0, .. } => self.bind_port(0).map(|_| ()),
            Address::Netlink { .. } => Err(Errno::ECONNREFUSED),
            Address::Unspecified => Ok(()),
            _ => Err(Errno::EINVAL),
        }
    }

    fn shutdown(&self, _how: Shutdown) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn local_address(&self) -> Address {
        let state = self.state.lock();
        Address::Netlink {
            port: state.port.unwrap_or(0),
            groups: state.groups,
        }
    }

    fn peer_address(&self) -> Result<Address> {
        Ok(Address::Netlink { port: 0, groups: 0 })
    }

    fn send(
        &self,
        src: &mut Source<'_>,
        message: &mut Outgoing,
        flags: MessageFlags,
    ) -> Result<usize> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        match &message.to {
            None | Some(Address::Netlink { port: 0, .. }) => {}
            Some(Address::Netlink { .. }) => return Err(Errno::ECONNREFUSED),
            Some(_) => return Err(Errno::EINVAL),
        }
        let length = src.remaining();
        if length > self.options.lock().send_buffer() {
            return Err(Errno::EMSGSIZE);
        }
        let port = self.bind_port(0)?;
        let bytes = src.take_all()?;
        let mut rest = bytes.as_slice();
        while let Some(header) = Header::parse(rest) {
            let Some(request) = rest.get(..header.length).filter(|one| one.len() >= HEADER) else {
                break;
            };
            if header.flags & nl::REQUEST != 0 {
                self.answer(header, request, port)?;
            } else if header.flags & nl::ACK != 0 {
                self.acknowledge(header, request, port, 0)?;
            }
            rest = rest
                .get(header.length.next_multiple_of(4)..)
                .unwrap_or_default();
        }
        self.queue.wake(PollEvents::IN | PollEvents::RDNORM);
        Ok(length)
    }

    fn receive(&self, dst: &mut Destination<'_>, flags: MessageFlags) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return Err(Errno::EOPNOTSUPP);
        }
        let segment = self.state.lock().incoming.pop().ok_or(Errno::EAGAIN)?;
        let length = segment.unread().len();
        let from = segment.from.clone();
        let put = dst.put(segment.unread());
        if flags.contains(MessageFlags::PEEK) {
            self.state.lock().incoming.unpop(segment);
        }
        Ok(Received {
            bytes: put?,
            length,
            from,
            ..Received::default()
        })
    }

    fn queued(&self) -> (usize, usize) {
        let state = self.state.lock();
        (
            state
                .incoming
                .front()
                .map_or(0, |segment| segment.unread().len()),
            0,
        )
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(socket: &NetlinkSocket, kind: u16, flags: u16) -> Vec<u8> {
        let request = message(kind, flags | nl::REQUEST, 77, 0, &[0; 16]);
        let mut outgoing = Outgoing::default();
        socket
            .send(
                &mut Source::kernel(&request),
                &mut outgoing,
                MessageFlags::empty(),
            )
            .unwrap();
        let mut bytes = vec![0; 4096];
        let got = socket
            .receive(&mut Destination::kernel(&mut bytes), MessageFlags::empty())
            .unwrap();
        bytes.truncate(got.bytes);
        bytes
    }

    fn messages(mut bytes: &[u8]) -> Vec<(u16, u32)> {
        let mut all = Vec::new();
        while let Some(header) = Header::parse(bytes) {
            all.push((header.kind, header.sequence));
            bytes = &bytes[header.length.next_multiple_of(4)..];
        }
        all
    }

    #[test]
    fn dumps_end_with_done_and_carry_the_sequence_number() {
        let socket = NetlinkSocket::new(
            SocketType::Raw,
            Credentials {
                pid: 901,
                uid: 0,
                gid: 0,
            },
        );
        let links = ask(&socket, nl::GETLINK, nl::DUMP);
        assert_eq!(messages(&links), [(nl::NEWLINK, 77), (nl::DONE, 77)]);
        assert!(links.windows(3).any(|bytes| bytes == b"lo\0"));
        let addresses = ask(&socket, nl::GETADDR, nl::DUMP);
        assert_eq!(
            messages(&addresses),
            [(nl::NEWADDR, 77), (nl::NEWADDR, 77), (nl::DONE, 77)]
        );
        assert_eq!(
            messages(&ask(&socket, nl::GETROUTE, nl::DUMP)),
            [(nl::DONE, 77)]
        );
        assert_eq!(messages(&ask(&socket, nl::GETLINK, 0)), [(nl::NEWLINK, 77)]);
        let refused = ask(&socket, 24, 0);
        assert_eq!(messages(&refused), [(nl::ERROR, 77)]);
        assert_eq!(refused[16..20], (-Errno::EOPNOTSUPP.code()).to_ne_bytes());
    }

    #[test]
    fn the_first_socket_has_the_process_id_as_port() {
        let owner = Credentials {
            pid: 902,
            uid: 0,
            gid: 0,
        };
        let first = NetlinkSocket::new(SocketType::Raw, owner);
        let second = NetlinkSocket::new(SocketType::Raw, owner);
        assert_eq!(first.bind_port(0), Ok(902));
        let other = second.bind_port(0).unwrap();
        assert!(other >= 0x8000_0000);
        assert_eq!(second.bind_port(902), Err(Errno::EINVAL));
        drop(first);
        let third = NetlinkSocket::new(SocketType::Raw, owner);
        assert_eq!(third.bind_port(902), Ok(902));
    }
}
