//! Frames: `u32` little-endian payload length, one byte of kind, payload.

use bytes::{Buf, Bytes, BytesMut};
use thiserror::Error;

/// Bytes before a frame's payload.
pub const HEADER_LEN: usize = 5;

/// Most bytes of a body in one frame.
pub const BODY_PIECE: usize = 256 * 1024;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// Host → guest, before the first request after a restore: JSON [`crate::Restored`].
    Restored = 1,
    /// Start of a request ([`crate::RequestHead`]) or response ([`crate::ResponseHead`]), JSON.
    Head = 2,
    /// A piece of the body.
    Body = 3,
    /// End of the request or response; empty.
    End = 4,
    /// Guest → host: the function failed. JSON [`crate::ErrorReport`]. Ends the response.
    Error = 5,
    /// Guest → host: one UTF-8 log line of the agent.
    Log = 6,
}

impl FrameKind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Restored,
            2 => Self::Head,
            3 => Self::Body,
            4 => Self::End,
            5 => Self::Error,
            6 => Self::Log,
            _ => return None,
        })
    }
}

impl FrameKind {
    /// The longest payload of this kind, where longer ones are allowed for others. What goes on to
    /// a client or a log as it comes has to come in pieces that can be held for a slow one.
    fn limit(self, limit: usize) -> usize {
        match self {
            Self::Body | Self::Log => limit.min(BODY_PIECE),
            Self::Restored | Self::Head | Self::End | Self::Error => limit,
        }
    }
}

/// One decoded frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub kind: FrameKind,
    /// The bytes it carries.
    pub payload: Bytes,
}

/// The most the other side may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one frame's payload.
    pub frame: usize,
    /// Bytes in one message's whole body.
    pub body: u64,
}

impl Limits {
    /// Largest frame either side sends; a body is cut into pieces of at most this.
    pub const DEFAULT_FRAME: usize = 1 << 20;
    /// Largest body unless configured otherwise.
    pub const DEFAULT_BODY: u64 = 64 << 20;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame: Self::DEFAULT_FRAME,
            body: Self::DEFAULT_BODY,
        }
    }
}

/// Bytes that are no frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The kind byte is none of [`FrameKind`].
    #[error("frame of unknown kind {0}")]
    UnknownKind(u8),
    /// The length field is above the limit.
    #[error("frame of {len} bytes; the limit is {limit}")]
    TooLong {
        /// The length the header claims.
        len: u64,
        /// The limit in force.
        limit: usize,
    },
}

/// Appends a frame to `out`.
///
/// Payloads longer than `u32::MAX` do not exist: [`crate::encode_request`] cuts bodies, and heads
/// are checked by their callers.
pub fn encode(out: &mut Vec<u8>, kind: FrameKind, payload: &[u8]) -> Result<(), FrameError> {
    out.reserve(HEADER_LEN + payload.len());
    encode_header(out, kind, payload.len())?;
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends the header of a frame whose payload of `length` bytes follows from elsewhere.
pub fn encode_header(out: &mut Vec<u8>, kind: FrameKind, length: usize) -> Result<(), FrameError> {
    let len = u32::try_from(length).map_err(|_| FrameError::TooLong {
        len: length as u64,
        limit: u32::MAX as usize,
    })?;
    out.extend_from_slice(&len.to_le_bytes());
    out.push(kind as u8);
    Ok(())
}

/// Cuts a byte stream into frames, whatever pieces it arrives in. Payloads stay where the bytes were
/// put once.
///
/// After an error the stream has no known frame boundary any more: every later call returns the
/// same error.
#[derive(Debug)]
pub struct FrameDecoder {
    limit: usize,
    unread: BytesMut,
}

impl FrameDecoder {
    /// A decoder that refuses payloads above `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            unread: BytesMut::new(),
        }
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
    }

    /// Takes the next whole frame, `None` when more bytes are needed.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some((header, rest)) = self.unread.split_first_chunk::<HEADER_LEN>() else {
            return Ok(None);
        };
        let [l0, l1, l2, l3, kind] = *header;
        let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let kind = FrameKind::from_byte(kind).ok_or(FrameError::UnknownKind(kind))?;
        let limit = kind.limit(self.limit);
        if len > limit {
            return Err(FrameError::TooLong {
                len: len as u64,
                limit,
            });
        }
        if rest.len() < len {
            return Ok(None);
        }
        self.unread.advance(HEADER_LEN);
        let payload = self.unread.split_to(len).freeze();
        Ok(Some(Frame { kind, payload }))
    }

    /// How many bytes have been pushed that no frame given out has used.
    pub fn unread(&self) -> usize {
        self.unread.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_frame_comes_back_whatever_pieces_it_arrives_in() {
        let mut bytes = Vec::new();
        encode(&mut bytes, FrameKind::Head, b"{}").unwrap();
        encode(&mut bytes, FrameKind::End, b"").unwrap();
        let mut decoder = FrameDecoder::new(16);
        let mut frames = Vec::new();
        for byte in bytes {
            decoder.push(&[byte]);
            frames.extend(decoder.next_frame().unwrap());
        }
        assert_eq!(
            frames,
            [
                Frame {
                    kind: FrameKind::Head,
                    payload: Bytes::from_static(b"{}")
                },
                Frame {
                    kind: FrameKind::End,
                    payload: Bytes::new()
                },
            ]
        );
        assert_eq!(decoder.unread(), 0);
    }

    #[test]
    fn a_length_above_the_limit_is_refused_before_its_payload_arrives() {
        let mut decoder = FrameDecoder::new(16);
        decoder.push(&[17, 0, 0, 0, FrameKind::Body as u8]);
        let error = FrameError::TooLong { len: 17, limit: 16 };
        assert_eq!(decoder.next_frame(), Err(error));
        decoder.push(&[0; 64]);
        assert!(decoder.next_frame().is_err(), "an error is final");
    }

    #[test]
    fn pieces_of_a_body_have_a_limit_of_their_own() {
        let mut decoder = FrameDecoder::new(Limits::DEFAULT_FRAME);
        let header = |len: usize, kind| [&(len as u32).to_le_bytes()[..], &[kind as u8]].concat();
        decoder.push(&header(BODY_PIECE + 1, FrameKind::Head));
        assert_eq!(decoder.next_frame(), Ok(None));
        let mut decoder = FrameDecoder::new(Limits::DEFAULT_FRAME);
        decoder.push(&header(BODY_PIECE + 1, FrameKind::Body));
        assert!(decoder.next_frame().is_err());
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        let mut decoder = FrameDecoder::new(16);
        decoder.push(&[0, 0, 0, 0, 99]);
        assert_eq!(decoder.next_frame(), Err(FrameError::UnknownKind(99)));
    }

    proptest! {
        #[test]
        fn any_bytes_give_frames_or_an_error(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..20)
        ) {
            let mut decoder = FrameDecoder::new(4096);
            for piece in pieces {
                decoder.push(&piece);
                while let Ok(Some(frame)) = decoder.next_frame() {
                    prop_assert!(frame.payload.len() <= 4096);
                }
            }
        }

        #[test]
        fn frames_survive_any_cut(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
            cut in 1usize..64,
        ) {
            let mut bytes = Vec::new();
            for payload in &payloads {
                encode(&mut bytes, FrameKind::Body, payload).unwrap();
            }
            let mut decoder = FrameDecoder::new(4096);
            let mut seen = Vec::new();
            for piece in bytes.chunks(cut) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    seen.push(frame.payload);
                }
            }
            prop_assert_eq!(seen, payloads);
        }
    }
}
