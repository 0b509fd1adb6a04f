//! Sending and receiving.

use super::{READABLE, Role, State, UnixSocket, WRITABLE, names};
use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::address::{Address, UnixAddress};
use crate::net::buffer::{self, Buffer, Segment};
use crate::net::socket::{Ancillary, Credentials, MessageFlags, Outgoing, Received, SocketType};
use crate::wait::PollEvents;
use alloc::sync::Arc;
use alloc::vec::Vec;

/// A stream that may send at all may send this much.
const LEAST_SEND: usize = 16 << 10;

/// What SCM_CREDENTIALS says when the sender's are not known.
const NOBODY: Credentials = Credentials {
    pid: 0,
    uid: 65_534,
    gid: 65_534,
};

fn incoming(state: &mut State) -> &mut Buffer {
    &mut state.incoming
}

impl UnixSocket {
    /// What goes beside a send to `other`: the sender's credentials if either side wants them.
    fn outgoing(&self, other: &UnixSocket, message: &mut Outgoing) -> Ancillary {
        let mut ancillary = core::mem::take(&mut message.ancillary);
        let (wanted, owner) = {
            let options = self.options.lock();
            (options.pass_credentials(), options.owner)
        };
        let wanted = wanted || other.options.lock().pass_credentials();
        ancillary.credentials = if wanted {
            ancillary.credentials.or(Some(owner))
        } else {
            None
        };
        ancillary
    }

    /// What the program is told of what came beside.
    fn received(&self, mut ancillary: Ancillary) -> Ancillary {
        let wanted = self.options.lock().pass_credentials();
        ancillary.credentials = wanted.then(|| ancillary.credentials.unwrap_or(NOBODY));
        ancillary
    }

    pub(super) fn send_stream(
        &self,
        src: &mut Source<'_>,
        message: &mut Outgoing,
        urgent: bool,
    ) -> Result<usize> {
        let plain = match src.remaining() {
            0 if urgent => return Err(Errno::EOPNOTSUPP),
            length => length - usize::from(urgent),
        };
        let peer = {
            let state = self.state.lock();
            let connected = match &state.role {
                Role::Connected { peer, .. } => Some(peer.upgrade()),
                _ => None,
            };
            match (&message.to, connected) {
                (Some(_), Some(_)) => return Err(Errno::EISCONN),
                (Some(_), None) => return Err(Errno::EOPNOTSUPP),
                (None, None) => return Err(Errno::ENOTCONN),
                (None, Some(_)) if state.shut_write => return Err(Errno::EPIPE),
                (None, Some(peer)) => peer.ok_or(Errno::EPIPE)?,
            }
        };
        if src.remaining() == 0 {
            return Ok(0);
        }
        let limit = self.send_buffer();
        let room = {
            let state = peer.state.lock();
            if state.shut_read {
                return Err(Errno::EPIPE);
            }
            match limit.checked_sub(state.incoming.cost()) {
                None | Some(0) => return Err(Errno::EAGAIN),
                // As on Linux, what is begun may exceed the limit.
                Some(left) => left.max(LEAST_SEND),
            }
        };
        let ancillary = self.outgoing(&peer, message);
        let mut ancillary = ancillary;
        let mut sent = Ok(0);
        if plain > 0 {
            let rest = Ancillary {
                credentials: ancillary.credentials,
                ..Ancillary::default()
            };
            let ancillary = core::mem::replace(&mut ancillary, rest);
            sent = buffer::send_stream(src, room.min(plain), ancillary, |segment| {
                peer.state.lock().incoming.push(segment, true)
            });
        }
        if let (true, 1, Ok(before)) = (urgent, src.remaining(), &sent) {
            // The last byte is a message of its own.
            sent = match peer.take_urgent_from(src, ancillary) {
                Err(_) if *before > 0 => sent,
                result => result.map(|()| before + 1),
            };
        }
        // As on Linux, any data wakes who waits for urgent data, too.
        peer.queue
            .wake(READABLE | PollEvents::PRI | PollEvents::RDBAND);
        sent
    }

    /// Puts the one byte that is left in `src` into the buffer, as urgent.
    fn take_urgent_from(&self, src: &mut Source<'_>, ancillary: Ancillary) -> Result<()> {
        let mut segment = Segment::message(src, None)?;
        segment.ancillary = ancillary;
        let embryo = {
            let mut state = self.state.lock();
            state.incoming.push_urgent(segment)?;
            state.embryo
        };
        if !embryo {
            self.owner.signal_urgent();
        }
        Ok(())
    }

    /// Reads the urgent byte. EINVAL: there is none, or it is read with the others.
    pub(super) fn receive_urgent(
        &self,
        dst: &mut Destination<'_>,
        flags: MessageFlags,
    ) -> Result<Received> {
        let inline = self.options.lock().urgent_inline();
        let peek = flags.contains(MessageFlags::PEEK);
        let byte = match inline {
            true => None,
            false => self.state.lock().incoming.take_urgent(peek),
        };
        let byte = byte.ok_or(Errno::EINVAL)?;
        if dst.remaining() > 0 {
            dst.put(&[byte])?;
        }
        // One byte, even if there was no room for it.
        Ok(Received {
            bytes: 1,
            length: 1,
            urgent: true,
            ..Received::default()
        })
    }

    pub(super) fn receive_stream(
        &self,
        dst: &mut Destination<'_>,
        flags: MessageFlags,
    ) -> Result<Received> {
        let inline = self.options.lock().urgent_inline();
        let peek = flags.contains(MessageFlags::PEEK);
        let over;
        {
            let mut state = self.state.lock();
            if !matches!(state.role, Role::Connected { .. }) {
                return Err(Errno::EINVAL);
            }
            let nothing = if peek {
                over = Vec::new();
                state.incoming.peek(1, inline).0.is_empty()
            } else {
                over = state.incoming.step_over_urgent(inline);
                state.incoming.is_empty()
            };
            if nothing {
                return match (state.error.take(), state.shut_read) {
                    (Some(error), _) => Err(error),
                    (None, true) => Ok(Received::default()),
                    (None, false) => Err(Errno::EAGAIN),
                };
            }
        }
        drop(over);
        let peer = self.peer();
        let was_full = peer.as_ref().is_some_and(|peer| !peer.can_send_to(self));
        let (bytes, ancillary) = buffer::receive_stream(&self.state, incoming, dst, peek, inline)?;
        if let Some(peer) = peer
            && was_full
            && peer.can_send_to(self)
        {
            peer.queue.wake(WRITABLE);
        }
        let ancillary = self.received(ancillary);
        Ok(Received {
            bytes,
            length: bytes,
            ancillary,
            ..Received::default()
        })
    }

    /// Where a message goes.
    fn destination(&self, message: &Outgoing) -> Result<Arc<UnixSocket>> {
        if self.state.lock().shut_write {
            return Err(Errno::EPIPE);
        }
        if self.has_connections() {
            return match &self.state.lock().role {
                Role::Connected { peer, .. } => peer.upgrade().ok_or(Errno::EPIPE),
                _ => Err(Errno::ENOTCONN),
            };
        }
        match &message.to {
            None => {
                let mut state = self.state.lock();
                let Role::Connected { peer, .. } = &state.role else {
                    return Err(Errno::ENOTCONN);
                };
                match peer.upgrade() {
                    Some(peer) => Ok(peer),
                    None => {
                        state.role = Role::Idle;
                        Err(Errno::ECONNREFUSED)
                    }
                }
            }
            Some(Address::Unix(name)) => {
                let other = names::find(name)?;
                if other.kind != self.kind {
                    return Err(Errno::EPROTOTYPE);
                }
                Ok(other)
            }
            Some(_) => Err(Errno::EINVAL),
        }
    }

    pub(super) fn send_message(
        &self,
        src: &mut Source<'_>,
        message: &mut Outgoing,
    ) -> Result<usize> {
        let other = self.destination(message)?;
        let (limit, length) = (self.send_buffer(), src.remaining());
        if length > limit.saturating_sub(32) {
            return Err(Errno::EMSGSIZE);
        }
        if self.kind == SocketType::Datagram && !self.may_send_to(&other) {
            return Err(Errno::EPERM);
        }
        let (shut, full) = {
            let state = other.state.lock();
            (
                state.shut_read,
                state.incoming.cost() >= limit || self.crowds(&other, &state),
            )
        };
        if shut {
            return Err(Errno::EPIPE);
        }
        if full {
            self.wait_for_room(&other);
            return Err(Errno::EAGAIN);
        }
        let from = match self.state.lock().name.clone() {
            UnixAddress::Unnamed => None,
            name => Some(Address::Unix(name)),
        };
        let mut segment = Segment::message(src, from)?;
        segment.ancillary = self.outgoing(&other, message);
        other.state.lock().incoming.push(segment, false)?;
        other.queue.wake(READABLE);
        Ok(length)
    }

    pub(super) fn receive_message(
        &self,
        dst: &mut Destination<'_>,
        flags: MessageFlags,
    ) -> Result<Received> {
        let peek = flags.contains(MessageFlags::PEEK);
        let waits = !flags.contains(MessageFlags::DONTWAIT);
        let segment = {
            let mut state = self.state.lock();
            if self.has_connections() && !matches!(state.role, Role::Connected { .. }) {
                return Err(Errno::ENOTCONN);
            }
            match state.incoming.pop() {
                Some(segment) => segment,
                None => {
                    return match (state.error.take(), state.shut_read) {
                        (Some(error), _) => Err(error),
                        // Only who would wait learns that there is nothing to wait for, unless it
                        // is the end of a connection.
                        (None, true) if waits || self.has_connections() => Ok(Received::default()),
                        (None, _) => Err(Errno::EAGAIN),
                    };
                }
            }
        };
        let length = segment.unread().len();
        let put = dst.put(segment.unread());
        let received = |ancillary, bytes| Received {
            bytes,
            urgent: false,
            length,
            from: segment.from.clone(),
            ancillary: self.received(ancillary),
        };
        if peek {
            let result = put.map(|bytes| received(segment.ancillary.clone(), bytes));
            self.state.lock().incoming.unpop(segment);
            return result;
        }
        // As on Linux, a message that cannot be stored is lost.
        let result = put.map(|bytes| received(segment.ancillary.clone(), bytes));
        self.wake_waiting();
        if self.has_connections()
            && let Some(peer) = self.peer()
            && peer.can_send_to(self)
        {
            peer.queue.wake(WRITABLE);
        }
        result
    }
}
