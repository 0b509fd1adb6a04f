//! Urgent data: one byte of the stream that is marked, and by default read apart from it.
//!
//! Places in the stream are counted from its begin. Whatever becomes of the marked byte, reads stop
//! before its place; one that begins there steps over it, unless SO_OOBINLINE left it in the stream.

use super::{Role, State, TcpSocket};
use crate::errno::{Errno, Result};
use crate::io::Destination;
use crate::net::socket::{MessageFlags, Received};

/// The marked byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// Its place in the stream.
    at: u64,
    byte: u8,
    /// Was read with MSG_OOB.
    taken: bool,
}

/// How the next read and the mark stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    /// No mark, or one that is as any other byte.
    Nothing,
    /// The next byte is the marked one, which reads step over.
    Hole,
    /// Reads stop after this many bytes.
    Stop(usize),
}

impl State {
    /// The place of the next byte to read.
    fn head(&self) -> u64 {
        self.end.saturating_sub(self.incoming.len() as u64)
    }

    /// What lies ahead of a read.
    pub(super) fn ahead(&self, inline: bool) -> Ahead {
        let Some(mark) = self.mark else {
            return Ahead::Nothing;
        };
        match mark.at.checked_sub(self.head()) {
            None => Ahead::Nothing,
            Some(0) if inline => Ahead::Nothing,
            Some(0) => Ahead::Hole,
            Some(distance) => Ahead::Stop(usize::try_from(distance).unwrap_or(usize::MAX)),
        }
    }

    /// Whether the next byte to read is the marked one.
    fn at_mark(&self) -> bool {
        self.mark.is_some_and(|mark| mark.at == self.head())
    }

    /// A mark that was read past is none any more.
    pub(super) fn forget_passed_mark(&mut self) {
        if self.mark.is_some_and(|mark| mark.at < self.head()) {
            self.mark = None;
        }
    }

    /// Urgent data is about to come. Another marked byte becomes one of the stream, but is dropped
    /// if reads have come up to it.
    pub(super) fn prepare_mark(&mut self, inline: bool) {
        if self.ahead(inline) == Ahead::Hole {
            self.incoming.skip(1);
        }
    }

    /// Marks the last byte that came, unless it was read already.
    pub(super) fn mark_last(&mut self, byte: u8) {
        if !self.incoming.is_empty() {
            self.mark = Some(Mark {
                at: self.end.saturating_sub(1),
                byte,
                taken: false,
            });
        }
    }

    /// Whether poll tells of urgent data.
    pub(super) fn has_urgent(&self) -> bool {
        self.mark.is_some_and(|mark| !mark.taken)
    }

    /// Whether there is something for an ordinary read.
    pub(super) fn has_data(&self, inline: bool) -> bool {
        let hole = self.ahead(inline) == Ahead::Hole;
        self.incoming.len() > usize::from(hole)
    }

    /// FIONREAD: bytes before the mark.
    pub(super) fn readable(&self, inline: bool) -> usize {
        match self.ahead(inline) {
            Ahead::Stop(distance) if !inline => distance,
            Ahead::Hole => 0,
            _ => self.incoming.len(),
        }
    }
}

impl TcpSocket {
    /// SO_OOBINLINE.
    pub(super) fn inline(&self) -> bool {
        self.options.lock().urgent_inline()
    }

    /// SIOCATMARK.
    pub(super) fn is_at_mark(&self) -> bool {
        self.state.lock().at_mark()
    }

    /// Reads the marked byte. EINVAL: there is none, or it is in the stream.
    pub(super) fn receive_urgent(
        &self,
        dst: &mut Destination<'_>,
        flags: MessageFlags,
    ) -> Result<Received> {
        let inline = self.inline();
        let byte = {
            let mut state = self.state.lock();
            if matches!(state.role, Role::Listening { .. }) {
                return Err(Errno::ENOTCONN);
            }
            let gone = matches!(state.role, Role::Idle | Role::Failed | Role::Closed);
            let gone = gone && !state.done;
            let Some(mark) = state.mark.as_mut().filter(|mark| !mark.taken && !inline) else {
                return Err(Errno::EINVAL);
            };
            if gone {
                return Err(Errno::ENOTCONN);
            }
            mark.taken |= !flags.contains(MessageFlags::PEEK);
            mark.byte
        };
        let bytes = match dst.remaining() {
            0 => 0,
            _ if flags.contains(MessageFlags::TRUNC) => 1,
            _ => dst.put(&[byte])?,
        };
        Ok(Received {
            bytes,
            length: 1,
            urgent: true,
            ..Received::default()
        })
    }
}
