//! TCP.
//!
//! A connection is two sockets that know each other weakly. The handshake happens within `connect`,
//! yet the caller learns of it as on Linux: a non-blocking connect is in progress first and then
//! done. A connect to a listener whose backlog is full waits in the listener.

mod connect;
mod transfer;
mod urgent;

use crate::errno::{Errno, Result};
use crate::fs::owner::Owner;
use crate::io::{Destination, Source};
use crate::net::address::Address;
use crate::net::buffer::Buffer;
use crate::net::counters;
use crate::net::inet::ports::{Lease, Ports};
use crate::net::inet::{EVERYTHING, READABLE, WRITABLE, unbound};
use crate::net::options::{Kind, Options};
use crate::net::registry::Entry;
use crate::net::socket::{
    ConnectionState, Credentials, MessageFlags, Outgoing, Received, Shutdown, Socket, SocketType,
};
use crate::sync::{Lock, Rank};
use crate::wait::{PollEvents, WaitQueue};
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::any::Any;
use core::net::SocketAddr;
use urgent::Mark;

static PORTS: Ports<TcpSocket> = Ports::new();

/// IPPROTO_TCP.
const PROTOCOL: u32 = 6;

enum Role {
    /// No connection yet, or none any more after a failed connect.
    Idle,
    /// Takes connections. `waiting`: sockets whose connect finds no room in the backlog.
    Listening {
        backlog: usize,
        pending: VecDeque<Arc<TcpSocket>>,
        waiting: VecDeque<Weak<TcpSocket>>,
    },
    /// Waits in a listener.
    Connecting { remote: SocketAddr },
    /// Has a peer, which may be gone. `announced`: connect has returned success.
    Connected {
        peer: Weak<TcpSocket>,
        remote: SocketAddr,
        announced: bool,
    },
    /// A connect failed, and no later one has been told so yet.
    Failed,
    /// Was reset.
    Closed,
}

struct State {
    lease: Option<Arc<Lease<TcpSocket>>>,
    local: Option<SocketAddr>,
    role: Role,
    incoming: Buffer,
    /// The place in the stream of the byte that comes next.
    end: u64,
    mark: Option<Mark>,
    /// Nothing more will come.
    fin: bool,
    /// The peer has said so itself: reading ends in the end of the stream, whatever comes later.
    done: bool,
    shut_read: bool,
    shut_write: bool,
    error: Option<Errno>,
    /// Not yet accepted.
    embryo: bool,
}

/// A TCP socket.
pub struct TcpSocket {
    me: Weak<TcpSocket>,
    entry: Entry,
    domain: u16,
    options: Lock<Options>,
    queue: WaitQueue,
    owner: Owner,
    state: Lock<State>,
}

impl TcpSocket {
    /// A socket of AF_INET or AF_INET6, made by `owner`.
    pub fn new(domain: u16, owner: Credentials) -> Arc<TcpSocket> {
        TcpSocket::with_options(domain, Options::new(Kind::Tcp, owner))
    }

    fn with_options(domain: u16, options: Options) -> Arc<TcpSocket> {
        Arc::new_cyclic(|me| TcpSocket {
            me: me.clone(),
            entry: Entry::new(me.clone()),
            domain,
            options: Lock::new(Rank::Options, options),
            queue: WaitQueue::new(),
            owner: Owner::default(),
            state: Lock::new(
                Rank::File,
                State {
                    lease: None,
                    local: None,
                    role: Role::Idle,
                    incoming: Buffer::default(),
                    end: 0,
                    mark: None,
                    fin: false,
                    done: false,
                    shut_read: false,
                    shut_write: false,
                    error: None,
                    embryo: false,
                },
            ),
        })
    }

    /// The peer, if it is not gone.
    fn peer(&self) -> Option<Arc<TcpSocket>> {
        match &self.state.lock().role {
            Role::Connected { peer, .. } => peer.upgrade(),
            _ => None,
        }
    }

    /// Bytes that may be on their way to `peer`: what Linux would keep in both sockets' buffers.
    fn window(&self, peer: &TcpSocket) -> usize {
        // One after the other: the peer may be doing the same the other way round.
        let sent = self.options.lock().send_window();
        sent + peer.options.lock().receive_window()
    }

    /// Whether poll says that this socket can send to `peer`: a third of the window is free.
    fn can_send_to(&self, peer: &TcpSocket) -> bool {
        peer.state.lock().incoming.len() <= self.window(peer) / 3 * 2
    }

    /// The connection is no more; what was received can still be read, then `error` is told.
    fn reset(&self, error: Errno) {
        counters::TCP_RESETS.add(1);
        counters::TCP_RST.add(1);
        {
            let mut state = self.state.lock();
            if let Role::Connected { remote, .. } = &state.role {
                counters::segments(remote.ip(), 0);
            }
            // A peer that had already finished sending makes it a broken pipe.
            let waits_for_close = state.done && !state.shut_write;
            state.error = Some(if waits_for_close { Errno::EPIPE } else { error });
            state.role = Role::Closed;
            state.fin = true;
            state.shut_write = true;
        }
        self.queue.wake(EVERYTHING);
    }

    /// The peer has sent its last byte.
    fn finish(&self) {
        {
            let mut state = self.state.lock();
            state.fin = true;
            state.done = true;
            if let Role::Connected { remote, .. } = &state.role {
                counters::segments(remote.ip(), 0);
            }
        }
        self.queue
            .wake(READABLE | PollEvents::RDHUP | PollEvents::HUP);
    }
}

impl Drop for TcpSocket {
    fn drop(&mut self) {
        let reset_on_close = self.options.lock().reset_on_close();
        let (role, lease, unread, over) = {
            let mut state = self.state.lock();
            (
                core::mem::replace(&mut state.role, Role::Closed),
                state.lease.take(),
                state.embryo || !state.incoming.is_empty(),
                // Both sides have finished: there is no connection to reset.
                state.done && state.shut_write,
            )
        };
        drop(lease);
        match role {
            Role::Connected { .. } if over => {}
            Role::Connected { peer, .. } => {
                if let Some(peer) = peer.upgrade() {
                    if unread || reset_on_close {
                        peer.reset(Errno::ECONNRESET);
                    } else {
                        peer.finish();
                    }
                }
            }
            // Connections nobody accepted are reset as they are dropped.
            Role::Listening { waiting, .. } => connect::refuse(waiting),
            _ => {}
        }
    }
}

impl Socket for TcpSocket {
    fn domain(&self) -> u16 {
        self.domain
    }

    fn socket_type(&self) -> SocketType {
        SocketType::Stream
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
        let writable = self.peer().is_none_or(|peer| self.can_send_to(&peer));
        let inline = self.inline();
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if state.has_urgent() {
            events |= PollEvents::PRI;
        }
        if state.error.is_some() {
            events |= PollEvents::ERR;
        }
        match &state.role {
            Role::Listening { pending, .. } => {
                if !pending.is_empty() {
                    events |= READABLE;
                }
                return events;
            }
            Role::Connecting { .. } => return events,
            Role::Idle | Role::Failed | Role::Closed => events |= PollEvents::HUP,
            Role::Connected { .. } => {}
        }
        let no_more = state.fin || state.shut_read;
        if no_more && state.shut_write {
            events |= PollEvents::HUP;
        }
        if no_more {
            events |= READABLE | PollEvents::RDHUP;
        }
        if state.has_data(inline) {
            events |= READABLE;
        }
        if writable || state.shut_write {
            events |= WRITABLE;
        }
        events
    }

    fn bind(&self, address: Address) -> Result<()> {
        self.bind_local(address)
    }

    fn listen(&self, backlog: usize) -> Result<()> {
        self.start_listening(backlog)
    }

    fn accept(&self) -> Result<Arc<dyn Socket>> {
        self.accept_one().map(|socket| socket as Arc<dyn Socket>)
    }

    fn connect(&self, address: Address) -> Result<()> {
        self.start_connecting(address)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        self.shut(how)
    }

    fn local_address(&self) -> Address {
        Address::Inet(self.state.lock().local.unwrap_or(unbound(self.domain)))
    }

    fn peer_address(&self) -> Result<Address> {
        let state = self.state.lock();
        match &state.role {
            // Once both sides have finished, TCP has forgotten the connection.
            Role::Connected { remote, .. } if !(state.fin && state.shut_write) => {
                Ok(Address::Inet(*remote))
            }
            _ => Err(Errno::ENOTCONN),
        }
    }

    fn send(
        &self,
        src: &mut Source<'_>,
        _message: &mut Outgoing,
        flags: MessageFlags,
    ) -> Result<usize> {
        self.send_bytes(src, flags.contains(MessageFlags::OOB))
    }

    fn receive(&self, dst: &mut Destination<'_>, flags: MessageFlags) -> Result<Received> {
        if flags.contains(MessageFlags::OOB) {
            return self.receive_urgent(dst, flags);
        }
        if flags.contains(MessageFlags::ERRQUEUE) {
            return Err(Errno::EAGAIN);
        }
        self.receive_bytes(dst, flags)
    }

    fn entry(&self) -> &Entry {
        &self.entry
    }

    fn connection_state(&self) -> ConnectionState {
        let state = self.state.lock();
        match &state.role {
            Role::Listening { .. } => ConnectionState::Listen,
            Role::Connecting { .. } => ConnectionState::SynSent,
            Role::Connected { .. } => match (state.fin, state.shut_write) {
                (false, false) => ConnectionState::Established,
                (true, false) => ConnectionState::CloseWait,
                (false, true) => ConnectionState::FinWait2,
                (true, true) => ConnectionState::Close,
            },
            Role::Idle | Role::Failed | Role::Closed => ConnectionState::Close,
        }
    }

    fn backlog(&self) -> Option<(usize, usize)> {
        match &self.state.lock().role {
            Role::Listening {
                backlog, pending, ..
            } => Some((pending.len(), *backlog)),
            _ => None,
        }
    }

    fn take_error(&self) -> Option<Errno> {
        self.state.lock().error.take()
    }

    fn listening(&self) -> bool {
        matches!(self.state.lock().role, Role::Listening { .. })
    }

    fn queued(&self) -> (usize, usize) {
        let inline = self.inline();
        (self.state.lock().readable(inline), 0)
    }

    fn at_mark(&self) -> Result<bool> {
        Ok(self.is_at_mark())
    }

    fn owner(&self) -> Option<&Owner> {
        Some(&self.owner)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
