//! AF_NETLINK: NETLINK_ROUTE tells of interfaces, addresses and routes ([`route`]),
//! NETLINK_SOCK_DIAG of sockets ([`diag`]).
//!
//! A request is answered while it is sent: the replies wait in the socket. Nothing can be changed.

pub mod diag;
mod message;
pub mod route;

use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::address::{Address, family};
use crate::net::buffer::{Buffer, Segment};
use crate::net::netlink::message::{HEADER, Header, message, nl};
use crate::net::options::{Kind, Options};
use crate::net::registry::Entry;
use crate::net::socket::{
    ConnectionState, Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket, SocketType,
};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::BTreeSet;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

/// NETLINK_ROUTE.
pub const ROUTE: i32 = 0;
/// NETLINK_SOCK_DIAG.
pub const SOCK_DIAG: i32 = 4;

/// Longest piece of a dump: what readers with small buffers take.
const CHUNK: usize = 4096;

/// Port ids in use, of each protocol.
static PORTS: Lock<BTreeSet<(i32, u32)>> = Lock::new(Rank::Registry, BTreeSet::new());

/// A netlink socket.
pub struct NetlinkSocket {
    entry: Entry,
    kind: SocketType,
    protocol: i32,
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

impl NetlinkSocket {
    /// A socket of `protocol`, made by `owner`.
    pub fn new(kind: SocketType, protocol: i32, owner: Credentials) -> Arc<NetlinkSocket> {
        Arc::new_cyclic(|me: &Weak<NetlinkSocket>| NetlinkSocket {
            entry: Entry::new(me.clone()),
            kind,
            protocol,
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
                    .find(|port| !ports.contains(&(self.protocol, *port)))
                    .ok_or(Errno::EADDRINUSE)?
            }
            port if ports.contains(&(self.protocol, port)) => return Err(Errno::EADDRINUSE),
            port => port,
        };
        ports.insert((self.protocol, port));
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
        let body = request.get(HEADER..).unwrap_or_default();
        let answer = match self.protocol {
            ROUTE => route::answer(header, body),
            _ => diag::answer(header, body),
        };
        let bodies = match answer {
            Ok(bodies) => bodies,
            Err(errno) => return self.acknowledge(header, request, port, errno.code()),
        };
        let dump = header.is_dump();
        let flags = if dump { nl::MULTI } else { 0 };
        let mut bytes = Vec::new();
        for (kind, body) in bodies {
            let next = message(kind, flags, header.sequence, port, &body);
            if !bytes.is_empty() && bytes.len() + next.len() > CHUNK {
                self.reply(core::mem::take(&mut bytes))?;
            }
            bytes.extend(next);
        }
        if dump {
            let done = 0u32.to_ne_bytes();
            bytes.extend(message(nl::DONE, flags, header.sequence, port, &done));
        }
        if !bytes.is_empty() {
            self.reply(bytes)?;
        }
        if !dump && header.flags & nl::ACK != 0 {
            return self.acknowledge(header, request, port, 0);
        }
        Ok(())
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
            PORTS.lock().remove(&(self.protocol, port));
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
        self.protocol as u32
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

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn connection_state(&self) -> ConnectionState {
        ConnectionState::Close
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

    const NEWLINK: u16 = 16;
    const GETLINK: u16 = 18;
    const NEWADDR: u16 = 20;
    const GETADDR: u16 = 22;
    const NEWROUTE: u16 = 24;
    const GETROUTE: u16 = 26;

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
            ROUTE,
            Credentials {
                pid: 901,
                uid: 0,
                gid: 0,
            },
        );
        let links = ask(&socket, GETLINK, nl::DUMP);
        assert_eq!(messages(&links), [(NEWLINK, 77), (nl::DONE, 77)]);
        assert!(links.windows(3).any(|bytes| bytes == b"lo\0"));
        let addresses = ask(&socket, GETADDR, nl::DUMP);
        assert_eq!(
            messages(&addresses),
            [(NEWADDR, 77), (NEWADDR, 77), (nl::DONE, 77)]
        );
        let routes = messages(&ask(&socket, GETROUTE, nl::DUMP));
        assert_eq!(routes.len(), route::ROUTES.len() + 1);
        let refused = ask(&socket, NEWROUTE, 0);
        assert_eq!(messages(&refused), [(nl::ERROR, 77)]);
        assert_eq!(refused[16..20], (-Errno::EPERM.code()).to_ne_bytes());
    }

    #[test]
    fn the_first_socket_has_the_process_id_as_port() {
        let owner = Credentials {
            pid: 902,
            uid: 0,
            gid: 0,
        };
        let first = NetlinkSocket::new(SocketType::Raw, ROUTE, owner);
        let second = NetlinkSocket::new(SocketType::Raw, ROUTE, owner);
        assert_eq!(first.bind_port(0), Ok(902));
        let other = second.bind_port(0).unwrap();
        assert!(other >= 0x8000_0000);
        assert_eq!(second.bind_port(902), Err(Errno::EINVAL));
        drop(first);
        let third = NetlinkSocket::new(SocketType::Raw, ROUTE, owner);
        assert_eq!(third.bind_port(902), Ok(902));
    }
}
