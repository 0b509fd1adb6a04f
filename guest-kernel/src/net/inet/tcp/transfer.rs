//! Sending and receiving.

use super::urgent::Ahead;
use super::{Role, State, TcpSocket};
use crate::errno::{Errno, Result};
use crate::io::{Destination, Source};
use crate::net::buffer::{self, Buffer};
use crate::net::counters;
use crate::net::inet::{READABLE, WRITABLE};
use crate::net::socket::{Ancillary, MessageFlags, Received};
use crate::wait::PollEvents;

fn incoming(state: &mut State) -> &mut Buffer {
    &mut state.incoming
}

impl TcpSocket {
    /// Sends; `urgent`: the last of the bytes is.
    pub(super) fn send_bytes(&self, src: &mut Source<'_>, urgent: bool) -> Result<usize> {
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
        let inline = peer.inline();
        let want = room.min(src.remaining());
        let (mut gone, mut last) = (0, 0);
        let sent = buffer::send_stream(src, room, Ancillary::default(), |segment| {
            let mut state = peer.state.lock();
            let count = segment.unread().len();
            last = segment.unread().last().copied().unwrap_or(last);
            if urgent && gone == 0 {
                state.prepare_mark(inline);
            }
            state.incoming.push(segment, true)?;
            state.end += count as u64;
            gone += count;
            if urgent && gone == want {
                state.mark_last(last);
            }
            Ok(())
        });
        if urgent && gone > 0 {
            if gone < want {
                peer.state.lock().mark_last(last);
            }
            let embryo = peer.state.lock().embryo;
            if !embryo {
                peer.owner.signal_urgent();
            }
        }
        if let (Ok(bytes), Some(to)) = (&sent, self.state.lock().local) {
            counters::segments(to.ip(), *bytes);
        }
        // As on Linux, any data wakes who waits for urgent data, too.
        peer.queue
            .wake(READABLE | PollEvents::PRI | PollEvents::RDBAND);
        sent
    }

    pub(super) fn receive_bytes(
        &self,
        dst: &mut Destination<'_>,
        flags: MessageFlags,
    ) -> Result<Received> {
        let inline = self.inline();
        let peek = flags.contains(MessageFlags::PEEK);
        let skip = {
            let mut state = self.state.lock();
            if matches!(state.role, Role::Listening { .. }) {
                return Err(Errno::ENOTCONN);
            }
            let skip = match state.ahead(inline) {
                Ahead::Hole if dst.remaining() > 0 && peek => 1,
                Ahead::Hole if dst.remaining() > 0 => {
                    state.incoming.skip(1);
                    state.mark = None;
                    0
                }
                Ahead::Stop(distance) => {
                    dst.limit(distance);
                    0
                }
                _ => 0,
            };
            if state.incoming.len() <= skip {
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
            skip
        };
        let peer = self.peer();
        let was_full = peer.as_ref().is_some_and(|peer| !peer.can_send_to(self));
        let bytes = if flags.contains(MessageFlags::TRUNC) {
            // Nobody wants to see them.
            let mut state = self.state.lock();
            let bytes = dst
                .remaining()
                .min(state.incoming.len().saturating_sub(skip));
            if !peek {
                state.incoming.skip(bytes);
            }
            bytes
        } else if skip > 0 {
            let (bytes, _) = self
                .state
                .lock()
                .incoming
                .peek(skip + dst.remaining(), inline);
            dst.put(bytes.get(skip..).unwrap_or_default())?
        } else {
            buffer::receive_stream(&self.state, incoming, dst, peek, inline)?.0
        };
        self.state.lock().forget_passed_mark();
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
