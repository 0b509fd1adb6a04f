//! bind, listen, connect, accept, shutdown.

use super::{PORTS, Role, TcpSocket};
use crate::errno::{Errno, Result};
use crate::net::address::Address;
use crate::net::counters;
use crate::net::inet::{EVERYTHING, READABLE, check_family, is_group, route, source_for, unbound};
use crate::net::socket::Shutdown;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use core::net::SocketAddr;

/// What became of a listener being asked for a connection.
enum Asked {
    /// The new socket is in the backlog.
    Connected(Arc<TcpSocket>),
    /// The backlog is full; the listener will complete it later.
    Waiting,
    /// It does not listen any more.
    Refused,
}

/// Tells sockets that waited in a listener's backlog that it is gone.
pub(super) fn refuse(waiting: VecDeque<Weak<TcpSocket>>) {
    for client in waiting.iter().filter_map(Weak::upgrade) {
        client.fail(Errno::ECONNREFUSED);
    }
}

impl TcpSocket {
    pub(super) fn bind_local(&self, address: Address) -> Result<()> {
        let Address::Inet(addr) = address else {
            return Err(Errno::EAFNOSUPPORT);
        };
        let options = self.options.lock().clone();
        check_family(self.domain, options.v6_only(), addr.ip()).map_err(|error| match error {
            Errno::ENETUNREACH => Errno::EINVAL,
            other => other,
        })?;
        {
            let state = self.state.lock();
            if state.lease.is_some() || !matches!(state.role, Role::Idle) {
                return Err(Errno::EINVAL);
            }
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
        self.bind_local(Address::Inet(unbound(self.domain)))
    }

    pub(super) fn start_listening(&self, backlog: usize) -> Result<()> {
        match &mut self.state.lock().role {
            Role::Idle | Role::Failed => {}
            Role::Listening { backlog: old, .. } => {
                *old = backlog;
                return Ok(());
            }
            _ => return Err(Errno::EINVAL),
        }
        self.bind_any()?;
        let lease = self.state.lock().lease.clone().ok_or(Errno::EINVAL)?;
        PORTS.listen(&lease, true)?;
        let (pending, waiting) = (VecDeque::new(), VecDeque::new());
        let mut state = self.state.lock();
        state.role = Role::Listening {
            backlog,
            pending,
            waiting,
        };
        state.shut_read = false;
        Ok(())
    }

    /// The first call starts connecting and answers EINPROGRESS; later ones tell what came of it.
    pub(super) fn start_connecting(&self, address: Address) -> Result<()> {
        if let Address::Unspecified = address {
            return self.disconnect();
        }
        {
            let mut state = self.state.lock();
            match &mut state.role {
                Role::Idle => {}
                Role::Failed => {
                    state.role = Role::Idle;
                    // Somebody may have asked for SO_ERROR in between.
                    return Err(state.error.take().unwrap_or(Errno::ECONNABORTED));
                }
                Role::Connecting { .. } => return Err(Errno::EALREADY),
                Role::Connected { announced, .. } => {
                    let was = core::mem::replace(announced, true);
                    return if was { Err(Errno::EISCONN) } else { Ok(()) };
                }
                Role::Listening { .. } | Role::Closed => return Err(Errno::EISCONN),
            }
        }
        let remote = match address {
            Address::Inet(remote) => remote,
            _ => return Err(Errno::EAFNOSUPPORT),
        };
        check_family(self.domain, self.options.lock().v6_only(), remote.ip())?;
        if is_group(remote.ip()) {
            return Err(Errno::ENETUNREACH);
        }
        let remote = SocketAddr::new(route(remote.ip())?, remote.port());
        self.bind_any().map_err(|error| match error {
            Errno::EADDRINUSE => Errno::EADDRNOTAVAIL,
            other => other,
        })?;
        {
            let mut state = self.state.lock();
            let bound = state.local.unwrap_or(unbound(self.domain));
            if bound.ip().is_unspecified() {
                state.local = Some(SocketAddr::new(source_for(remote.ip()), bound.port()));
            }
            state.fin = false;
            state.done = false;
            state.shut_read = false;
            state.shut_write = false;
            state.role = Role::Connecting { remote };
        }
        counters::TCP_ACTIVE.add(1);
        counters::segments(remote.ip(), 0);
        let listener = PORTS.find(remote, |_, listening| listening.then_some(0));
        match listener.map(|listener| (listener.ask(self), listener)) {
            Some((Asked::Connected(server), listener)) => {
                self.established(&server, remote);
                listener.queue.wake(READABLE);
            }
            Some((Asked::Waiting, _)) => {}
            Some((Asked::Refused, _)) | None => self.fail(Errno::ECONNREFUSED),
        }
        Err(Errno::EINPROGRESS)
    }

    /// connect to AF_UNSPEC: the connection is reset, and the socket as new but for its port.
    fn disconnect(&self) -> Result<()> {
        let (old, unread, lease) = {
            let mut state = self.state.lock();
            state.error = None;
            state.fin = false;
            state.done = false;
            state.shut_read = false;
            state.shut_write = false;
            let unread = core::mem::take(&mut state.incoming);
            state.mark = None;
            let lease = state.lease.clone();
            state.local = lease.as_ref().map(|lease| lease.local);
            (
                core::mem::replace(&mut state.role, Role::Idle),
                unread,
                lease,
            )
        };
        drop(unread);
        match old {
            Role::Connected { peer, .. } => {
                if let Some(peer) = peer.upgrade() {
                    peer.reset(Errno::ECONNRESET);
                }
            }
            Role::Listening {
                pending, waiting, ..
            } => {
                if let Some(lease) = lease {
                    PORTS.listen(&lease, false)?;
                }
                drop(pending);
                refuse(waiting);
            }
            _ => {}
        }
        self.queue.wake(EVERYTHING);
        Ok(())
    }

    /// A connect failed: the socket can try again.
    fn fail(&self, error: Errno) {
        counters::TCP_FAILS.add(1);
        {
            let mut state = self.state.lock();
            state.role = Role::Failed;
            state.error = Some(error);
            state.fin = true;
            state.shut_write = true;
        }
        self.queue.wake(EVERYTHING);
    }

    fn established(&self, server: &Arc<TcpSocket>, remote: SocketAddr) {
        // The answer to the SYN, and the answer to that.
        counters::segments(remote.ip(), 0);
        counters::segments(remote.ip(), 0);
        counters::TCP_PASSIVE.add(1);
        let peer = Arc::downgrade(server);
        self.state.lock().role = Role::Connected {
            peer,
            remote,
            announced: false,
        };
        self.queue.wake(EVERYTHING);
    }

    /// `client` wants a connection to this listener.
    fn ask(&self, client: &TcpSocket) -> Asked {
        match &mut self.state.lock().role {
            Role::Listening {
                backlog,
                pending,
                waiting,
            } if pending.len() > *backlog => {
                waiting.push_back(client.me.clone());
                return Asked::Waiting;
            }
            Role::Listening { .. } => {}
            _ => return Asked::Refused,
        }
        let Some(server) = self.server_for(client) else {
            return Asked::Refused;
        };
        if let Role::Listening { pending, .. } = &mut self.state.lock().role {
            pending.push_back(server.clone());
            return Asked::Connected(server);
        }
        Asked::Refused
    }

    /// This listener's end of a connection with `client`.
    fn server_for(&self, client: &TcpSocket) -> Option<Arc<TcpSocket>> {
        let (local, remote) = {
            let state = client.state.lock();
            let Role::Connecting { remote } = state.role else {
                return None;
            };
            (remote, state.local?)
        };
        let options = self.options.lock().clone();
        let server = TcpSocket::with_options(self.domain, options.inherited());
        let lease = self.state.lock().lease.clone()?;
        let lease = PORTS.share(&lease, local.ip(), &options, server.me.clone());
        {
            let mut state = server.state.lock();
            state.local = Some(local);
            state.lease = Some(lease);
            let peer = client.me.clone();
            state.role = Role::Connected {
                peer,
                remote,
                announced: true,
            };
            state.embryo = true;
        }
        Some(server)
    }

    pub(super) fn accept_one(&self) -> Result<Arc<TcpSocket>> {
        let (socket, next) = match &mut self.state.lock().role {
            Role::Listening {
                pending, waiting, ..
            } => (
                pending.pop_front().ok_or(Errno::EAGAIN)?,
                waiting.pop_front(),
            ),
            _ => return Err(Errno::EINVAL),
        };
        socket.state.lock().embryo = false;
        if let Some(client) = next.and_then(|client| client.upgrade())
            && let Some(server) = self.server_for(&client)
        {
            let remote = server.state.lock().local;
            if let Role::Listening { pending, .. } = &mut self.state.lock().role {
                pending.push_back(server.clone());
            }
            if let Some(remote) = remote {
                client.established(&server, remote);
            }
            self.queue.wake(READABLE);
        }
        Ok(socket)
    }

    pub(super) fn shut(&self, how: Shutdown) -> Result<()> {
        let (peer, old) = {
            let mut state = self.state.lock();
            match &state.role {
                Role::Listening { .. } if how.read => {
                    let lease = state.lease.clone();
                    let old = core::mem::replace(&mut state.role, Role::Idle);
                    drop(state);
                    if let Some(lease) = lease {
                        PORTS.listen(&lease, false)?;
                    }
                    (None, Some(old))
                }
                Role::Listening { .. } => (None, None),
                Role::Connected { peer, .. } if !(state.fin && state.shut_write) => {
                    let peer = peer.upgrade();
                    let finishes = how.write && !state.shut_write;
                    state.shut_read |= how.read;
                    state.shut_write |= how.write;
                    (peer.filter(|_| finishes), None)
                }
                Role::Connecting { .. } => {
                    let old = core::mem::replace(&mut state.role, Role::Closed);
                    (None, Some(old))
                }
                _ => return Err(Errno::ENOTCONN),
            }
        };
        if let Some(Role::Listening {
            pending, waiting, ..
        }) = old
        {
            drop(pending);
            refuse(waiting);
        }
        if let Some(peer) = peer {
            peer.finish();
        }
        self.queue.wake(EVERYTHING);
        Ok(())
    }
}
