//! bind, listen, connect, accept.

use super::{READABLE, Role, UnixSocket, WRITABLE, names};
use crate::errno::{Errno, Result};
use crate::net::address::{Address, UnixAddress};
use alloc::collections::VecDeque;
use alloc::sync::Arc;

impl UnixSocket {
    pub(super) fn bind_name(&self, address: Address) -> Result<()> {
        let Address::Unix(name) = address else {
            return Err(Errno::EINVAL);
        };
        if !matches!(self.state.lock().name, UnixAddress::Unnamed) {
            return Err(Errno::EINVAL);
        }
        let name = names::claim(name, &self.me)?;
        let mut state = self.state.lock();
        state.name = name;
        state.owns_name = true;
        Ok(())
    }

    pub(super) fn start_listening(&self, backlog: usize) -> Result<()> {
        if !self.has_connections() {
            return Err(Errno::EOPNOTSUPP);
        }
        {
            let mut state = self.state.lock();
            if matches!(state.name, UnixAddress::Unnamed) {
                return Err(Errno::EINVAL);
            }
            match &mut state.role {
                Role::Connected { .. } => return Err(Errno::EINVAL),
                Role::Listening { backlog: old, .. } => *old = backlog,
                role => {
                    *role = Role::Listening {
                        backlog,
                        pending: VecDeque::new(),
                    }
                }
            }
        }
        self.wake_waiting();
        Ok(())
    }

    pub(super) fn accept_one(&self) -> Result<Arc<UnixSocket>> {
        if !self.has_connections() {
            return Err(Errno::EOPNOTSUPP);
        }
        let socket = {
            let mut state = self.state.lock();
            let shut = state.shut_read;
            match &mut state.role {
                Role::Listening { pending, .. } => match pending.pop_front() {
                    Some(socket) => socket,
                    None if shut => return Err(Errno::EINVAL),
                    None => return Err(Errno::EAGAIN),
                },
                _ => return Err(Errno::EINVAL),
            }
        };
        socket.state.lock().embryo = false;
        self.wake_waiting();
        Ok(socket)
    }

    pub(super) fn connect_stream(&self, name: &UnixAddress) -> Result<()> {
        match self.state.lock().role {
            Role::Listening { .. } => return Err(Errno::EINVAL),
            Role::Connected { .. } => return Err(Errno::EISCONN),
            Role::Idle => {}
        }
        let listener = names::find(name)?;
        if listener.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        let (my_name, my_credentials) = (self.state.lock().name.clone(), self.options.lock().owner);
        let me = self.me.upgrade().ok_or(Errno::ECONNREFUSED)?;
        let their_credentials = listener.options.lock().owner;
        let server = UnixSocket::new(self.kind, their_credentials);
        let their_name = {
            let mut state = listener.state.lock();
            let their_name = state.name.clone();
            let shut = state.shut_read;
            match &mut state.role {
                Role::Listening { .. } if shut => return Err(Errno::ECONNREFUSED),
                Role::Listening { backlog, pending } if pending.len() > *backlog => {
                    drop(state);
                    self.wait_for_room(&listener);
                    return Err(Errno::EAGAIN);
                }
                Role::Listening { pending, .. } => pending.push_back(server.clone()),
                _ => return Err(Errno::ECONNREFUSED),
            }
            their_name
        };
        {
            let mut state = server.state.lock();
            state.name = their_name.clone();
            state.embryo = true;
        }
        server.set_peer(&me, my_name, my_credentials);
        self.set_peer(&server, their_name, their_credentials);
        self.queue.wake(WRITABLE);
        listener.queue.wake(READABLE);
        Ok(())
    }

    pub(super) fn connect_datagram(&self, name: UnixAddress) -> Result<()> {
        let other = names::find(&name)?;
        if other.kind != self.kind {
            return Err(Errno::EPROTOTYPE);
        }
        if !self.may_send_to(&other) {
            return Err(Errno::EPERM);
        }
        let credentials = other.options.lock().owner;
        self.set_peer(&other, name, credentials);
        self.queue.wake(WRITABLE);
        Ok(())
    }

    /// A datagram socket that is connected takes messages from its peer alone.
    pub(super) fn may_send_to(&self, other: &UnixSocket) -> bool {
        match &other.state.lock().role {
            Role::Connected { peer, .. } => peer.ptr_eq(&self.me),
            _ => true,
        }
    }
}
