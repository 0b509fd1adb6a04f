//! AF_UNIX sockets: streams, datagrams, and sequenced packets.
//!
//! On Linux the three differ less than their names say, and here too they are one type: each socket
//! has a buffer of what was sent to it, and a sender puts segments straight into the buffer of its
//! peer. A stream reads across segments, the others one at a time. Peers know each other weakly: a
//! socket that is dropped tells its peer and is gone.

mod bury;
mod connect;
mod names;
#[cfg(test)]
mod tests;
mod transfer;

use crate::errno::{Errno, Result};
use crate::fs::owner::Owner;
use crate::io::{Destination, Source};
use crate::net::address::{Address, UnixAddress, family};
use crate::net::buffer::Buffer;
use crate::net::options::{Kind, Options};
use crate::net::registry::Entry;
use crate::net::socket::{
    ConnectionState, Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket, SocketType,
};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::any::Any;

const READABLE: PollEvents = PollEvents::IN.union(PollEvents::RDNORM);
const WRITABLE: PollEvents = PollEvents::OUT
    .union(PollEvents::WRNORM)
    .union(PollEvents::WRBAND);
const EVERYTHING: PollEvents = READABLE
    .union(WRITABLE)
    .union(PollEvents::RDHUP)
    .union(PollEvents::HUP);

/// Most datagrams that wait in a socket (`net.unix.max_dgram_qlen`), less one.
const MAX_MESSAGES: usize = 10;

enum Role {
    /// Neither of the others.
    Idle,
    /// Takes connections.
    Listening {
        backlog: usize,
        pending: VecDeque<Arc<UnixSocket>>,
    },
    /// Has a peer (which may be gone), or a default destination.
    Connected {
        peer: Weak<UnixSocket>,
        name: UnixAddress,
        credentials: Credentials,
    },
}

struct State {
    name: UnixAddress,
    /// Whether the name leads to this very socket, not to the listener that made it.
    owns_name: bool,
    role: Role,
    incoming: Buffer,
    shut_read: bool,
    shut_write: bool,
    error: Option<Errno>,
    /// Not yet accepted.
    embryo: bool,
    /// Sockets that wait for room in the buffer or the backlog.
    waiting: Vec<Weak<UnixSocket>>,
}

/// An AF_UNIX socket.
pub struct UnixSocket {
    me: Weak<UnixSocket>,
    entry: Entry,
    kind: SocketType,
    options: Lock<Options>,
    queue: WaitQueue,
    owner: Owner,
    state: Lock<State>,
}

impl UnixSocket {
    /// A socket of `kind`, made by `owner`.
    pub fn new(kind: SocketType, owner: Credentials) -> Arc<UnixSocket> {
        // AF_UNIX has no raw sockets; Linux makes them datagram ones.
        let kind = if kind == SocketType::Raw {
            SocketType::Datagram
        } else {
            kind
        };
        Arc::new_cyclic(|me| UnixSocket {
            me: me.clone(),
            entry: Entry::new(me.clone()),
            kind,
            options: Lock::new(Rank::Options, Options::new(Kind::Unix, owner)),
            queue: WaitQueue::new(),
            owner: Owner::default(),
            state: Lock::new(
                Rank::File,
                State {
                    name: UnixAddress::Unnamed,
                    owns_name: false,
                    role: Role::Idle,
                    incoming: Buffer::default(),
                    shut_read: false,
                    shut_write: false,
                    error: None,
                    embryo: false,
                    waiting: Vec::new(),
                },
            ),
        })
    }

    /// `socketpair`: two sockets, each the other's peer.
    pub fn pair(kind: SocketType, owner: Credentials) -> (Arc<UnixSocket>, Arc<UnixSocket>) {
        let (a, b) = (UnixSocket::new(kind, owner), UnixSocket::new(kind, owner));
        a.set_peer(&b, UnixAddress::Unnamed, owner);
        b.set_peer(&a, UnixAddress::Unnamed, owner);
        (a, b)
    }

    fn set_peer(&self, peer: &Arc<UnixSocket>, name: UnixAddress, credentials: Credentials) {
        let peer = Arc::downgrade(peer);
        self.state.lock().role = Role::Connected {
            peer,
            name,
            credentials,
        };
    }

    /// Whether it is connected for good: stream or sequenced packets.
    fn has_connections(&self) -> bool {
        self.kind != SocketType::Datagram
    }

    /// The peer, if there is one and it is not gone.
    fn peer(&self) -> Option<Arc<UnixSocket>> {
        match &self.state.lock().role {
            Role::Connected { peer, .. } => peer.upgrade(),
            _ => None,
        }
    }

    /// Inode number of the peer's file, if it has a peer and that is open.
    pub fn peer_inode(&self) -> Option<u64> {
        let peer = self.peer()?;
        let inode = peer.options.lock().inode;
        (inode != 0).then_some(inode)
    }

    fn send_buffer(&self) -> usize {
        self.options.lock().send_buffer()
    }

    /// Whether poll says that this socket can send to `peer`.
    fn can_send_to(&self, peer: &UnixSocket) -> bool {
        let limit = self.send_buffer();
        let state = peer.state.lock();
        state.incoming.cost() * 4 <= limit && !self.crowds(peer, &state)
    }

    /// Whether `other`, whose state is given, has too many datagrams to take one from here. Two
    /// sockets connected to each other may send as much as their buffers hold.
    fn crowds(&self, other: &UnixSocket, state: &State) -> bool {
        let back_to_me = match &state.role {
            Role::Connected { peer, .. } => peer.ptr_eq(&self.me),
            _ => false,
        };
        self.kind == SocketType::Datagram
            && !back_to_me
            && !core::ptr::eq(self, other)
            && state.incoming.messages() > MAX_MESSAGES
    }

    /// To be woken with OUT when `other` has room again.
    fn wait_for_room(&self, other: &UnixSocket) {
        let mut state = other.state.lock();
        if !state.waiting.iter().any(|one| one.ptr_eq(&self.me)) {
            state.waiting.retain(|one| one.strong_count() > 0);
            state.waiting.push(self.me.clone());
        }
    }

    /// Wakes those that wait for room here.
    fn wake_waiting(&self) {
        let waiting = core::mem::take(&mut self.state.lock().waiting);
        for socket in waiting.iter().filter_map(Weak::upgrade) {
            socket.queue.wake(WRITABLE);
        }
    }

    fn writable(&self) -> bool {
        let (listening, peer) = {
            let state = self.state.lock();
            match &state.role {
                Role::Listening { .. } => (true, None),
                Role::Connected { peer, .. } => (false, peer.upgrade()),
                Role::Idle => (false, None),
            }
        };
        if listening {
            return false;
        }
        let Some(peer) = peer else { return true };
        let can = self.can_send_to(&peer);
        if !can {
            self.wait_for_room(&peer);
        }
        can
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let (role, name, waiting, embryo, incoming) = {
            let mut state = self.state.lock();
            (
                core::mem::replace(&mut state.role, Role::Idle),
                if state.owns_name {
                    core::mem::take(&mut state.name)
                } else {
                    Default::default()
                },
                core::mem::take(&mut state.waiting),
                state.embryo,
                core::mem::take(&mut state.incoming),
            )
        };
        let unread = embryo || incoming.has_unread();
        names::release(&name, &self.me);
        if let Role::Connected { peer, .. } = &role
            && self.has_connections()
            && let Some(peer) = peer.upgrade()
        {
            {
                let mut state = peer.state.lock();
                state.shut_read = true;
                state.shut_write = true;
                if unread {
                    state.error = Some(Errno::ECONNRESET);
                }
            }
            peer.queue.wake(EVERYTHING);
        }
        bury::bury(incoming);
        // Connections nobody accepted end with their listener.
        drop(role);
        for socket in waiting.iter().filter_map(Weak::upgrade) {
            socket.queue.wake(EVERYTHING);
        }
    }
}

impl Socket for UnixSocket {
    fn domain(&self) -> u16 {
        family::UNIX
    }

    fn socket_type(&self) -> SocketType {
        self.kind
    }

    fn protocol(&self) -> u32 {
        0
    }

    fn options(&self) -> &Lock<Options> {
        &self.options
    }

    fn queue(&self) -> &WaitQueue {
        &self.queue
    }

    fn poll(&self) -> PollEvents {
        let writable = self.writable();
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if state.error.is_some() {
            events |= PollEvents::ERR;
        }
        if state.incoming.has_urgent() {
            events |= PollEvents::PRI;
        }
        if state.shut_read && state.shut_write {
            events |= PollEvents::HUP;
        }
        if state.shut_read {
            events |= READABLE | PollEvents::RDHUP;
        }
        let waiting = match &state.role {
            Role::Listening { pending, .. } => !pending.is_empty(),
            _ => !state.incoming.is_empty(),
        };
        if waiting {
            events |= READABLE;
        }
        if self.has_connections() && matches!(state.role, Role::Idle) {
            events |= PollEvents::HUP;
        }
        if writable {
            events |= WRITABLE;
        }
        events
    }

    fn bind(&self, address: Address) -> Result<()> {
        self.bind_name(address)
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        self.start_listening(backlog)
    }

    fn accept(&self) -> Result<Arc<dyn Socket>> {
        self.accept_one().map(|socket| socket as Arc<dyn Socket>)
    }

    fn connect(&self, address: Address) -> Result<()> {
        match address {
            Address::Unspecified if !self.has_connections() => {
                let old = core::mem::replace(&mut self.state.lock().role, Role::Idle);
                drop(old);
                Ok(())
            }
            Address::Unix(name) if self.has_connections() => self.connect_stream(&name),
            Address::Unix(name) => self.connect_datagram(name),
            _ => Err(Errno::EINVAL),
        }
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let peer = {
            let mut state = self.state.lock();
            state.shut_read |= how.read;
            state.shut_write |= how.write;
            match &state.role {
                Role::Connected { peer, .. } if self.has_connections() => peer.upgrade(),
                _ => None,
            }
        };
        if let Some(peer) = peer {
            {
                let mut state = peer.state.lock();
                state.shut_read |= how.write;
                state.shut_write |= how.read;
            }
            peer.queue.wake(EVERYTHING);
        }
        self.queue.wake(EVERYTHING);
        Ok(())
    }

    fn local_address(&self) -> Address {
        Address::Unix(self.state.lock().name.clone())
    }

    fn peer_address(&self) -> Result<Address> {
        match &self.state.lock().role {
            Role::Connected { name, .. } => Ok(Address::Unix(name.clone())),
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn send(
        &self,
        src: &mut Source<'_>,
        message: &mut Outgoing,
        flags: MessageFlags,
    ) -> Result<usize> {
        let urgent = flags.contains(MessageFlags::OOB);
        if urgent && self.kind != SocketType::Stream {
            return Err(Errno::EOPNOTSUPP);
        }
        match self.kind {
            SocketType::Stream => self.send_stream(src, message, urgent),
            _ => self.send_message(src, message),
        }
    }

    fn receive(&self, dst: &mut Destination<'_>, flags: MessageFlags) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return match self.kind {
                SocketType::Stream => self.receive_urgent(dst, flags),
                _ => Err(Errno::EOPNOTSUPP),
            };
        }
        match self.kind {
            SocketType::Stream => self.receive_stream(dst, flags),
            _ => self.receive_message(dst, flags),
        }
    }

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn connection_state(&self) -> ConnectionState {
        match &self.state.lock().role {
            Role::Listening { .. } => ConnectionState::Listen,
            Role::Connected { .. } => ConnectionState::Established,
            Role::Idle => ConnectionState::Close,
        }
    }

    fn backlog(&self) -> Option<(usize, usize)> {
        match &self.state.lock().role {
            Role::Listening { backlog, pending } => Some((pending.len(), *backlog)),
            _ => None,
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    fn peer_credentials(&self) -> Option<Credentials> {
        match &self.state.lock().role {
            Role::Connected { credentials, .. } => Some(*credentials),
            _ => None,
        }
    }

    fn queued(&self) -> (usize, usize) {
        let outgoing = self
            .peer()
            .map_or(0, |peer| peer.state.lock().incoming.len());
        let state = self.state.lock();
        let first = state
            .incoming
            .front()
            .map_or(0, |segment| segment.unread().len());
        let incoming = if self.kind == SocketType::Stream {
            state.incoming.len()
        } else {
            first
        };
        (incoming, outgoing)
    }

    fn at_mark(&self) -> Result<bool> {
        Ok(self.state.lock().incoming.at_urgent())
    }

    fn owner(&self) -> Option<&Owner> {
        (self.kind == SocketType::Stream).then_some(&self.owner)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
