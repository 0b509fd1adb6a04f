//! UDP.

use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::address::Address;
use crate::net::buffer::{Buffer, Segment};
use crate::net::counters;
use crate::net::inet::multicast;
use crate::net::inet::ports::{Lease, Ports};
use crate::net::inet::{
    BROADCAST, EVERYTHING, READABLE, WRITABLE, check_family, is_group, route, source_for, unbound,
};
use crate::net::options::{Kind, Options};
use crate::net::registry::Entry;
use crate::net::socket::{
    ConnectionState, Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket, SocketType,
};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;
use core::net::{IpAddr, Ipv4Addr, SocketAddr};

static PORTS: Ports<UdpSocket> = Ports::new();

/// IPPROTO_UDP.
const PROTOCOL: u32 = 17;
/// Most bytes of a datagram: 65535, less the IPv4 and UDP headers.
const MAX_DATAGRAM: usize = 65_507;

#[derive(Default)]
struct State {
    lease: Option<Arc<Lease<UdpSocket>>>,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    incoming: Buffer,
    shut_read: bool,
    shut_write: bool,
    error: Option<Errno>,
    /// Datagrams that found no room.
    drops: u64,
    corked: Option<Corked>,
}

/// A datagram that is still being put together (MSG_MORE, UDP_CORK).
struct Corked {
    to: SocketAddr,
    bytes: Vec<u8>,
}

/// A UDP socket.
pub struct UdpSocket {
    me: Weak<UdpSocket>,
    entry: Entry,
    domain: u16,
    options: Lock<Options>,
    queue: WaitQueue,
    state: Lock<State>,
}

/// All of `src`; EFAULT if some of it cannot be read.
fn take_whole(src: &mut Source<'_>) -> Result<Vec<u8>> {
    let bytes = src.take_all()?;
    if src.remaining() > 0 {
        return Err(Errno::EFAULT);
    }
    Ok(bytes)
}

impl UdpSocket {
    /// A socket of AF_INET or AF_INET6, made by `owner`.
    pub fn new(domain: u16, owner: Credentials) -> Arc<UdpSocket> {
        Arc::new_cyclic(|me| UdpSocket {
            me: me.clone(),
            entry: Entry::new(me.clone()),
            domain,
            options: Lock::new(Rank::Options, Options::new(Kind::Udp, owner)),
            queue: WaitQueue::new(),
            state: Lock::new(Rank::File, Default::default()),
        })
    }

    fn bind_local(&self, addr: SocketAddr) -> Result<()> {
        let options = self.options.lock().clone();
        if self.state.lock().lease.is_some() {
            return Err(Errno::EINVAL);
        }
        let lease = PORTS.claim(addr, &options, self.me.clone())?;
        let mut state = self.state.lock();
        state.local = Some(lease.local);
        state.lease = Some(lease);
        Ok(())
    }

    /// Takes a free port if it has none.
    fn bind_any(&self) -> Result<()> {
        if self.state.lock().lease.is_some() {
            return Ok(());
        }
        self.bind_local(unbound(self.domain))
            .map_err(|_| Errno::EAGAIN)
    }

    /// Where `address` leads from this socket.
    fn destination(&self, address: &Address) -> Result<SocketAddr> {
        let Address::Inet(to) = address else {
            return Err(Errno::EAFNOSUPPORT);
        };
        let options = self.options.lock();
        check_family(self.domain, options.v6_only(), to.ip())?;
        let broadcast = [Ipv4Addr::BROADCAST, BROADCAST].map(IpAddr::V4);
        if broadcast.contains(&to.ip()) && !options.broadcast() {
            return Err(Errno::EACCES);
        }
        let ip = route(to.ip()).inspect_err(|_| counters::NO_ROUTES.add(1))?;
        Ok(SocketAddr::new(ip, to.port()))
    }

    /// How well this socket suits a datagram from `from`: a connected one takes only its peer's,
    /// and before any other.
    fn suits(&self, from: SocketAddr) -> Option<u32> {
        match self.state.lock().remote {
            Some(remote) => (remote == from).then_some(1),
            None => Some(0),
        }
    }

    /// The address datagrams to `to` come from.
    fn source(&self, to: SocketAddr) -> SocketAddr {
        let bound = self.state.lock().local.unwrap_or(unbound(self.domain));
        let any = bound.ip().is_unspecified() || is_group(bound.ip());
        let ip = match to.ip() {
            _ if !any => bound.ip(),
            IpAddr::V4(ip) if ip.is_multicast() => {
                let chosen = self.options.lock().multicast.source();
                chosen.map_or(source_for(to.ip()), IpAddr::V4)
            }
            ip => source_for(ip),
        };
        SocketAddr::new(ip, bound.port())
    }

    /// Whether a datagram from `from` to a group is for this socket, too.
    fn is_member(&self, from: SocketAddr, to: SocketAddr) -> bool {
        if self.suits(from).is_none() {
            return false;
        }
        let options = self.options.lock();
        let all = options.multicast_all(to.is_ipv6());
        !to.ip().is_multicast() || options.multicast.wants(to.ip(), from.ip(), all)
    }

    /// Sends a whole datagram. `connected`: whether its sender learns that nobody has the port.
    fn transmit(&self, to: SocketAddr, bytes: Vec<u8>, connected: bool) -> Result<()> {
        let from = self.source(to);
        counters::datagram(to.ip(), bytes.len());
        let segment = |bytes| Segment::of(bytes, Some(Address::Inet(from)));
        if is_group(to.ip()) {
            if to.ip().is_multicast() && !multicast::accepted(to.ip(), from.ip()) {
                return Ok(());
            }
            for socket in PORTS.covering(to) {
                if socket.is_member(from, to) {
                    let mut copy = Vec::new();
                    copy.try_reserve_exact(bytes.len())
                        .map_err(|_| Errno::ENOBUFS)?;
                    copy.extend_from_slice(&bytes);
                    socket.deliver(segment(copy));
                }
            }
            return Ok(());
        }
        match PORTS.find(to, |socket, _| socket.suits(from)) {
            Some(receiver) => receiver.deliver(segment(bytes)),
            None => {
                counters::UDP_NO_PORT.add(1);
                // What ICMP would say reaches connected sockets alone.
                if connected {
                    self.state.lock().error = Some(Errno::ECONNREFUSED);
                    self.queue.wake(EVERYTHING);
                }
            }
        }
        Ok(())
    }

    /// Sends what was held back, if anything.
    pub fn uncork(&self) -> Result<()> {
        let (corked, remote) = {
            let mut state = self.state.lock();
            (state.corked.take(), state.remote)
        };
        match corked {
            Some(Corked { to, bytes }) => self.transmit(to, bytes, remote == Some(to)),
            None => Ok(()),
        }
    }

    /// Takes in a datagram; one that finds no room is lost.
    fn deliver(&self, segment: Segment) {
        let limit = self.options.lock().receive_buffer();
        {
            let mut state = self.state.lock();
            let full = state.incoming.len() + segment.unread().len() > limit;
            if state.shut_read || full || state.incoming.push(segment, false).is_err() {
                state.drops += 1;
                counters::UDP_FULL.add(1);
                return;
            }
        }
        counters::UDP_IN.add(1);
        self.queue.wake(READABLE);
    }
}

impl Socket for UdpSocket {
    fn domain(&self) -> u16 {
        self.domain
    }

    fn socket_type(&self) -> SocketType {
        SocketType::Datagram
    }

    fn protocol(&self) -> u32 {
        PROTOCOL
    }

    fn options(&self) -> &Lock<Options> {
        &self.options
    }

    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        let state = self.state.lock();
        let mut events = WRITABLE | PollEvents::WRBAND;
        if state.error.is_some() {
            events |= PollEvents::ERR;
        }
        if state.shut_read {
            events |= READABLE | PollEvents::RDHUP;
            if state.shut_write {
                events |= PollEvents::HUP;
            }
        }
        if !state.incoming.is_empty() {
            events |= READABLE;
        }
        events
    }

    fn bind(&self, address: Address) -> Result<()> {
        let Address::Inet(addr) = address else {
            return Err(Errno::EAFNOSUPPORT);
        };
        let v6_only = self.options.lock().v6_only();
        check_family(self.domain, v6_only, addr.ip()).map_err(|error| match error {
            Errno::ENETUNREACH => Errno::EINVAL,
            other => other,
        })?;
        self.bind_local(addr)
    }

    fn connect(&self, address: Address) -> Result<()> {
        if let Address::Unspecified = address {
            let mut state = self.state.lock();
            state.remote = None;
            state.local = state.lease.as_ref().map(|lease| lease.local);
            return Ok(());
        }
        let remote = self.destination(&address)?;
        self.bind_any()?;
        let local = self.source(remote);
        let mut state = self.state.lock();
        state.remote = Some(remote);
        state.local = Some(local);
        Ok(())
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let connected = {
            let mut state = self.state.lock();
            state.shut_read |= how.read;
            state.shut_write |= how.write;
            state.remote.is_some()
        };
        self.queue.wake(EVERYTHING);
        if connected {
            Ok(())
        } else {
            Err(Errno::ENOTCONN)
        }
    }

    fn local_address(&self) -> Address {
        Address::Inet(self.state.lock().local.unwrap_or(unbound(self.domain)))
    }

    fn peer_address(&self) -> Result<Address> {
        self.state
            .lock()
            .remote
            .map(Address::Inet)
            .ok_or(Errno::ENOTCONN)
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
        let length = src.remaining();
        if length > MAX_DATAGRAM {
            return Err(Errno::EMSGSIZE);
        }
        let (connected, shut, error, corked) = {
            let mut state = self.state.lock();
            let corked = state.corked.as_ref().map(|corked| corked.to);
            (state.remote, state.shut_write, state.error.take(), corked)
        };
        if let Some(error) = error {
            return Err(error);
        }
        if shut {
            return Err(Errno::EPIPE);
        }
        // What is appended goes where the beginning goes.
        let to = match (&message.to, corked) {
            (_, Some(to)) => to,
            (Some(Address::Unspecified) | None, _) => connected.ok_or(Errno::EDESTADDRREQ)?,
            (Some(address), _) => self.destination(address)?,
        };
        if to.port() == 0 {
            return Err(Errno::EINVAL);
        }
        self.bind_any()?;
        let more = flags.contains(MessageFlags::MORE) || self.options.lock().corked();
        if corked.is_none() && !more {
            let bytes = take_whole(src)?;
            self.transmit(to, bytes, connected == Some(to))?;
            return Ok(length);
        }
        let added = take_whole(src)?;
        {
            let mut state = self.state.lock();
            let corked = state.corked.get_or_insert(Corked {
                to,
                bytes: Vec::new(),
            });
            let fits = corked.bytes.len() + added.len() <= MAX_DATAGRAM;
            if !fits || corked.bytes.try_reserve(added.len()).is_err() {
                // As on Linux, what was held back is lost with it.
                state.corked = None;
                return Err(if fits {
                    Errno::ENOBUFS
                } else {
                    Errno::EMSGSIZE
                });
            }
            corked.bytes.extend_from_slice(&added);
        }
        if !more {
            self.uncork()?;
        }
        Ok(length)
    }

    fn receive(&self, dst: &mut Destination<'_>, flags: MessageFlags) -> Result<Received> {
        if flags.contains(MessageFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        let segment = {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            match state.incoming.pop() {
                Some(segment) => segment,
                // Only who would wait learns that there is nothing to wait for.
                None if state.shut_read && !flags.contains(MessageFlags::DONTWAIT) => {
                    return Ok(Received::default());
                }
                None => return Err(Errno::EAGAIN),
            }
        };
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
        match self.state.lock().remote {
            Some(_) => ConnectionState::Established,
            None => ConnectionState::Close,
        }
    }

    fn drops(&self) -> u64 {
        self.state.lock().drops
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
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
