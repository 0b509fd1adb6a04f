//! Sending and receiving.

use super::{Role, State, TcpSocket};
use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::buffer::{self, Buffer};
use crate::net::counters;
use crate::net::inet::{READABLE, WRITABLE};
use crate::net::socket::{Ancillary, Received};

fn incoming(state: &mut State) -> &mut Buffer {
    &mut state.incoming
}

impl TcpSocket {
    pub(super) fn send_bytes(&self, src: &mut Source<'_>) -> Result<usize> {
        let peer = {
            let mut state = self.state.lock();
            if let Some(error) = state.error.take() {
                return Err(error);
            }
            match &state.role {
                Role::Connecting { .. } => return Err(Errno::EAGAIN),
                Role::Connected { peer, .. } if !state.shut_write => peer.upgrade(),
                _ => return Err(Errno::EPIPE),
            }
        };
        let Some(peer) = peer else {
            // The peer is closed: TCP takes the bytes, and learns from the answer that they were
            // for nobody.
            let length = src.remaining();
            if length > 0 {
                self.reset(Errno::ECONNRESET);
            }
            return Ok(length);
        };
        if src.remaining() == 0 {
            return Ok(0);
        }
        let deaf = {
            let state = peer.state.lock();
            state.shut_read && state.shut_write
        };
        if deaf {
            // It has finished and wants no more: what comes nevertheless ends the connection.
            let length = src.remaining();
            peer.reset(Errno::ECONNRESET);
            self.reset(Errno::ECONNRESET);
            return Ok(length);
        }
        let window = self.window(&peer);
        let room = window.saturating_sub(peer.state.lock().incoming.len());
        if room == 0 {
            return Err(Errno::EAGAIN);
        }
        let sent = buffer::send_stream(src, room, Ancillary::default(), |segment| {
            peer.state.lock().incoming.push(segment, true)
        });
        if let (Ok(bytes), Some(to)) = (&sent, self.state.lock().local) {
            counters::segments(to.ip(), *bytes);
        }
        peer.queue.wake(READABLE);
        sent
    }

    pub(super) fn receive_bytes(&self, dst: &mut Destination<'_>, peek: bool) -> Result<Received> {
        {
            let mut state = self.state.lock();
            if matches!(state.role, Role::Listening { .. }) {
                return Err(Errno::ENOTCONN);
            }
            if state.incoming.is_empty() {
                let idle = matches!(state.role, Role::Idle | Role::Failed);
                if state.done {
                    return Ok(Received::default());
                }
                return match state.error.take() {
                    Some(error) => Err(error),
                    None if state.fin || state.shut_read => Ok(Received::default()),
                    None if idle => Err(Errno::ENOTCONN),
                    None => Err(Errno::EAGAIN),
                };
            }
        }
        let peer = self.peer();
        let was_full = peer.as_ref().is_some_and(|peer| !peer.can_send_to(self));
        let (bytes, _) = buffer::receive_stream(&self.state, incoming, dst, peek)?;
        if let Some(peer) = peer
            && was_full
            && peer.can_send_to(self)
        {
            peer.queue.wake(WRITABLE);
        }
        Ok(Received {
            bytes,
            length: bytes,
            ..Received::default()
        })
    }
}
